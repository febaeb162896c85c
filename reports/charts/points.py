"""What the charts draw, as plain data: one mapping a mark, with its tooltip in words."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from vitdeploy import units
from vitdeploy.reports.report import ReportRow, medians_ms, variant

Points = list[dict[str, Any]]
"""Rows of a chart's data."""

STEPS = 100
"""The page carries this many equal steps of each trial's distribution; the run file every sample."""

FEWEST_STEPS = 10
MOST_QUANTILES = 60_000
"""Of all distributions together; where there are more trials, each has fewer steps: a page stays below 3 MB."""

CENTRAL = (0.05, 0.25, 0.75, 0.95)
"""Quantiles that the spread chart draws as its thin and thick bars."""

_SHORTEST = 0.15
"""A diagonal of equal speed that crosses less than this share of the chart is left out."""

_LAST_NAME = 0.2
"""Names at the bottom end this share before the right edge, where they would not fit."""


def latencies(rows: Sequence[ReportRow]) -> Points:
    """The median of each row over its arithmetic; the fastest point of each model carries its name as ``label``."""
    points = [_latency(row) for row in rows]
    _label_lowest(rows, points)
    return points


def bars(row: ReportRow) -> dict[str, Any]:
    """The row's central quantiles as distances from its median, in percent."""
    assert row.result.summary is not None
    median = row.result.summary.median_ms
    samples = np.concatenate([np.asarray(trial.samples_ns) for trial in row.result.trials]) / 1e6
    quantiles = np.quantile(samples, CENTRAL)
    at = {name: _distance(value, median) for name, value in zip(("p05", "p25", "p75", "p95"), quantiles, strict=True)}
    return {
        "case": row.label,
        "family": row.family,
        "said": _ms(median),
        "samples": f"{len(samples)}",
        "central": f"{_ms(quantiles[1])} … {_ms(quantiles[2])}",
        "wide": f"{_ms(quantiles[0])} … {_ms(quantiles[3])}",
        **at,
    }


def trials(row: ReportRow) -> Points:
    """Each trial's median as its distance from the row's median, in percent."""
    assert row.result.summary is not None
    return [
        {
            "case": row.label,
            "family": row.family,
            "order": trial.order + 1,
            "trial": f"{number}, the run's {trial.order + 1}.",
            "said": _ms(median),
            "distance": _distance(median, row.result.summary.median_ms),
            "steady": trial.steady,
        }
        for number, (trial, median) in enumerate(medians_ms(row.result), 1)
    ]


def steps(rows: Sequence[ReportRow]) -> int:
    """In how many equal steps of the share the distributions of these rows are carried."""
    trials = sum(len(row.result.trials) for row in rows if row.quotable)
    return max(FEWEST_STEPS, min(STEPS, MOST_QUANTILES // max(1, trials)))


def curves(row: ReportRow, count: int = STEPS) -> Points:
    """The quantiles of each trial at equal steps of the share, from the fastest sample to the slowest."""
    shares = np.linspace(0, 1, count + 1)
    return [
        {
            "case": row.label,
            "trial": number,
            "ms": [float(f"{value / 1e6:.5g}") for value in np.quantile(np.asarray(trial.samples_ns), shares)],
        }
        for number, (trial, _) in enumerate(medians_ms(row.result), 1)
    ]


def extent(row: ReportRow) -> dict[str, Any]:
    """What the distribution chart says beside its curves."""
    samples = [sample for trial in row.result.trials for sample in trial.samples_ns]
    words = f"{len(samples)} samples, the slowest {_ms(max(samples) / 1e6)}"
    return {"case": row.label, "words": words}


def speeds(across: Sequence[float], up: Sequence[float]) -> tuple[Points, Points, Points]:
    """Diagonals of equal speed through a chart of those spans, and where they are named.

    Returns:
        The ends of the lines, the places of the names above the chart, and those at its bottom.
    """
    lines: Points = []
    above: Points = []
    below: Points = []
    slowest, fastest = across[0] / up[1] * 1e3, across[1] / up[0] * 1e3
    digits = (1,) if math.log10(fastest / slowest) > 3 else (1, 3)
    for per_s in (digit * 10.0**exponent for exponent in range(3, 18) for digit in digits):
        low, high = max(across[0], up[0] * per_s / 1e3), min(across[1], up[1] * per_s / 1e3)
        if low >= high or math.log(high / low) < _SHORTEST * math.log(across[1] / across[0]):
            continue
        ends = [{"macs": at, "median": at / per_s * 1e3, "words": _speed(per_s)} for at in (low, high)]
        lines += ends
        if high < across[1]:
            above.append(ends[1])
        elif across[0] < low < across[1] * (across[0] / across[1]) ** _LAST_NAME:
            below.append(ends[0])
    return lines, above, below


def ticks(span: Sequence[float]) -> list[float]:
    """Round values in ``span``: powers of ten, and 2 and 5 of each where few of those fit."""
    digits = (1,) if math.log10(span[1] / span[0]) > 2.5 else (1, 2, 5)
    candidates = (digit * 10.0**exponent for exponent in range(-6, 16) for digit in digits)
    return [value for value in candidates if span[0] <= value <= span[1]]


def span(values: Sequence[float], margin: float) -> list[float]:
    """The range of a logarithmic axis: the values' with a factor of ``margin`` at either end."""
    return [min(values) / margin, max(values) * margin]


def _latency(row: ReportRow) -> dict[str, Any]:
    case, summary = row.result.case, row.result.summary
    assert summary is not None
    low, high = summary.median_ci95_ms or (summary.median_ms, summary.median_ms)
    interval = units.interval(*summary.median_ci95_ms, low) + " ms" if summary.median_ci95_ms else units.MISSING
    return {
        "case": row.label,
        "family": row.family,
        "target": case.target,
        "macs": row.result.macs,
        "median": summary.median_ms,
        "low": low,
        "high": high,
        "said": _ms(summary.median_ms),
        "interval": interval,
        "arithmetic": units.count(row.result.macs or 0),
        "label": "",
    }


def _label_lowest(shown: Sequence[ReportRow], points: Points) -> None:
    """Name the fastest point of each model, so that every model is named once, where there is room below it."""
    sizes: dict[str, set[Any]] = {}
    lowest: dict[Any, dict[str, Any]] = {}
    for row, point in zip(shown, points, strict=True):
        case = row.result.case
        sizes.setdefault(case.model, set()).add(case.size)
        key = (case.model, case.part, case.attention, case.size)
        if point["median"] < lowest.get(key, {"median": math.inf})["median"]:
            lowest[key] = point
    for (model, part, attention, size), point in lowest.items():
        words = [variant(model), part or "", "softmax" if attention == "softmax" else ""]
        words += [f"{size[0]}×{size[1]}"] if len(sizes[model]) > 1 else []
        point["label"] = " ".join(filter(None, words))


def _speed(per_s: float) -> str:
    """``30 GMAC/s``."""
    exponent = min(4, int(math.log10(per_s) + 1e-9) // 3)
    return f"{per_s / 1000.0**exponent:.0f} {' kMGT'[exponent].strip()}MAC/s"


def _distance(value: float, median: float) -> float:
    return round((float(value) / median - 1) * 100, 3)


def _ms(value: float) -> str:
    return f"{units.milliseconds([float(value)])[0]} ms"
