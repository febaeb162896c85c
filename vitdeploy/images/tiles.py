"""A picture as overlapping tiles of a model's input size, and the enlarged tiles as one picture again."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from vitdeploy.catalog.spec import Size
from vitdeploy.images.photos import Photo

Corner = tuple[int, int]
"""Top and left of a tile."""


def padded(picture: Photo, size: Size) -> Photo:
    """At least as large as ``size``, its lower and right border mirrored."""
    missing = [(0, max(0, size[0] - picture.shape[0])), (0, max(0, size[1] - picture.shape[1])), (0, 0)]
    return np.pad(picture, missing, mode="symmetric") if any(after for _, after in missing) else picture


def corners(whole: Size, size: Size, overlap: int) -> Iterator[Corner]:
    """Upper left corners of tiles of ``size`` that cover ``whole``; neighbors share at least ``overlap`` pixels."""
    for top in _starts(whole[0], size[0], overlap):
        for left in _starts(whole[1], size[1], overlap):
            yield top, left


def _starts(whole: int, size: int, overlap: int) -> list[int]:
    if whole <= size:
        return [0]
    return [*range(0, whole - size, max(1, size - overlap)), whole - size]


class Blend:
    """The enlarged picture while tiles are added: of what two tiles share, each fades into the other.

    The outer quarter of a shared strip is the other tile's alone, because a model knows nothing beyond a tile's edge.
    """

    def __init__(self, whole: Size, size: Size, scale: int, overlap: int) -> None:
        self._whole, self._size, self._scale, self._overlap = whole, size, scale, overlap
        self._sum = np.zeros((whole[0] * scale, whole[1] * scale, 3), np.float32)
        self._weights = np.zeros((whole[0] * scale, whole[1] * scale, 1), np.float32)

    def add(self, tile: NDArray[np.floating], corner: Corner) -> None:
        """Add the answer ``(3, h, w)`` on a 0–1 scale to the tile at ``corner``; what is no number is 0."""
        sides = zip(corner, self._whole, self._size, strict=True)
        rows, columns = (self._ramp(start, whole, size) for start, whole, size in sides)
        weights = (rows[:, None] * columns[None, :])[:, :, None]
        pixels = np.clip(np.nan_to_num(tile.astype(np.float32)), 0, 1).transpose(1, 2, 0)
        y, x = (start * self._scale for start in corner)
        place = (slice(y, y + pixels.shape[0]), slice(x, x + pixels.shape[1]))
        self._sum[place] += weights * pixels
        self._weights[place] += weights

    def picture(self, size: Size) -> Photo:
        """The picture in bytes, cut to ``size``."""
        mean = self._sum[: size[0], : size[1]] / self._weights[: size[0], : size[1]]
        return np.rint(255 * mean).astype(np.uint8)

    def _ramp(self, start: int, whole: int, size: int) -> NDArray[np.float32]:
        """Weights along one side: 0 at an edge within the picture, 1 from three quarters of the overlap on."""
        distance = np.arange(size * self._scale, dtype=np.float32) + 0.5
        overlap = float(self._overlap * self._scale)
        ramp = np.ones_like(distance)
        if start > 0:
            ramp = np.minimum(ramp, (distance - overlap / 4) / (overlap / 2))
        if start + size < whole:
            ramp = np.minimum(ramp, (distance[::-1] - overlap / 4) / (overlap / 2))
        return np.clip(ramp, 0, 1)


def cut(picture: Photo, corner: Corner, size: Size) -> Photo:
    """The tile of ``size`` at ``corner``."""
    top, left = corner
    return picture[top : top + size[0], left : left + size[1]]


def grid_words(places: Sequence[Corner], size: Size, overlap: int) -> str:
    """``12 tiles of 128x128, which share 32 pixels``."""
    if len(places) == 1:
        return f"1 tile of {size[0]}x{size[1]}"
    return f"{len(places)} tiles of {size[0]}x{size[1]}, which share {overlap} pixels"
