"""Verdicts: slower, faster, the same or inconclusive, one a case, from the trials of two sides.

The unit of inference is what was repeated: a pair of interleaved trials, else a trial (a fresh
process), and a build where both sides' engines were built several times. Its log median is one
observation; Student's t on those decides. Samples inside one process are never treated as independent.

Source: Kalibera & Jones, "Quantifying Performance Changes with Effect Size Confidence Intervals",
arXiv:2007.10899 (interval of the ratio from the level where variance enters); Schuirmann 1987 (two
one-sided tests for ``same``); Holm 1979 (family-wise error over cases).
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np
from scipy import special

from vitdeploy.results import stats
from vitdeploy.results.derivation import resolution_ns
from vitdeploy.results.record import Case, Result, Trial

Verdict = Literal["slower", "faster", "same", "inconclusive", "unpaired"]
Unit = Literal["pair", "trial", "build"]

MAX_SLOWDOWN = 0.02
"""A slowdown up to this is tolerated by default. Source: contract, "Commands"."""

ALPHA = 0.01
"""Family-wise chance of a false alarm by default. Source: contract, "Commands"."""

FEWEST_UNITS = 3
"""Below three observations a side (or three pairs) a spread cannot be estimated."""

UNLIKE_CLOCKS = 0.05
"""Two stored runs whose clocks differ by more were measured under unlike conditions, as on hosted runners.

