"""A report as a table for spreadsheets: one line a case, units in the column names."""

import csv
import io
from collections.abc import Mapping

from vitdeploy.catalog import registry
from vitdeploy.reports.report import Report, ReportRow
from vitdeploy.results import record

SUFFIX = ".csv"

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
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


def render(report: Report) -> bytes:
    """The report as CSV; what may not be quoted has no figures, only its status and reasons."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in _row(row).items()} for row in report.rows)
    return text.getvalue().encode()


def _row(row: ReportRow) -> dict[str, object]:
    result, case = row.result, row.result.case
    return {
        "run": row.run_id,
        "case": case.name,
        "model": case.model,
        "part": case.part,
        "attention": case.attention,
        "target": case.target,
        "height": case.size[0],
        "width": case.size[1],
        "batch": case.batch,
        "device": case.device,
        "threads": case.threads,
        "streams": case.streams,
        "boundary": case.boundary,
        "weights": case.weights,
        "status": result.status,
        "reasons": " ".join(reason.code for reason in result.reasons),
        **(_figures(row, result.summary) if row.quotable and result.summary else {}),
        "change_verdict": row.change.verdict if row.change else None,
        "change_ratio": row.change.ratio if row.change else None,
        "params": result.params,
        "macs": result.macs,
        "parity_passed": result.parity.passed if result.parity else None,
        "parity_error_std": result.parity.error_std if result.parity else None,
        "parity_metric": result.parity.metric.name if result.parity else None,
        "parity_metric_value": result.parity.metric.value if result.parity else None,
        "artifact_sha256": result.artifact_sha256,
        "note": " ".join(registry.notes([case.model])),
    }


def _figures(row: ReportRow, summary: record.Summary) -> Mapping[str, object]:
    low, high = summary.median_ci95_ms or (None, None)
    least, most = (row.faster.interval if row.faster else None) or (None, None)
    return {
        "median_ms": summary.median_ms,
        "median_ci95_low_ms": low,
        "median_ci95_high_ms": high,
        "p90_ms": summary.p90_ms,
        "p99_ms": summary.p99_ms,
        "throughput_per_s": summary.throughput_per_s,
        "samples": summary.samples,
        "trials": summary.trials,
        "load_ms": row.load_ms,
        "first_ms": row.first_ms,
        "peak_memory_bytes": row.peak_memory_bytes,
        "faster_than": row.faster.against if row.faster else None,
        "times_faster": row.faster.value if row.faster else None,
        "times_faster_ci95_low": least,
        "times_faster_ci95_high": most,
    }


def _cell(value: object) -> object:
    """``value``; a text that a spreadsheet would run is quoted, floats keep the digits that mean something."""
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return f"{value:.6g}" if isinstance(value, float) else value
