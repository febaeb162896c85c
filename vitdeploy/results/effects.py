"""The effect: how much a case changed from one side to the other, and how well that is known.

The unit of inference is what was repeated: a pair of interleaved trials, else a trial (a fresh process), and a build
where both sides' engines were built several times. Its log median is one observation; samples inside one process are
never treated as independent.

Source: Kalibera & Jones, "Quantifying Performance Changes with Effect Size Confidence Intervals", arXiv:2007.10899
(interval of the ratio from the level where variance enters).
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import special

from vitdeploy.results import stats
from vitdeploy.results.derivation import resolution_ns
from vitdeploy.results.record import Trial, Turns

Unit = Literal["pair", "trial", "build"]

FEWEST_UNITS = 3
"""Below three observations a side (or three pairs) a spread cannot be estimated."""

LARGEST_LOG = 600.0
"""Half an interval is cut here: its ends are still numbers, and it says nothing already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """The estimated change of one case and how well it is known."""

    log_ratio: float
    """Natural logarithm of head's median over base's."""
    standard_error: float
    degrees: float
    """Degrees of freedom of its t distribution."""
    unit: Unit
    count: int
    """Pairs, or observations of the smaller side."""
    rounding: float = 0.0
    """How far the ratio may be off because clocks and tools tell times in steps, on the log scale."""
    shift: float = 0.0
    """How far it may be off because the machine itself was another one, as a yardstick shows, on the log scale."""
    choices: int = 1
    """Of so many ways of telling the change this is the narrowest: they share the chance of an error."""

    def chance_of(self, at_least: float) -> float:
        """One-sided p-value of the data where the true log ratio is at most ``at_least``."""
        excess = self.log_ratio - self.rounding - self.shift - at_least
        if self.standard_error == 0:
            return 0.0 if excess > 0 else 1.0
        return min(1.0, self.choices * float(special.stdtr(self.degrees, -excess / self.standard_error)))

    def half_width(self, alpha: float) -> float:
        """Half of the interval whose either end errs with chance ``alpha``, on the log scale."""
        alpha /= self.choices
        spread = -float(special.stdtrit(self.degrees, alpha)) * self.standard_error if self.standard_error else 0.0
        return min(spread, LARGEST_LOG) + self.rounding + self.shift


def effect(
    base: Sequence[Trial],
    head: Sequence[Trial],
    *,
    interleaved: bool = True,
    value: Callable[[Trial], float] | None = None,
) -> Effect | None:
    """The change from ``base`` to ``head``, trials of one case; None when there are too few for a spread.

    Args:
        interleaved: equal pair numbers of the two sides are pairs: they were run next to each other.
        value: logarithm of a trial's figure; without it, of its median.
    """
    change = _spread_of_units(base, head, value, interleaved=interleaved)
    return None if change is None else dataclasses.replace(change, rounding=_rounding(base) + _rounding(head))


def _spread_of_units(
    base: Sequence[Trial], head: Sequence[Trial], value: Callable[[Trial], float] | None, *, interleaved: bool
) -> Effect | None:
    figure = value or log_median
    builds = _by_build(base, figure), _by_build(head, figure)
    if builds[0] and builds[1] and max(map(len, builds)) > 1:
        return _welch(list(builds[0].values()), list(builds[1].values()), "build")
    differences = list(pair_differences(base, head, value).values())
    if interleaved and differences:
        return paired(differences)
    return _welch([figure(t) for t in base], [figure(t) for t in head], "trial")


def _rounding(trials: Sequence[Trial]) -> float:
    """How far a side's figure may be off, on the log scale, because its times are told in steps.

    Trials do not show it: where the noise is smaller than a step, all of them fall on the same one.
    """
    step_ns = resolution_ns(trials)
    if not step_ns:
        return 0.0
    return stats.log_rounding(step_ns, math.exp(float(np.mean([log_median(trial) for trial in trials]))))


def pair_differences(
    base: Sequence[Trial], head: Sequence[Trial], value: Callable[[Trial], float] | None = None
) -> dict[int, float]:
    """Pair → head's log figure minus base's; a trial whose other half was lost says nothing of the difference.

    Where the two processes of a pair took turns, the difference is taken turn by turn, so that what the machine did
    meanwhile cancels, and the pair's difference is the trimmed mean of those.
    """
    left, right = ({t.pair: t for t in side if t.pair is not None} for side in (base, head))
    differences: dict[int, float] = {}
    for pair in sorted(left.keys() & right.keys()):
        before, after = left[pair], right[pair]
        differences[pair] = log_change([before], [after]) if value is None else value(after) - value(before)
    return differences


