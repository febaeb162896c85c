"""Label maps and image sizes from files; a file that cannot be read becomes `UnreadableFile`, or no size."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from vitdeploy.catalog.spec import Size
from vitdeploy.errors import UnreadableFile


def label_map(path: Path) -> NDArray[np.uint8]:
    """The values of an 8-bit label file, ``(h, w)``; palettes are not applied.

    Raises:
        UnreadableFile: not there, not an image, truncated, or with channels.
    """
    try:
        with Image.open(path) as image:
            values: NDArray[Any] = np.asarray(image)
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UnreadableFile(f"{path} is not a readable label map: {error}", "Unpack it again.") from error
    if values.ndim != 2 or values.dtype.kind not in "ui" or (values.size and int(values.max()) > 255):
        raise UnreadableFile(f"{path} is no label map: {values.dtype} {values.shape}", "Unpack it again.")
    return values.astype(np.uint8)


def size_of(path: Path) -> Size | None:
    """Height and width from the file's head; None where it cannot be read."""
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
