"""What kind of answer an output is, and where two of them agree: scores, one channel, images, labels, flags, masks.

Every kind has a measure that a wrong file fails: ``tests/artifacts/test_answers.py`` plants the files.
"""

from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from vitdeploy.catalog.spec import Task

Numbers = NDArray[np.floating[Any]] | NDArray[np.integer[Any]] | NDArray[np.bool_]
"""Logits, images or masks as numbers; labels as integers; flags as booleans."""

Kind = Literal["scores", "one channel", "image", "labels", "flags", "prompted masks", "numbers"]
"""``scores``: one number a class, decided by the largest. ``one channel``: one number, decided by a threshold.
``labels``: integers that are compared for equality. ``flags``: the same of booleans. ``numbers``: the error alone
decides.
"""

NEAR_TIE_STD: Final = 2e-3
"""Classes whose scores differ by less, in standard deviations of the output, may be decided either way.

Source: twice the error that fp32 targets may have (`vitdeploy.catalog.target_table`): each of two scores may be off
by it.
"""

_ALMOST_CONSTANT: Final = 1e-6
"""A deviation below this share of the largest value is rounding: the spread of such an output is its largest value."""


def kind_of(task: Task, reference: Numbers) -> Kind:
    """How an output of a task is compared."""
    if task == "super-resolution":
        return "image"
    if task == "segment-anything":
        return "prompted masks"
    if task not in ("classification", "segmentation"):
        return "numbers"
    if reference.dtype == np.bool_:
        return "flags"
    channels = reference.shape[1] if reference.ndim in (2, 4) else 0
    if np.issubdtype(reference.dtype, np.integer) and not (reference.dtype.itemsize == 1 and channels > 1):
        return "labels"
    return "one channel" if channels == 1 else "scores"


def spread_of(reference: NDArray[np.float64]) -> float:
    """By what errors are divided: the standard deviation, and of a constant output its value; 0: all is zero."""
    deviation, largest = float(reference.std()), float(np.abs(reference).max(initial=0.0))
    return deviation if deviation > _ALMOST_CONSTANT * largest else largest


def same_choice(reference: NDArray[np.float64], output: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where the output's best class is the reference's, or as good as it: ``(n, c, …)`` to ``(n, …)``."""
    chosen = np.take_along_axis(reference, output.argmax(axis=1, keepdims=True), axis=1).squeeze(axis=1)
    return reference.max(axis=1) - chosen <= NEAR_TIE_STD * spread_of(reference)


def same_side(reference: NDArray[np.float64], output: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where a map of one channel is on the reference's side of its threshold, or both are as good as on it."""
    limit = threshold_of(reference)
    near = np.abs(reference - limit) <= NEAR_TIE_STD * spread_of(reference)
    return ((reference > limit) == (output > limit)) | near


def threshold_of(values: Numbers) -> float:
    """From where one channel means yes: 0.5 for probabilities, which all lie in 0–1, and 0 for logits."""
    return 0.5 if values.size and float(values.min()) >= 0 and float(values.max()) <= 1 else 0.0


def intersection_over_union(reference: Numbers, output: Numbers) -> list[float]:
    """Of each mask, the logits above 0: ``(n, c, h, w)`` or ``(n, h, w)`` to ``n * c`` numbers."""
    ratios: list[float] = []
    for expected, actual in zip(_masks(reference) > 0, _masks(output) > 0, strict=True):
        union = np.count_nonzero(expected | actual)
        ratios.append(np.count_nonzero(expected & actual) / union if union else 1.0)
    return ratios


def _masks(stack: Numbers) -> Numbers:
    return stack.reshape(-1, *stack.shape[-2:])