Source: a choice below the 9 % of github.com/VowpalWabbit/vowpal_wabbit/issues/4957 (3500 and 3219 MHz).
"""

POWER = 0.95
"""The smallest detectable change is the one that such data show this often."""


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

    def chance_of(self, at_least: float) -> float:
        """One-sided p-value of the data where the true log ratio is at most ``at_least``."""
        excess = self.log_ratio - self.rounding - at_least
        if self.standard_error == 0:
            return 0.0 if excess > 0 else 1.0
        return float(special.stdtr(self.degrees, -excess / self.standard_error))

    def half_width(self, alpha: float) -> float:
        """Half of the interval whose either end errs with chance ``alpha``, on the log scale."""
        spread = -float(special.stdtrit(self.degrees, alpha)) * self.standard_error if self.standard_error else 0.0
        return min(spread, _LARGEST_LOG) + self.rounding


_TOLD_ROUNDING = 0.1
"""Steps of times that are beyond this share of the allowed slowdown are told in the reason."""

_UNKNOWN_ROUNDING = 0.6
"""As large it is only where all samples of a side are equal: half of their value is then the bound."""

_LARGEST_LOG = 600.0
"""Half an interval is cut here: its ends are still numbers, and it says nothing already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The verdict on one case."""

    case: Case
    verdict: Verdict
    ratio: float | None = None
    """Head's median over base's."""
    interval: tuple[float, float] | None = None
    alpha: float
    """Chance that either end of the interval errs, after the correction for many cases."""
    detectable: float | None = None
    """Smallest slowdown that such data show with the chance `POWER`, as a ratio."""
    unit: Unit | None = None
    count: int = 0
    historical: bool
    """The sides come from two runs: drift between them is not controlled."""
    reason: str


def compare(
    base: Sequence[Result],
    head: Sequence[Result],
    *,
    max_slowdown: float = MAX_SLOWDOWN,
    alpha: float = ALPHA,
    historical: bool,
    drift: float = 0.0,
    clocked: bool = False,
) -> list[Comparison]:
    """One comparison for every case of either side, head's order first.

    Args:
        max_slowdown: changes up to this share do not matter.
        alpha: family-wise chance of each kind of false claim.
        historical: the sides were not interleaved, so nothing is paired.
        drift: standard deviation of the slow drift of the machine, on the log scale, from its calibration; it adds
            to the error of historical comparisons.
        clocked: the telemetry is the clock of what computes; a change must then show in clock cycles too.
    """
    before = {result.case: result for result in base}
    after = {result.case: result for result in head}
    effects: dict[Case, Effect] = {}
    refused: dict[Case, str] = {}
    for case in dict.fromkeys((*after, *before)):
        reason = _refusal(before.get(case), after.get(case))
        change = None if reason else effect(before[case].trials, after[case].trials, interleaved=not historical)
        if change is None:
            refused[case] = reason or f"fewer than {FEWEST_UNITS} trials a side: their spread cannot be estimated"
            continue
        # Each side of a historical comparison has a drift of its own.
        error = math.hypot(change.standard_error, math.sqrt(2) * drift) if historical else change.standard_error
        effects[case] = dataclasses.replace(change, standard_error=error)
    decided = decide(effects, max_slowdown=max_slowdown, alpha=alpha)
    decided = {
        case: _clock_checked(decision, before[case], after[case], max_slowdown, interleaved=not historical)
        if clocked
        else _clocks_compared(decision, before[case], after[case], max_slowdown)
        if historical
        else decision
        for case, decision in decided.items()
    }
    return [
        _comparison(case, decided[case], effects[case], max_slowdown, historical)
        if case in effects
        else Comparison(
            case=case,
            verdict="inconclusive" if case in before and case in after else "unpaired",
            alpha=alpha,
            historical=historical,
            reason=refused[case],
        )
        for case in dict.fromkeys((*after, *before))
    ]


def of_couples(
    couples: Sequence[tuple[Result, Result]],
    *,
    max_slowdown: float = MAX_SLOWDOWN,
    alpha: float = ALPHA,
    clocked: bool = False,
) -> list[Comparison]:
    """The comparisons of a duel's sides, whatever their cases are; each goes under the head's case."""
    base = [msgspec.structs.replace(before, case=after.case) for before, after in couples]
    head = [after for _, after in couples]
    return compare(base, head, max_slowdown=max_slowdown, alpha=alpha, historical=False, clocked=clocked)


def versus(
    base: Result, head: Result, *, max_slowdown: float = MAX_SLOWDOWN, alpha: float = ALPHA, clocked: bool = False
) -> Comparison:
    """The comparison of the sides of a duel of one case."""
    return of_couples([(base, head)], max_slowdown=max_slowdown, alpha=alpha, clocked=clocked)[0]


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
    figure = value or _log_median
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
    return stats.log_rounding(step_ns, math.exp(float(np.mean([_log_median(trial) for trial in trials]))))


def pair_differences(
    base: Sequence[Trial], head: Sequence[Trial], value: Callable[[Trial], float] | None = None
) -> dict[int, float]:
    """Pair → head's log figure minus base's; a trial whose other half was lost says nothing of the difference.

    Where the two processes of a pair took turns, the difference is taken turn by turn, so that what the machine did
    meanwhile cancels, and the pair's difference is the trimmed mean of those.
    """
    left, right = ({t.pair: t for t in side if t.pair is not None} for side in (base, head))
    figure = value or _log_median
    differences: dict[int, float] = {}
    for pair in sorted(left.keys() & right.keys()):
        by_turn = _turn_differences(left[pair], right[pair]) if value is None else []
        differences[pair] = stats.trimmed_mean(by_turn) if by_turn else figure(right[pair]) - figure(left[pair])
    return differences


def _turn_differences(base: Trial, head: Trial) -> list[float]:
    """Log median of each turn of ``head`` minus that of the turn of ``base`` beside it; empty without turns."""
    sides = [_log_turns(trial) for trial in (base, head)]
    return [after - before for before, after in zip(*sides, strict=False)]


def _log_turns(trial: Trial) -> list[float]:
    if trial.turns is None:
        return []
    ends = np.cumsum(trial.turns.counts)
    return [math.log(stats.median(part)) for part in np.split(np.asarray(trial.samples_ns), ends[:-1])]


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


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict and the error chance its interval was drawn with."""

    verdict: Verdict
    alpha: float
    cycles: float | None = None
    """Ratio of clock cycles, where a change of time was taken back because they did not change."""
    clocks: float | None = None
    """Head's clock over base's, where two stored runs were measured at unlike ones."""


