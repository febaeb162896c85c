"""Real photographs as model inputs: those that scikit-image and scikit-learn ship, and the user's own.

Parity is measured on these as well as on noise: natural images have the flat areas, edges and
saturated regions that noise never shows.
"""

import importlib.util
import struct
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from vitdeploy import documents
from vitdeploy.catalog import packages
from vitdeploy.catalog.preprocessing import IMAGENET_MEAN, Preprocessing
from vitdeploy.catalog.spec import Size
from vitdeploy.errors import MissingPackage, UnreadableFile, UsageError
from vitdeploy.images.normalize import normalize

Photo = NDArray[np.uint8]
"""An RGB image, ``(h, w, 3)``."""

BUNDLED = (
    ("sklearn", "datasets/images/china.jpg"),
    ("skimage", "data/astronaut.png"),
    ("skimage", "data/coffee.png"),
    ("skimage", "data/chelsea.png"),
    ("skimage", "data/rocket.jpg"),
    ("sklearn", "datasets/images/flower.jpg"),
)
"""Package and path of each photograph: public domain, CC0 or CC BY 2.0.

Source: skimage/data/README.txt and sklearn/datasets/images/README.txt.
"""
FILL = tuple(round(255 * mean) for mean in IMAGENET_MEAN)
"""RGB of what `letterbox` leaves empty: the color that is zero after normalization, to rounding."""

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp"})

LARGEST_PIXELS = 2**27
"""Larger images are refused unread: 134 Mpixel are 0.4 GiB as RGB and 1.6 GiB as fp32."""

Image.MAX_IMAGE_PIXELS = LARGEST_PIXELS


def bundled() -> list[Path]:
    """Paths of the photographs that come with two packages; the packages are found, not imported.

    Raises:
        MissingPackage: one of them is not installed.
    """
    paths = [_folder(package) / path for package, path in BUNDLED]
    absent = [path for path in paths if not path.is_file()]
    if absent:
        raise MissingPackage(f"the photograph {absent[0]} is not here", f"Run `{packages.advice(['torch'])}`.")
    return paths


def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    folders = list(spec.submodule_search_locations or []) if spec else []
    return Path(folders[0]) if folders else Path(package)


def in_folder(folder: Path) -> list[Path]:
    """The images in ``folder``, by name.

    Raises:
        UnreadableFile: no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise UnreadableFile(f"no folder of images at {folder}", "Name a folder that holds PNG or JPEG files.")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise UnreadableFile(f"{folder} holds no image", "Name a folder that holds PNG or JPEG files.")
    return paths


SAMPLE = "sample:"
"""Prefix of the bundled photographs' names where a picture is asked for: ``sample:coffee``."""


def open_named(name: str) -> Photo:
    """The picture at a path, or the bundled photograph ``sample:NAME``.

    Raises:
        UsageError: no bundled photograph has that name.
        UnreadableFile: it cannot be read.
    """
    if not name.startswith(SAMPLE):
        return read(Path(name), upright=True)
    samples = {path.stem: path for path in bundled()}
    sample = name.removeprefix(SAMPLE)
    if sample not in samples:
        choices = ", ".join(SAMPLE + stem for stem in samples)
        raise UsageError(f"no bundled photograph is called {sample!r}", f"There are {choices}.")
    return read(samples[sample])


def read(path: Path, *, upright: bool = False) -> Photo:
    """The image at ``path`` as RGB.

    Args:
        upright: turned as its EXIF orientation says. Data sets are evaluated as their pixels lie.

    Raises:
        UnreadableFile: not there, not an image, truncated, too large, or of pixels whose range is not known.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with documents.open_file(path) as stream, Image.open(stream) as image:
                return _as_rgb(ImageOps.exif_transpose(image) if upright else image, image.format, path)
    except FileNotFoundError as error:
        raise UnreadableFile(f"no image at {path}", "Check the path.") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadableFile(
            f"{path} has more than {LARGEST_PIXELS} pixels", "Give a smaller image, or a part of this one."
        ) from error
    except (OSError, SyntaxError, ValueError, MemoryError, struct.error) as error:
        raise UnreadableFile(f"{path} is not a readable image: {why(error)}", "Use a PNG or JPEG file.") from error


def why(error: BaseException) -> str:
    """Why Pillow could not read a file; its own words for an unknown format name the stream."""
    return "its format is not known" if isinstance(error, UnidentifiedImageError) else str(error)


def _as_rgb(image: Image.Image, form: str | None, path: Path) -> Photo:
    """Bytes of ``image``; 16 bits are scaled, which Pillow's own conversion clips to white.

    Raises:
        UnreadableFile: its pixels have 32 bits: nothing says which value is white.
    """
    if image.mode.startswith("I;16") or (image.mode == "I" and form == "PNG"):
        grey = (np.asarray(image).astype(np.uint32) + 128) // 257  # 65535 is 255
        return np.repeat(grey.astype(np.uint8)[:, :, None], 3, axis=2)
    if image.mode in ("I", "F"):
        raise UnreadableFile(
            f"{path} has pixels of 32 bits, and nothing says which value is white", "Convert it to 8 or 16 bits."
        )
    return np.asarray(image.convert("RGB"))


def size_of(path: Path) -> Size | None:
    """Height and width from the file's head; None where it cannot be read."""
    try:
        with documents.open_file(path) as stream, Image.open(stream) as image:
            return image.height, image.width
    except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError, UnreadableFile):
        return None


