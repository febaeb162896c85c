"""Super-resolution pairs: a small picture in, its large one to be met; PSNR and SSIM on Y with cropped borders.

Source: the protocol of https://github.com/XPixelGroup/BasicSR (``calculate_psnr``, ``calculate_ssim`` with
``test_y_channel``) and https://github.com/JingyunLiang/SwinIR: the output is rounded to bytes, as many border pixels
as the factor are left out, Y is that of ITU-R BT.601.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitdeploy.artifacts.manifest import Artifact
from vitdeploy.catalog.spec import Size
from vitdeploy.evaluation.dataset import DataSetFiles, DataSetItem, wrong_layout
from vitdeploy.evaluation.protocol import ImageEvaluation, InferenceRequest, OnResult, output, smallest_holding
from vitdeploy.evaluation.record import ImageRecord
from vitdeploy.images import matlab_cubic, photos
from vitdeploy.images import tiles as tiling
from vitdeploy.images.photos import SUFFIXES, Photo

OVERLAP = 16
"""Input pixels that two tiles share, where a picture is larger than the artifact's input. Source: a choice."""

LARGE = ("HR", "GTmod12", "GTmod", "GT", "original")
"""Folders of large pictures: of the usual packings of Set5, Set14, BSD100, Urban100."""

_Y = (65.481, 128.553, 24.966)
"""Of R, G, B on a 0–1 scale; and 16 beside. Source: ITU-R BT.601, as MATLAB's ``rgb2ycbcr``."""


Luminance = NDArray[np.float64]
"""Y of a picture, ``(h, w)``, on the 0–255 scale."""

