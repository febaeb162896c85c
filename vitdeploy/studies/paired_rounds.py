"""Ratios and exponents of cases that took turns: the round is the unit, since its trials shared the machine's minute.

Every round of a run times each case once, in a fresh process. What differs between rounds is the machine, and a
ratio or a slope taken within each round is free of it.

Source: a randomized block design, rounds being the blocks; Kalibera & Jones, ISMM 2013, for the fresh process as the
level that is repeated.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vitdeploy.results import stats
from vitdeploy.results.record import Result, Run


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
    rows = len(run.results)
    return {trial.order // rows: float(np.median(trial.samples_ns)) / 1e6 for trial in result.trials}


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


def ratio(over: Mapping[int, float], under: Mapping[int, float]) -> Estimate | None:
    """How many times longer the one takes than the other, from the ratio within each round; None without any."""
    return typical([over[index] / under[index] for index in sorted(over.keys() & under.keys())])


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


def crossing(over: Mapping[int, Mapping[int, float]], under: Mapping[int, Mapping[int, float]]) -> Crossing:
    """Where ``over`` begins to take longer than ``under``, straight lines between the sizes on logarithmic axes.

    Each round has a crossing of its own, its last one from below; the estimate is over rounds.
    """
    shared = sorted(over.keys() & under.keys())
    ratios = [(size, estimate.value) for size in shared if (estimate := ratio(over[size], under[size])) is not None]
    if not ratios:
        return Crossing()
    sizes = [size for size, _ in ratios]
    rounds = sorted(set[int]().union(*(over[size].keys() & under[size].keys() for size in sizes)))
    places = [place for index in rounds if (place := _last_crossing(over, under, sizes, index)) is not None]
    return Crossing(
        at=typical(places) if len(places) * 2 > len(rounds) else None,
        rounds=len(rounds),
        missed=len(rounds) - len(places),
        ends=(ratios[0], ratios[-1]),
    )


def _last_crossing(
    over: Mapping[int, Mapping[int, float]], under: Mapping[int, Mapping[int, float]], sizes: Sequence[int], index: int
) -> float | None:
    """Pixels at which the log ratio of one round crosses zero upwards for the last time."""
    logs = [
        (math.log(size), math.log(over[size][index] / under[size][index]))
        for size in sizes
        if index in over[size] and index in under[size]
    ]
    place: float | None = None
    for (x0, y0), (x1, y1) in itertools.pairwise(logs):
        if y0 <= 0 < y1:
            place = math.exp(x0 + (x1 - x0) * -y0 / (y1 - y0))
    return place