def resize(photo: Photo, size: Size) -> Photo:
    """``photo`` as ``(h, w, 3)`` of ``size``; the aspect ratio is not kept."""
    height, width = size
    return np.asarray(Image.fromarray(photo).resize((width, height), Image.Resampling.BICUBIC))


def center_crop(photo: Photo, size: Size) -> Photo:
    """The largest centered part of ``photo`` with the aspect ratio of ``size``, resized to it."""
    return resize(center_part(photo, size), size)


def center_part(photo: Photo, size: Size) -> Photo:
    """The largest centered part of ``photo`` with the aspect ratio of ``size``, its pixels as they are."""
    height, width = photo.shape[:2]
    scale = min(height / size[0], width / size[1])
    part_h, part_w = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
    top, left = (height - part_h) // 2, (width - part_w) // 2
    return photo[top : top + part_h, left : left + part_w]


def letterbox(photo: Photo, size: Size) -> Photo:
    """``photo`` in the upper left corner of ``size``, as large as fits; the rest is `FILL`."""
    height, width = inner_size(photo, size)
    boxed = np.empty((*size, 3), np.uint8)
    boxed[:] = np.asarray(FILL, np.uint8)
    boxed[:height, :width] = resize(photo, (height, width))
    return boxed


def inner_size(photo: Photo, size: Size) -> Size:
    """Height and width that `letterbox` gives to a photo: the aspect ratio is kept.

    Source: ``ResizeLongestSide`` of https://github.com/facebookresearch/segment-anything, rounded as there.
    """
    scale = min(size[0] / photo.shape[0], size[1] / photo.shape[1])
    height, width = (max(1, int(side * scale + 0.5)) for side in photo.shape[:2])
    return min(height, size[0]), min(width, size[1])


def normalized(photos: Sequence[Photo], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """``photos`` of one size as a model's fp32 input, ``(n, 3, h, w)``."""
    return np.ascontiguousarray(normalize(np.stack(photos), preprocessing).transpose(0, 3, 1, 2), dtype=np.float32)


def noise(size: Size, batch: int, seed: int) -> list[Photo]:
    """``batch`` images of uniform noise, the same on every machine."""
    generator = np.random.Generator(np.random.PCG64(seed))
    return [generator.integers(0, 256, (*size, 3), dtype=np.uint8) for _ in range(batch)]


def as_bytes(photos: Sequence[Photo]) -> NDArray[np.uint8]:
    """``photos`` of one size as bytes, ``(n, 3, h, w)``: for graphs that normalize inside."""
    return np.ascontiguousarray(np.stack(photos).transpose(0, 3, 1, 2))


PARITY_SAMPLES = 4
"""Bundled photographs that parity is measured on."""


def parity_batches(
    size: Size, batch: int, folder: Path | None = None, *, fit: Callable[[Photo, Size], Photo] = center_crop
) -> Iterator[list[Photo]]:
    """Pictures that parity is measured on: one batch of noise, then photographs, each list one batch.

    Args:
        folder: the user's photographs; None: `PARITY_SAMPLES` of the bundled ones. They repeat to fill a batch.
        fit: how a photograph is brought to the size.
    """
    yield noise(size, batch, seed=0)
    paths = in_folder(folder) if folder else bundled()[:PARITY_SAMPLES]
    for start in range(0, len(paths), batch):
        chosen = [paths[(start + i) % len(paths)] for i in range(batch)]
        yield [fit(read(path), size) for path in chosen]
