"""Reading of an evaluation: its figures are derived again from the records of its pictures, wherever one is read."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, cast

import msgspec

from vitdeploy import documents
from vitdeploy.artifacts.manifest import digest_of
from vitdeploy.catalog import packages
from vitdeploy.errors import UnreadableFile
from vitdeploy.evaluation import coco, detections, image_records, record_faults, summary, summary_warnings
from vitdeploy.evaluation.coco import AnnotationSource
from vitdeploy.evaluation.dataset import NAMES
from vitdeploy.evaluation.prepare import TASKS
from vitdeploy.evaluation.record import SCHEMA, Evaluation
from vitdeploy.evaluation.summary import AccuracySummary
from vitdeploy.images import labels

_IMAGES, _REFERENCE = ".images.jsonl", ".reference.jsonl"

_TOLERANCE = 1e-6
"""Sums of the same records in another order, or by another version of numpy, differ by less."""

_RESAMPLING = 0.1
"""Share of an interval's width by which its ends may differ: another version of numpy draws other resamples."""

_WITH_CLASSES = ("segmentation", "classification")
"""Kinds whose classes are the data set's own, by name and number."""

_AVERAGE_PRECISION = "pycocotools"

Difference = tuple[str, str]
"""Path of a field, and what stands there beside what the records give."""


def load(path: Path) -> Evaluation:
    """Read an evaluation and derive its figures again from the records of its pictures.

    Where the records are not beside it, or a part of what the figures need is not there, a warning of the evaluation
    says what was not derived again.

    Raises:
        UnreadableFile: truncated, empty, of a newer schema, with fields that are unknown or values that cannot be true;
            or with figures that are not those of the records.
    """
    evaluation = documents.read(path, Evaluation, schema=SCHEMA, what="evaluation")
    for field, why in record_faults.faults(evaluation):
        raise UnreadableFile(f"{path} holds what cannot be true, `$.{field}`: {why}", "Evaluate again.")
    images = path.parent / evaluation.images_file
    if not images.is_file():
        return _warned(evaluation, f"{images.name} is not beside it, so its figures were not derived again.")
    _check_header(path, evaluation, images)
    reference, notes = _reference_of(evaluation, images)
    summed, more = _summed(evaluation, images, reference)
    notes += more
    for field, why in _differences(evaluation, summed, compared=_compared(evaluation, reference)):
        raise UnreadableFile(f"{path} is not what {images.name} sums up to, `$.{field}`: {why}", "Evaluate again.")
    if reference is not None or evaluation.reference is None:
        evaluation = msgspec.structs.replace(evaluation, figures=summed.figures, classes=summed.classes)
    return _warned(evaluation, *_standing_warnings(evaluation, summed), *notes)


def _check_header(path: Path, evaluation: Evaluation, images: Path) -> None:
    """Refuse records that are not those of this evaluation."""
    try:
        changed = image_records.digest(images) != evaluation.images_sha256
    except OSError as error:
        raise UnreadableFile(f"cannot read {images}: {error.strerror}", "Check its permissions.") from error
    if changed:
        raise UnreadableFile(f"{images} is not what {path} was summed up from", "Evaluate again.")
    header = image_records.head_of(images)
    dataset = evaluation.dataset
    expected = {
        "dataset": (f"{dataset.name}:{dataset.split}", header.dataset),
        "dataset.items_sha256": (dataset.items_sha256, header.items_sha256),
        "subjects": (tuple(sorted(subject.sha256 for subject in evaluation.subjects)), header.artifacts),
        "protocol": (evaluation.protocol, header.protocol),
        "device.name": (evaluation.device.name, header.device),
    }
    for field, (recorded, of_records) in expected.items():
        if recorded != of_records:
            raise UnreadableFile(
                f"{path} is not of the records in {images.name}, `$.{field}`: {_shown(recorded)}, "
                f"and the records are of {_shown(of_records)}",
                "Evaluate again.",
            )


def _reference_of(evaluation: Evaluation, images: Path) -> tuple[Path | None, list[str]]:
    """The records of the reference, and what has to be said where they are missing."""
    if evaluation.reference is None:
        return None, []
    path = images.with_name(images.name.removesuffix(_IMAGES) + _REFERENCE)
    if not images.name.endswith(_IMAGES) or not path.is_file():
        return None, [f"{path.name} is not beside it, so the reference and the drop were not derived again."]
    ours, theirs = image_records.head_of(images), image_records.head_of(path)
    if (ours.dataset, ours.items_sha256) != (theirs.dataset, theirs.items_sha256):
        raise UnreadableFile(f"{path} is of other pictures than {images}", "Evaluate again.")
    return path, []


def _summed(evaluation: Evaluation, images: Path, reference: Path | None) -> tuple[AccuracySummary, list[str]]:
    """What the records sum up to, and what has to be said where that cannot be derived here."""
    kind = _kind(evaluation)
    names = labels.names(evaluation.dataset.name) if kind in _WITH_CLASSES else ()
    others = None if reference is None else image_records.checked(reference, kind, len(names))
    summed = summary.summarize(kind, names, image_records.checked(images, kind, len(names)), others)
    if kind != "detections":
        return summed, []
    source, why_not = _annotations(evaluation)
    if source is None:
        summed.figures, summed.classes = evaluation.figures, evaluation.classes
        return summed, [f"{why_not}, so its figures were not derived again."]
    try:
        summed.figures, summed.classes = detections.figures(evaluation.dataset.name, source, images, reference)
    except (ValueError, TypeError, KeyError, IndexError, AssertionError, MemoryError) as error:
        raise UnreadableFile(
            f"{images} holds masks that pycocotools refuses: {error!r}"[:300], "Evaluate again."
        ) from error
    return summed, []


