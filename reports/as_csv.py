"""A report as a table for spreadsheets: one line a case, units in the column names."""

import pandas as pd

from vitdeploy.reports.report import Report, Row

SUFFIX = ".csv"


def render(report: Report) -> bytes:
    """The report as CSV; what may not be quoted has no figures, only its status and reasons."""
    rows = [_row(row) for row in report.rows]
    frame = pd.DataFrame(rows, columns=list(rows[0]) if rows else ["run", "case", "status"])
    return frame.to_csv(index=False, lineterminator="\n").encode()


def _row(row: Row) -> dict[str, object]:
    result, case = row.result, row.result.case
    summary = result.summary if row.quotable else None
    low, high = summary.median_ci95_ms if summary and summary.median_ci95_ms else (None, None)
    return {
        "run": row.run_id,
        "case": case.name,
        "model": case.model,
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
        "median_ms": summary.median_ms if summary else None,
        "median_ci95_low_ms": low,
        "median_ci95_high_ms": high,
        "p90_ms": summary.p90_ms if summary else None,
        "p99_ms": summary.p99_ms if summary else None,
        "throughput_per_s": summary.throughput_per_s if summary else None,
        "samples": summary.samples if summary else 0,
        "trials": summary.trials if summary else 0,
        "load_ms": row.load_ms if summary else None,
        "first_ms": row.first_ms if summary else None,
        "peak_memory_bytes": row.peak_memory_bytes if summary else None,
        "params": result.params,
        "macs": result.macs,
        "parity_passed": result.parity.passed if result.parity else None,
        "parity_error_std": result.parity.error_std if result.parity else None,
        "artifact_sha256": result.artifact_sha256,
    }
