"""Pictures of predictions: a label map over its photograph with a legend, or the likeliest classes beside it.

A ``note`` is a warning that is printed in the picture, e.g. that the weights are random; a ``caption`` says how its
pixels became the input.
"""

import io
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from vitdeploy import documents
from vitdeploy.images import labels, postprocess
from vitdeploy.images.labels import Color
from vitdeploy.images.photos import Photo
from vitdeploy.images.sam_predict import SegmentedObject

OPACITY = 0.6
"""Of the class colors over the photograph: the picture stays readable below them."""

MOST_CLASSES = 12
"""Rows of a legend; smaller classes are summed up in its last line."""

MOST_BORDERS = 0.15
"""Where more than this share of the pixels lies on a border, borders would hide the classes: none are drawn."""

LEAST_HEIGHT_PX = 420
"""Smaller photographs are enlarged to this, so that the legend can be read."""

MOST_WIDTH_PX = 2048
"""Narrow strips are not enlarged beyond this."""

LARGEST_PX = 8192
"""Pictures with a longer side are drawn smaller: an overlay is to be looked at."""

_MOST_TEXT_PX = 120
"""Letters are no larger, however high the picture is: the panel's width follows from them."""

_INK, _PAPER, _FAINT, _TRACK = (23, 33, 43), (255, 255, 255), (98, 108, 119), (233, 236, 240)
_WARNING, _ACCENT = (176, 42, 18), (11, 102, 176)
_OBJECTS: Final = ((0, 114, 178), (230, 159, 0), (0, 158, 115), (204, 121, 167), (213, 94, 0), (86, 180, 233))
"""Told apart by the color-blind too. Source: Okabe and Ito, https://jfly.uni-koeln.de/color/"""
_WANTED, _UNWANTED = (40, 200, 70), (220, 40, 40)
_GAP = 12


def segmentation(
    photo: Photo,
    label_map: NDArray[np.integer[Any]],
    dataset: str,
    *,
    note: str | None = None,
    caption: str | None = None,
) -> Image.Image:
    """``photo`` ``(h, w, 3)`` under its ``label_map`` ``(h, w)``, with a legend of the classes by area."""
    palette, names = labels.palette(dataset), labels.names(dataset)
    painted = photo.astype(np.float32) * (1 - OPACITY) + np.asarray(palette, np.float32)[label_map] * OPACITY
    border = _region_edges(label_map)
    if border.mean() <= MOST_BORDERS:
        painted[border] = 255
    shares = postprocess.class_shares(label_map)
    rows = [(names[entry.label], entry.share, palette[entry.label]) for entry in shares[:MOST_CLASSES]]
    rest = shares[MOST_CLASSES:]
    more = f"and {len(rest)} more, {_percent(sum(entry.share for entry in rest))}" if rest else None
    picture = Image.fromarray(painted.round().astype(np.uint8))
    return _with_panel(picture, "Share of the pixels", rows, (caption, note), more=more, swatches=True)


def classification(
    photo: Photo,
    logits: NDArray[np.floating[Any]],
    names: Sequence[str],
    *,
    note: str | None = None,
    caption: str | None = None,
) -> Image.Image:
    """``photo`` ``(h, w, 3)`` with the likeliest classes of ``logits`` ``(classes,)`` and their probabilities."""
    rows = [(names[entry.label], entry.share, _ACCENT) for entry in postprocess.top_classes(logits)]
    return _with_panel(Image.fromarray(photo), "Probability", rows, (caption, note), more=None, swatches=False)


def masks(
    photo: Photo, objects: Sequence[SegmentedObject], *, note: str | None = None, caption: str | None = None
) -> Image.Image:
    """``photo`` with the masks of ``objects`` and what asked for them; several candidates side by side."""
    panels = [_masked(photo, objects, place) for place in range(len(objects[0].candidates))]
    height, width = panels[0].height, panels[0].width
    sheet = Image.new("RGB", (len(panels) * width + (len(panels) - 1) * _GAP, height), _PAPER)
    for place, panel in enumerate(panels):
        sheet.paste(panel, (place * (width + _GAP), 0))
    several = len(panels) > 1
    rows = [
        (f"{number}{f', mask {place + 1}' if several else ''}: {segmented.prompt.words}", candidate.score, color)
        for number, (segmented, color) in enumerate(zip(objects, itertools.cycle(_OBJECTS), strict=False), start=1)
        for place, candidate in enumerate(segmented.candidates)
    ]
    rest = len(rows) - MOST_CLASSES
    more = f"and {rest} more" if rest > 0 else None
    return _with_panel(sheet, "Predicted IoU of object", rows[:MOST_CLASSES], (caption, note), more=more, swatches=True)


