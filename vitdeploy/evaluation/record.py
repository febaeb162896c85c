"""What an evaluation found: one record a picture, and the document that sums them up; `reading.load` reads it.

# Evaluation schema history (newest first):
#   1  first version
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from vitdeploy import documents
from vitdeploy.catalog.spec import Head, Io, Size
from vitdeploy.catalog.variant import Variant
from vitdeploy.results.quantities import Count, CountOrZero
from vitdeploy.results.record import RunDevice, Version

SCHEMA = 1

Pixels = Annotated[int, msgspec.Meta(ge=0, le=2**60)]
"""Of a whole data set."""

Status = Literal["scored", "unreadable", "missing", "uncovered"]
"""``unreadable``: the picture or its label cannot be read; ``missing``: one of them is not there; ``uncovered``: no
artifact that was given takes a picture of this size."""


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of everything here: immutable, and strict about what it does not know."""


class MaskRecord(_Record, frozen=True, kw_only=True):
    """One mask that was asked for."""

    id: int
    """The annotation's, or the place of the box among the image's detections."""
    category: int
    area: float
    """Of the annotation in pixels; decides between small, medium and large."""
    iou: float | None = None
    """With the annotation's mask."""
    segmentation: Mapping[str, Any] | None = None
    """Run lengths as COCO writes them, where average precision needs the mask itself."""
    score: float | None = None
    """Of the detector's box."""


class ImageRecord(_Record, frozen=True, kw_only=True):
    """What became of one picture; only the fields of its task are filled."""

    image: str
    status: Status = "scored"
    why: str | None = None
    score: float | None = None
    """The picture's own figure, by which the worst ones are found; higher is better."""
    finite: bool = True
    """No output held NaN or Inf."""
    how: str | None = None
    """What was done beyond the protocol: padding, tiles."""
    counts: tuple[tuple[int, int, int, int], ...] = ()
    """Segmentation: class, pixels in both, predicted, labeled; classes that do not occur are left out."""
    label: int | None = None
    top5: tuple[int, ...] = ()
    """Classification: the true class and the five likeliest ones."""
    psnr_db: float | None = None
    ssim: float | None = None
    masks: tuple[MaskRecord, ...] = ()


class Figure(_Record, frozen=True, kw_only=True):
    """One figure of the whole data set, and how far it is from the fp32 reference on the same pictures."""

    name: str
    unit: str
    """``%`` or ``dB``; empty for a plain number."""
    value: float | None
    reference: float | None = None
    drop: float | None = None
    """Reference minus value; negative where the artifact is better."""
    drop_ci95: tuple[float, float] | None = None
    interval: str | None = None
    """How the interval was made, or why there is none."""


class ClassFigure(_Record, frozen=True, kw_only=True):
    """One class; None where it does not occur."""

    name: str
    value: float | None
    count: Pixels
    """Labeled pixels, pictures or masks."""
    reference: float | None = None


class Subject(_Record, frozen=True, kw_only=True):
    """One of the artifacts that were evaluated."""

    sha256: str
    model: str
    part: str | None
    target: str
    attention: str
    size: Size
    batch: Count
    precision: str
    head: Head
    io: Io
    weights: str
    """``random:0`` or ``sha256:…``, as in a case."""
    name: str | None
    """Of the checkpoint's file."""
    official: str | None = None
    """Name of the official checkpoint that it is; None: none that was known."""
    images: CountOrZero = 0
    """How many pictures it answered."""

    @property
    def variant(self) -> Variant:
        """What was evaluated."""
        return Variant.of(self, self.weights)


class DataSet(_Record, frozen=True, kw_only=True):
    """Which pictures."""

    name: str
    split: str
    root: str
    images: CountOrZero
    """In the split."""
    asked: CountOrZero
    """Evaluated: all of them, or as many as ``--limit`` says."""
    scored: CountOrZero
    items_sha256: str
    """Of the names and sizes of the pictures' files that were asked for."""
    annotations: str | None = None
    """Path of the annotation file that average precision is computed with."""
    annotations_sha256: str | None = None


class CrossCheck(_Record, frozen=True, kw_only=True):
    """The same figure by another library, over the first pictures."""

    library: str
    figure: str
    images: CountOrZero
    ours: float
    theirs: float


class WorstImage(_Record, frozen=True, kw_only=True):
    """One of the worst pictures."""

    image: str
    score: float
    reference: float | None = None


class Evaluation(_Record, frozen=True, kw_only=True):
    """One evaluation file."""

    schema: int
    kind: Literal["evaluation"]
    id: str
    started_utc: str
    vitdeploy: Version
    device: RunDevice
    host: Mapping[str, Any]
    threads: CountOrZero
    dataset: DataSet
    protocol: tuple[str, ...]
    """What was done with each picture, one sentence each."""
    subjects: tuple[Subject, ...]
    reference: str | None
    """What the drop is against; None: nothing."""
    reference_why_not: str | None
    figures: tuple[Figure, ...]
    """The headline first."""
    classes: tuple[ClassFigure, ...]
    worst: tuple[WorstImage, ...]
    problems: tuple[ImageRecord, ...]
    """Pictures that were not scored, each with its reason."""
    warnings: tuple[str, ...]
    cross_checks: tuple[CrossCheck, ...]
    images_file: str
    """The records of all pictures, one a line, beside this file."""
    images_sha256: str


def save(evaluation: Evaluation, path: Path) -> None:
    """Write an evaluation, whole or not at all."""
    documents.write(path, evaluation)
