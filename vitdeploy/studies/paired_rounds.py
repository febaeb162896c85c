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

CONFIDENCE = 0.95


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
    found = mean([math.log(value) for value in values])
    interval = None if found.interval is None else (math.exp(found.interval[0]), math.exp(found.interval[1]))
    return Estimate(value=math.exp(found.value), interval=interval, rounds=found.rounds)


def ratio(over: Mapping[int, float], under: Mapping[int, float]) -> Estimate | None:
    """How many times longer the one takes than the other, from the ratio within each round; None without any."""
    return typical([over[index] / under[index] for index in sorted(over.keys() & under.keys())])


def mean(values: Sequence[float]) -> Estimate:
    """Arithmetic mean over rounds."""
    count = len(values)
    center = float(np.mean(values))
    if count < stats.FEWEST_FOR_INTERVAL:
        return Estimate(value=center, interval=None, rounds=count)
    half = stats.student_t(CONFIDENCE, count - 1) * float(np.std(values, ddof=1)) / math.sqrt(count)
    return Estimate(value=center, interval=(center - half, center + half), rounds=count)


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

    at: Estimate | None
    """Pixels; None where they do not cross, or not in enough rounds."""
    words: str
    """What was seen, where there is no number."""


def crossing(over: Mapping[int, Mapping[int, float]], under: Mapping[int, Mapping[int, float]]) -> Crossing:
    """Where ``over`` begins to take longer than ``under``, straight lines between the sizes on logarithmic axes.

    Each round has a crossing of its own, its last one from below; the estimate is over rounds.
    """
    sizes = sorted(over.keys() & under.keys())
    if not sizes:
        return Crossing(at=None, words="no size was measured with both")
    ratios = {size: ratio(over[size], under[size]) for size in sizes}
    known = [size for size in sizes if ratios[size] is not None]
    if not known:
        return Crossing(at=None, words="no size was measured with both")
    indices = set[int]().union(*(over[size].keys() & under[size].keys() for size in known))
    found = [place for index in sorted(indices) if (place := _last_crossing(over, under, known, index)) is not None]
    least, most = known[0], known[-1]
    if len(found) * 2 > len(indices):
        told = typical(found)
        missed = len(indices) - len(found)
        return Crossing(at=told, words=f"{missed} of {len(indices)} rounds do not cross" if missed else "")
    first, last = ratios[least], ratios[most]
    assert first is not None
    assert last is not None
    ends = f"{first.value:.2f} times as long at {least**0.5:g}², {last.value:.2f} times at {most**0.5:g}²"
    where = "below" if first.value > 1 and last.value > 1 else "above" if last.value < 1 else "more than once, or not,"
    return Crossing(at=None, words=f"{where} what was measured: the one takes {ends}")


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
