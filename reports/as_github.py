"""A report for GitHub: the body of a job summary or a sticky comment, and the annotations of a run.

Source: docs.github.com, "Workflow commands for GitHub Actions" (escapes of messages and properties).
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from vitdeploy.reports import as_markdown, cells, shown_text
from vitdeploy.reports.report import Report, ReportRow

SUFFIX = ".md"

MARKER = "<!-- vitdeploy: latency report -->"
"""First line of the body: a workflow finds its own comment by it and replaces it."""

SIGNS = {"slower": "🔴", "faster": "🟢", "same": "⚪", "inconclusive": "🟡", "unpaired": "🟡"}

LARGEST_BYTES = 65_536
"""A comment may have so many characters, and a job summary 1 MiB. Source: GitHub's error "Body is too long (maximum is
65536 characters)"; docs.github.com, "Workflow commands for GitHub Actions", step isolation and limits.
"""

MOST_ROWS = 100
"""Verdicts that are shown, by what decides; the page has them all."""

MOST_ANNOTATIONS = 10
"""Of a step; GitHub drops those after the tenth of a kind. Source: docs.github.com, as above, and actions/runner."""

LONGEST_MESSAGE = 400
"""Characters of a message in a body: a runtime's error can be thousands. Source: a choice; two lines of a comment."""

LONGEST_ANNOTATION = 1_000
"""Characters of an annotation's text. Source: a choice; GitHub takes 64 KB."""

