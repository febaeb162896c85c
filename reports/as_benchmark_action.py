"""A report for github-action-benchmark: its custom format, ``customSmallerIsBetter``.

Source: https://github.com/benchmark-action/github-action-benchmark, README, "customSmallerIsBetter".
"""

from vitdeploy import documents
from vitdeploy.reports.report import Report, ReportRow

SUFFIX = ".json"


def render(report: Report) -> bytes:
    """A list of ``{name, unit, value, range, extra}``, medians in milliseconds; what cannot be quoted is left out."""
    rows = [_entry(row) for row in report.rows if row.quotable]
    return documents.encode(rows) + b"\n"


def _entry(row: ReportRow) -> dict[str, object]:
    summary = row.result.summary
    assert summary is not None, "a row that may be quoted has a summary"
    low, high = summary.median_ci95_ms or (summary.median_ms, summary.median_ms)
    return {
        "name": row.label,
        "unit": "ms",
        "value": float(f"{summary.median_ms:.6g}"),
        "range": f"± {(high - low) / 2:.3g}",
        "extra": "\n".join(
            [
                f"{summary.samples} samples in {summary.trials} fresh processes",
                f"95 % interval of the median {low:.6g} … {high:.6g} ms",
                f"{row.result.case.boundary}, {row.result.case.threads} threads, weights {row.result.case.weights}",
                f"sha256 {row.result.artifact_sha256}",
            ]
        ),
    }
