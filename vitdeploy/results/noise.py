"""Noise of a row by its causes: what the trials say of who disturbed them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from vitdeploy.catalog.fact_table import TrialFacts

LEAST_STOLEN = 0.01
"""Share of stolen time that is told. Source: /proc/stat counts in ticks of 10 ms: a second of two cores has 200."""

LEAST_PRESSURE = 0.1
"""Share of time with a waiting task that is told where nothing else is."""

LEAST_SHARE = 0.2
"""A level that fewer of the samples are at is a disturbance, not a level."""

LEAST_STEP = 0.1
"""Levels nearer than this are one."""

SEPARATED = 0.8
"""Share of the samples' variance that two levels explain. Source: Otsu, "A threshold selection method", 1979, η*; a
normal distribution that is split at its median gives 2/π = 0.64, a uniform one 0.75."""


def causes(facts: Sequence[TrialFacts], blocks: Sequence[ArrayLike]) -> list[str]:
    """Causes in words, most telling first; empty where none is visible.

    Args:
        facts: of each trial.
        blocks: samples of each trial in nanoseconds.
    """
    words: list[str] = []
    stolen = [share for fact in facts if (share := fact.stolen) is not None]
    if stolen and max(stolen) >= LEAST_STOLEN:
        words.append(f"the hypervisor took up to {max(stolen):.0%} of the cores' time")
    stops = [count for fact in facts if (count := fact.quota_stops)]
    if stops:
        words.append(f"the container's CPU quota stopped the process {sum(stops)} times")
    others = [_named(text) for fact in facts if (text := fact.busiest_other)]
    if others:
        cores, name = max(others)
        words.append(f"another process used up to {cores:.1f} cores ({name})")
    levels = [pair for block in blocks if (pair := two_levels(block)) is not None]
    if len(levels) * 2 > len(blocks):
        low, high = (float(np.median([pair[place] for pair in levels])) / 1e6 for place in (0, 1))
        words.append(f"two levels, {low:.3g} and {high:.3g} ms: a neighbor on the same core, or two clocks")
    waiting = [share for fact in facts if (share := fact.pressure) is not None]
    if not words and waiting and max(waiting) >= LEAST_PRESSURE:
        words.append(f"tasks waited for a core up to {max(waiting):.0%} of the time")
    return words


def two_levels(samples: ArrayLike) -> tuple[float, float] | None:
    """The two levels that samples lie at, lower one first; None where they do not lie at two.

    The split is the one that explains most variance of the logarithms. Source: Otsu 1979.
    """
    values = np.sort(np.asarray(samples, dtype=np.float64))
    count = values.size
    least = max(3, int(np.ceil(LEAST_SHARE * count)))
    if count < 2 * least:
        return None
    logs = np.log(values)
    total = float(np.var(logs))
    if total == 0:
        return None
    sums = np.cumsum(logs)
    lower = np.arange(least, count - least + 1)
    means = sums[lower - 1] / lower, (sums[-1] - sums[lower - 1]) / (count - lower)
    explained = lower * (count - lower) / count**2 * (means[1] - means[0]) ** 2 / total
    best = int(np.argmax(explained))
    split = int(lower[best])
    low, high = float(np.median(values[:split])), float(np.median(values[split:]))
    if explained[best] < SEPARATED or high / low - 1 < LEAST_STEP:
        return None
    return low, high


def _named(text: str) -> tuple[float, str]:
    """Cores and name of ``cargo 0.60``."""
    name, _, cores = text.rpartition(" ")
    try:
        return float(cores), name
    except ValueError:
        return 0.0, text