def decide(effects: Mapping[Case, Effect], *, max_slowdown: float, alpha: float) -> dict[Case, Decision]:
    """Verdicts over all cases, each kind's false claims held below ``alpha`` in the family (Holm's step-down)."""
    bound = math.log1p(max_slowdown)
    claims: dict[Verdict, dict[Case, float]] = {
        "slower": {c: e.chance_of(0.0) for c, e in effects.items()},
        "faster": {c: _mirrored(e).chance_of(0.0) for c, e in effects.items()},
        "same": {c: max(e.chance_of(-bound), _mirrored(e).chance_of(-bound)) for c, e in effects.items()},
    }
    levels = {verdict: _holm(chances, alpha) for verdict, chances in claims.items()}
    decided: dict[Case, Decision] = {}
    for case, change in effects.items():
        large: Verdict | None = None
        if change.log_ratio > bound:
            large = "slower"
        elif change.log_ratio < -bound:
            large = "faster"
        if large and claims[large][case] < levels[large][case]:
            decided[case] = Decision(large, levels[large][case])
        elif claims["same"][case] < levels["same"][case]:
            decided[case] = Decision("same", levels["same"][case])
        else:
            direction: Verdict = "slower" if change.log_ratio > 0 else "faster"
            decided[case] = Decision("inconclusive", levels[direction][case] or alpha / len(effects))
    return decided


def detectable(effect: Effect, *, max_slowdown: float, alpha: float, power: float = POWER) -> float:
    """Smallest true slowdown, as a ratio, that would come out ``slower`` with chance ``power``."""
    needed = max(math.log1p(max_slowdown), effect.half_width(alpha))
    return math.exp(min(needed + float(special.stdtrit(effect.degrees, power)) * effect.standard_error, _LARGEST_LOG))


def _comparison(case: Case, decision: Decision, effect: Effect, max_slowdown: float, historical: bool) -> Comparison:
    half = effect.half_width(decision.alpha)
    interval = (math.exp(effect.log_ratio - half), math.exp(effect.log_ratio + half))
    smallest = detectable(effect, max_slowdown=max_slowdown, alpha=decision.alpha)
    return Comparison(
        case=case,
        verdict=decision.verdict,
        ratio=math.exp(effect.log_ratio),
        interval=interval,
        alpha=decision.alpha,
        detectable=smallest,
        unit=effect.unit,
        count=effect.count,
        historical=historical,
        reason=_explained(decision, effect, interval, smallest, max_slowdown),
    )


def _explained(
    decision: Decision, effect: Effect, interval: tuple[float, float], smallest: float, max_slowdown: float
) -> str:
    change = f"{math.expm1(effect.log_ratio):+.2%} [{interval[0] - 1:+.2%}, {interval[1] - 1:+.2%}]"
    from_what = f"from {effect.count} {effect.unit}s" + (" a side" if effect.unit != "pair" else "")
    if decision.clocks is not None:
        from_what += f", at unlike clocks (the head's was {decision.clocks - 1:+.1%})"
    if effect.rounding > _UNKNOWN_ROUNDING:
        from_what += ", whose samples are all equal, so that how finely times are told is not known"
    elif effect.rounding > _TOLD_ROUNDING * max_slowdown:
        from_what += f", whose times are told in steps of {math.expm1(effect.rounding):.1%}"
    if decision.cycles is not None:
        return f"clock drift: {change} in time {from_what}, but {decision.cycles - 1:+.2%} in clock cycles"
    match decision.verdict:
        case "slower" | "faster":
            return f"{change} {from_what}: beyond ±{max_slowdown:.1%}, and the interval excludes no change"
        case "same":
            return f"{change} {from_what}: the interval lies within ±{max_slowdown:.1%}"
        case _:
            return f"{change} {from_what}: a slowdown below {smallest - 1:.1%} cannot be detected with this data"


