"""From 8-bit pixels to numbers that a model takes; numpy only, because the worker carries it to devices."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitdeploy.catalog.preprocessing import Preprocessing


def normalize(pixels: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """``(…, 3)`` RGB pixels as fp32, scaled, normalized and with their channels in the model's order."""
    scaled = pixels.astype(np.float32) / np.float32(preprocessing.divisor)
    if preprocessing.channel_order == "bgr":
        scaled = scaled[..., ::-1]
    mean, std = (np.asarray(values, np.float32) for values in (preprocessing.mean, preprocessing.std))
    return (scaled - mean) / std


def fill_bytes(preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """The RGB pixel that is nearest to zero after normalization."""
    mean: NDArray[Any] = np.asarray(preprocessing.mean, np.float64) * preprocessing.divisor
    if preprocessing.channel_order == "bgr":
        mean = mean[::-1]
    return np.rint(np.clip(mean, 0, 255)).astype(np.uint8)
