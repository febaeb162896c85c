"""A run as an interactive session shows it: the report's tables, as short text or as HTML."""

from collections.abc import Callable, Sequence

from vitdeploy.reports import cells, plain_tables
from vitdeploy.reports import report as reporting
from vitdeploy.reports.cells import Cells
from vitdeploy.results.record import Run

_COLUMNS: Sequence[tuple[str, Callable[[Cells], str]]] = (
    ("model", lambda row: cells.name(row.row)),
    ("size", lambda row: row.size),
    ("target", lambda row: row.row.result.case.target),
    ("conditions", lambda row: row.conditions),
    ("median ms", lambda row: row.median + cells.remark(row.row) if row.row.quotable else row.row.result.status),
    ("95 % interval", lambda row: row.interval),
    ("p90", lambda row: row.p90),
    ("p99", lambda row: row.p99),
    ("images/s", lambda row: row.per_second),
    ("× faster", lambda row: f"{row.faster} {row.row.faster.against}" if row.row.faster else row.faster),
    ("peak MiB", lambda row: row.memory_mib),
    ("parity", lambda row: row.parity),
)
_TEXT_HEADS = ("model", "size", "target", "conditions", "median ms", "95 % interval", "parity")
"""What fits a terminal."""

_RIGHT = ("size", "median ms", "95 % interval", "p90", "p99", "images/s", "× faster", "peak MiB")


def text(run: Run) -> str:
    """The run's name and how many of its rows are valid, then its figures."""
    valid = sum(result.status == "valid" for result in run.results)
    first = f"Run {run.id} on {run.device.name}: {valid} of {len(run.results)} rows valid"
    rows = cells.of(reporting.build([run]).rows)
    shown = {head: cell for head, cell in _columns(rows).items() if head in _TEXT_HEADS}
    return "\n".join([first, *plain_tables.aligned(*_table(shown, rows))] if rows else [first])


def html(run: Run) -> str:
    """The tables of the run's report, with its warnings and the reasons of rows."""
    report = reporting.build([run])
    parts = [_line(warning) for warning in report.warnings]
    for section in report.sections:
        rows = cells.of(section.rows)
        heads, texts, right = _table(_columns(rows), rows)
        parts.append(plain_tables.html(heads, texts, right, title=f"{section.title}, {run.device.name}"))
        parts += [
            _line(f"{row.label}: {reason.message}. {reason.hint}")
            for row in section.rows
            for reason in row.result.reasons
        ]
    return "\n".join(parts or [_line("Nothing was measured.")])


def _columns(rows: Sequence[Cells]) -> dict[str, Callable[[Cells], str]]:
    """The columns that say something in these rows."""
    optional = {"conditions": any(row.conditions for row in rows), "× faster": any(row.row.faster for row in rows)}
    return {head: cell for head, cell in _COLUMNS if optional.get(head, True)}


def _table(
    columns: dict[str, Callable[[Cells], str]], rows: Sequence[Cells]
) -> tuple[list[str], list[list[str]], list[int]]:
    """Heads, rows and the columns of numbers."""
    heads = list(columns)
    texts = [[cell(row) for cell in columns.values()] for row in rows]
    return heads, texts, [place for place, head in enumerate(heads) if head in _RIGHT]


def _line(words: str) -> str:
    return f"<div>{plain_tables.html_text(words)}</div>"
