"""Sheets of the worst pictures: what was seen beside what is right, and where the two differ."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from vitdeploy.evaluation.cityscapes import IGNORE
from vitdeploy.images import labels
from vitdeploy.images.photos import Photo

PANEL_PX = 440
"""Width of one of a sheet's panels."""

QUALITY = 82
"""Of the JPEG files: a page with a dozen sheets stays below two megabytes."""

OPACITY = 0.6
_WRONG, _RIGHT, _SEEN, _PAPER, _INK = (214, 40, 40), (20, 160, 60), (40, 110, 230), (255, 255, 255), (23, 33, 43)
GAIN = 8
"""Differences of enlarged pictures are shown so many times as large: they would be black."""


def segmentation(photo: Photo, predicted: NDArray[Any], truth: NDArray[Any], dataset: str) -> bytes:
    """Label, prediction and errors over the photograph; what is not evaluated stays uncolored."""
    size = (truth.shape[1], truth.shape[0])
    ground = np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.BILINEAR), np.float32)
    palette = np.asarray(labels.palette(dataset), np.float32)
    counted = truth != IGNORE
    prediction = ground * (1 - OPACITY) + palette[predicted] * OPACITY
    true = np.where(counted[..., None], ground * (1 - OPACITY) + palette[np.where(counted, truth, 0)] * OPACITY, ground)
    wrong = counted & (predicted != truth)
    errors = np.where(wrong[..., None], ground * 0.25 + np.asarray(_WRONG, np.float32) * 0.75, ground * 0.6 + 90)
    return _sheet([("label", true), ("seen", prediction), ("wrong", errors)])


def enlargement(output: Photo, large: Photo) -> bytes:
    """What was made, what it should be, and how far apart they are."""
    apart = np.abs(output.astype(np.float32) - large.astype(np.float32)) * GAIN
    return _sheet([("made", output), ("original", large), (f"difference ×{GAIN}", apart)])


def masks(photo: Photo, predicted: Sequence[NDArray[Any]], true: Sequence[NDArray[Any]]) -> bytes:
    """The masks in blue and the annotations in green, each over the photograph."""
    panels = [("annotations", _filled(photo, true, _RIGHT))] if true else []
    return _sheet([("picture", photo), *panels, ("seen", _filled(photo, predicted, _SEEN))])


def picture(photo: Photo) -> bytes:
    """The photograph alone."""
    return _sheet([("", photo)])


def _filled(photo: Photo, regions: Sequence[NDArray[Any]], color: tuple[int, int, int]) -> NDArray[np.float32]:
    painted = photo.astype(np.float32)
    for mask in regions:
        inside = mask.astype(bool)
        painted[inside] = painted[inside] * 0.55 + np.asarray(color, np.float32) * 0.45
        edge = inside & ~(
            np.roll(inside, 1, 0) & np.roll(inside, -1, 0) & np.roll(inside, 1, 1) & np.roll(inside, -1, 1)
        )
        painted[edge] = color
    return painted


def _sheet(panels: Sequence[tuple[str, NDArray[Any]]]) -> bytes:
    """Panels side by side with their names above, as JPEG."""
    font = ImageFont.load_default(15)
    drawn = [Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)) for _, pixels in panels]
    height = max(8, round(PANEL_PX * drawn[0].height / drawn[0].width))
    head = 22 if any(name for name, _ in panels) else 0
    sheet = Image.new("RGB", (len(panels) * (PANEL_PX + 6) - 6, height + head), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for place, ((name, _), image) in enumerate(zip(panels, drawn, strict=True)):
        left = place * (PANEL_PX + 6)
        sheet.paste(image.resize((PANEL_PX, height), Image.Resampling.LANCZOS), (left, head))
        draw.text((left, 2), name, font=font, fill=_INK)
    buffer = io.BytesIO()
    sheet.save(buffer, format="JPEG", quality=QUALITY)
    return buffer.getvalue()