SsimFunction = Callable[[Luminance, Luminance], float]
"""The mean SSIM of two luminances over all windows that lie inside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuperResolutionTask:
    """How pairs become inputs and figures."""

    artifacts: tuple[Artifact, ...]
    scale: int
    ssim: SsimFunction


def scale_of(artifact: Artifact) -> int:
    """How many times larger the output is than the input."""
    manifest = artifact.manifest
    described = manifest.outputs[0]
    height = described.shape[1] if described.layout == "NHWC" else described.shape[2]
    return height // manifest.size[0]


def find(root: Path, scale: int, split: str = "") -> DataSetFiles:
    """The pairs.

    Raises:
        UnreadableFile: no folder of large pictures, or none of small ones that fit.
    """
    base = root / split if split else root
    large = _large(base)
    if large is None:
        raise wrong_layout(
            "set of super-resolution pairs",
            base,
            [f"{'/, '.join(LARGE)}/ or *_HR/ with PNG files", "PNG files themselves"],
            "Name the folder that holds HR (and LR_bicubic).",
        )
    small = _small(base, large, scale)
    items: list[DataSetItem] = []
    for path in sorted(p for p in large.iterdir() if p.suffix.lower() in SUFFIXES):
        low = _partner(path, small, scale) if small else None
        problem = f"no small picture of it in {small}" if small and low is None else None
        items.append(DataSetItem(name=path.name, image=low or path, label=path, problem=problem))
    how = f"small pictures from {small.relative_to(base)}" if small else "small pictures made here (MATLAB's bicubic)"
    return DataSetFiles(
        name="sr", split=split or root.name, root=root, items=items, classes=(), layout=how, extra=small is None
    )


def _large(base: Path) -> Path | None:
    if not base.is_dir():
        return None
    named = [base / name for name in LARGE] + sorted(base.glob("*_HR"))
    for folder in (*named, base):
        if folder.is_dir() and any(p.suffix.lower() in SUFFIXES for p in folder.iterdir()):
            return folder
    return None


def _small(base: Path, large: Path, scale: int) -> Path | None:
    """Where the small pictures lie; None: nowhere, they are made."""
    if large == base:
        return None
    stems = [base / "LR_bicubic", base / "LR", *sorted(base.glob("*_LR_bicubic"))]
    candidates = [p / f"X{scale}" for p in stems] + [p / f"x{scale}" for p in stems]
    candidates += [base / f"LRbicx{scale}", base / f"LR_x{scale}", *stems]
    return next((p for p in candidates if p.is_dir() and any(f.suffix.lower() in SUFFIXES for f in p.iterdir())), None)


def _partner(large: Path, folder: Path, scale: int) -> Path | None:
    names = [large.stem, f"{large.stem}x{scale}", f"{large.stem}_x{scale}", f"{large.stem}_LRBI_x{scale}"]
    names += [large.stem.replace("_HR", "_LR")]
    candidates = (folder / f"{name}{suffix}" for name in names for suffix in (large.suffix, ".png"))
    return next((path for path in candidates if path.is_file()), None)


def evaluate_image(item: DataSetItem, plan: SuperResolutionTask, on_result: OnResult | None = None) -> ImageEvaluation:
    """The evaluation of one pair.

    Args:
        on_result: shown the enlarged and the large picture, both ``(h, w, 3)``.
    """
    assert item.label is not None, item
    scale = plan.scale
    large = photos.read(item.label)
    height, width = large.shape[0] // scale * scale, large.shape[1] // scale * scale
    large = large[:height, :width]
    if item.image == item.label:
        low = matlab_cubic.resized(large, (height // scale, width // scale))
    else:
        low = photos.read(item.image)
    if (low.shape[0] * scale, low.shape[1] * scale) != (height, width):
        why = f"{item.image.name} is {low.shape[0]}x{low.shape[1]}, not a {scale}th of {height}x{width}"
        return ImageRecord(image=item.name, status="unreadable", why=why)
    artifact = _fitting(plan.artifacts, (low.shape[0], low.shape[1]))
    size = artifact.manifest.size
    padded = tiling.padded(low, size)
    tiles = list(_tiles((padded.shape[0], padded.shape[1]), size))
    name = artifact.manifest.inputs[0].name
    feeds = tuple({name: padded[top : top + size[0], left : left + size[1]]} for top, left in tiles)
    answers = yield InferenceRequest(artifact=artifact, feeds=feeds)
    outputs = [output(answer, artifact) for answer in answers]
    finite = all(bool(np.isfinite(tile).all()) for tile in outputs)
    picture = _joined(outputs, tiles, size, (padded.shape[0], padded.shape[1]), scale)[:height, :width]
    if on_result is not None:
        on_result(picture, large)
    psnr_db, ssim = compare(picture, large, scale, plan.ssim)
    exact = (low.shape[0], low.shape[1]) == size
    return ImageRecord(
        image=item.name,
        score=psnr_db,
        finite=finite,
        how=None if exact else f"{len(tiles)} tiles of {size[0]}x{size[1]}",
        psnr_db=psnr_db,
        ssim=ssim,
    )


def compare(picture: Photo, large: Photo, scale: int, ssim: SsimFunction) -> tuple[float, float]:
    """PSNR in dB and SSIM of two pictures ``(h, w, 3)`` on Y, without ``scale`` pixels at each border."""
    first, second = (_inner(p, scale) for p in (picture, large))
    return psnr(first, second), ssim(first, second)


def psnr_y(truth: Photo, picture: Photo, border: int) -> float:
    """PSNR on Y in dB of two pictures ``(h, w, 3)``, without ``border`` pixels at each side."""
    return psnr(_inner(truth, border), _inner(picture, border))


def _inner(picture: Photo, border: int) -> Luminance:
    return luminance(picture)[border:-border, border:-border] if border else luminance(picture)


def luminance(picture: Photo) -> Luminance:
    """Y of BT.601 on the 16–235 scale, not rounded."""
    return picture.astype(np.float64) @ (np.asarray(_Y) / 255.0) + 16.0


PERFECT_DB = 100.0
"""PSNR that stands for equal pictures, whose true one is infinite: JSON has no such number. Source: a choice."""


def psnr(first: Luminance, second: Luminance) -> float:
    """Peak signal-to-noise ratio of luminances on the 0–255 scale."""
    mse = float(np.mean((first - second) ** 2))
    return PERFECT_DB if mse == 0 else min(PERFECT_DB, float(10 * np.log10(255.0**2 / mse)))


def _fitting(artifacts: Sequence[Artifact], size: Size) -> Artifact:
    """The smallest artifact that holds a picture of this size, else the largest: its tiles are fewest."""
    return smallest_holding(artifacts, size) or max(artifacts, key=lambda artifact: math.prod(artifact.manifest.size))


def _tiles(whole: Size, size: Size) -> Iterator[tuple[int, int]]:
    """Upper left corners of tiles of ``size`` that cover ``whole`` and overlap."""
    for top in _starts(whole[0], size[0]):
        for left in _starts(whole[1], size[1]):
            yield top, left


def _starts(whole: int, size: int) -> list[int]:
    if whole <= size:
        return [0]
    step = max(1, size - min(OVERLAP, size // 4))
    return [*range(0, whole - size, step), whole - size]


def _joined(
    outputs: Sequence[NDArray[Any]], tiles: Sequence[tuple[int, int]], size: Size, whole: Size, scale: int
) -> Photo:
    """One picture of tiles ``(3, h, w)`` on a 0–1 scale; of an overlap each gives its half."""
    picture = np.zeros((whole[0] * scale, whole[1] * scale, 3), np.uint8)
    for tile, (top, left) in zip(outputs, tiles, strict=True):
        rows = _share(top, [t for t, _ in tiles], size[0])
        columns = _share(left, [x for _, x in tiles], size[1])
        part = np.clip(np.nan_to_num(tile.astype(np.float64)), 0, 1) * 255.0
        pixels = np.rint(part.transpose(1, 2, 0)).astype(np.uint8)
        taken = pixels[rows[0] * scale : rows[1] * scale, columns[0] * scale : columns[1] * scale]
        y, x = (top + rows[0]) * scale, (left + columns[0]) * scale
        picture[y : y + len(taken), x : x + taken.shape[1]] = taken
    return picture


def _share(start: int, starts: Sequence[int], size: int) -> tuple[int, int]:
    """From where to where a tile that begins at ``start`` gives its pixels, along one side."""
    order = sorted(set(starts))
    place = order.index(start)
    low = 0 if place == 0 else (order[place - 1] + size - start + 1) // 2
    high = size if place == len(order) - 1 else size - (start + size - order[place + 1]) // 2
    return low, high