_RESERVED_BYTES = 1_000
"""For the lines that say what was left out."""


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of the body."""

    text: str
    rank: int
    """What is left out first has the highest."""
    kind: str
    """What the line is of, for the count of those left out: a verdict, a status or another word."""


def render(report: Report) -> bytes:
    """The body: verdicts first, then the whole report folded; where it would be too long, what decides least is cut."""
    report = shown_text.cleaned(report)
    title = [MARKER, f"## {_short(report.title)}", ""]
    if not report.rows:
        return "\n".join([*title, "Nothing was measured.", ""]).encode()
    title += [_sentence(report), ""]
    table, notes = _table_lines(report), [*_broken_lines(report), *_explained_lines(report), *_warning_lines(report)]
    kept = _fitting([*table, *notes], LARGEST_BYTES - _RESERVED_BYTES - len("\n".join(title).encode()))
    body = [*title]
    if rows := [line.text for line in table if id(line) in kept]:
        body += ["| | case | verdict | head / base | interval | smallest detectable change |"]
        body += ["| --- | --- | --- | ---: | ---: | ---: |", *rows, ""]
    body += [line.text for line in notes if id(line) in kept]
    left_out = Counter(line.kind for line in (*table, *notes) if id(line) not in kept)
    if left_out:
        counts = ", ".join(f"{count} {kind}" for kind, count in left_out.items())
        body += ["", f"Left out here, because a comment may not be longer: {counts}. See the run's HTML page."]
    head = "\n".join(body) + "\n"
    folded = as_markdown.render(report).decode()
    whole = f"{head}\n<details><summary>All figures and the protocol</summary>\n\n{folded}\n</details>\n"
    if len(whole.encode()) > LARGEST_BYTES:
        whole = f"{head}\nThe whole report is too long for a comment: see the run's HTML page.\n"
    return whole.encode()


def annotations(report: Report) -> list[str]:
    """Workflow commands: an error for each regression and each wrong file, a warning for what is inconclusive.

    Of more than a step may have, those that decided are kept, and the last one says how many are left out.
    """
    commands = [(_rank(row), command) for row in report.rows if (command := _annotation(row)) is not None]
    if len(commands) <= MOST_ANNOTATIONS:
        return [command for _, command in commands]
    by_rank = sorted(range(len(commands)), key=lambda place: commands[place][0])
    kept = sorted(by_rank[: MOST_ANNOTATIONS - 1])
    left = [commands[place][1] for place in by_rank[MOST_ANNOTATIONS - 1 :]]
    errors = sum(command.startswith("::error") for command in left)
    counts = f"{errors} errors and {len(left) - errors} warnings" if errors else f"{len(left)} warnings"
    words = f"a step may have {MOST_ANNOTATIONS} annotations; the job summary and the report have the others"
    return [
        *(commands[place][1] for place in kept),
        _command("error" if errors else "warning", f"{counts} more", words),
    ]


def _rank(row: ReportRow) -> int:
    """What decides first: slower, then what has no figure, then what decides nothing, then the rest."""
    if row.change is not None and row.change.verdict == "slower":
        return 0
    if row.result.status != "valid":
        wrong = any(reason.code == "parity-failed" for reason in row.result.reasons)
        return 1 if wrong else 2
    return 3 if row.change is not None and row.change.verdict in ("inconclusive", "unpaired") else 5


def _table_lines(report: Report) -> list[_Line]:
    order = list(SIGNS)
    compared = [(row, row.change) for row in report.rows if row.change is not None]
    compared.sort(key=lambda entry: order.index(entry[1].verdict))
    lines = [_Line(_line(row), _rank(row), change.verdict) for row, change in compared]
    room = Counter(sorted(line.rank for line in lines)[:MOST_ROWS])
    shown: list[_Line] = []
    for line in lines:
        shown.append(line if room[line.rank] > 0 else replace(line, rank=_NEVER))
        room[line.rank] -= 1
    return shown


def _broken_lines(report: Report) -> list[_Line]:
    lines: list[_Line] = []
    for row in (row for row in report.rows if row.result.status != "valid"):
        words = _short("; ".join(reason.message for reason in row.result.reasons))
        text = f"- {row.result.status}: **{_short(row.label)}**: {words}"
        lines.append(_Line(text, _rank(row), row.result.status))
    return lines


def _explained_lines(report: Report) -> list[_Line]:
    return [
        _Line(f"- **{_short(row.label)}**: {_short('; '.join(row.explained))}.", _rank(row) + 1, "explanations")
        for row in report.rows
        if row.explained and row.change is not None
    ]


def _warning_lines(report: Report) -> list[_Line]:
    return [_Line(f"- {_short(warning)}", 4, "warnings") for warning in report.warnings]


_NEVER = 99


def _fitting(lines: Sequence[_Line], limit_bytes: int) -> set[int]:
    """Identities of the lines that there is room for, by rank."""
    kept: set[int] = set()
    for line in sorted(lines, key=lambda line: line.rank):
        limit_bytes -= len(line.text.encode()) + 1
        if limit_bytes < 0 or line.rank == _NEVER:
            break
        kept.add(id(line))
    return kept


def _short(text: str) -> str:
    """Plain text of bounded length; cut before it is escaped, so that no escape is cut."""
    words = " ".join(text.split())
    return as_markdown.plain(words if len(words) <= LONGEST_MESSAGE else f"{words[: LONGEST_MESSAGE - 1]}…")


def _sentence(report: Report) -> str:
    counts: dict[str, int] = {}
    for row in report.rows:
        if row.change is not None:
            counts[row.change.verdict] = counts.get(row.change.verdict, 0) + 1
    verdicts = ", ".join(f"**{count} {verdict}**" for verdict, count in sorted(counts.items())) or "not compared"
    cases = "cases have" if report.tally.cases != 1 else "case has"
    return f"{report.tally.quotable} of {report.tally.cases} {cases} a valid figure; {verdicts}."


def _line(row: ReportRow) -> str:
    change = row.change
    assert change is not None
    words = ["historical"] * change.historical + ["by the yardstick"] * (change.by == "yardstick")
    how = f" ({', '.join(words)})" if words else ""
    name = _short(row.label)
    return f"| {SIGNS[change.verdict]} | {name} | {change.verdict}{how} | {' | '.join(cells.comparison(change))} |"


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
    """A workflow command; its texts are one line each and end nothing: not the property, not the command."""
    title, message = (
        text if len(text) <= LONGEST_ANNOTATION else f"{text[:LONGEST_ANNOTATION]}…" for text in (title, message)
    )
    return f"::{kind} title={_escaped(title, ':,')}::{_escaped(message)}"


def _escaped(text: str, more: str = "") -> str:
    text = "".join(part if part in "\r\n" else shown_text.line(part) for part in re.split("([\r\n])", text))
    for character in "%\r\n" + more:
        text = text.replace(character, f"%{ord(character):02X}")
    return text.replace("##[", "## [")
