"""Published figures as data: tables of papers and READMEs, what is claimed from them, and where each comes from.

A value belongs to a row (a model at a size) and a column (a device, unit, batch, boundary and source). Claims that
contradict each other are claims of their own, each with a note.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from vitdeploy.catalog import checkpoints
from vitdeploy.catalog.spec import Attention, Boundary
from vitdeploy.errors import UnreadableFile

Unit = Literal["ms", "images/s"]
Part = Literal["encoder", "decoder"]
_Positive = Annotated[float, msgspec.Meta(gt=0)]
_Size = Annotated[str, msgspec.Meta(pattern=r"^[1-9]\d{0,4}x[1-9]\d{0,4}$")]


class _Data(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of everything in a table: immutable, and strict about what it does not know."""


class Column(_Data, frozen=True, kw_only=True):
    """How the values of one column were measured, as far as that is stated."""

    unit: Unit
    device: str
    runs_on: str | None = None
    """The device of `vitdeploy devices` that this is; None: none of them."""
    batch: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """None: not stated."""
    boundary: Boundary
    chart: bool = False
    """Read from a chart, and less exact than a table."""
    source: str


class PublishedRow(_Data, frozen=True, kw_only=True):
    """One model at one size, and what is published of it."""

    name: str
    model: str | None = None
    """Its name in the catalogue; None: vitdeploy does not have it."""
    parts: tuple[Part, ...] = ()
    """Of a model in parts, those that the values are of; empty: all."""
    attention: Attention | None = None
    size: _Size | None = None
    """None: the table's."""
    quick: _Size | None = None
    """Size of the quick form; None: the table's, else the published one."""
    in_quick: bool = True
    quality: float | None = None
    """As printed; in a file only where no checkpoint has it."""
    checkpoint: str | None = None
    """The official checkpoint whose published accuracy is the row's quality."""
    params: _Positive | None = None
    macs: _Positive | None = None
    """At the published size."""
    export_bytes: _Positive | None = None
    """Memory that making and proving its largest file takes, where that is measured and not told by the parameters."""
    values: Mapping[str, _Positive]
    """Column → value."""
    note: str | None = None


class Claim(_Data, frozen=True, kw_only=True):
    """That one row is so many times faster than another."""

    words: str
    ratio: _Positive | None = None
    """As it is quoted; None: it is not, and follows from the values."""
    slow: str
    fast: str
    column: str | None = None
    fast_column: str | None = None
    """Where the fast row's value stands in another column."""
    source: str
    note: str | None = None


class PublishedTable(_Data, frozen=True, kw_only=True):
    """One table."""

    title: str
    quality: str = ""
    """What the rows' quality is."""
    targets: tuple[str, ...]
    """What was measured with; the first that a device has is taken."""
    size: _Size
    quick: _Size | None = None
    graph_outputs: str
    """What the timed graph ends in, as far as that is stated."""
    dataset: str | None = None
    """On which the quality was measured, as the table of checkpoints calls it."""
    columns: Mapping[str, Column]
    rows: tuple[PublishedRow, ...]
    claims: tuple[Claim, ...]

    def row(self, name: str) -> PublishedRow:
        """The row of that name."""
        return next(row for row in self.rows if row.name == name)

    def size_of(self, row: PublishedRow, *, quick: bool) -> str:
        """The size at which a row is run, as text."""
        published = row.size or self.size
        return (row.quick or self.quick or published) if quick else published

    def published_ratio(self, claim: Claim) -> float | None:
        """How many times faster, by the published values of its two rows; None where one has none."""
        if claim.column is None:
            return None
        slow = self.row(claim.slow).values.get(claim.column)
        fast = self.row(claim.fast).values.get(claim.fast_column or claim.column)
        if slow is None or fast is None:
            return None
        return slow / fast if self.columns[claim.column].unit == "ms" else fast / slow


def decode(data: bytes, name: str) -> PublishedTable:
    """A table from TOML.

    Raises:
        UnreadableFile: unknown fields, wrong types, or names that are defined nowhere.
    """
    try:
        table = msgspec.toml.decode(data, type=PublishedTable)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnreadableFile(f"{name} is not a valid table: {error}", "Correct that field.") from error
    wrong = _undefined(table)
    if wrong is not None:
        raise UnreadableFile(f"{name} is not a valid table: {wrong}", "Correct that name.")
    return _with_quality(table)


def _checkpoint_quality(row: PublishedRow, dataset: str | None) -> float | None:
    """What is published of a row's checkpoint; None: nothing."""
    checkpoint = checkpoints.checkpoints().get(row.checkpoint or "")
    figure = checkpoint.accuracy_on(dataset) if checkpoint and dataset else None
    return None if figure is None else figure.value


def _with_quality(table: PublishedTable) -> PublishedTable:
    """The table with the qualities of its rows' checkpoints."""
    rows = tuple(
        msgspec.structs.replace(row, quality=_checkpoint_quality(row, table.dataset)) if row.checkpoint else row
        for row in table.rows
    )
    return msgspec.structs.replace(table, rows=rows)


def _undefined(table: PublishedTable) -> str | None:
    """What is named and defined nowhere, or twice."""
    for row in table.rows:
        if row.checkpoint is not None and row.quality is not None:
            return f"row {row.name!r} has a quality of its own and one of a checkpoint"
        if row.checkpoint is not None and _checkpoint_quality(row, table.dataset) is None:
            return f"row {row.name!r} names {row.checkpoint!r}, of which nothing is published on {table.dataset}"
    names = [row.name for row in table.rows]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        return f"two rows are called {twice[0]!r}"
    columns = {column for row in table.rows for column in row.values}
    columns |= {c for claim in table.claims for c in (claim.column, claim.fast_column) if c is not None}
    for column in sorted(columns - table.columns.keys()):
        return f"no column {column!r}"
    for claim in table.claims:
        for name in (claim.slow, claim.fast):
            if name not in names:
                return f"a claim names no row {name!r}"
    return None
