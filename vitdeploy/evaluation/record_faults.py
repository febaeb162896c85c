"""Faults of an evaluation: figures and counts that cannot be true, looked at wherever one is read."""

import math
from collections.abc import Iterator
from pathlib import PurePath
from typing import TYPE_CHECKING

from vitdeploy.results import consistency
from vitdeploy.results.consistency import Fault

if TYPE_CHECKING:
    from vitdeploy.evaluation.record import Evaluation, Figure

_SLACK = 1e-6
"""How far figures may contradict each other that were rounded apart."""

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
    for place, row in enumerate(evaluation.classes):
        if row.count < 0:
            yield f"classes[{place}].count", f"{row.count} of them"
        for name, value in (("value", row.value), ("reference", row.reference)):
            if value is not None and not 0 <= value <= 100 + _SLACK:
                yield f"classes[{place}].{name}", f"{value} is no share in percent"


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
