"""Was a trial steady, still warming up, or drifting? A robust change-point test on its raw samples.

The samples are cut into at most `MOST_SEGMENTS` equal segments; the medians of the segments are
partitioned optimally into pieces of constant level, and the levels decide. Only a change of level
that is both significant and of practical size (`CHANGE`) counts. numpy only: the worker carries it.

Source: the segmentation and the classes follow Barrett et al., "Virtual Machine Warmup Blows Hot
and Cold", OOPSLA 2017, arXiv 1602.00602, section 4; the rates at which each label is given to
simulated signals are measured in tests/results/test_steady.py.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Steadiness = Literal["steady", "warming", "drifting"]
Floats = NDArray[np.float64]

CHANGE = 0.05
"""Levels that differ by less are one level.

Source: peers.md D.1, MLPerf Mobile 4.0: results must repeat within 5 %. What is smaller shows in the
interval, which comes from trials and not from samples.
"""

RETURNING = 0.5
"""A series whose levels go up and down, each in sum by this share of their range, is noisy and not on its way.

Shared machines switch between two clocks or two neighbors several times a second: that widens the
interval of a row, but no longer warm-up would help. Source: measured on two shared virtual cores, where
single-threaded EfficientViT-B1 takes 25 or 37 ms in alternation, without a sign of it in /proc/stat.
"""

LEAST_SHARE = 1 / 8
"""A level that holds for a smaller share of the samples is a disturbance: it hardly moves the trial's median."""

MOST_SEGMENTS = 32
FEWEST_SAMPLES = 6
"""Fewer samples say nothing about change, and are called steady."""

PENALTY = 6.0
"""Cost of one more piece, times the logarithm of the number of segments, in squared deviations.

Source: a Schwarz-type penalty (Killick, Fearnhead & Eckley, "Optimal Detection of Changepoints",
JASA 2012, has 2; Haynes et al. 2017 say why it must be larger when the noise is not white). This
factor keeps false alarms on flat noise of 2 % at or below about 2 %: tests/results/test_steady.py.
"""

LARGEST_CORRELATION = 0.9
"""Estimates above this are cut: (1 + ρ) / (1 − ρ) would grow without bound."""

_NORMAL_MAD = 1.4826
"""Median absolute deviation of a normal variable → its standard deviation."""


def classify(samples_ns: "Sequence[int] | NDArray[np.int64]") -> Steadiness:
    """What the samples of one trial, in the order taken, say of its state.

    ``warming``: it became faster, and the last level is the fastest. ``drifting``: it is on its way in
    another manner. Noise, spikes, and levels that are left and come back to are ``steady``.
    """
    logs = np.log(np.maximum(np.asarray(samples_ns, dtype=np.float64), 1.0))
    if logs.size < FEWEST_SAMPLES:
        return "steady"
    bound = float(np.log1p(CHANGE))
    if np.ptp(logs) <= bound:
        return "steady"  # no levels of these samples differ by more
    segments = _segment_medians(logs)
    if np.ptp(segments) <= bound:
        return "steady"
    pieces = _partition(_running_median(segments), _noise(logs, segments))
    levels = np.array([float(np.median(segments[start:stop])) for start, stop in pieces])
    extent = float(np.ptp(levels))
    moves = np.diff(levels)
    up, down = float(moves[moves > 0].sum()), float(-moves[moves < 0].sum())
    if extent <= bound or min(up, down) >= RETURNING * extent:
        return "steady"
    return "warming" if down > up and levels[-1] <= levels.min() + bound else "drifting"


def _segment_medians(logs: Floats) -> Floats:
    """Medians of equal consecutive segments: single spikes vanish, levels stay."""
    count = min(MOST_SEGMENTS, logs.size // 3 if logs.size >= 30 else logs.size)
    length, longer = divmod(logs.size, count)
    split = longer * (length + 1)  # the first segments are longer by one, as those of np.array_split
    parts = (logs[:split].reshape(longer, length + 1), logs[split:].reshape(count - longer, length))
    return np.concatenate([np.median(part, axis=1) for part in parts if part.size])


def _running_median(values: Floats) -> Floats:
    """Running median of three, which removes isolated outliers and keeps steps. Source: Tukey, EDA, 1977, ch. 7."""
    padded = np.concatenate([values[:1], values, values[-1:]])
    return np.median(np.stack([padded[:-2], padded[1:-1], padded[2:]]), axis=0)


def _noise(logs: Floats, segments: Floats) -> float:
    """Standard deviation of a segment's level when nothing changes, from differences that a level cancels out of.

    Two estimates, the larger counts: from neighboring segments; and from samples one and two apart,
    whose variances give the correlation of a first-order autoregressive process, 1 + ρ = D₂ / D₁.
    """
    between = _deviation(np.diff(segments)) / np.sqrt(2)
    lag_one, lag_two = _deviation(np.diff(logs)), _deviation(logs[2:] - logs[:-2])
    rho = float(np.clip((lag_two / lag_one) ** 2 - 1, 0, LARGEST_CORRELATION)) if lag_one else 0.0
    sample = lag_one / np.sqrt(2 * (1 - rho))
    length = logs.size / segments.size
    inflation = np.pi / 2 * (1 + rho) / (1 - rho)  # a median scatters more than a mean, by π / 2
    within = sample * min(1.0, float(np.sqrt(inflation / length)))
    return float(max(between, within, 1e-9))


def _deviation(differences: Floats) -> float:
    """Spread about the median difference: a straight trend is no noise either."""
    return _NORMAL_MAD * float(np.median(np.abs(differences - np.median(differences))))


def _partition(values: Floats, noise: float) -> list[tuple[int, int]]:
    """The pieces of constant level, each at least `LEAST_SHARE` long, of least squared error plus penalty.

    Source: optimal partitioning by dynamic programming, Jackson et al., IEEE Signal Processing
    Letters 2005; with at most `MOST_SEGMENTS` points pruning is not worth its lines.
    """
    scaled = (values - values.mean()) / noise
    sums, squares = np.concatenate([[0.0], np.cumsum(scaled)]), np.concatenate([[0.0], np.cumsum(scaled**2)])
    penalty = PENALTY * np.log(values.size)
    shortest = max(2, int(np.ceil(LEAST_SHARE * values.size)))
    best, previous = np.full(values.size + 1, np.inf), np.zeros(values.size + 1, dtype=int)
    best[0] = -penalty
    for stop in range(shortest, values.size + 1):
        starts = np.arange(stop - shortest + 1)
        error = squares[stop] - squares[starts] - (sums[stop] - sums[starts]) ** 2 / (stop - starts)
        costs = best[starts] + error + penalty
        previous[stop] = int(np.argmin(costs))
        best[stop] = costs[previous[stop]]
    pieces: list[tuple[int, int]] = []
    stop = values.size
    while stop > 0:
        pieces.append((int(previous[stop]), stop))
        stop = int(previous[stop])
    return pieces[::-1]
