"""Was a trial steady, still warming up, or drifting? A robust change-point test on its raw samples.

The samples are cut into at most `MOST_SEGMENTS` equal segments; the medians of the segments are
partitioned optimally into pieces of constant level, and the levels decide. Only a change of level
that is both significant and of practical size (`CHANGE`) counts. numpy only: the worker carries it.

Source: the segmentation and the classes follow Barrett et al., "Virtual Machine Warmup Blows Hot
and Cold", OOPSLA 2017, arXiv 1602.00602, section 4; the rates at which each label is given to
simulated signals are measured in tests/results/test_steady.py.
"""

import functools
import math
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
    return classify_all([samples_ns])[0]


def classify_all(blocks: "Sequence[Sequence[int] | NDArray[np.int64] | Floats]") -> list[Steadiness]:
    """What `classify` says of the samples of each trial, in less time: most trials are steady at first sight."""
    logs = [np.log(np.maximum(np.asarray(samples, dtype=np.float64), 1.0)) for samples in blocks]
    # No levels differ by more than the samples do.
    open_places = [n for n, series in enumerate(logs) if series.size >= FEWEST_SAMPLES and np.ptp(series) > _BOUND]
    segments = {place: _segment_medians(logs[place]) for place in open_places}
    by_size: dict[int, list[int]] = {}
    for place, medians in segments.items():
        by_size.setdefault(medians.size, []).append(place)
    labels: list[Steadiness] = ["steady"] * len(blocks)
    for places in by_size.values():
        extents = _widest_extents(np.stack([segments[place] for place in places]))
        for place, extent in zip(places, extents, strict=True):
            if extent > _BOUND:
                labels[place] = _by_levels(logs[place], segments[place])
    return labels


_BOUND = float(np.log1p(CHANGE))


def _by_levels(logs: Floats, segments: Floats) -> Steadiness:
    pieces = _partition(_running_median(segments), _noise(logs, segments))
    levels = np.array([_median(segments[start:stop]) for start, stop in pieces])
    extent = float(np.ptp(levels))
    moves = np.diff(levels)
    up, down = float(moves[moves > 0].sum()), float(-moves[moves < 0].sum())
    if extent <= _BOUND or min(up, down) >= RETURNING * extent:
        return "steady"
    return "warming" if down > up and levels[-1] <= levels.min() + _BOUND else "drifting"


def _segment_medians(logs: Floats) -> Floats:
    """Medians of equal consecutive segments: single spikes vanish, levels stay."""
    count = min(MOST_SEGMENTS, logs.size // 3 if logs.size >= 30 else logs.size)
    length, longer = divmod(logs.size, count)
    split = longer * (length + 1)  # the first segments are longer by one, as those of np.array_split
    parts = (logs[:split].reshape(longer, length + 1), logs[split:].reshape(count - longer, length))
    return np.concatenate([_middle(np.sort(part, axis=1)) for part in parts if part.size])


def _widest_extents(segments: Floats) -> Floats:
    """What the levels of any partition differ by at most, for each row of segments; far cheaper than partitioning.

    A level is the median of a piece, and a piece consists of parts of `_shortest` to less than twice as many
    segments: its median lies between the least lower and the largest upper median of such parts.
    """
    rows, size = segments.shape
    shortest = _shortest(size)
    lowest, highest = np.full(rows, np.inf), np.full(rows, -np.inf)
    for length in range(shortest, min(2 * shortest, size + 1)):
        parts = np.sort(segments[:, _windows(size, length)], axis=2)
        lowest = np.minimum(lowest, parts[:, :, (length - 1) // 2].min(axis=1))
        highest = np.maximum(highest, parts[:, :, length // 2].max(axis=1))
    return highest - lowest


@functools.cache
def _windows(size: int, length: int) -> NDArray[np.int64]:
    """Indices of every ``length`` neighbors among ``size`` values, a row each."""
    return np.arange(size - length + 1)[:, None] + np.arange(length)


def _shortest(segments: int) -> int:
    """Segments of the shortest piece."""
    return max(2, math.ceil(LEAST_SHARE * segments))


def _median(values: Floats) -> float:
    """As ``np.median`` gives it for numbers, in a tenth of its time for short series."""
    return float(_middle(np.sort(values)))


def _middle(ordered: Floats) -> Floats:
    """The median along the last axis, which is in order."""
    length = ordered.shape[-1]
    return (ordered[..., (length - 1) // 2] + ordered[..., length // 2]) / 2


def _running_median(values: Floats) -> Floats:
    """Running median of three, which removes isolated outliers and keeps steps. Source: Tukey, EDA, 1977, ch. 7."""
    padded = np.concatenate([values[:1], values, values[-1:]])
    return np.sort(np.stack([padded[:-2], padded[1:-1], padded[2:]]), axis=0)[1]


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
    return _NORMAL_MAD * _median(np.abs(differences - _median(differences)))


def _partition(values: Floats, noise: float) -> list[tuple[int, int]]:
    """The pieces of constant level, each at least `LEAST_SHARE` long, of least squared error plus penalty.

    Source: optimal partitioning by dynamic programming, Jackson et al., IEEE Signal Processing
    Letters 2005; with at most `MOST_SEGMENTS` points pruning is not worth its lines.
    """
    scaled = (values - values.mean()) / noise
    sums, squares = np.concatenate([[0.0], np.cumsum(scaled)]), np.concatenate([[0.0], np.cumsum(scaled**2)])
    penalty = PENALTY * np.log(values.size)
    shortest = _shortest(values.size)
    places = np.arange(values.size + 1)
    lengths = np.maximum(places[:, None] - places, 1)
    errors = squares[:, None] - squares - (sums[:, None] - sums) ** 2 / lengths  # by stop and start of a piece
    best, previous = np.full(values.size + 1, np.inf), np.zeros(values.size + 1, dtype=int)
    best[0] = -penalty
    for stop in range(shortest, values.size + 1):
        costs = best[: stop - shortest + 1] + errors[stop, : stop - shortest + 1] + penalty
        start = int(costs.argmin())
        previous[stop], best[stop] = start, costs[start]
    pieces: list[tuple[int, int]] = []
    stop = values.size
    while stop > 0:
        pieces.append((int(previous[stop]), stop))
        stop = int(previous[stop])
    return pieces[::-1]
