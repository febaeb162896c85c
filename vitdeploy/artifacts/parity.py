"""Is an artifact right? Its outputs against the fp32 torch reference, on the same inputs.

Questions that must all be answered yes: does the reference repeat itself; is every output finite; is the largest error
small beside the spread of the reference's output; does the task's own metric agree? The error decides too, because
with random weights an argmax means little. Labels have no error: they must also be nearer to the reference than one
label for all would be.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from vitdeploy.artifacts import answers
from vitdeploy.artifacts.answers import Kind, Numbers
from vitdeploy.artifacts.manifest import Metric, Parity
from vitdeploy.artifacts.recorded_parity import floor_for
from vitdeploy.catalog.spec import Task, Tolerance

METRICS: dict[Task, str] = {
    "classification": "top-1 agreement",
    "segmentation": "pixel agreement",
    "super-resolution": "PSNR in dB against the reference",
    "segment-anything": "mask IoU",
    "attention": "none beyond the error",
}
"""The task's own metric. Source: contract, "An artifact"."""

THRESHOLDED = "agreement above the threshold"
"""The metric of an output of one channel, whose argmax is always the same."""

REPEATED = Tolerance(
    error=1e-4,
    image_error=1e-4,
    agreement=0.999,
    psnr_db=80.0,
    source="a choice: sums in another order, as of threads, stay a hundred times below it; dropout is far above it",
)
"""How far two answers of the reference to one input may be apart."""

TWO_ANSWERS = "the reference itself gives two answers to one input"
"""Begins the reason of a parity that could not be measured, because the model does not repeat."""

ON_THE_EDGE = 0.01
"""Mean error up to which integers that stand for numbers count as rounded otherwise, in steps. Source: a choice; fp32
rounds one value of ten thousand otherwise.
"""

UNCOMMON_FACTOR = 50
"""Labels that are not the commonest one may differ in so many times the share that all may, and in no more than half
of them: a rare mask that is lost leaves most pixels alone. Source: a choice, 5 % of the uncommon ones for fp32.
"""

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
    kind: Kind | None = None
    """What was compared; None: nothing yet."""
    reference_finite: bool = True
    repeats: str | None = None
    """Why the reference does not repeat itself; None: it does, as far as was asked."""
    maps: bool = False
    """Whether what is judged are pixels."""
    _squared: float = field(default=0.0)
    """Squared errors over the peak of their image, summed."""
    _labels: Counter[int] = field(default_factory=Counter[int])
    """How often the reference says each label."""

    def add(self, reference: Numbers, output: Numbers, *, judged: tuple[Numbers, Numbers] | None = None) -> None:
        """Compare one output with its reference, both ``(n, c, h, w)``, ``(n, c)`` or labels ``(n, h, w)``.

        Args:
            judged: what the task's metric compares instead, where the output itself is not what the task is about.

        Raises:
            ValueError: the shapes differ.
        """
        _check_shapes(reference, output)
        self.samples += len(reference)
        self.kind = answers.kind_of(self.task, reference)
        self.maps = reference.ndim > 2
        if self.kind in ("labels", "flags"):
            self._add_labels(reference, output)
            return
        if not self.add_further(reference, output):
            return
        ref, out = (side.astype(np.float64) for side in judged or (reference, output))
        if self.kind == "prompted masks":
            ratios = answers.intersection_over_union(ref, out)
            self._judge(float(sum(ratios)), len(ratios))
        elif self.kind in ("scores", "one channel"):
            same = (answers.same_choice if self.kind == "scores" else answers.same_side)(ref, out)
            self._judge(float(np.count_nonzero(same)), same.size)

    def add_further(self, reference: Numbers, output: Numbers) -> bool:
        """Compare a further output of a sample that was added: its error counts, the task's metric does not look at it.

        Returns:
            Whether both are finite.

        Raises:
            ValueError: the shapes differ.
        """
        _check_shapes(reference, output)
        if not self._all_finite(reference, output) or not reference.size:
            return False
        ref, out = reference.astype(np.float64), output.astype(np.float64)  # bytes would wrap around
        error = np.abs(out - ref)
        largest = float(error.max())
        # A rounded value that is on the edge may end one step beside; few are.
        rounded = not np.issubdtype(reference.dtype, np.floating) and float(error.mean()) <= ON_THE_EDGE
        step = 1.0 if rounded else 0.0
        spread = answers.spread_of(ref)
        self.max_abs = max(self.max_abs, largest)
        self.sum_abs += float(error.sum())
        peak = 255.0 if reference.dtype == np.uint8 else max(PEAK, 2 * float(ref.std()))
        self._squared += float(np.square(error / peak).sum())
        self.values += error.size
        beyond = max(largest - step, 0.0)
        self.error_std = max(self.error_std, beyond / spread if spread > 0 else float(beyond > 0))
        norms = float(np.linalg.norm(ref) * np.linalg.norm(out))
        self.lowest_cosine = min(self.lowest_cosine, float(np.vdot(ref, out)) / norms if norms else 0.0)
        return True

    def add_repeated(self, first: Numbers, second: Numbers) -> None:
        """Hold two answers of the reference to one input against each other."""
        if not np.isfinite(first).all():
            return  # NaN differs from itself; that the reference holds one is the reason that is given
        once = Evidence(self.task)
        once.add(first, second)
        if self.repeats is None and not verdict(once, REPEATED, "itself").passed:
            same = f"{once.agreeing:.0f} of {once.judged} values are the same" if once.judged else "no number is finite"
            apart = f"the largest difference is {once.max_abs:.4g}" if once.values else same
            self.repeats = f"{TWO_ANSWERS}: {apart}"

    def _add_labels(self, reference: Numbers, output: Numbers) -> None:
        if not self._all_finite(reference, output):
            return
        same = reference == output
        self._judge(float(np.count_nonzero(same)), same.size)
        values, counts = np.unique(reference, return_counts=True)
        self._labels.update({int(value): int(count) for value, count in zip(values, counts, strict=True)})

    def _all_finite(self, reference: Numbers, output: Numbers) -> bool:
        self.reference_finite = self.reference_finite and bool(np.isfinite(reference).all())
        self.finite = self.finite and bool(np.isfinite(output).all())
        return self.reference_finite and self.finite

    def _judge(self, agreeing: float, judged: int) -> None:
        self.agreeing += agreeing
        self.judged += judged

    @property
    def uncommon(self) -> int:
        """How many of the reference's labels are not its commonest one: what one label for all would miss."""
        return self._labels.total() - max(self._labels.values(), default=0)

    @property
    def metric(self) -> float | None:
        """The task's metric over everything added; None when nothing finite was."""
        if self.task == "super-resolution":
            if not self.values:
                return None
            mean_square = self._squared / self.values
            return -10 * float(np.log10(mean_square)) if mean_square else float("inf")
        return self.agreeing / self.judged if self.judged else None

    @property
    def metric_name(self) -> str:
        """What `metric` is."""
        return THRESHOLDED if self.kind == "one channel" else METRICS[self.task]


