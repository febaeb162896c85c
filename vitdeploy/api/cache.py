"""`cache ls` and `cache gc`: what the artifact store holds, and what is removed from it."""

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vitdeploy.errors import VitdeployError
from vitdeploy.processes.progress import Progress, silent

if TYPE_CHECKING:
    from vitdeploy.artifacts.store import StoreEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheRow:
    """One stored artifact."""

    name: str
    size_bytes: int
    used: str
    """Day of the last use, ISO 8601."""
    key: str = field(default="")


def cache_ls() -> list[CacheRow]:
    """What the store holds."""
    from vitdeploy.artifacts.store import Store

    return [_cache_row(entry) for entry in Store().entries()]


def cache_gc(*, older_than_days: float = 0.0, dry_run: bool = False, progress: Progress = silent) -> list[CacheRow]:
    """Remove stored artifacts that were not used for so long, and all that is ours on the phones that are configured.

    Returns what was (or would be) removed. A phone that is not there, or is in use, is told to ``progress``.
    """
    from vitdeploy.artifacts.store import Store

    gone = [_cache_row(entry) for entry in Store().collect(older_than_days=older_than_days, dry_run=dry_run)]
    return gone + _swept_phones(dry_run, progress)


def _swept_phones(dry_run: bool, progress: Progress) -> list[CacheRow]:
    from vitdeploy.devices import inventory

    rows: list[CacheRow] = []
    for device in inventory.devices().values():
        if device.link != "adb" or inventory.unreachable(device) is not None:
            continue
        try:
            size_bytes = inventory.clean_phone(device, dry_run=dry_run)
        except VitdeployError as error:
            progress(f"{device.name} keeps what is ours on it: {error.message}")
            continue
        if size_bytes:
            rows.append(CacheRow(name=f"everything on {device.name}", size_bytes=size_bytes, used="-"))
    return rows


def _cache_row(entry: "StoreEntry") -> CacheRow:
    manifest = entry.manifest
    used = time.strftime("%Y-%m-%d", time.localtime(entry.used_s))
    size = f"{manifest.size[0]}x{manifest.size[1]}"
    return CacheRow(
        name=f"{manifest.model} {manifest.target} {size}", size_bytes=entry.size_bytes, used=used, key=entry.key
    )
