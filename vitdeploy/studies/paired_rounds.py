"""Ratios and exponents of interleaved cases: the round is the unit, since its trials shared the machine's minute.

Every round of a run times each case once, in a fresh process. What differs between rounds is the machine, and a
ratio or a slope taken within each round is free of it. Where the processes of a round took turns, a ratio is taken turn
by turn, and is free of what differs within the round too.

Source: a randomized block design, rounds being the blocks; Kalibera & Jones, ISMM 2013, for the fresh process as the
level that is repeated.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vitdeploy.results import effects, stats
from vitdeploy.results.record import By, Result, Run, Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number and how well it is known."""

    value: float
    interval: tuple[float, float] | None
    """95 %, Student's t over rounds; None below three."""
    rounds: int


def latencies(run: Run, result: Result) -> dict[int, float]:
    """Round → the trial's median latency in ms; empty for a row that may not be quoted."""
    if result.status != "valid":
        return {}
    return {index: stats.median(trial.samples_ns) / 1e6 for index, trial in _by_round(run, result).items()}


def summed(parts: Sequence[Mapping[int, float]]) -> dict[int, float]:
    """Round → the sum of what several files take one after the other; rounds that lack one are left out."""
    if not parts:
        return {}
    shared = set(parts[0]).intersection(*parts[1:])
    return {index: sum(part[index] for part in parts) for index in sorted(shared)}


def typical(values: Sequence[float]) -> Estimate | None:
    """Geometric mean over rounds; None without any."""
    if not values:
        return None
    logs = mean([math.log(value) for value in values])
    interval = None if logs.interval is None else (math.exp(logs.interval[0]), math.exp(logs.interval[1]))
    return Estimate(value=math.exp(logs.value), interval=interval, rounds=logs.rounds)


def ratios(run: Run, over: Sequence[Result], under: Sequence[Result]) -> dict[int, float]:
    """Round → how many times longer the one takes than the other, each one file or several, one after the other.

    Empty where a row may not be quoted; rounds that lack a trial are left out.
    """
    rows = (*over, *under)
    if not over or not under or any(row.status != "valid" for row in rows):
        return {}
    by_round = [_by_round(run, row) for row in rows]
    together = _took_turns(run, rows)
    shared = set(by_round[0]).intersection(*by_round[1:])
    divided: dict[int, float] = {}
    for index in sorted(shared):
        trials = [trials[index] for trials in by_round]
        above, below = trials[: len(over)], trials[len(over) :]
        divided[index] = math.exp(effects.log_change(below, above, by_turns=together))
    return divided


def way(run: Run, rows: Sequence[Result]) -> By:
    """Whether the trials of these rows took turns together in every round."""
    together = _took_turns(run, rows) and all(trial.turns is not None for row in rows for trial in row.trials)
    return "turns" if together else "trials"


def _took_turns(run: Run, rows: Sequence[Result]) -> bool:
    """Whether the rows are in one group, whose trials of a round took turns."""
    cases = [row.case for row in rows]
    groups = [[run.results[place].case for place in group.rows] for group in run.groups if group.turn_s is not None]
    return any(all(case in members for case in cases) for members in groups)


def _by_round(run: Run, result: Result) -> dict[int, Trial]:
    rows = len(run.results)
    return {trial.order // rows: trial for trial in result.trials}


def mean(values: Sequence[float]) -> Estimate:
    """Arithmetic mean over rounds."""
    interval = stats.mean_interval(values)
    return Estimate(value=float(np.mean(values)), interval=interval, rounds=len(values))


def exponent(series: Mapping[int, Mapping[int, float]]) -> Estimate | None:
    """The power of size that time grows with: the slope of log time over log size, fitted within each round.

    Args:
        series: size (pixels) → round → latency.

    None below three sizes, or without a round that has them all.
    """
    if len(series) < 3:
        return None
    sizes = sorted(series)
    shared = set(series[sizes[0]]).intersection(*(series[size] for size in sizes))
    if not shared:
        return None
    across = np.log(sizes)
    slopes = [float(np.polyfit(across, np.log([series[size][index] for size in sizes]), 1)[0]) for index in shared]
    return mean(slopes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """The size at which two series take the same time."""

    at: Estimate | None = None
    """Pixels; None where they do not cross, or not in enough rounds."""
    rounds: int = 0
    missed: int = 0
    """Rounds that do not cross."""
    ends: tuple[tuple[int, float], tuple[int, float]] | None = None
    """Smallest and largest size that were measured with both, and the ratio of the times there; None: there is none."""


def crossing(over_under: Mapping[int, Mapping[int, float]]) -> Crossing:
    """Where one series begins to take longer than another, straight lines between the sizes on logarithmic axes.

    Each round has a crossing of its own, its last one from below; the estimate is over rounds.

    Args:
        over_under: size (pixels) → round → the one's time over the other's, as of `ratios`.
    """
    estimates = {size: typical(list(over_under[size].values())) for size in sorted(over_under)}
    known = [(size, estimate.value) for size, estimate in estimates.items() if estimate is not None]
    if not known:
        return Crossing()
    sizes = [size for size, _ in known]
    rounds = sorted(set[int]().union(*(over_under[size] for size in sizes)))
    places = [place for index in rounds if (place := _last_crossing(over_under, sizes, index)) is not None]
    return Crossing(
        at=typical(places) if len(places) * 2 > len(rounds) else None,
        rounds=len(rounds),
        missed=len(rounds) - len(places),
        ends=(known[0], known[-1]),
    )


def _last_crossing(over_under: Mapping[int, Mapping[int, float]], sizes: Sequence[int], index: int) -> float | None:
    """Pixels at which the log ratio of one round crosses zero upwards for the last time."""
    logs = [(math.log(size), math.log(over_under[size][index])) for size in sizes if index in over_under[size]]
    place: float | None = None
    for (x0, y0), (x1, y1) in itertools.pairwise(logs):
        if y0 <= 0 < y1:
            place = math.exp(x0 + (x1 - x0) * -y0 / (y1 - y0))
    return place
