"""Pictures of predictions: a label map over its photograph with a legend, or the likeliest classes beside it."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from vitdeploy import documents, labels, predictions
from vitdeploy.photographs import Photo

OPACITY = 0.6
"""Of the class colors over the photograph: the picture stays readable below them."""

MOST_CLASSES = 12
"""Rows of a legend; smaller classes are summed up in its last line."""

LEAST_HEIGHT_PX = 420
"""Smaller photographs are enlarged to this, so that the legend can be read."""

_INK, _PAPER, _FAINT = (24, 28, 35), (255, 255, 255), (105, 112, 122)
_WARNING = (176, 52, 16)


def segmentation(
    photo: Photo, label_map: NDArray[np.integer[Any]], dataset: str, *, note: str | None = None
) -> Image.Image:
    """``photo`` ``(h, w, 3)`` under its ``label_map`` ``(h, w)``, with a legend of the classes by area.

    Args:
        note: a warning that is printed in the picture, e.g. that the weights are random.
    """
    colors = np.asarray(labels.palette(dataset), np.float32)
    painted = photo.astype(np.float32) * (1 - OPACITY) + colors[label_map] * OPACITY
    painted[_borders(label_map)] = 255
    picture = _enlarged(Image.fromarray(painted.round().astype(np.uint8)))
    names = labels.names(dataset)
    found = predictions.shares(label_map)
    rows = [(names[s.label], s.share, labels.palette(dataset)[s.label]) for s in found[:MOST_CLASSES]]
    rest = sum(share.share for share in found[MOST_CLASSES:])
    more = f"{len(found) - MOST_CLASSES} more: {rest:.1%}" if len(found) > MOST_CLASSES else None
    return _beside(picture, "share of the pixels", rows, note, more)


def classification(
    photo: Photo, logits: NDArray[np.floating[Any]], names: Sequence[str], *, note: str | None = None
) -> Image.Image:
    """``photo`` ``(h, w, 3)`` with the likeliest classes of ``logits`` ``(classes,)`` and their probabilities."""
    picture = _enlarged(Image.fromarray(photo))
    colors = labels.palette("imagenet")
    rows = [(names[s.label], s.share, colors[rank]) for rank, s in enumerate(predictions.likeliest(logits))]
    return _beside(picture, "probability", rows, note, None)


def save(picture: Image.Image, path: Path) -> None:
    """Write a PNG, whole or not at all."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    documents.write_bytes(path, buffer.getvalue())


def _beside(
    picture: Image.Image,
    heading: str,
    rows: Sequence[tuple[str, float, labels.Color]],
    note: str | None,
    more: str | None,
) -> Image.Image:
    """``picture`` with a panel on its right: a heading, a bar a row, and the note in warning color."""
    size = max(13, picture.height // 32)
    font, small = ImageFont.load_default(size), ImageFont.load_default(max(11, size * 4 // 5))
    step, margin = round(size * 1.9), size
    width = max(round(size * 20), picture.width // 4)
    lines = _wrapped(note, small, width - 2 * margin) if note else []
    needed = margin * 2 + step * (len(rows) + 2) + round(size * 1.3) * len(lines)
    sheet = Image.new("RGB", (picture.width + width, max(picture.height, needed)), _PAPER)
    sheet.paste(picture, (0, 0))
    draw = ImageDraw.Draw(sheet)
    left, top = picture.width + margin, margin
    draw.text((left, top), heading, font=small, fill=_FAINT)
    top += round(step * 0.8)
    largest = max((share for _, share, _ in rows), default=1.0)
    for name, share, color in rows:
        length = round((width - 2 * margin) * share / largest)
        draw.rectangle((left, top + size * 1.25, left + max(2, length), top + size * 1.5), fill=color)
        draw.rectangle((left, top + size * 0.15, left + size * 0.8, top + size * 0.95), fill=color, outline=_INK)
        draw.text((left + size * 1.2, top), name, font=font, fill=_INK)
        text = f"{share:.1%}"
        draw.text((sheet.width - margin - draw.textlength(text, font=font), top), text, font=font, fill=_INK)
        top += step
    if more:
        draw.text((left, top), more, font=small, fill=_FAINT)
        top += step
    top = max(top, sheet.height - margin - round(size * 1.3) * len(lines))
    for line in lines:
        draw.text((left, top), line, font=small, fill=_WARNING)
        top += round(size * 1.3)
    return sheet


def _borders(label_map: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
    """Where a pixel's class differs from its right or lower neighbor's."""
    border = np.zeros(label_map.shape, np.bool_)
    border[:, :-1] |= label_map[:, 1:] != label_map[:, :-1]
    border[:-1] |= label_map[1:] != label_map[:-1]
    return border


def _enlarged(picture: Image.Image) -> Image.Image:
    if picture.height >= LEAST_HEIGHT_PX:
        return picture
    scale = LEAST_HEIGHT_PX / picture.height
    return picture.resize((round(picture.width * scale), LEAST_HEIGHT_PX), Image.Resampling.BICUBIC)


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
