"""Figures as text, one unit and one precision a column; the page and the Markdown tables share them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from vitdeploy import units
from vitdeploy.catalog.spec import Io
from vitdeploy.reports.report import Ratio, ReportRow
from vitdeploy.results.verdict import Comparison


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """One row as text; a figure that may not be quoted, or is not known, is `units.MISSING`."""

    row: ReportRow
    size: str
    conditions: str
    """What is unusual about the case: device, batch, streams, boundary, head, io; empty for a plain one."""
    median: str
    interval: str
    p90: str
    p99: str
    per_second: str
    faster: str
    change: str
    load: str
    first: str
    memory_mib: str
    parity: str
    metric: str
    params: str
    macs: str


def of(rows: Sequence[ReportRow]) -> list[Cells]:
    """The rows of one table; the precision of a column fits its smallest figure."""
    shown = [row.result.summary if row.quotable else None for row in rows]
    medians = [summary.median_ms for summary in shown if summary]
    columns = zip(
        rows,
        units.milliseconds([s.median_ms if s else None for s in shown]),
        units.milliseconds([s.p90_ms if s else None for s in shown]),
        units.milliseconds([s.p99_ms if s else None for s in shown]),
        units.milliseconds([row.load_ms if row.quotable else None for row in rows]),
        units.milliseconds([row.first_ms if row.quotable else None for row in rows]),
        per_second([s.throughput_per_s if s else None for s in shown]),
        [
            f"{row.peak_memory_bytes / 2**20:.0f}" if row.quotable and row.peak_memory_bytes else units.MISSING
            for row in rows
        ],
        strict=True,
    )
    return [
        Cells(
            row=row,
            size=f"{row.result.case.size[0]}×{row.result.case.size[1]}",
            conditions=conditions(row),
            median=median,
            interval=_interval(row, like=min(medians, default=1.0)),
            p90=p90,
            p99=p99,
            per_second=rate,
            faster=faster(row.faster),
            change=change(row),
            load=load,
            first=first,
            memory_mib=memory,
            parity=parity(row),
            metric=metric(row),
            params=_count(row.result.params),
            macs=_count(row.result.macs),
        )
        for row, median, p90, p99, load, first, rate, memory in columns
    ]


def per_second(values: Sequence[float | None]) -> list[str]:
    """A column of rates: three significant digits of its smallest value, at most two decimals."""
    nonzero = [value for value in values if value]
    decimals = min(2, max(0, 2 - math.floor(math.log10(min(nonzero))))) if nonzero else 0
    return [units.MISSING if value is None else f"{value:.{decimals}f}" for value in values]


def faster(ratio: Ratio | None) -> str:
    """``3.26×``: how many times faster; below 1 it is slower."""
    return units.MISSING if ratio is None else f"{ratio.value:.2f}×"


def faster_interval(ratio: Ratio | None) -> str:
    """``3.21 … 3.30``, or missing."""
    if ratio is None or ratio.interval is None:
        return units.MISSING
    return f"{ratio.interval[0]:.2f} … {ratio.interval[1]:.2f}"


def change(row: ReportRow) -> str:
    """``slower +3.1 % by the yardstick``: the verdict against the baseline, the change, and what was compared."""
    if row.change is None:
        return units.MISSING
    ratio = row.change.ratio
    by = " by the yardstick" if row.change.by == "yardstick" else ""
    return row.change.verdict + (f" {units.percent(ratio)}{by}" if ratio is not None else "")


def comparison(change: Comparison) -> tuple[str, str, str]:
    """The ratio, its interval and the smallest detectable change, or missing."""
    if change.ratio is None or change.interval is None or change.detectable is None:
        return units.MISSING, units.MISSING, units.MISSING
    low, high = change.interval
    return f"{change.ratio:.4f}", f"{low:.4f} … {high:.4f}", f"{change.detectable - 1:.1%}"


IO_WORDS: Final[Mapping[Io, str]] = {"fp16": "fp16 in and out", "uint8": "uint8 in"}
"""What ``--io`` changes: both ends of the graph, or its image alone."""


def conditions(row: ReportRow) -> str:
    """What is unusual about the case, in words; empty for batch 1, one stream, logits in fp32, host to host.

    The device is one of them where the report has several.
    """
    case = row.result.case
    words = [
        f"on {row.device}" if row.device else "",
        f"batch {case.batch}" if case.batch > 1 else "",
        f"{case.streams} streams" if case.streams > 1 else "",
        "graph" if case.graph else "",
        case.boundary if case.boundary != "host-to-host" else "",
        f"{case.head} out" if case.head != "logits" else "",
        IO_WORDS.get(case.io, ""),
        case.prompts or "",
    ]
    return ", ".join(filter(None, words))


def name(row: ReportRow) -> str:
    """The model with its part and attention."""
    case = row.result.case
    return case.model + (f".{case.part}" if case.part else "") + (" softmax" if case.attention == "softmax" else "")


def parity(row: ReportRow) -> str:
    """``ok 3.2e-06 σ``: passed, and the largest error in standard deviations of the output."""
    proof = row.result.parity
    if proof is None:
        return units.MISSING
    error = "" if proof.error_std is None else f" {proof.error_std:.1e} σ" if proof.error_std else " 0 σ"
    return ("ok" if proof.passed else "FAILED") + error


def metric(row: ReportRow) -> str:
    """``pixel agreement 99.98 %``: the task's own measure of agreement with the reference."""
    agreement = row.result.parity.metric if row.result.parity else None
    if agreement is None or agreement.value is None:
        return ""
    if "dB" in agreement.name:
        return f"{agreement.name} {agreement.value:.1f}"
    return f"{agreement.name} {agreement.value:.2%}".replace("%", " %")


def remark(row: ReportRow) -> str:
    """A dagger behind a figure that has a remark to it."""
    return "†" if row.quotable and row.result.reasons else ""


def lacking(row: ReportRow) -> str:
    """Why figures of the row are missing, in one line; empty where none is."""
    return "; ".join(dict.fromkeys(row.lacking.values()))


def code_spans(text: str) -> list[tuple[str, bool]]:
    """``text`` in parts, and whether each stood in backticks; where those do not pair up, none did."""
    parts = text.split("`")
    if len(parts) % 2 == 0 or any(not part.strip() for part in parts[1::2]):
        return [(text, False)]
    return [(part, place % 2 == 1) for place, part in enumerate(parts) if part]


def _count(value: int | None) -> str:
    return units.MISSING if value is None else units.count(value)


def _interval(row: ReportRow, *, like: float) -> str:
    bounds = row.result.summary.median_ci95_ms if row.quotable and row.result.summary else None
    return units.MISSING if bounds is None else units.interval(*bounds, like)
