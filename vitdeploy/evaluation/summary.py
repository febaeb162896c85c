"""From the records of all pictures to figures, classes and the worst pictures; records are read one by one."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitdeploy.evaluation import masks, segmentation
from vitdeploy.evaluation.record import ClassFigure, Figure, ImageRecord, WorstImage
from vitdeploy.results import stats

Rows = NDArray[np.float64]
"""One row a picture: what it adds to the figures of the data set."""

WORST = 12
"""Pictures that the document names as the worst."""

MOST_PROBLEMS = 1000
"""Pictures that were not scored and are named in the document; the records beside it name all."""


@dataclass(slots=True)
class AccuracySummary:
    """What the records say."""

    figures: tuple[Figure, ...] = ()
    classes: tuple[ClassFigure, ...] = ()
    worst: tuple[WorstImage, ...] = ()
    problems: list[ImageRecord] = field(default_factory=list[ImageRecord])
    not_scored: int = 0
    scored: int = 0
    not_finite: int = 0
    adapted: int = 0
    """Pictures that were padded or cut into tiles."""
    paired: int | None = None
    """Pictures that the reference has scored as well; None: there is no reference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One figure of a data set."""

    name: str
    unit: str
    of: Callable[[Rows], float]
    interval: Callable[[Rows, Rows], tuple[float, float] | None]
    """Of the drop, from the rows of the reference and of the artifact for the same pictures."""
    how: str


def summarize(
    kind: str,
    classes: Sequence[str],
    records: Iterable[ImageRecord],
    reference: Iterable[ImageRecord] | None,
) -> AccuracySummary:
    """The figures of an evaluation; with the reference's records also the drop, on pictures that both have scored."""
    row_of = _ROWS[kind]
    others: dict[str, tuple[Rows, float | None]] = {}
    if reference is not None:
        others = {r.image: (row_of(r, len(classes)), r.score) for r in reference if r.status == "scored"}
    summary = AccuracySummary()
    rows: list[Rows] = []
    theirs: list[Rows] = []
    paired: list[int] = []
    worst: list[WorstImage] = []
    for record in records:
        if record.status != "scored":
            summary.not_scored += 1
            summary.problems += [record] * (len(summary.problems) < MOST_PROBLEMS)
            continue
        summary.scored += 1
        summary.not_finite += not record.finite
        summary.adapted += record.how is not None
        their_row, their_score = others.get(record.image, (None, None))
        if their_row is not None:
            paired.append(len(rows))
            theirs.append(their_row)
        rows.append(row_of(record, len(classes)))
        if record.score is not None:
            worst.append(WorstImage(image=record.image, score=record.score, reference=their_score))
            worst = sorted(worst, key=_badness)[:WORST] if len(worst) > 4 * WORST else worst
    summary.worst = tuple(sorted(worst, key=_badness)[:WORST])
    ours = np.stack(rows) if rows else None
    if ours is None:
        summary.figures = tuple(Figure(name=m.name, unit=m.unit, value=None) for m in METRICS[kind])
        return summary
    summary.paired = None if reference is None else len(paired)
    sides = (np.stack(theirs), ours[paired]) if paired else None
    summary.figures = tuple(_figure(measure, ours, sides) for measure in METRICS[kind])
    summary.classes = _class_figures(kind, classes, ours, sides[0] if sides else None)
    return summary


def _badness(picture: WorstImage) -> tuple[float, str]:
    return picture.score, picture.image


def _figure(measure: Metric, ours: Rows, sides: tuple[Rows, Rows] | None) -> Figure:
    value = known(measure.of(ours))
    if sides is None:
        return Figure(name=measure.name, unit=measure.unit, value=value)
    reference, same = known(measure.of(sides[0])), known(measure.of(sides[1]))
    interval = measure.interval(*sides)
    return Figure(
        name=measure.name,
        unit=measure.unit,
        value=value,
        reference=reference,
        drop=None if reference is None or same is None else reference - same,
        drop_ci95=interval,
        interval=f"{measure.how}, {len(sides[1])} pictures"
        if interval
        else f"none: {len(sides[0])} pictures are fewer than {stats.FEWEST_FOR_INTERVAL}",
    )


def known(value: float | None) -> float | None:
    """A figure, None where it is NaN: JSON has no such number."""
    return None if value is None or math.isnan(value) else float(value)


def _counts(record: ImageRecord, classes: int) -> Rows:
    row = np.zeros((classes, 3), np.float64)
    for label, *counted in record.counts:
        row[label] = counted
    return row


def _hits(record: ImageRecord, classes: int) -> Rows:
    del classes
    first = bool(record.top5) and record.top5[0] == record.label
    return np.asarray([float(first), float(record.label in record.top5), float(record.label or 0)])


def _psnr_and_ssim(record: ImageRecord, classes: int) -> Rows:
    del classes
    return np.asarray([record.psnr_db or 0.0, record.ssim or 0.0])


AREAS = ((0.0, math.inf), (0.0, masks.SMALL), (masks.SMALL, masks.MEDIUM), (masks.MEDIUM, math.inf))
"""All masks, small, medium and large ones; borders belong to both sides, as in the official script."""


