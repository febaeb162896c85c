"""Suites: named lists of models, targets and sizes to time, one TOML file each in suites/."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from vitdeploy import documents
from vitdeploy.catalog import registry
from vitdeploy.catalog.spec import Attention, Size
from vitdeploy.errors import Impossible, UnreadableFile, UsageError, VitdeployError, unknown_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One model of a suite, and how it is timed."""

    model: str
    targets: tuple[str, ...] = ()
    """Empty: `cases.FALLBACK_TARGETS`."""
    size: Size | None = None
    """None: the resolution of the model's published latency."""
    batch: int = 1
    attention: Attention | None = None
    """None: the first that the model has."""
    streams: int = 1
    weights: Literal["official"] | None = None
    """None: random ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One case that a study would like to time, or why it is not even tried."""

    entry: Entry
    refused: VitdeployError | None = None
    macs: float | None = None
    """Its arithmetic, as far as it is known before the file is made."""


SHIPPED = Path(__file__).parent / "suites"

_Count = Annotated[int, msgspec.Meta(ge=1, le=4096)]


class _Rows(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One ``[[rows]]`` of a suite file: every one of ``models`` in the same way."""

    models: tuple[str, ...]
    targets: tuple[str, ...] = ()
    size: str | None = None
    batch: _Count = 1
    streams: _Count = 1
    attention: Attention | None = None
    weights: Literal["official"] | None = None


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A suite file."""

    title: str
    unavailable: str | None = None
    rows: tuple[_Rows, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A named list of what to time."""

    name: str
    title: str
    entries: tuple[Entry, ...]
    unavailable: str | None
    """Why it cannot be run in this version; None when it can."""


@cache
def suites() -> Mapping[str, Suite]:
    """All suites by name, those that cannot be run in this version too."""
    return {path.stem: read(path) for path in sorted(SHIPPED.glob("*.toml"))}


def find(name: str) -> Suite:
    """The suite of that name.

    Raises:
        UsageError: there is none; the nearest names are offered.
        Impossible: it cannot be run in this version.
    """
    if name not in suites():
        raise unknown_name("suite", name, suites(), "vitdeploy suites")
    suite = suites()[name]
    if suite.unavailable is not None:
        raise Impossible(f"suite {name} cannot be run: {suite.unavailable}", "`vitdeploy suites` says which can.")
    return suite


def read(path: Path) -> Suite:
    """One suite file.

    Raises:
        UnreadableFile: unknown fields, wrong types, or names and sizes that do not exist.
    """
    data = documents.read_bytes(path, what="suite", most_bytes=documents.LARGEST_TEXT_BYTES)
    try:
        file = msgspec.toml.decode(data, type=_File)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableFile(f"{path} is not a valid suite: {error}", "Correct that field.") from error
    if not file.rows and file.unavailable is None:
        raise UnreadableFile(f"{path} is not a valid suite: it has no rows", "Add a [[rows]] table.")
    try:
        entries = tuple(_entry(model, rows) for rows in file.rows for model in rows.models)
    except (UsageError, Impossible) as error:
        raise UnreadableFile(f"{path} is not a valid suite: {error.message}", error.hint) from error
    return Suite(name=path.stem, title=file.title, entries=entries, unavailable=file.unavailable)


def _entry(model: str, rows: _Rows) -> Entry:
    spec = registry.find_model(model)
    for target in rows.targets:
        registry.find_target(target)
    size = None if rows.size is None else registry.parse_size(rows.size)
    if size is not None:
        registry.check_size(spec, size)
    registry.attention_of(spec, rows.attention)
    return Entry(
        model=model,
        targets=rows.targets,
        size=size,
        batch=rows.batch,
        streams=rows.streams,
        attention=rows.attention,
        weights=rows.weights,
    )
