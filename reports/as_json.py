"""A report for programs: its rows with the derived figures, units in the names; samples stay in the run file.

# Report schema history (newest first):
#   1  first version
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from vitdeploy import documents
from vitdeploy.artifacts.manifest import Parity
from vitdeploy.reports.origins import Origin
from vitdeploy.reports.report import Ratio, Report, ReportRow, Tally
from vitdeploy.results.record import Case, Reason, Status, Summary
from vitdeploy.results.verdict import By, Verdict

SUFFIX = ".json"
SCHEMA = 1


_OF_RESULT = ("case", "status", "reasons", "parity", "params", "macs", "artifact_sha256")
_OF_ROW = ("task", "family", "lacking", "faster")
_OF_TRIALS = ("load_ms", "first_ms", "peak_memory_bytes")


class JsonChange(msgspec.Struct, frozen=True, kw_only=True):
    """A row against the baseline."""

    verdict: Verdict
    ratio: float | None
    interval: tuple[float, float] | None
    detectable: float | None
    by: By
    """What the ratio is of: times, or their ratios to the yardstick."""
    yardstick: float | None
    """The yardstick's own change; None: there was none."""
    reason: str


class JsonRow(msgspec.Struct, frozen=True, kw_only=True):
    """One row; without figures where they may not be quoted."""

    run: str
    section: str
    name: str
    task: str
    family: str
    case: Case
    status: Status
    reasons: tuple[Reason, ...]
    summary: Summary | None
    lacking: Mapping[str, str]
    """Figure that the summary cannot give → why."""
    load_ms: float | None
    first_ms: float | None
    peak_memory_bytes: int | None
    faster: Ratio | None
    """How many times faster than another target: a ratio of medians within this run."""
    change: JsonChange | None
    parity: Parity | None
    params: int | None
    macs: int | None
    artifact_sha256: str | None


class JsonReport(msgspec.Struct, frozen=True, kw_only=True):
    """The report as it is written."""

    schema: int
    title: str
    warnings: tuple[str, ...]
    tally: Tally
    origins: tuple[Origin, ...]
    rows: tuple[JsonRow, ...]


def render(report: Report) -> bytes:
    """The report as indented JSON."""
    document = JsonReport(
        schema=SCHEMA,
        title=report.title,
        warnings=report.warnings,
        tally=report.tally,
        origins=report.origins,
        rows=tuple(_row(section.title.lower(), row) for section in report.sections for row in section.rows),
    )
    return documents.encode(document) + b"\n"


def _row(section: str, row: ReportRow) -> JsonRow:
    result, quotable = row.result, row.quotable
    trials: dict[str, Any] = {name: getattr(row, name) if quotable else None for name in _OF_TRIALS}
    return JsonRow(
        run=row.run_id,
        section=section,
        name=result.case.name,
        summary=result.summary if quotable else None,
        change=None if row.change is None else msgspec.convert(row.change, JsonChange, from_attributes=True),
        **{name: getattr(result, name) for name in _OF_RESULT},
        **{name: getattr(row, name) for name in _OF_ROW},
        **trials,
    )
