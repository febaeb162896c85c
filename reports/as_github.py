"""A report for GitHub: the body of a job summary or a sticky comment, and the annotations of a run.

Source: docs.github.com, "Workflow commands for GitHub Actions" (escapes of messages and properties).
"""

from collections.abc import Iterator

from vitdeploy.reports import as_markdown, cells
from vitdeploy.reports.report import Report, ReportRow

SUFFIX = ".md"

MARKER = "<!-- vitdeploy: latency report -->"
"""First line of the body: a workflow finds its own comment by it and replaces it."""

SIGNS = {"slower": "🔴", "faster": "🟢", "same": "⚪", "inconclusive": "🟡", "unpaired": "🟡"}

LARGEST_BYTES = 65_536
"""A comment may have so many characters. Source: GitHub's error "Body is too long (maximum is 65536 characters)"."""

MOST_ROWS = 100
"""Verdicts that are shown, the worst first; the page has them all."""


def render(report: Report) -> bytes:
    """The body: verdicts first, then the whole report folded; without the report where it would be too long."""
    head = "\n".join(_verdicts(report)) + "\n"
    folded = as_markdown.render(report).decode()
    whole = f"{head}\n<details><summary>All figures and the protocol</summary>\n\n{folded}\n</details>\n"
    if len(whole.encode()) > LARGEST_BYTES:
        whole = f"{head}\nThe whole report is too long for a comment: see the run's HTML page.\n"
    return whole.encode()


def annotations(report: Report) -> list[str]:
    """Workflow commands: an error for each regression and each wrong file, a warning for what is inconclusive."""
    return [command for row in report.rows if (command := _annotation(row)) is not None]


def _verdicts(report: Report) -> Iterator[str]:
    yield from (MARKER, f"## {as_markdown.plain(report.title)}", "")
    compared = [row for row in report.rows if row.change is not None]
    broken = [row for row in report.rows if row.result.status != "valid"]
    if not report.rows:
        yield "Nothing was measured."
        return
    yield _sentence(report)
    yield ""
    if compared:
        yield "| | case | verdict | head / base | interval | smallest detectable change |"
        yield "| --- | --- | --- | ---: | ---: | ---: |"
        order = list(SIGNS)
        compared.sort(key=lambda row: order.index(row.change.verdict) if row.change else 0)
        yield from map(_line, compared[:MOST_ROWS])
        yield ""
        yield from ([f"{len(compared) - MOST_ROWS} more cases.", ""] if len(compared) > MOST_ROWS else [])
    for row in compared[:MOST_ROWS]:
        if row.explained:
            yield f"- **{as_markdown.plain(row.label)}**: {as_markdown.plain('; '.join(row.explained))}."
    for row in broken[:MOST_ROWS]:
        reasons = "; ".join(as_markdown.plain(reason.message) for reason in row.result.reasons)
        yield f"- {row.result.status}: **{as_markdown.plain(row.label)}**: {reasons}"
    for warning in report.warnings:
        yield f"- {as_markdown.plain(warning)}"


def _sentence(report: Report) -> str:
    counts: dict[str, int] = {}
    for row in report.rows:
        if row.change is not None:
            counts[row.change.verdict] = counts.get(row.change.verdict, 0) + 1
    verdicts = ", ".join(f"**{count} {verdict}**" for verdict, count in sorted(counts.items())) or "not compared"
    return f"{report.tally.quotable} of {report.tally.cases} cases have a valid figure; {verdicts}."


def _line(row: ReportRow) -> str:
    change = row.change
    assert change is not None
    historical = " (historical)" if change.historical else ""
    name = as_markdown.plain(row.label)
    return (
        f"| {SIGNS[change.verdict]} | {name} | {change.verdict}{historical} | {' | '.join(cells.comparison(change))} |"
    )


def _annotation(row: ReportRow) -> str | None:
    result, change = row.result, row.change
    if result.status != "valid":
        text = "; ".join(f"{reason.message}. {reason.hint}" for reason in result.reasons)
        wrong = any(reason.code == "parity-failed" for reason in result.reasons)
        return _command("error" if wrong else "warning", f"{result.status}: {row.label}", text)
    if change is None or change.verdict in ("same", "faster"):
        return None
    kind = "error" if change.verdict == "slower" else "warning"
    return _command(kind, f"{change.verdict}: {row.label}", f"{change.reason} ({cells.change(row)})")


def _command(kind: str, title: str, message: str) -> str:
    return f"::{kind} title={_escaped(title, ':,')}::{_escaped(message)}"


def _escaped(text: str, more: str = "") -> str:
    for character in "%\r\n" + more:
        text = text.replace(character, f"%{ord(character):02X}")
    return text
