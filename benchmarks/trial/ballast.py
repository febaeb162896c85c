"""Memory that is held beside the sides of a pair, so that the first to load does not get what the last pair left.

What ended processes free lies scattered over the machine's memory, and who loads next gets those pages: here the first
of two equal processes was 1.0 % slower than the second, and pairs of EfficientViT-B0 scattered by 2.8 %. With as much
memory taken and held as the sides need, the difference was gone, and the scatter 1.0 % (docs/measured.md). Standard
library only: this file runs on devices.
"""

import mmap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

MEMORY_FACTOR = 2.0
"""What a side needs beside the bytes of its files: weights are repacked by the runtimes.
Source: peak memory over file size of B0–B3 in ONNX Runtime here is 1.5 to 2."""

PROCESS_BYTES = 128 * 2**20
"""A process with a runtime in it, without a model. Source: ONNX Runtime's and LiteRT's hold 60 to 110 MiB here."""

LARGEST_SHARE = 0.2
"""Of the memory that is free, at most so much is held: the sides and everything else come first. Source: a choice."""


def needed_bytes(sides: Sequence[Mapping[str, Any]]) -> int:
    """About what the processes of all sides take."""
    return round(sum(MEMORY_FACTOR * files_bytes(side) + PROCESS_BYTES for side in sides))


def files_bytes(side: Mapping[str, Any]) -> int:
    """Size of a side's files that are there."""
    return sum(path.stat().st_size for path in map(Path, side["digests"]) if path.exists())


def hold(size_bytes: int, available_bytes: int | None) -> mmap.mmap | None:
    """Take memory page by page until it is closed; None: too little is free, or that cannot be told."""
    populate = getattr(mmap, "MAP_POPULATE", None)  # Linux
    if populate is None or available_bytes is None or size_bytes > LARGEST_SHARE * available_bytes:
        return None
    return mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | populate)
