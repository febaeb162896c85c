"""Published points of accuracy and latency, read from the data file beside this one."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import msgspec

from vitdeploy.catalog import checkpoints


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    dataset: str
    figure: str
    where: str
    source: str
    rows: tuple[tuple[str, str, float | str, float], ...]
    """Name, our name of the model, the accuracy or the official checkpoint that it is of, latency in ms."""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    table: tuple[_Table, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedAccuracy:
    """One published model: how right, and how fast."""

    name: str
    model: str
    """Our name of it; empty where it is not in the catalog."""
    figure: str
    value: float
    latency_ms: float
    where: str
    """Device, runtime, precision, size and batch."""
    source: str


def points(dataset: str) -> tuple[PublishedAccuracy, ...]:
    """All points that were published for a data set."""
    return tuple(
        PublishedAccuracy(
            name=name,
            model=model,
            figure=table.figure,
            value=_value(value, dataset),
            latency_ms=latency_ms,
            where=table.where,
            source=table.source,
        )
        for table in _tables()
        if table.dataset == dataset
        for name, model, value, latency_ms in table.rows
    )


def _value(value: float | str, dataset: str) -> float:
    """An accuracy: as the row has it, or that of the checkpoint which the row names."""
    if not isinstance(value, str):
        return value
    figure = checkpoints.find(value).accuracy_on(dataset)
    assert figure is not None, f"nothing is published of {value} on {dataset}"
    return figure.value


@cache
def _tables() -> tuple[_Table, ...]:
    text = files("vitdeploy.evaluation").joinpath("published.toml").read_bytes()
    return msgspec.toml.decode(text, type=_File).table
