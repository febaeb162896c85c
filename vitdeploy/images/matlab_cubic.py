"""Cubic interpolation as MATLAB's ``imresize`` has it, by which super-resolution papers make their small pictures.

The kernel (a = −0.5) is widened where a picture shrinks, and beyond the edges the picture is mirrored. Source:
https://www.mathworks.com/help/images/ref/imresize.html; BasicSR, ``matlab_functions.py``.
"""

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vitdeploy.catalog.spec import Size
from vitdeploy.images.photos import Photo

A: Final = -0.5
"""Of the cubic kernel. Source: Keys, 1981; MATLAB's ``imresize``."""


def resized(photo: Photo, size: Size) -> Photo:
    """A picture ``(h, w, 3)`` at ``size``, rounded to bytes; itself where it has that size."""
    if photo.shape[:2] == tuple(size):
        return photo
    rows, columns = matrix(photo.shape[0], size[0]), matrix(photo.shape[1], size[1])
    result = np.einsum("hi,ijc,wj->hwc", rows, photo.astype(np.float64), columns, optimize=True)
    return np.clip(np.floor(result + 0.5), 0, 255).astype(np.uint8)


@lru_cache(maxsize=64)
def matrix(old: int, new: int) -> NDArray[np.float64]:
    """``(new, old)``: each row has the weights of one new pixel."""
    scale = new / old
    widening = min(1.0, scale)
    reach = 2.0 / widening
    centers = (np.arange(new) + 0.5) / scale - 0.5
    first = np.floor(centers - reach).astype(np.int64)
    weights = np.zeros((new, old), np.float64)
    for tap in range(int(np.ceil(2 * reach)) + 2):
        index = first + tap
        turned = index % (2 * old)
        mirrored = np.where(turned < old, turned, 2 * old - 1 - turned)
        np.add.at(weights, (np.arange(new), mirrored), _cubic(np.abs(centers - index) * widening))
    weights /= weights.sum(axis=1, keepdims=True)
    weights.setflags(write=False)
    return weights


def _cubic(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    near = ((A + 2) * distance - (A + 3)) * distance**2 + 1
    far = A * (((distance - 5) * distance + 8) * distance - 4)
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))
