"""Is an artifact right? Its outputs against the fp32 torch reference, on the same inputs.

Three questions, all of which must be answered yes: is every output finite; is the largest error
small beside the spread of the reference's output; does the task's own metric agree? The error
decides too, because with random weights an argmax means little.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitdeploy.artifacts.manifest import Metric, Parity
from vitdeploy.catalog.spec import Task, Tolerance

Numbers = NDArray[np.floating[Any]] | NDArray[np.integer[Any]]
"""Logits, images or masks as floats; labels as integers."""

METRICS: dict[Task, str] = {
    "classification": "top-1 agreement",
    "segmentation": "pixel agreement",
    "super-resolution": "PSNR in dB against the reference",
    "segment-anything": "mask IoU",
    "attention": "none beyond the error",
}
"""The task's own metric. Source: contract, "An artifact"."""

PEAK = 1.0
"""Images are on a 0–1 scale, so the peak signal of PSNR is 1. No such image deviates by more than a half: what deviates
more, as that of random weights, is on another scale, whose peak is two deviations.
"""


@dataclass(slots=True)
class Evidence:
    """What pairs of outputs have shown so far; add pairs one at a time, so memory does not grow."""

    task: Task
    samples: int = 0
    finite: bool = True
    max_abs: float = 0.0
    sum_abs: float = 0.0
    values: int = 0
    agreeing: float = 0.0
    judged: int = 0
    error_std: float = 0.0
    """Largest error over the reference's standard deviation, the worst sample's."""
    lowest_cosine: float = 1.0
    _squared: float = field(default=0.0)
    """Squared errors over the peak of their image, summed."""

    def add(self, reference: Numbers, output: Numbers, *, judged: tuple[Numbers, Numbers] | None = None) -> None:
        """Compare one output with its reference, both ``(n, c, h, w)``, ``(n, c)`` or labels ``(n, h, w)``.

        Args:
            judged: what the task's metric compares instead, where the output itself is not what the task is about.

        Raises:
            ValueError: the shapes differ.
        """
        _check_shapes(reference, output)
        self.samples += len(reference)
        if np.issubdtype(reference.dtype, np.integer):
            same = reference == output
            self._judge(float(np.count_nonzero(same)), same.size)
            return
        if not self.add_further(reference, output):
            return
        ref, out = judged or (reference, output)
        if self.task in ("classification", "segmentation"):
            same = ref.argmax(axis=1) == out.argmax(axis=1)
            self._judge(float(np.count_nonzero(same)), same.size)
        elif self.task == "segment-anything":
            each = [_intersection_over_union(r > 0, o > 0) for r, o in zip(_masks(ref), _masks(out), strict=True)]
            self._judge(float(sum(each)), len(each))

    def add_further(self, reference: Numbers, output: Numbers) -> bool:
        """Compare a further output of a sample that was added: its error counts, the task's metric does not look at it.

        Returns:
            Whether it is finite.

        Raises:
            ValueError: the shapes differ.
        """
        _check_shapes(reference, output)
        if not np.isfinite(output).all():
            self.finite = False
            return False
        ref, out = reference.astype(np.float64), output.astype(np.float64)
        error = np.abs(out - ref)
        self.max_abs = max(self.max_abs, float(error.max()))
        self.sum_abs += float(error.sum())
        spread = float(ref.std())
        self._squared += float(np.square(error / max(PEAK, 2 * spread)).sum())
        self.values += error.size
        self.error_std = max(self.error_std, float(error.max()) / spread if spread > 0 else float(error.max() > 0))
        norms = float(np.linalg.norm(ref) * np.linalg.norm(out))
        self.lowest_cosine = min(self.lowest_cosine, float(np.vdot(ref, out)) / norms if norms else 0.0)
        return True

    def _judge(self, agreeing: float, judged: int) -> None:
        self.agreeing += agreeing
        self.judged += judged

    @property
    def metric(self) -> float | None:
        """The task's metric over everything added; None when nothing finite was."""
        if self.task == "super-resolution":
            if not self.values:
                return None
            mean_square = self._squared / self.values
            return -10 * float(np.log10(mean_square)) if mean_square else float("inf")
        return self.agreeing / self.judged if self.judged else None


def verdict(evidence: Evidence, tolerance: Tolerance, reference: str) -> Parity:
    """What the evidence says against the target's tolerance.

    Args:
        reference: what the outputs were held against, in words.
    """
    metric = evidence.metric
    floor = tolerance.psnr_db if evidence.task == "super-resolution" else tolerance.agreement
    reason = _refusal(evidence, tolerance, metric, floor)
    measured = evidence.values > 0
    return Parity(
        passed=reason is None,
        reference=reference,
        samples=evidence.samples,
        max_abs=evidence.max_abs if measured else None,
        mean_abs=evidence.sum_abs / evidence.values if measured else None,
        cosine=evidence.lowest_cosine if measured else None,
        finite=evidence.finite,
        metric=Metric(
            name=METRICS[evidence.task],
            value=None if metric is None or not np.isfinite(metric) else metric,
            floor=floor,
        ),
        error_std=evidence.error_std if measured else None,
        error_std_limit=tolerance.error_of(evidence.task),
        reason=reason,
    )


def _refusal(evidence: Evidence, tolerance: Tolerance, metric: float | None, floor: float) -> str | None:
    """Why parity fails, or None."""
    if evidence.samples == 0:
        return "nothing was compared"
    if not evidence.finite:
        return "the output holds NaN or Inf"
    if metric is not None and metric < floor:
        return f"{METRICS[evidence.task]} {metric:.6g} is below {floor:g}"
    limit = tolerance.error_of(evidence.task)
    if evidence.error_std > limit:
        return f"the largest error is {evidence.error_std:.3g} of the output's standard deviation, more than {limit:g}"
    return None


def _check_shapes(reference: Numbers, output: Numbers) -> None:
    if reference.shape != output.shape:
        msg = f"output {output.shape} against reference {reference.shape}"
        raise ValueError(msg)


def _masks(stack: Numbers) -> Numbers:
    """``(n, c, h, w)`` or ``(n, h, w)`` to all masks one by one, ``(n * c, h, w)``."""
    return stack.reshape(-1, *stack.shape[-2:])


def _intersection_over_union(reference: NDArray[np.bool_], output: NDArray[np.bool_]) -> float:
    union = np.count_nonzero(reference | output)
    return np.count_nonzero(reference & output) / union if union else 1.0


def judge(
    task: Task, pairs: Iterable[tuple[Numbers, Numbers]], tolerance: Tolerance, reference: str = "torch fp32"
) -> Parity:
    """Parity of all ``(reference, output)`` pairs."""
    evidence = Evidence(task)
    for expected, output in pairs:
        evidence.add(expected, output)
    return verdict(evidence, tolerance, reference)
