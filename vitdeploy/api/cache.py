"""`cache ls` and `cache gc`: what the artifact store holds, and what is removed from it."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from vitdeploy.artifacts.manifest import Manifest
from vitdeploy.artifacts.store import Store, StoreEntry
from vitdeploy.catalog.shown import Rows
from vitdeploy.devices import inventory
from vitdeploy.errors import UsageError, VitdeployError
from vitdeploy.processes.progress import Progress, silent

_MOST_DAYS = 36_500


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheRow:
    """One stored artifact."""

    name: str
    size_bytes: int
    used: str
    """Day of the last use, ISO 8601."""
    key: str = ""
    """Digest of what it was made from: the name of its folder in the store."""
    options: str = ""
    """What sets it apart from others of its name: weights, attention, head, element types, parity."""
    path: str = ""


class CacheRows(Rows[CacheRow]):
    """Stored artifacts."""

    shown_by: ClassVar = "vitdeploy.cli.cache:rows_output"
    action: str
    """What happened to them: ``stored``, ``removed`` or ``would be removed``."""

    def __new__(cls, action: str, rows: Iterable[CacheRow]) -> "CacheRows":
        """Make it of any rows."""
        shown = super().__new__(cls, tuple(rows))
        shown.action = action
        return shown


def cache_ls() -> list[CacheRow]:
    """What the store holds."""
    return [_row(entry) for entry in Store().entries()]


UNUSED_DAYS = 30.0
"""What was not used for so long is removed. Source: choice of ours, a month between two looks at one model."""


def cache_gc(
    *, older_than_days: float = UNUSED_DAYS, dry_run: bool = False, progress: Progress = silent
) -> list[CacheRow]:
    """Remove stored artifacts that were not used for so long, and every file of ours on the configured phones.

    Returns what was (or would be) removed. ``progress`` gets the phones that are absent or in use.

    Raises:
        UsageError: not a number of days.
    """
    if not 0 <= older_than_days <= _MOST_DAYS:
        raise UsageError(
            f"--older-than {older_than_days:g} is not a number of days", f"Use 0 to {_MOST_DAYS}; 0 removes everything."
        )
    removed = [_row(entry) for entry in Store().collect(older_than_days=older_than_days, dry_run=dry_run)]
    for device in inventory.devices().values():
        if device.link != "adb" or inventory.unreachable(device) is not None:
            continue
        try:
            size_bytes = inventory.clean_phone(device, dry_run=dry_run)
        except VitdeployError as error:
            progress(f"{device.name} keeps what is ours on it: {error.message}")
            continue
        if size_bytes:
            removed.append(CacheRow(name=f"everything on {device.name}", size_bytes=size_bytes, used="-"))
    return removed


def _row(entry: StoreEntry) -> CacheRow:
    manifest = entry.manifest
    return CacheRow(
        name=f"{manifest.model} {manifest.target} {manifest.variant.size_words}",
        size_bytes=entry.size_bytes,
        used=time.strftime("%Y-%m-%d", time.localtime(entry.used_s)),
        key=entry.key,
        options=_options(manifest),
        path=str(entry.folder),
    )


def _options(manifest: Manifest) -> str:
    words = [
        *(["softmax"] if manifest.attention == "softmax" else []),
        *([manifest.head] if manifest.head != "logits" else []),
        *([f"{manifest.io} io"] if manifest.io != "fp32" else []),
        manifest.weights.words,
        *([manifest.state] if manifest.state != "ready" else []),
    ]
    return ", ".join(words)