def _overlaps(record: ImageRecord, classes: int) -> Rows:
    """Sum of the IoUs and count of the masks of each of `AREAS`, ``(4, 2)``."""
    del classes
    scored = [(mask.area, mask.iou) for mask in record.masks if mask.iou is not None]
    inside = [[iou for area, iou in scored if low <= area <= high] for low, high in AREAS]
    return np.asarray([[sum(ious), len(ious)] for ious in inside], np.float64)


def _placeholder_row(record: ImageRecord, classes: int) -> Rows:
    """Average precision is no sum over pictures: pycocotools computes it from all masks."""
    del record, classes
    return np.zeros(1)


_ROWS: Mapping[str, Callable[[ImageRecord, int], Rows]] = {
    "segmentation": _counts,
    "classification": _hits,
    "super-resolution": _psnr_and_ssim,
    "masks": _overlaps,
    "detections": _placeholder_row,
}


def _of_sums(statistic: Callable[[NDArray[Any]], NDArray[Any]], name: str) -> Metric:
    """A figure that is a function of sums over the data set, in percent."""
    return Metric(
        name=name,
        unit="%",
        of=lambda rows: float(100 * statistic(rows.sum(axis=0))),
        interval=lambda theirs, ours: stats.paired_bootstrap_interval(theirs, ours, lambda sums: 100 * statistic(sums)),
        how=f"95 %, paired bootstrap of {stats.RESAMPLES}",
    )


def _pixel_accuracy(sums: NDArray[Any]) -> NDArray[np.float64]:
    both, true = sums[..., 0].sum(axis=-1), sums[..., 2].sum(axis=-1)
    return segmentation.ratio(both, true)


def _mean_overlap(place: int) -> Callable[[NDArray[Any]], NDArray[np.float64]]:
    def statistic(sums: NDArray[Any]) -> NDArray[np.float64]:
        return segmentation.ratio(sums[..., place, 0], sums[..., place, 1])

    return statistic


def _share(column: int, name: str) -> Metric:
    """A share of the pictures, in percent."""

    def interval(theirs: Rows, ours: Rows) -> tuple[float, float] | None:
        if len(ours) < stats.FEWEST_FOR_INTERVAL:
            return None
        lost = int(np.sum(theirs[:, column] > ours[:, column]))
        won = int(np.sum(theirs[:, column] < ours[:, column]))
        low, high = stats.paired_proportions_interval(lost, won, len(ours))
        return 100 * low, 100 * high

    return Metric(
        name=name,
        unit="%",
        of=lambda rows: float(100 * rows[:, column].mean()),
        interval=interval,
        how="95 %, Bonett and Price",
    )


def _mean(column: int, name: str, unit: str) -> Metric:
    return Metric(
        name=name,
        unit=unit,
        of=lambda rows: float(rows[:, column].mean()),
        interval=lambda theirs, ours: stats.mean_interval(theirs[:, column] - ours[:, column]),
        how="95 %, Student's t of the differences",
    )


METRICS: Mapping[str, tuple[Metric, ...]] = {
    "segmentation": (_of_sums(segmentation.mean_iou, "mIoU"), _of_sums(_pixel_accuracy, "pixel accuracy")),
    "classification": (_share(0, "top-1"), _share(1, "top-5")),
    "masks": tuple(
        _of_sums(_mean_overlap(place), name)
        for place, name in enumerate(("mask IoU", "of small ones", "of medium ones", "of large ones"))
    ),
    "detections": (),
    "super-resolution": (_mean(0, "PSNR", "dB"), _mean(1, "SSIM", "")),
}
"""What is evaluated → its figures, the headline first."""


ClassShares = tuple[NDArray[np.float64], NDArray[np.int64]]
"""Share in percent and count, of each class."""


def _class_ious(rows: Rows) -> ClassShares:
    sums = rows.sum(axis=0)
    return 100 * segmentation.class_ious(sums), sums[:, 2].astype(np.int64)


def _class_hits(rows: Rows, classes: int) -> ClassShares:
    true = rows[:, 2].astype(np.int64)
    counts = np.bincount(true, minlength=classes)
    return segmentation.ratio(100 * np.bincount(true, weights=rows[:, 0], minlength=classes), counts), counts


def _class_figures(kind: str, names: Sequence[str], ours: Rows, theirs: Rows | None) -> tuple[ClassFigure, ...]:
    """The figure of each class; empty for tasks without classes."""
    if kind not in ("segmentation", "classification"):
        return ()

    def shares(rows: Rows) -> ClassShares:
        return _class_ious(rows) if kind == "segmentation" else _class_hits(rows, len(names))

    values, counts = shares(ours)
    reference = None if theirs is None else shares(theirs)[0]
    return tuple(
        ClassFigure(
            name=name,
            value=known(values[place]),
            count=int(counts[place]),
            reference=None if reference is None else known(reference[place]),
        )
        for place, name in enumerate(names)
    )
