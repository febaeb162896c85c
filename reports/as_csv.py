"""A report as a table for spreadsheets: one line a case, units in the column names."""

import csv
import io

from vitdeploy.catalog import registry
from vitdeploy.reports import shown_text
from vitdeploy.reports.report import Report, ReportRow
from vitdeploy.results import record

SUFFIX = ".csv"

_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""A text that begins like this is run as a formula by spreadsheets. Source: owasp.org, "CSV Injection"."""

COLUMNS = (
    *("run", "case", "model", "part", "attention", "target", "height", "width", "batch", "device", "threads"),
    *("streams", "boundary", "weights", "status", "reasons"),
    *("median_ms", "median_ci95_low_ms", "median_ci95_high_ms", "p90_ms", "p99_ms", "throughput_per_s"),
    *("samples", "trials", "load_ms", "first_ms", "peak_memory_bytes"),
    *("faster_than", "times_faster", "times_faster_ci95_low", "times_faster_ci95_high"),
    *("change_verdict", "change_ratio", "params", "macs"),
    *("parity_passed", "parity_error_std", "parity_metric", "parity_metric_value", "artifact_sha256"),
    "note",
)
"""The header; the same for every report."""

_OF_CASE = ("model", "part", "attention", "target", "batch", "device", "threads", "streams", "boundary", "weights")
_OF_SUMMARY = ("median_ms", "p90_ms", "p99_ms", "throughput_per_s", "samples", "trials")
_OF_TRIALS = ("load_ms", "first_ms", "peak_memory_bytes")


def render(report: Report) -> bytes:
    """The report as CSV; what may not be quoted has no figures, only its status and reasons."""
    report = shown_text.cleaned(report)
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in _row(row).items()} for row in report.rows)
    return text.getvalue().encode()


def _row(row: ReportRow) -> dict[str, object]:
    result, case, parity = row.result, row.result.case, row.result.parity
    return {
        "run": row.run_id,
        "case": case.name,
        **{name: getattr(case, name) for name in _OF_CASE},
        "height": case.size[0],
        "width": case.size[1],
        "status": result.status,
        "reasons": " ".join(reason.code for reason in result.reasons),
        **(_figures(row, result.summary) if row.quotable and result.summary else {}),
        "change_verdict": row.change.verdict if row.change else None,
        "change_ratio": row.change.ratio if row.change else None,
        "params": result.params,
        "macs": result.macs,
        "parity_passed": parity.passed if parity else None,
        "parity_error_std": parity.error_std if parity else None,
        "parity_metric": parity.metric.name if parity else None,
        "parity_metric_value": parity.metric.value if parity else None,
        "artifact_sha256": result.artifact_sha256,
        "note": " ".join(registry.notes([case.model])),
    }


def _figures(row: ReportRow, summary: record.Summary) -> dict[str, object]:
    low, high = summary.median_ci95_ms or (None, None)
    least, most = (row.faster.interval if row.faster else None) or (None, None)
    return {
        **{name: getattr(summary, name) for name in _OF_SUMMARY},
        **{name: getattr(row, name) for name in _OF_TRIALS},
        "median_ci95_low_ms": low,
        "median_ci95_high_ms": high,
        "faster_than": row.faster.against if row.faster else None,
        "times_faster": row.faster.value if row.faster else None,
        "times_faster_ci95_low": least,
        "times_faster_ci95_high": most,
    }


def _cell(value: object) -> object:
    """``value``; a text that a spreadsheet would run is quoted, floats keep the digits that mean something."""
    if isinstance(value, str):
        text = shown_text.line(value)
        return f"'{text}" if text.lstrip().startswith(_FORMULA) else text
    return f"{value:.6g}" if isinstance(value, float) else value