def _masked(photo: Photo, objects: Sequence[SegmentedObject], place: int) -> Image.Image:
    """``photo`` with one candidate of every object."""
    painted = photo.astype(np.float32)
    for segmented, color in zip(objects, itertools.cycle(_OBJECTS), strict=False):
        mask = segmented.candidates[place].at(photo)
        painted[mask] = painted[mask] * (1 - OPACITY) + np.asarray(color, np.float32) * OPACITY
        border = _region_edges(mask.astype(np.int32))
        if border.mean() <= MOST_BORDERS:
            painted[border] = 255
    picture = Image.fromarray(painted.round().astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    thick = max(2, round(max(picture.size) / 320))
    for segmented, color in zip(objects, itertools.cycle(_OBJECTS), strict=False):
        if segmented.prompt.box is not None:
            draw.rectangle(segmented.prompt.box, outline=color, width=thick)
        for x, y, wanted in segmented.prompt.points:
            radius = 2.2 * thick
            around = (x - radius, y - radius, x + radius, y + radius)
            draw.ellipse(around, fill=_WANTED if wanted else _UNWANTED, outline=_PAPER, width=max(1, thick // 2))
    return picture


def save(picture: Image.Image, path: Path) -> None:
    """Write a PNG, whole or not at all.

    Raises:
        UnreadableFile: the place cannot be written.
    """
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    documents.write_bytes(path, buffer.getvalue())


def _with_panel(
    picture: Image.Image,
    heading: str,
    rows: Sequence[tuple[str, float, Color]],
    texts: tuple[str | None, str | None],
    *,
    more: str | None,
    swatches: bool,
) -> Image.Image:
    """``picture`` with a panel on its right: a heading, a bar of its share a row, caption and note."""
    picture = _fitted_to_page(picture)
    size = min(max(15, picture.height // 30), _MOST_TEXT_PX)
    font, small = ImageFont.load_default(size), ImageFont.load_default(round(size * 0.86))
    step, margin, line = round(size * 2.05), round(size * 1.3), round(size * 1.25)
    width = max(round(size * 19), picture.width // 4)
    lines = [
        (words, color)
        for text, color in zip(texts, (_FAINT, _WARNING), strict=True)
        for words in _wrapped(text or "", small, width - 2 * margin)
    ]
    needed = 2 * margin + step * (len(rows) + (more is not None)) + 2 * line + line * (len(lines) + 1)
    sheet = Image.new("RGB", (picture.width + width, max(picture.height, needed)), _PAPER)
    sheet.paste(picture, (0, 0))
    draw = ImageDraw.Draw(sheet)
    left, right, top = picture.width + margin, sheet.width - margin, margin
    draw.text((left, top), heading, font=small, fill=_FAINT)
    top += 2 * line
    for name, share, color in rows:
        indent = round(size * 1.15) if swatches else 0
        text = _percent(share)
        room = right - left - indent - draw.textlength(text, font=font) - size / 2
        if swatches:
            draw.rectangle((left, top + size * 0.2, left + size * 0.75, top + size * 0.95), fill=color)
        draw.text((left + indent, top), _fitted(name, font, room), font=font, fill=_INK)
        draw.text((right, top), text, font=font, fill=_INK, anchor="ra")
        under, thick = top + round(size * 1.32), max(3, size // 5)
        draw.rectangle((left, under, right, under + thick), fill=_TRACK)
        bar = max(2, round((right - left) * min(1, share)))
        draw.rectangle((left, under, left + bar, under + thick), fill=color)
        top += step
    if more:
        draw.text((left, top), more, font=small, fill=_FAINT)
    top = sheet.height - margin - line * len(lines)
    for words, color in lines:
        draw.text((left, top), words, font=small, fill=color)
        top += line
    return sheet


def _region_edges(label_map: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
    """Where a pixel's class differs from its right or lower neighbor's."""
    border = np.zeros(label_map.shape, np.bool_)
    border[:, :-1] |= label_map[:, 1:] != label_map[:, :-1]
    border[:-1] |= label_map[1:] != label_map[:-1]
    return border


def _fitted_to_page(picture: Image.Image) -> Image.Image:
    if max(picture.size) > LARGEST_PX:
        scale = LARGEST_PX / max(picture.size)
        return picture.resize(
            (max(1, round(picture.width * scale)), max(1, round(picture.height * scale))), Image.Resampling.BOX
        )
    scale = min(LEAST_HEIGHT_PX / picture.height, MOST_WIDTH_PX / picture.width)
    if scale <= 1:
        return picture
    return picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.BICUBIC)


def _percent(share: float) -> str:
    """``45.4 %``; what is there but rounds to nothing is ``< 0.1 %``."""
    return "< 0.1 %" if 0 < share < 0.0005 else f"{share * 100:.1f} %"


def _fitted(text: str, font: Any, width: float) -> str:
    """``text``, cut with an ellipsis where it is longer than ``width`` pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text.rstrip()}…"


def _wrapped(text: str, font: Any, width: float) -> list[str]:
    """``text`` in lines that fit ``width`` pixels."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
