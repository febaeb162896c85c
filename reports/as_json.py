"""A report for programs: the rows with their derived figures, units in the names; samples stay in the run file."""

from typing import Any

import msgspec

from vitdeploy.reports.report import Report, Row

SUFFIX = ".json"


def render(report: Report) -> bytes:
    """The report as indented JSON."""
    document = {
        "title": report.title,
        "machine": dict(report.machine),
        "protocol": report.protocol,
        "warnings": report.warnings,
        "rows": [_row(row) for row in report.rows],
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"


def _row(row: Row) -> dict[str, Any]:
    result = row.result
    return {
        "run": row.run_id,
        "name": result.case.name,
        "case": result.case,
        "status": result.status,
        "reasons": result.reasons,
        "summary": result.summary,
        "parity": result.parity,
        "load_ms": row.load_ms,
        "first_ms": row.first_ms,
        "peak_memory_bytes": row.peak_memory_bytes,
        "params": result.params,
        "macs": result.macs,
        "faster_than_torch": row.speedup,
        "artifact_sha256": result.artifact_sha256,
    }
