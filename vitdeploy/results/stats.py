"""Quantiles and intervals of latencies, as pure functions of raw samples.

A *block* is what one trial (fresh process) sampled. Samples inside one process are not independent,
so every interval treats the block as the unit; see docs/numbers.md.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special  # the distributions' own functions: scipy.stats costs a second to import

FEWEST_FOR_INTERVAL = 3
"""Below three blocks there is no interval worth the name. Source: contract, "A run"."""


def median(samples: ArrayLike) -> float:
    """As ``np.median`` gives it for numbers, in a tenth of its time for a trial's samples."""
    values = np.sort(np.asarray(samples, dtype=np.float64))
    return float((values[(values.size - 1) // 2] + values[values.size // 2]) / 2)


def median_of_medians(blocks: Sequence[ArrayLike]) -> float:
    """Geometric mean of the blocks' medians: the estimate whose interval `median_interval` gives."""
    return geometric_mean([median(block) for block in blocks])


def geometric_mean(values: ArrayLike) -> float:
    """The mean of ratios: of values whose logarithms are compared."""
    return float(np.exp(np.mean(np.log(values))))


def median_interval(
    blocks: Sequence[ArrayLike], confidence: float = 0.95, *, resolution: float = 0.0
) -> tuple[float, float] | None:
    """Interval of the typical block's median: Student's t on the logarithms of the blocks' medians.

    The logarithm, because effects on latency are multiplicative and the ratio is what is compared.
    None below three blocks.

    Args:
        resolution: the step in which the samples are told; half of it is added at either end, since no number of
            blocks shows what lies between two steps.

    Source: Kalibera & Jones, "Rigorous Benchmarking in Reasonable Time", ISMM 2013: repeat at the
    level where the variance enters (here: the process) and report an interval from that level.
    """
    return interval_of_medians([median(block) for block in blocks], confidence, resolution=resolution)


def interval_of_medians(
    medians: Sequence[float], confidence: float = 0.95, *, resolution: float = 0.0
) -> tuple[float, float] | None:
    """As `median_interval`, from medians that are known."""
    logs = np.log(medians)
    interval = mean_interval(logs, confidence)
    if interval is None:
        return None
    rounding = log_rounding(resolution, math.exp(float(np.mean(logs))))
    return math.exp(interval[0] - rounding), math.exp(interval[1] + rounding)


def resolution(blocks: Sequence[Sequence[int]]) -> int:
    """The step in which integer samples are told, from the samples themselves; 0: no step is seen.

    Where most values of a block occur several times, it is the smallest distance between two of them; else the largest
    number that divides all samples. Where all samples are equal, that is their value: nothing is known of the step but
    that it hides all noise.
    """
    gaps: list[int] = []
    for block in blocks:
        if len(set(block[:_LOOKED_AT])) > len(block[:_LOOKED_AT]) / 2:
            continue
        values = np.unique(np.asarray(block, dtype=np.int64))
        if 2 <= values.size <= len(block) / 2:
            gaps.append(int(np.diff(values).min()))
    step = min(gaps, default=0)
    if not step:
        for block in blocks:
            step = math.gcd(step, *block)
            if step == 1:
                break
    return step if step > 1 else 0


_LOOKED_AT = 64
"""Of a block's samples: enough to see that most of them differ, as with a clock of nanoseconds."""


_MOST_ROUNDED = 0.99
"""A step of twice the value or more could have hidden any value down to nothing."""


def log_rounding(resolution: float, value: float) -> float:
    """Largest error of a value that was rounded to a step, on the log scale; of a median of such values as well."""
    return -math.log1p(-min(resolution / (2 * value), _MOST_ROUNDED))


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> tuple[float, float] | None:
    """Interval of the mean of independent values: Student's t; None below `FEWEST_FOR_INTERVAL`."""
    sample = np.asarray(values, dtype=np.float64)
    if sample.size < FEWEST_FOR_INTERVAL:
        return None
    half = student_t(confidence, sample.size - 1) * float(np.std(sample, ddof=1)) / math.sqrt(sample.size)
    center = float(np.mean(sample))
    return center - half, center + half


def drift(samples: ArrayLike) -> float:
    """How far a series moved: log median of its last quarter minus that of its first."""
    logs = np.log(np.asarray(samples, dtype=np.float64))
    quarter = max(1, logs.size // 4)
    return float(np.median(logs[-quarter:]) - np.median(logs[:quarter]))


def scatter(blocks: Sequence[ArrayLike]) -> float:
    """Standard deviation of the blocks' log medians."""
    return float(np.std(_log_medians(blocks), ddof=1))


def half_share(interval: tuple[float, float]) -> float:
    """How far the ends of an interval are from its geometric middle, as a share of it."""
    return math.sqrt(interval[1] / interval[0]) - 1


TRIMMED = 0.2
"""Share of the values that a trimmed mean leaves out at either end. Source: Wilcox, "Introduction to Robust
Estimation and Hypothesis Testing", 2017, 3.3: a fifth keeps most of the mean's efficiency and resists bursts."""


def trimmed_mean(values: ArrayLike) -> float:
    """Mean of the values without the `TRIMMED` share of the smallest and of the largest ones."""
    known = np.sort(np.asarray(values, dtype=np.float64))
    cut = int(TRIMMED * known.size)
    return float(known[cut : known.size - cut].mean())


def student_t(confidence: float, degrees: int) -> float:
    """Two-sided quantile of Student's t: the interval is this many standard errors either way."""
    return float(special.stdtrit(degrees, (1 + confidence) / 2))


def percentile(blocks: Sequence[ArrayLike], probability: float) -> float | None:
    """Empirical percentile over all samples, or None where their effective count does not allow it."""
    return percentiles(blocks, (probability,))[0]


def percentiles(blocks: Sequence[ArrayLike], probabilities: Sequence[float]) -> list[float | None]:
    """Empirical percentiles over all samples, each None where their effective count does not allow it."""
    samples = np.concatenate([np.asarray(block, dtype=np.float64) for block in blocks])
    allowed = [fewest_samples(probability) <= samples.size for probability in probabilities]
    count = effective_count(blocks) if any(allowed) else 0.0
    return [
        float(np.quantile(samples, probability, method="higher")) if count >= fewest_samples(probability) else None
        for probability in probabilities
    ]


@functools.cache
def fewest_samples(probability: float, confidence: float = 0.99, exceeding: int = 1) -> int:
    """Least count of independent samples from which a percentile may be told.

    With this many, ``exceeding`` of them may lie above the percentile and it is still, with the
    given confidence, not above the reported order statistic: 44/64/81 for p90, 459/662/838 for p99
    at 0, 1, 2 exceeding samples.

    Source: MLPerf LoadGen's early stopping (``mlperf.conf`` uses 662 for p99).
    """
    count = exceeding + 1
    while float(special.bdtr(exceeding, count, 1 - probability)) > 1 - confidence:
        count += 1
    return count


def effective_count(blocks: Sequence[ArrayLike]) -> float:
    """How many independent samples the blocks are worth: Σ n(1−ρ)/(1+ρ), ρ the lag-1 autocorrelation.

    Source: the variance of the mean of a first-order autoregressive series; peers.md C.4 in the
    project's notes, and Priestley, "Spectral Analysis and Time Series", 5.3.2.
    """
    total = 0.0
    for block in blocks:
        rho = max(0.0, autocorrelation(block))
        total += np.size(block) * (1 - rho) / (1 + rho)
    return total


def autocorrelation(samples: ArrayLike) -> float:
    """Lag-1 autocorrelation by ranks, so that one spike does not hide it; 0 for constant or tiny samples."""
    values = np.asarray(samples, dtype=np.float64)
    if values.size < 4 or np.ptp(values) == 0:
        return 0.0
    order = np.argsort(values)
    ordered = values[order]
    new = np.concatenate([[True], ordered[1:] != ordered[:-1]])
    firsts = np.append(np.flatnonzero(new), values.size)
    ranks = np.empty(values.size)
    ranks[order] = ((firsts[:-1] + firsts[1:] + 1) / 2)[np.cumsum(new) - 1]  # ties share their mean rank
    centered = ranks - ranks.mean()
    return float(np.dot(centered[:-1], centered[1:]) / np.dot(centered, centered))


SHORTEST_SEGMENT = 3
"""A level that held for fewer values than this is an excursion, not a change."""

THRESHOLD = 1.3
"""Times σ·√(2 log n): what a step must exceed. Source: Fryzlewicz, "Wild binary segmentation for multiple
change-point detection", Annals of Statistics 42 (2014), section 4: C = 1.3 for unknown numbers of changes.
"""


def change_points(values: ArrayLike) -> list[int]:
    """Where the level of a series changes: the index of the first value of each new level.

    Binary segmentation by the largest standardized step, its noise estimated from the differences of neighbors, so
    that the steps themselves do not count as noise. NaN is not allowed.

    Source: Scott & Knott 1974 (binary segmentation); Hampel 1974 (median absolute deviation).
    """
    series = np.asarray(values, dtype=np.float64)
    if series.size < 2 * SHORTEST_SEGMENT:
        return []
    steps = np.diff(series)
    noise = 1.4826 * float(np.median(np.abs(steps - np.median(steps)))) / math.sqrt(2)
    limit = THRESHOLD * math.sqrt(2 * math.log(series.size)) * max(noise, np.finfo(np.float64).tiny)
    # A value far from its neighbors' median is drawn to it: a step keeps its height, a spike loses it.
    reach = SHORTEST_SEGMENT - 1
    near = np.lib.stride_tricks.sliding_window_view(np.pad(series, reach, mode="edge"), 2 * reach + 1)
    middle = np.median(near, axis=1)
    series = np.clip(series, middle - 3 * noise, middle + 3 * noise)
    totals = np.concatenate([[0.0], np.cumsum(series - series[0])])
    changes: list[int] = []
    waiting = [(0, int(series.size))]
    while waiting:
        begin, end = waiting.pop()
        at, size = _largest_step(totals, begin, end)
        if at is not None and size > limit:
            changes.append(at)
            waiting += [(begin, at), (at, end)]
    return sorted(changes)


def _largest_step(totals: NDArray[np.float64], begin: int, end: int) -> tuple[int | None, float]:
    """Where splitting a segment separates two levels most, and by how much of the noise of its means."""
    places = np.arange(begin + SHORTEST_SEGMENT, end - SHORTEST_SEGMENT + 1)
    if not places.size:
        return None, 0.0
    left, right = places - begin, end - places
    means = (totals[places] - totals[begin]) / left - (totals[end] - totals[places]) / right
    sizes = np.abs(means) * np.sqrt(left * right / (left + right))
    best = int(np.argmax(sizes))
    return int(places[best]), float(sizes[best])


def _log_medians(blocks: Sequence[ArrayLike]) -> NDArray[np.float64]:
    return np.log([median(block) for block in blocks])


def paired_proportions_interval(lost: int, won: int, pairs: int, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of the difference of two proportions of the same ``pairs`` cases.

    Args:
        lost: cases that only the first one got right.
        won: cases that only the second one got right.

    It does not shrink to a point where no case differs. Source: Bonett & Price, "Adjusted Wald confidence interval for
    a difference of binomial proportions based on paired data", J. Educ. Behav. Stat. 37 (2012).
    """
    first, second = (lost + 1) / (pairs + 2), (won + 1) / (pairs + 2)
    z = float(special.ndtri((1 + confidence) / 2))
    half = z * math.sqrt((first + second - (first - second) ** 2) / (pairs + 2))
    return first - second - half, first - second + half


RESAMPLES = 2000
"""Of a bootstrap. Source: Efron & Tibshirani 1993, 14.2: a thousand or more for intervals."""


def paired_bootstrap_interval(
    first: NDArray[Any],
    second: NDArray[Any],
    statistic: Callable[[NDArray[Any]], NDArray[Any]],
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[float, float] | None:
    """Interval of ``statistic`` of the first sums minus that of the second, the cases resampled in pairs.

    Args:
        first: what each case adds to the sums, ``(cases, …)``; ``second`` alike, for the same cases.
        statistic: of sums ``(resamples, …)``, one value each; NaN where it is not defined.

    None below `FEWEST_FOR_INTERVAL` cases. Source: the percentile bootstrap, Efron & Tibshirani 1993, 13.3.
    """
    cases = len(first)
    if cases < FEWEST_FOR_INTERVAL:
        return None
    generator = np.random.Generator(np.random.PCG64(seed))
    differences: list[NDArray[np.float64]] = []
    flat = [side.reshape(cases, -1).astype(np.float64) for side in (first, second)]
    for _ in range(RESAMPLES // _TOGETHER):
        drawn = generator.multinomial(cases, np.full(cases, 1 / cases), size=_TOGETHER).astype(np.float64)
        sums = [(drawn @ side).reshape(_TOGETHER, *first.shape[1:]) for side in flat]
        differences.append(statistic(sums[0]) - statistic(sums[1]))
    tail = (1 - confidence) / 2
    defined = np.concatenate(differences)
    defined = defined[~np.isnan(defined)]
    if not defined.size:
        return None
    low, high = np.quantile(defined, [tail, 1 - tail])
    return float(low), float(high)


_TOGETHER = 100
"""Resamples that are drawn at once: all of them would take 2000 times the memory of one."""


def jackknife_interval(estimate: float, left_out: ArrayLike, confidence: float = 0.95) -> tuple[float, float] | None:
    """Interval of an estimate from its values with one group of cases left out each time; None below three groups.

    Source: the delete-a-group jackknife; Kott, "The delete-a-group jackknife", J. Official Statistics 17 (2001).
    """
    values = np.asarray(left_out, dtype=np.float64)
    groups = values.size
    if groups < FEWEST_FOR_INTERVAL:
        return None
    variance = (groups - 1) / groups * float(np.sum((values - values.mean()) ** 2))
    half = student_t(confidence, groups - 1) * math.sqrt(variance)
    return estimate - half, estimate + half