def _kind(evaluation: Evaluation) -> str:
    """Which figures there are: a key of `summary.METRICS`."""
    name = evaluation.dataset.name
    if name not in NAMES:
        raise UnreadableFile(
            f"the evaluation {evaluation.id} is of an unknown data set, `$.dataset.name`: {name[:80]!r}",
            f"Data sets are {', '.join(NAMES)}.",
        )
    task = TASKS[name]
    if task != "segment-anything":
        return task
    masks = [figure.name for figure in evaluation.figures] == [metric.name for metric in summary.METRICS["masks"]]
    return "masks" if masks else "detections"


def _annotations(evaluation: Evaluation) -> tuple[AnnotationSource | None, str]:
    """The annotation file that the records were matched with; else why it cannot be used."""
    dataset = evaluation.dataset
    if dataset.annotations is None:
        return None, "The annotation file is not recorded"
    if packages.missing([_AVERAGE_PRECISION]):
        return None, f"{_AVERAGE_PRECISION} is not installed here"
    path = Path(dataset.annotations)
    if not path.is_file():
        return None, f"{path} is not there"
    if digest_of(path) != dataset.annotations_sha256:
        return None, f"{path} is another file than the evaluation's"
    return coco.annotation_source(path), ""


def _compared(evaluation: Evaluation, reference: Path | None) -> frozenset[str]:
    """Names of fields that the records give; without the reference's records, not the reference and the drop."""
    own = frozenset({"name", "unit", "value", "count", "image", "score"})
    without = evaluation.reference is not None and reference is None
    return own if without else own | {"reference", "drop", "drop_ci95"}


def _differences(evaluation: Evaluation, summed: AccuracySummary, *, compared: frozenset[str]) -> Iterator[Difference]:
    """Fields of the evaluation that its records contradict, the first first."""
    counts = {
        "dataset.scored": (evaluation.dataset.scored, summed.scored),
        "dataset.asked": (evaluation.dataset.asked, summed.scored + summed.not_scored),
    }
    for field, (recorded, derived) in counts.items():
        if recorded != derived:
            yield field, f"{recorded}, by the records {derived}"
    rows: Mapping[str, tuple[Sequence[msgspec.Struct], Sequence[msgspec.Struct]]] = {
        "figures": (evaluation.figures, summed.figures),
        "classes": (evaluation.classes, summed.classes),
        "worst": (evaluation.worst, summed.worst),
    }
    for name, (recorded_rows, derived_rows) in rows.items():
        yield from _row_differences(name, recorded_rows, derived_rows, compared)
    for place, (recorded, derived) in enumerate(zip_longest(evaluation.problems, summed.problems)):
        if recorded != derived:
            yield f"problems[{place}]", "not what the records say of the pictures that were not scored"


def _row_differences(
    name: str, recorded: Sequence[msgspec.Struct], derived: Sequence[msgspec.Struct], compared: frozenset[str]
) -> Iterator[Difference]:
    if len(recorded) != len(derived):
        yield name, f"{len(recorded)} of them, by the records {len(derived)}"
        return
    for place, (row, right) in enumerate(zip(recorded, derived, strict=True)):
        for field in (field for field in row.__struct_fields__ if field in compared):
            value, expected = getattr(row, field), getattr(right, field)
            if not _alike(value, expected):
                yield f"{name}[{place}].{field}", f"{_shown(value)}, by the records {_shown(expected)}"


def _alike(value: Any, expected: Any) -> bool:
    """Whether a value is the derived one, apart from rounding and, of an interval, from resampling."""
    if isinstance(value, tuple) and isinstance(expected, tuple):
        ends, right = cast("tuple[float, float]", value), cast("tuple[float, float]", expected)
        slack = _RESAMPLING * abs(right[1] - right[0]) + _TOLERANCE
        return all(abs(end - other) <= slack for end, other in zip(ends, right, strict=True))
    if isinstance(value, float | int) and isinstance(expected, float | int):
        return math.isclose(value, expected, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
    return value == expected


def _shown(value: Any) -> str:
    """A value in a message, cut where it is long."""
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 80 else f"{text[:80]}…"


def _standing_warnings(evaluation: Evaluation, summed: AccuracySummary) -> Iterable[str]:
    dataset = evaluation.dataset
    return summary_warnings.warnings(
        summed, weights=evaluation.subjects[0].weights, asked=dataset.asked, images=dataset.images
    )


def _warned(evaluation: Evaluation, *warnings: str) -> Evaluation:
    """The evaluation with warnings that it lacks."""
    missing = [warning for warning in dict.fromkeys(warnings) if warning not in evaluation.warnings]
    return msgspec.structs.replace(evaluation, warnings=(*evaluation.warnings, *missing)) if missing else evaluation
