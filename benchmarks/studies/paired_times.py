"""Paired times of two files or loops: their medians, the ratio, and its interval, as the studies print them."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from vitdeploy import units
from vitdeploy.results import stats

HEADS = ("faster", "95 % interval")


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedTimes:
    """Two sides that were timed in pairs."""

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
    """Both sides' times, pair by pair."""
    ratios = [first / second for first, second in zip(first_ms, second_ms, strict=True)]
    return of_ratios(statistics.median(first_ms), statistics.median(second_ms), ratios)


def of_ratios(first_ms: float, second_ms: float, ratios: Sequence[float]) -> PairedTimes:
    """Both sides' typical times, and the ratio of each pair."""
    return PairedTimes(
        first_ms=first_ms,
        second_ms=second_ms,
        ratio=stats.geometric_mean(ratios),
        interval=stats.interval_of_medians(ratios),
    )
