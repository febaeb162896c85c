"""What every data set offers: its pictures by name, in an order of their own, and what it says of itself."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitdeploy.errors import UnreadableFile

NAMES = ("cityscapes", "ade20k", "imagenet", "sr", "coco", "lvis")
"""Source: contract, "Commands"."""

MOST_FOUND = 8
"""Entries of a folder that a message names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSetItem:
    """One picture: where it lies, and what is right for it."""

    name: str
    """Unique within the data set, and the same on every machine: a path below its root."""
    image: Path
    label: Path | None = None
    """A file: the label map, or the high-resolution picture."""
    truth: Any = None
    """What needs no file of its own: a class, the annotations."""
    problem: str | None = None
    """Why it cannot be evaluated although it was named: its label is not there, …"""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSetFiles:
    """A data set on disk."""

    name: str
    split: str
    root: Path
    items: Sequence[DataSetItem]
    classes: tuple[str, ...]
    """Names of the classes; empty where there are none."""
    layout: str
    """Which of the layouts that are known it has, in words."""
    extra: Any = None
    """What its task needs beside the items."""


def wrong_layout(what: str, root: Path, looked_for: Iterable[str], hint: str) -> UnreadableFile:
    """The error for a folder that is no data set: what was looked for, and what was found instead."""
    expected = " or ".join(looked_for)
    return UnreadableFile(f"{root} is no {what}: looked for {expected}, and found {folder_contents(root)}", hint)


def folder_contents(folder: Path) -> str:
    """What lies in a folder, in a few words."""
    if not folder.exists():
        return "no such folder"
    if not folder.is_dir():
        return "a file"
    try:
        names = sorted(p.name + "/" * p.is_dir() for p in folder.iterdir())
    except OSError as error:
        return f"a folder that cannot be read ({error.strerror})"
    if not names:
        return "an empty folder"
    more = f" and {len(names) - MOST_FOUND} more" if len(names) > MOST_FOUND else ""
    return ", ".join(names[:MOST_FOUND]) + more


def limited(items: Sequence[DataSetItem], limit: int | None) -> list[DataSetItem]:
    """``limit`` of the items, spread evenly over all of them; all where there is no limit."""
    if limit is None or limit >= len(items):
        return list(items)
    return [items[index * len(items) // limit] for index in range(limit)]


def shard(items: Sequence[DataSetItem], index: int, count: int) -> list[DataSetItem]:
    """Part ``index`` of ``count`` of the items: every ``count``-th one, so that all parts take about as long."""
    return list(items[index::count])


def digest(items: Sequence[DataSetItem]) -> str:
    """SHA-256 of the names of the items and the sizes of their files: another picture is another data set."""
    hasher = hashlib.sha256()
    for item in sorted(items, key=lambda item: item.name):
        sizes = [_size(path) for path in (item.image, item.label) if path is not None]
        hasher.update(f"{item.name}\0{sizes}\0{item.truth if isinstance(item.truth, int) else ''}\n".encode())
    return hasher.hexdigest()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
