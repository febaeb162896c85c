"""Cubic interpolation as the published evaluation scripts have it, as two matrix products.

Four taps with a = −0.75, pixel centers at halves, edges repeated, no smoothing when a picture shrinks: what
``torch.nn.functional.interpolate(mode="bicubic")`` and OpenCV's ``INTER_CUBIC`` compute. Pillow's differs (a = −0.5,
and it smooths). Source: https://github.com/mit-han-lab/efficientvit, applications/efficientvit_seg.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitdeploy.catalog.spec import Size

A = -0.75
"""Source: OpenCV, modules/imgproc/src/resize.cpp, ``interpolateCubic``; ATen/native/UpSample.h."""

Floats = NDArray[np.float32]


@lru_cache(maxsize=64)
def matrix(old: int, new: int) -> Floats:
    """``(new, old)``: each row has the weights of one new pixel."""
    places = (np.arange(new) + 0.5) * (old / new) - 0.5
    base = np.floor(places).astype(np.int64)
    weights = np.zeros((new, old), np.float64)
    for tap in range(-1, 3):
        index = np.clip(base + tap, 0, old - 1)
        np.add.at(weights, (np.arange(new), index), _kernel(np.abs(places - (base + tap))))
    result: Floats = weights.astype(np.float32)
    result.setflags(write=False)
    return result


def _kernel(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    near = ((A + 2) * distance - (A + 3)) * distance**2 + 1
    far = A * (((distance - 5) * distance + 8) * distance - 4)
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))


def enlarged(channel: NDArray[Any], size: Size) -> Floats:
    """One map ``(h, w)`` at ``size``."""
    rows, columns = matrix(channel.shape[0], size[0]), matrix(channel.shape[1], size[1])
    # Columns first: of a landscape picture that is the shorter way, 335 instead of 570 million products at 1024×2048.
    return np.asarray(rows @ (channel.astype(np.float32, copy=False) @ columns.T), np.float32)


def resized(photo: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """A picture ``(h, w, 3)`` at ``size``, rounded to bytes; itself where it has that size."""
    if photo.shape[:2] == size:
        return photo
    channels = [enlarged(photo[..., c], size) for c in range(photo.shape[2])]
    return np.clip(np.rint(np.stack(channels, axis=-1)), 0, 255).astype(np.uint8)
