"""Verdicts: slower, faster, the same or inconclusive, one a case, from the trials of two sides.

Student's t on the observations of `effects` decides.

Source: Schuirmann 1987 (two one-sided tests for ``same``); Holm 1979 (family-wise error over cases).
"""

import dataclasses
import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np
from scipy import special

from vitdeploy.results.effects import FEWEST_UNITS, LARGEST_LOG, Effect, Unit, effect, log_median, mirrored
from vitdeploy.results.record import Case, Result, Trial
from vitdeploy.results.yardstick_effects import Beside, By, beside_yardsticks

Verdict = Literal["slower", "faster", "same", "inconclusive", "unpaired"]

MAX_SLOWDOWN = 0.02
"""A slowdown up to this is tolerated by default. Source: contract, "Commands"."""

ALPHA = 0.01
"""Family-wise chance of a false alarm by default. Source: contract, "Commands"."""

UNLIKE_CLOCKS = 0.05
"""Two stored runs whose clocks differ by more were measured under unlike conditions, as on hosted runners.

Source: a choice below the 9 % of github.com/VowpalWabbit/vowpal_wabbit/issues/4957 (3500 and 3219 MHz).
"""

POWER = 0.95
"""The smallest detectable change is the one that such data show this often."""

_TOLD_ROUNDING = 0.1
"""Steps of times that are beyond this share of the allowed slowdown are told in the reason."""

_UNKNOWN_ROUNDING = 0.6
"""As large it is only where all samples of a side are equal: half of their value is then the bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The verdict on one case."""

    case: Case
    verdict: Verdict
    ratio: float | None = None
    """Head's median over base's; by the yardstick, of what each is in yardsticks."""
    interval: tuple[float, float] | None = None
    alpha: float
    """Chance that either end of the interval errs, after the correction for many cases."""
    detectable: float | None = None
    """Smallest slowdown that such data show with the chance `POWER`, as a ratio."""
    unit: Unit | None = None
    count: int = 0
    historical: bool
    """The sides come from two runs: drift between them is not controlled."""
    by: By = "time"
    """What was compared: times, or their ratios to the yardstick that took turns with the case in both runs."""
    yardstick: float | None = None
    """Head's time of the yardstick over base's: how far the machine itself had changed; None: there was none."""
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
    yardsticks: Container[str] = frozenset(),
) -> list[Comparison]:
    """One comparison for every case of either side, head's order first.

    Args:
        max_slowdown: changes up to this share do not matter.
        alpha: family-wise chance of each kind of false claim.
        historical: the sides were not interleaved, so nothing is paired.
        drift: standard deviation of the slow drift of the machine, on the log scale, from its calibration; it adds
            to the error of historical comparisons.
        clocked: the telemetry is the clock of what computes; a change must then show in clock cycles too.
        yardsticks: targets of which both sides took turns with the same yardstick, on the same kind of machine.
    """
    before = {result.case: result for result in base}
    after = {result.case: result for result in head}
    effects, refused = _effects(before, after, historical=historical, drift=drift)
    beside: Mapping[Case, Beside] = {}
    if historical:
        beside = beside_yardsticks(before, after, effects, yardsticks, alpha)
        effects |= {case: shown.effect for case, shown in beside.items()}
    decided = {
        case: _with_clocks(
            dataclasses.replace(decision, by=beside[case].by, yardstick=beside[case].yardstick)
            if case in beside
            else decision,
            (before[case], after[case]),
            max_slowdown,
            historical=historical,
            clocked=clocked,
        )
        for case, decision in decide(effects, max_slowdown=max_slowdown, alpha=alpha).items()
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


def _effects(
    before: Mapping[Case, Result], after: Mapping[Case, Result], *, historical: bool, drift: float
) -> tuple[dict[Case, Effect], dict[Case, str]]:
    """The change in time of each case that has one, and why the others have none."""
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
    return effects, refused


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


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict and the error chance its interval was drawn with."""

    verdict: Verdict
    alpha: float
    cycles: float | None = None
    """Ratio of clock cycles, where a change of time was taken back because they did not change."""
    clocks: float | None = None
    """Head's clock over base's, where two stored runs were measured at unlike ones."""
    by: By = "time"
    yardstick: float | None = None
    """As of `Comparison`."""


def decide(effects: Mapping[Case, Effect], *, max_slowdown: float, alpha: float) -> dict[Case, Decision]:
    """Verdicts over all cases, each kind's false claims held below ``alpha`` in the family (Holm's step-down)."""
    bound = math.log1p(max_slowdown)
    claims: dict[Verdict, dict[Case, float]] = {
        "slower": {c: e.chance_of(0.0) for c, e in effects.items()},
        "faster": {c: mirrored(e).chance_of(0.0) for c, e in effects.items()},
        "same": {c: max(e.chance_of(-bound), mirrored(e).chance_of(-bound)) for c, e in effects.items()},
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
    return math.exp(min(needed + float(special.stdtrit(effect.degrees, power)) * effect.standard_error, LARGEST_LOG))


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
        by=decision.by,
        yardstick=decision.yardstick,
        reason=_explained(decision, effect, interval, smallest, max_slowdown),
    )


def _explained(
    decision: Decision, effect: Effect, interval: tuple[float, float], smallest: float, max_slowdown: float
) -> str:
    change = f"{math.expm1(effect.log_ratio):+.2%} [{interval[0] - 1:+.2%}, {interval[1] - 1:+.2%}]"
    from_what = f"from {effect.count} {effect.unit}s" + (" a side" if effect.unit != "pair" else "")
    if decision.yardstick is not None:
        told = "as ratios to the yardstick" if decision.by == "yardstick" else "in time"
        from_what += f", {told} (the yardstick itself changed by {decision.yardstick - 1:+.1%})"
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


def _with_clocks(
    decision: Decision, sides: tuple[Result, Result], max_slowdown: float, *, historical: bool, clocked: bool
) -> Decision:
    """The decision after a look at the clocks; the yardstick ran at the case's own clock, whichever that was."""
    if decision.by == "yardstick":
        return decision
    if clocked:
        return _clock_checked(decision, *sides, max_slowdown, interleaved=not historical)
    return _clocks_compared(decision, *sides, max_slowdown) if historical else decision


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
    toward = cycles if decision.verdict == "slower" else mirrored(cycles)
    if toward.log_ratio > math.log1p(max_slowdown) and toward.chance_of(0.0) < decision.alpha:
        return decision
    return dataclasses.replace(decision, verdict="inconclusive", cycles=math.exp(cycles.log_ratio))


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
        return dataclasses.replace(decision, verdict="inconclusive", clocks=apart)
    checked = _clock_checked(decision, base, head, max_slowdown, interleaved=False)
    return dataclasses.replace(checked, clocks=apart)


def _typical_clock_hz(result: Result) -> float | None:
    """Of the trials that show one; None where none does."""
    known = [clock for clock in map(_clock_hz, result.trials) if clock is not None]
    return float(np.median(known)) if known else None


def _clock_hz(trial: Trial) -> float | None:
    clocks_hz = [reading.clock_hz for reading in trial.telemetry if reading.clock_hz]
    return float(np.mean(clocks_hz)) if clocks_hz else None


def _log_cycles(trial: Trial) -> float:
    return log_median(trial) + math.log(_clock_hz(trial) or 1.0)