def _refusal(base: Result | None, head: Result | None) -> str | None:
    if base is None or head is None:
        return f"the {'base' if base is None else 'head'} run lacks this case"
    for side, result in (("base", base), ("head", head)):
        if result.status != "valid":
            codes = ", ".join(reason.code for reason in result.reasons) or "no reason given"
            return f"the {side} figure is {result.status} ({codes})"
    return None


def _holm(chances: Mapping[Case, float], alpha: float) -> dict[Case, float]:
    """Level each claim is tested at; 0 for those after the first that fails."""
    levels: dict[Case, float] = {}
    stopped = False
    for rank, (case, chance) in enumerate(sorted(chances.items(), key=lambda item: item[1])):
        level = alpha / (len(chances) - rank)
        stopped = stopped or chance >= level
        levels[case] = 0.0 if stopped else level
    return levels


def _mirrored(effect: Effect) -> Effect:
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


def _clock_checked(
    decision: Decision, base: Result, head: Result, max_slowdown: float, *, interleaved: bool
) -> Decision:
    """Take a claim of another time back where the clock cycles do not change as much: the clock did.

    Source: nvbench-compare-robust asks for a separation in cycles (time × clock) beside that in time.
    """
    if decision.verdict not in ("slower", "faster"):
        return decision
    trials = (*base.trials, *head.trials)
    if not trials or any(_clock_hz(trial) is None for trial in trials):
        return decision
    cycles = effect(base.trials, head.trials, interleaved=interleaved, value=_log_cycles)
    if cycles is None:
        return decision
    toward = cycles if decision.verdict == "slower" else _mirrored(cycles)
    if toward.log_ratio > math.log1p(max_slowdown) and toward.chance_of(0.0) < decision.alpha:
        return decision
    return Decision("inconclusive", decision.alpha, cycles=math.exp(cycles.log_ratio))


def _clocks_compared(decision: Decision, base: Result, head: Result, max_slowdown: float) -> Decision:
    """The decision on two stored runs whose telemetry shows a mean over all cores: a hint, not what computed.

    Where the sides' means are as far apart as no idle cores explain, nothing is claimed that the clock cycles deny.
    """
    clocks = _typical_clock_hz(base), _typical_clock_hz(head)
    if clocks[0] is None or clocks[1] is None:
        return decision
    apart = clocks[1] / clocks[0]
    if abs(math.log(apart)) <= math.log1p(UNLIKE_CLOCKS):
        return decision
    if decision.verdict == "same":  # at unlike clocks the same time is not the same work
        return Decision("inconclusive", decision.alpha, clocks=apart)
    checked = _clock_checked(decision, base, head, max_slowdown, interleaved=False)
    return dataclasses.replace(checked, clocks=apart)


def _typical_clock_hz(result: Result) -> float | None:
    """Of the trials that show one; None where none does."""
    known = [clock for clock in map(_clock_hz, result.trials) if clock is not None]
    return float(np.median(known)) if known else None


def _clock_hz(trial: Trial) -> float | None:
    clocks_hz = [reading.clock_hz for reading in trial.telemetry if reading.clock_hz]
    return float(np.mean(clocks_hz)) if clocks_hz else None


def _log_median(trial: Trial) -> float:
    return math.log(stats.median(trial.samples_ns))


def _log_cycles(trial: Trial) -> float:
    return _log_median(trial) + math.log(_clock_hz(trial) or 1.0)


def _by_build(trials: Sequence[Trial], value: Callable[[Trial], float]) -> dict[int, float]:
    """Mean of each build; empty where the trials name none."""
    grouped: dict[int, list[float]] = {}
    for trial in trials:
        if trial.build is not None:
            grouped.setdefault(trial.build, []).append(value(trial))
    return {build: float(np.mean(values)) for build, values in grouped.items()}