def log_change(base: Sequence[Trial], head: Sequence[Trial], *, by_turns: bool = True) -> float:
    """Logarithm of what the trials of ``head`` take, one after the other, over those of ``base``; all of one pair.

    Args:
        by_turns: take it turn by turn where all trials are in turns; only of trials that took them together.
    """
    turns = [[_turn_medians(trial.samples_ns, trial.turns) for trial in side] for side in (base, head)]
    if by_turns and all(medians for side in turns for medians in side):
        shortest = min(len(medians) for side in turns for medians in side)
        before, after = (np.sum([medians[:shortest] for medians in side], axis=0) for side in turns)
        return stats.trimmed_mean(np.log(after / before).tolist())
    return math.log(_sum_of_medians(head)) - math.log(_sum_of_medians(base))


def log_yardstick(trial: Trial) -> float:
    """Logarithm of the median of the yardstick that took turns with a trial."""
    assert trial.yardstick_ns is not None, "timed beside a yardstick"
    return math.log(stats.median(trial.yardstick_ns))


def log_yardsticks(trial: Trial) -> float:
    """Logarithm of how many yardsticks an inference of a trial took, turn by turn: one observation.

    What the machine did to both in neighboring turns cancels. Only for trials that took turns with a yardstick.
    """
    assert trial.yardstick_ns is not None, "timed beside a yardstick"
    case = _turn_medians(trial.samples_ns, trial.turns)
    yardstick = _turn_medians(trial.yardstick_ns, trial.yardstick_turns)
    return stats.trimmed_mean(np.log(np.divide(case, yardstick)).tolist())


def _turn_medians(samples_ns: Sequence[int], turns: Turns | None) -> list[float]:
    """Median of each turn; empty without turns."""
    if turns is None:
        return []
    ends = np.cumsum(turns.counts)
    return [stats.median(part) for part in np.split(np.asarray(samples_ns), ends[:-1])]


def _sum_of_medians(trials: Sequence[Trial]) -> float:
    return sum(stats.median(trial.samples_ns) for trial in trials)


def paired(differences: Sequence[float]) -> Effect | None:
    """The change that pairs show, from the difference of each pair's log medians; None below three."""
    if len(differences) < FEWEST_UNITS:
        return None
    return Effect(
        log_ratio=float(np.mean(differences)),
        standard_error=float(np.std(differences, ddof=1)) / math.sqrt(len(differences)),
        degrees=len(differences) - 1,
        unit="pair",
        count=len(differences),
    )


def mirrored(effect: Effect) -> Effect:
    """The change the other way round."""
    return dataclasses.replace(effect, log_ratio=-effect.log_ratio)


def _welch(base: Sequence[float], head: Sequence[float], unit: Unit) -> Effect | None:
    """Two unpaired sides of unequal spread. Source: Welch 1947, with Satterthwaite's degrees of freedom."""
    if min(len(base), len(head)) < FEWEST_UNITS:
        return None
    left, right = (float(np.var(side, ddof=1)) / len(side) for side in (base, head))
    total = left + right
    shares = left**2 / (len(base) - 1) + right**2 / (len(head) - 1)
    return Effect(
        log_ratio=float(np.mean(head)) - float(np.mean(base)),
        standard_error=math.sqrt(total),
        degrees=total**2 / shares if shares > 0 else len(base) + len(head) - 2,
        unit=unit,
        count=min(len(base), len(head)),
    )


def log_median(trial: Trial) -> float:
    """Logarithm of the median of a trial's samples: one observation."""
    return math.log(stats.median(trial.samples_ns))


def _by_build(trials: Sequence[Trial], value: Callable[[Trial], float]) -> dict[int, float]:
    """Mean of each build; empty where the trials name none."""
    grouped: dict[int, list[float]] = {}
    for trial in trials:
        if trial.build is not None:
            grouped.setdefault(trial.build, []).append(value(trial))
    return {build: float(np.mean(values)) for build, values in grouped.items()}
