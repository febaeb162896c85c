"""Paired times of two files: their medians, the ratio, and its interval, as the studies print them."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from vitdeploy import units
from vitdeploy.results import stats

HEADS = ("faster", "95 % interval")


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedTimes:
    """Two files that were timed in turns."""

    first_ms: float
    second_ms: float
    ratio: float
    """First over second: above 1, the second is faster."""
    interval: tuple[float, float] | None
    """Student's t over the logarithms of the pairs' ratios; None: too few pairs."""

    @property
    def cells(self) -> tuple[str, str]:
        """Under `HEADS`."""
        low, high = self.interval or (None, None)
        return f"{self.ratio:.2f}x", units.interval(low, high, self.ratio)


def compare(first_ms: Sequence[float], second_ms: Sequence[float]) -> PairedTimes:
    """Both files' times, pair by pair."""
    ratios = [[first / second] for first, second in zip(first_ms, second_ms, strict=True)]
    return PairedTimes(
        first_ms=statistics.median(first_ms),
        second_ms=statistics.median(second_ms),
        ratio=stats.median_of_medians(ratios),
        interval=stats.median_interval(ratios),
    )