def verdict(evidence: Evidence, tolerance: Tolerance, reference: str) -> Parity:
    """What the evidence says against the target's tolerance.

    Args:
        reference: what the outputs were held against, in words.
    """
    metric = evidence.metric
    pixels = evidence.maps and evidence.kind in ("scores", "one channel", "labels", "flags")
    floor = floor_for(tolerance.floor_of(evidence.task), evidence.judged if pixels else 0)
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
            name=evidence.metric_name,
            value=None if metric is None or not np.isfinite(metric) else metric,
            floor=floor,
        ),
        error_std=evidence.error_std if measured else None,
        error_std_limit=tolerance.error_of(evidence.task),
        reason=reason,
    )


def _refusal(evidence: Evidence, tolerance: Tolerance, metric: float | None, floor: float) -> str | None:
    """Why parity fails, or None."""
    differing = evidence.judged - evidence.agreeing
    uncommon = evidence.uncommon * _share(tolerance.floor_of(evidence.task))
    limit = tolerance.error_of(evidence.task)
    reason = evidence.repeats
    if reason is None and not evidence.reference_finite:
        reason = "the reference itself holds NaN or Inf"
    elif reason is None and not evidence.finite:
        reason = "the output holds NaN or Inf"
    elif reason is None and not (evidence.values or evidence.judged):
        reason = "nothing was compared"
    elif reason is None and metric is not None and metric < floor:
        reason = f"{evidence.metric_name} {metric:.6g} is below {floor:g}"
    elif reason is None and evidence.kind in ("labels", "flags") and differing > uncommon:
        reason = f"{differing:.0f} labels differ, and only {evidence.uncommon} are not the commonest one"
    elif reason is None and evidence.error_std > limit:
        reason = (
            f"the largest error is {evidence.error_std:.3g} of the output's standard deviation, more than {limit:g}"
        )
    return reason


def _share(floor: float) -> float:
    """Which share of the labels that are not the commonest one may differ."""
    return min(0.5, UNCOMMON_FACTOR * (1 - floor))


def _check_shapes(reference: Numbers, output: Numbers) -> None:
    if reference.shape != output.shape:
        msg = f"output {output.shape} against reference {reference.shape}"
        raise ValueError(msg)


def judge(
    task: Task, pairs: Iterable[tuple[Numbers, Numbers]], tolerance: Tolerance, reference: str = "torch fp32"
) -> Parity:
    """Parity of all ``(reference, output)`` pairs."""
    evidence = Evidence(task)
    for expected, output in pairs:
        evidence.add(expected, output)
    return verdict(evidence, tolerance, reference)
