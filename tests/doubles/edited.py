"""Documents with one field edited: every place, every hostile value."""

import copy
import json
from collections.abc import Iterator
from typing import Any

HOSTILE: tuple[Any, ...] = (
    *(None, True, -1, 0, 7, 1e308, 5e-324, 10**400, "", "\x1b[2J\n::error::\u202e", "a\0b", "x" * 5000),
    *([], {}, ["x"], {"x": 1}, [[[]]], float("nan"), float("inf")),
)
"""What a value is replaced by; ``json`` writes NaN and infinity as words that JSON does not have."""

BROKEN: tuple[bytes, ...] = (
    b"",
    b"\n",
    b"null",
    b"[]",
    b"{}",
    b"\xff\xfe{",
    b"[" * 100_000,
    b'{"schema": 99}',
    b"1e999",
)
"""What a file is replaced by."""


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of all fields, but of lists only the first and the last entry."""
    if path:
        yield path
    if isinstance(value, dict):
        for key, inner in value.items():  # pyright: ignore[reportUnknownVariableType]
            yield from places(inner, (*path, key))
    elif isinstance(value, list):
        for number in sorted({0, len(value) - 1}) if value else ():  # pyright: ignore[reportUnknownArgumentType]
            yield from places(value[number], (*path, number))


def at(document: Any, path: tuple[Any, ...]) -> Any:
    """What stands at a place."""
    for key in path:
        document = document[key]
    return document


def planted(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy with another value at one place."""
    key, *rest = path
    edited = copy.copy(document)
    edited[key] = planted(document[key], tuple(rest), value) if rest else value
    return edited


def documents(document: Any) -> Iterator[tuple[tuple[Any, ...], Any, bytes]]:
    """Place, value and bytes of the document with every hostile value at every place."""
    for path in places(document):
        for value in HOSTILE:
            yield path, value, json.dumps(planted(document, path, value)).encode()


def cut(data: bytes) -> Iterator[bytes]:
    """A file that ends early, at a dozen places, and what is no such file at all."""
    yield from (data[: len(data) * part // 12] for part in range(1, 12))
    yield from BROKEN
