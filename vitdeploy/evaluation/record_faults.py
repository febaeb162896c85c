"""Faults of an evaluation: figures and counts that cannot be true, looked at wherever one is read."""

import math
from collections.abc import Iterator
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, cast

from vitdeploy.results import consistency
from vitdeploy.results.consistency import Fault

if TYPE_CHECKING:
    from vitdeploy.evaluation.record import Evaluation, Figure, ImageRecord, MaskRecord

_SLACK = 1e-6
"""How far figures may contradict each other that were rounded apart."""

_OTHERS_SLACK = 1e-3
"""The same of another library, which may compute in float32: torchmetrics says 100.000015 % of equal maps."""

_LARGEST = 1e6
"""No figure of a data set is beyond it: shares end at 100, and decibels of 8-bit pictures below 100."""


def faults(evaluation: "Evaluation") -> Iterator[Fault]:
    """Everything in an evaluation that cannot be true, the path of its field first."""
    if why := consistency.moment_fault(evaluation.started_utc):
        yield "started_utc", why
    if not evaluation.subjects:
        yield "subjects", "no artifact was evaluated"
    if not evaluation.images_file or PurePath(evaluation.images_file).name != evaluation.images_file:
        yield "images_file", f"{evaluation.images_file[:80]!r} is outside its folder"
    elif "\0" in evaluation.images_file or len(evaluation.images_file.encode(errors="replace")) > 255:
        yield "images_file", f"{evaluation.images_file[:80]!r} is no name of a file"
    dataset = evaluation.dataset
    if not 0 <= dataset.scored <= dataset.asked <= dataset.images:
        yield "dataset", f"{dataset.scored} scored of {dataset.asked} asked for of {dataset.images} pictures"
    for place, subject in enumerate(evaluation.subjects):
        if subject.images < 0 or subject.batch < 1 or not all(side >= 1 for side in subject.size):
            size = "x".join(map(str, subject.size))
            yield f"subjects[{place}]", f"{subject.images} images of {size} in batches of {subject.batch}"
    for place, figure in enumerate(evaluation.figures):
        yield from ((f"figures[{place}].{field}", why) for field, why in _figure_faults(figure))
    yield from _class_faults(evaluation)
    yield from _cross_check_faults(evaluation)


def _class_faults(evaluation: "Evaluation") -> Iterator[Fault]:
    for place, row in enumerate(evaluation.classes):
        if row.count < 0:
            yield f"classes[{place}].count", f"{row.count} of them"
        for name, value in (("value", row.value), ("reference", row.reference)):
            if value is not None and not 0 <= value <= 100 + _SLACK:
                yield f"classes[{place}].{name}", f"{value} is no share in percent"


def _cross_check_faults(evaluation: "Evaluation") -> Iterator[Fault]:
    for place, check in enumerate(evaluation.cross_checks):
        if not 0 <= check.images <= evaluation.dataset.scored:
            yield (
                f"cross_checks[{place}].images",
                f"{check.images} pictures of {evaluation.dataset.scored} that were scored",
            )
        for name, value in (("ours", check.ours), ("theirs", check.theirs)):
            if not 0 <= value <= 100 + _OTHERS_SLACK:
                yield f"cross_checks[{place}].{name}", f"{value} is no share in percent"


def image_faults(record: "ImageRecord", kind: str, classes: int) -> Iterator[Fault]:
    """Everything in the record of one picture that cannot be true.

    Args:
        kind: a key of `summary.METRICS`.
        classes: how many there are; 0 where there are none.
    """
    for place, (label, both, predicted, labeled) in enumerate(record.counts):
        possible = 0 <= both <= min(predicted, labeled) and max(predicted, labeled) <= _MOST_PIXELS
        if not (possible and 0 <= label < max(classes, 1)):
            yield f"counts[{place}]", f"{[label, both, predicted, labeled]}"
    if len({label for label, *_ in record.counts}) != len(record.counts):
        yield "counts", "a class is there twice"
    if record.label is not None and not 0 <= record.label < max(classes, 1):
        yield "label", f"{record.label} of {classes} classes"
    if len(record.top5) > 5 or len(set(record.top5)) != len(record.top5):
        yield "top5", f"{list(record.top5)[:9]} are not five classes"
    if record.psnr_db is not None and not 0 <= record.psnr_db <= 100:
        yield "psnr_db", f"{record.psnr_db} is no figure of 8-bit pictures"
    if record.ssim is not None and not -1 - _SLACK <= record.ssim <= 1 + _SLACK:
        yield "ssim", f"{record.ssim} is no similarity"
    if record.score is not None and not abs(record.score) <= _LARGEST:
        yield "score", f"{record.score} is beyond any figure"
    if kind == "detections" and not (record.image.isascii() and record.image.isdigit() and len(record.image) < 20):
        yield "image", f"{record.image[:80]!r} is no number of a picture"
    for place, mask in enumerate(record.masks):
        yield from ((f"masks[{place}].{field}", why) for field, why in _mask_faults(mask, kind))


_MOST_PIXELS = 2**40


def _mask_faults(mask: "MaskRecord", kind: str) -> Iterator[Fault]:
    if not 0 <= mask.area <= _MOST_PIXELS:
        yield "area", f"{mask.area} pixels"
    if mask.iou is not None and not 0 <= mask.iou <= 1 + _SLACK:
        yield "iou", f"{mask.iou} is no share"
    if kind != "detections" or mask.segmentation is None:
        return
    if mask.score is None or not abs(mask.score) <= _LARGEST:
        yield "score", f"{mask.score} of a detector's box"
    size: Any = mask.segmentation.get("size")
    counts: Any = mask.segmentation.get("counts")
    sides = cast("list[object]", size) if isinstance(size, list) else []
    if len(sides) != 2 or not all(isinstance(side, int) and 1 <= side <= 10**5 for side in sides):
        yield "segmentation.size", f"{str(cast('object', size))[:80]} is no size of a picture"
    if not isinstance(counts, str) or not counts.isascii() or set(mask.segmentation) != {"size", "counts"}:
        yield "segmentation.counts", "no run lengths as text"


def _figure_faults(figure: "Figure") -> Iterator[Fault]:
    for name, value in (("value", figure.value), ("reference", figure.reference)):
        if value is None:
            continue
        if figure.unit == "%" and not 0 <= value <= 100 + _SLACK:
            yield name, f"{value} is no share in percent"
        if not abs(value) <= _LARGEST and not math.isinf(value):
            yield name, f"{value} is beyond any figure"
    if figure.drop is not None and (figure.value is None or figure.reference is None):
        yield "drop", f"{figure.drop}, without two figures"
    # Of the pictures that both sides answered, so it need not be the difference of the two figures.
    elif figure.drop is not None and figure.unit == "%" and not abs(figure.drop) <= 100 + _SLACK:
        yield "drop", f"{figure.drop} is no difference of shares in percent"
    if figure.drop_ci95 is not None and not figure.drop_ci95[0] <= figure.drop_ci95[1]:
        yield "drop_ci95", f"{list(figure.drop_ci95)} is no interval"
