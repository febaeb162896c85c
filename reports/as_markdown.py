"""A report as Markdown tables, for a README or a terminal."""

from collections.abc import Sequence

from vitdeploy import units
from vitdeploy.reports.report import Report, Row, Section

SUFFIX = ".md"

_HEADS = (
    "model",
    "size",
    "target",
    "thr",
    "MACs",
    "median ms",
    "95 % interval",
    "p90",
    "p99",
    "images/s",
    "vs torch",
    "parity",
)
_RIGHT = frozenset(_HEADS[3:11])


def render(report: Report) -> bytes:
    """The report as GitHub-flavored Markdown."""
    lines = [f"# {report.title}", ""]
    lines += [f"> {_text(warning)}" for warning in report.warnings]
    lines += [""] if report.warnings else []
    if not report.sections:
        lines += ["Nothing was measured.", ""]
    for section in report.sections:
        lines += _section(section)
    lines += ["## Measured on", "", *(f"- {_text(name)}: {_text(value)}" for name, value in report.machine), ""]
    lines += ["## Protocol", "", *(f"- {_text(name)}: {_text(value)}" for name, value in report.protocol), ""]
    return "\n".join(lines).encode()


def _section(section: Section) -> list[str]:
    rule = ["---:" if head in _RIGHT else "---" for head in _HEADS]
    lines = [f"## {section.title}", "", section.explanation, "", _line(_HEADS), _line(rule)]
    lines += [_line(cells) for cells in _cells(section.rows)]
    reasons = [
        f"- **{_text(row.result.case.name)}** {row.result.status}: {_text(reason.message)}. {_text(reason.hint)}"
        for row in section.rows
        for reason in row.result.reasons
    ]
    return [*lines, "", *reasons, *([""] if reasons else [])]


def _cells(rows: Sequence[Row]) -> list[list[str]]:
    shown = [row.result.summary if row.quotable else None for row in rows]
    medians = units.milliseconds([s.median_ms if s else None for s in shown])
    p90s = units.milliseconds([s.p90_ms if s else None for s in shown])
    p99s = units.milliseconds([s.p99_ms if s else None for s in shown])
    table: list[list[str]] = []
    for row, summary, median, p90, p99 in zip(rows, shown, medians, p90s, p99s, strict=True):
        case, bounds = row.result.case, summary.median_ci95_ms if summary else None
        table.append(
            [
                _text(case.model) + (" softmax" if case.attention == "softmax" else ""),
                f"{case.size[0]}×{case.size[1]}" + (f" b{case.batch}" if case.batch > 1 else ""),
                _text(case.target) + (f", {case.streams} streams" if case.streams > 1 else ""),
                str(case.threads),
                units.count(row.result.macs) if row.result.macs else units.MISSING,
                f"**{median}**" if summary else row.result.status,
                units.interval(bounds[0], bounds[1], bounds[0]) if bounds else units.MISSING,
                p90,
                p99,
                f"{summary.throughput_per_s:.1f}" if summary else units.MISSING,
                f"{row.speedup:.2f}×" if row.speedup else units.MISSING,
                parity_words(row),
            ]
        )
    return table


def parity_words(row: Row) -> str:
    """``ok (2e-06 σ)``: passed, and the largest error in deviations of the output."""
    parity = row.result.parity
    if parity is None:
        return units.MISSING
    error = f" ({parity.error_std:.0e} σ)" if parity.error_std is not None else ""
    return ("ok" if parity.passed else "FAILED") + error


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _text(value: str) -> str:
    """``value`` as plain text inside a Markdown cell: nothing in it is markup, a link or a new line."""
    flat = " ".join(value.split())
    for character in "\\`*_[]<>|":
        flat = flat.replace(character, f"&#{ord(character)};" if character in "<>|" else f"\\{character}")
    return flat
