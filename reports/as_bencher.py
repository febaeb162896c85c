"""A report in Bencher Metric Format: a benchmark a case, with its latency in nanoseconds and its throughput.

Source: https://bencher.dev/docs/reference/bencher-metric-format/ (built-in measures ``latency`` in nanoseconds and
``throughput`` in operations a second).
"""

from vitdeploy import documents
from vitdeploy.reports.report import Report, ReportRow

SUFFIX = ".json"


def render(report: Report) -> bytes:
    """``{case: {measure: {value, lower_value, upper_value}}}``; what cannot be quoted is left out."""
    measures = {row.label: _measures(row) for row in report.rows if row.quotable}
    return documents.encode(measures) + b"\n"


def _measures(row: ReportRow) -> dict[str, dict[str, float]]:
    summary = row.result.summary
    assert summary is not None, "a row that may be quoted has a summary"
    latency = {"value": summary.median_ms * 1e6}
    if summary.median_ci95_ms is not None:
        latency |= dict(zip(("lower_value", "upper_value"), (b * 1e6 for b in summary.median_ci95_ms), strict=True))
    measures = {"latency": latency, "throughput": {"value": summary.throughput_per_s}}
    if row.peak_memory_bytes is not None:
        measures["peak-memory-bytes"] = {"value": float(row.peak_memory_bytes)}
    return measures
