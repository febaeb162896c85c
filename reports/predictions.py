"""Predictions on a report's page: the pictures that `predict` drew, with the model, its weights and what it measured.

A prediction with random weights means nothing, so its picture is left out, and a line says so.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from PIL import Image

from vitdeploy import documents
from vitdeploy.errors import UnreadableFile
from vitdeploy.images import photos

MOST_SHARES = 4
"""Classes that a caption names; the picture's own legend has more."""

LARGEST_SIDE = 1340
"""Pixels of a picture on the page, which is no wider. Source: ``evaluation.css``."""

QUALITY = 90
"""Of the JPEG on the page: legends are text, whose edges show less of it."""


class _Document(msgspec.Struct, frozen=True, kw_only=True):
    """What `predict` writes as JSON, as far as a page needs it."""

    picture: str
    model: str
    image: str
    measure: str
    weights: str
    random_weights: bool
    classes: tuple[tuple[str, float], ...] = ()
    psnr_db: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownPrediction:
    """One prediction on the page."""

    title: str
    caption: str
    jpeg: bytes | None
    """None: it is left out, and the caption says why."""
    width_px: int = 0
    """Of the picture: it is not shown larger, since that would blur it."""


def read(paths: Sequence[Path]) -> tuple[ShownPrediction, ...]:
    """The predictions of ``predict --json`` documents.

    Raises:
        UnreadableFile: a document or its picture cannot be read.
    """
    return tuple(_read(path) for path in paths)


def _read(path: Path) -> ShownPrediction:
    try:
        document = msgspec.json.decode(documents.read_bytes(path, what="prediction"), type=_Document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableFile(
            f"{path} is not a prediction: {error}", "Write it with `vitdeploy predict … --json FILE`."
        ) from error
    title = f"{document.model} on {document.image}"
    if document.random_weights:
        return ShownPrediction(
            title=title, caption=f"Not shown: {document.weights}, with which the answer means nothing.", jpeg=None
        )
    jpeg, width_px = _jpeg(_picture(path, document.picture))
    return ShownPrediction(title=title, caption=_caption(document), jpeg=jpeg, width_px=width_px)


def _caption(document: _Document) -> str:
    """The weights, and the largest figures."""
    shares = ", ".join(f"{name} {value:.0%}" for name, value in document.classes[:MOST_SHARES])
    gains = ", ".join(f"{name} {value:.2f} dB" for name, value in document.psnr_db)
    figures = f" {document.measure[:1].upper()}{document.measure[1:]}: {shares or gains}." if shares or gains else ""
    return f"Weights: {document.weights}.{figures}"


def _picture(path: Path, name: str) -> Path:
    """The picture, as it is named, or beside the document where both were moved."""
    named = Path(name)
    return named if named.is_file() else path.parent / named.name


def _jpeg(path: Path) -> tuple[bytes, int]:
    """The picture for the page, and its width."""
    try:
        with documents.open_file(path) as stream_in, Image.open(stream_in) as image:
            small = image.convert("RGB")
            small.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
            stream = io.BytesIO()
            small.save(stream, "JPEG", quality=QUALITY)
            return stream.getvalue(), small.width
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UnreadableFile(
            f"the picture {path} cannot be read: {photos.why(error)}", "Run `vitdeploy predict` again."
        ) from error
