"""What heat does to a figure: the burst, the figure after a long load, and when it began to slow down.

Pure functions over the samples of trials that were measured with ``--sustained``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WINDOW_S = 1.0
"""Samples are looked at in windows of this time. Source: a choice; a median of a second hides single hiccups."""

SLOWER = 1.03
"""A window slower than the burst by more than this counts as slowed down.

Source: a choice, three times the 1 % by which window medians of a machine that keeps its clock differ here.
"""

LAST_SHARE = 0.1
"""The sustained figure is the median of the last tenth of the time, and at least of `WINDOW_S`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heat:
    """One trial under a long load."""

    burst_ns: float
    sustained_ns: float
    slowed_after_s: float | None
    """When the first window began from which on all were slower than the burst; None: it did not slow down."""


def of_trial(samples_ns: Sequence[int], *, burst_s: float, streams: int = 1) -> Heat | None:
    """The heat of one trial; None where it was too short to have a burst and an end of their own.

    Args:
        samples_ns: in the order taken.
        streams: how many were in flight at once: time passes that much faster than their sum.
        burst_s: the burst is the median of the samples that ended within this time: what a usual trial measures.
    """
    samples: NDArray[np.float64] = np.asarray(samples_ns, dtype=np.float64)
    if not samples.size:
        return None
    ends = np.cumsum(samples) / 1e9 / streams
    total_s = float(ends[-1])
    tail_s = max(WINDOW_S, LAST_SHARE * total_s)
    if total_s < burst_s + tail_s:
        return None
    burst = samples[ends <= burst_s]
    tail = samples[ends > total_s - tail_s]
    if not burst.size or not tail.size:
        return None
    burst_ns = float(np.median(burst))
    return Heat(
        burst_ns=burst_ns,
        sustained_ns=float(np.median(tail)),
        slowed_after_s=_slowed_after(samples, ends, burst_ns, burst_s),
    )


def of_trials(trials: Sequence[Sequence[int]], *, burst_s: float, streams: int = 1) -> Heat | None:
    """The typical trial's heat; it slowed down where most trials did. None: no trial was long enough."""
    every = (of_trial(samples, burst_s=burst_s, streams=streams) for samples in trials)
    heats = [heat for heat in every if heat is not None]
    if not heats:
        return None
    times = [heat.slowed_after_s for heat in heats if heat.slowed_after_s is not None]
    return Heat(
        burst_ns=float(np.median([heat.burst_ns for heat in heats])),
        sustained_ns=float(np.median([heat.sustained_ns for heat in heats])),
        slowed_after_s=float(np.median(times)) if 2 * len(times) > len(heats) else None,
    )


def _slowed_after(
    samples: NDArray[np.float64], ends: NDArray[np.float64], burst_ns: float, burst_s: float
) -> float | None:
    windows = np.floor(ends / WINDOW_S).astype(np.int64)
    slowed: float | None = None
    for window in np.unique(windows[ends > burst_s]):
        if float(np.median(samples[windows == window])) <= SLOWER * burst_ns:
            slowed = None
        elif slowed is None:
            slowed = float(window) * WINDOW_S
    return slowed
