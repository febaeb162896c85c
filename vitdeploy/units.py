"""One formatter per dimension; one unit and precision chosen per column, so that columns compare."""

import math
from collections.abc import Sequence

MISSING = "–"
"""Shown where there is no figure; the row's reasons say why."""


def milliseconds(values: Sequence[float | None]) -> list[str]:
    """A column of times in ms, three significant digits of its smallest value, at most 3 decimals."""
    positive = [abs(v) for v in values if v is not None and math.isfinite(v) and v > 0]
    decimals = _decimals(min(positive)) if positive else 0
    return [MISSING if v is None else f"{v:.{decimals}f}" for v in values]


def interval(low: float | None, high: float | None, like: float) -> str:
    """``lo … hi`` with the precision that ``like`` is shown with."""
    if low is None or high is None:
        return MISSING
    decimals = _decimals(like)
    return f"{low:.{decimals}f} … {high:.{decimals}f}"


def count(value: float) -> str:
    """Parameters or MACs with the suffix the papers use: 0.7M, 4.4G."""
    for bound, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "K")):
        if abs(value) >= bound:
            scaled = value / bound
            return f"{scaled:.{1 if scaled < 100 else 0}f}{suffix}"
    return f"{value:.0f}"


def size_bytes(value: float) -> str:
    """Bytes in binary multiples: 2.8 MiB."""
    for bound, suffix in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if abs(value) >= bound:
            return f"{value / bound:.1f} {suffix}"
    return f"{value:.0f} B"


def seconds(value: float) -> str:
    """A duration for people: 0.8 s, 42 s, 3 min 5 s."""
    if value < 10:
        return f"{value:.1f} s"
    if value < 120:
        return f"{value:.0f} s"
    return f"{int(value // 60)} min {int(value % 60)} s"


def percent(ratio: float, decimals: int = 1) -> str:
    """A ratio as a signed change: 1.021 → +2.1 %."""
    return f"{(ratio - 1) * 100:+.{decimals}f} %"


def metric(value: float | None, unit: str) -> str:
    """An accuracy with its unit: percent and decibels with three decimals, plain numbers with four."""
    return MISSING if value is None else f"{value:.3f} {unit}" if unit else f"{value:.4f}"


def signed_metric(value: float | None, unit: str) -> str:
    """A difference of accuracies with its sign."""
    return MISSING if value is None else f"{value:+.3f} {unit}" if unit else f"{value:+.4f}"


def _decimals(value: float) -> int:
    """Decimals that show three significant digits of ``value``, between 0 and 3."""
    if value <= 0 or not math.isfinite(value):
        return 0
    return min(3, max(0, 2 - math.floor(math.log10(value))))
