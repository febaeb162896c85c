"""A report as Markdown tables, for a README, a pull request or a terminal."""

import re
from collections.abc import Callable, Iterator, Sequence

from vitdeploy import units
from vitdeploy.reports import cells, shown_text
from vitdeploy.reports.cells import Cells
from vitdeploy.reports.report import Report, Section

SUFFIX = ".md"

Column = tuple[str, Callable[[Cells], str]]
"""Head and cell of a column; heads that begin with ``>`` are right-aligned."""


def render(report: Report) -> bytes:
    """The report as GitHub-flavored Markdown; every text in it is shown as text, never as markup."""
    report = shown_text.cleaned(report)
    return ("\n".join(_lines(report)).rstrip("\n") + "\n").encode()


def _lines(report: Report) -> Iterator[str]:
    yield from (f"# {plain(report.title)}", "")
    for warning in report.warnings:
        yield from (f"> {plain(warning)}", "")
    if not report.sections:
        yield from ("Nothing was measured.", "")
    for section in report.sections:
        yield from _section(section)
    yield from _reading(report)
    for origin in report.origins:
        about = f"baseline {plain(origin.run_id)}" if origin.baseline else f"run {plain(origin.run_id)}"
        yield from (f"## Measured on: {about}", "")
        yield from (f"- {plain(name)}: {plain(value)}" for name, value in (*origin.machine, *origin.protocol))
        yield ""


def _section(section: Section) -> Iterator[str]:
    shown = cells.of(section.rows)
    columns = _columns(section, shown)
    yield from (f"## {section.title}", "", section.explanation, "")
    yield _line([head.lstrip(">") for head, _ in columns])
    yield _line(["---:" if head.startswith(">") else "---" for head, _ in columns])
    for row in shown:
        yield _line([cell(row) for _, cell in columns])
    yield ""
    notes = list(_notes(shown))
    yield from (*notes, *([""] if notes else []))


def _columns(section: Section, shown: Sequence[Cells]) -> list[Column]:
    """The columns that say something in this section, the figure it is about first."""
    time: list[Column] = [
        (">median ms", lambda c: c.median if section.throughput else _quoted(c, c.median)),
        (">95 % interval", lambda c: c.interval),
        (">p90", lambda c: c.p90),
        (">p99", lambda c: c.p99),
    ]
    rate: list[Column] = [(">images/s", lambda c: _quoted(c, c.per_second) if section.throughput else c.per_second)]
    columns: list[Column] = [
        ("model", lambda c: plain(cells.name(c.row))),
        (">size", lambda c: c.size),
        ("target", lambda c: plain(c.row.result.case.target)),
    ]
    if any(c.conditions for c in shown):
        columns.append(("conditions", lambda c: plain(c.conditions)))
    columns += [*rate, *time] if section.throughput else [*time, *rate]
    if any(c.row.faster for c in shown):
        columns.append((">× faster", _faster))
    if any(c.row.change for c in shown):
        columns.append(("against the baseline", lambda c: c.change))
    return [
        *columns,
        (">load ms", lambda c: c.load),
        (">first ms", lambda c: c.first),
        (">peak MiB", lambda c: c.memory_mib),
        ("parity", lambda c: c.parity),
        (">MACs", lambda c: c.macs),
        (">params", lambda c: c.params),
    ]


def _quoted(row: Cells, figure: str) -> str:
    """The figure that a section is about, or why there is none."""
    return f"**{figure}**{cells.remark(row.row)}" if row.row.quotable else f"*{row.row.result.status}*"


def _faster(row: Cells) -> str:
    return f"{row.faster} {plain(row.row.faster.against)}" if row.row.faster else units.MISSING


def _notes(shown: Sequence[Cells]) -> Iterator[str]:
    """Why a row has no figures, what to know about one that has, and why a figure is missing."""
    for row in shown:
        result = row.row.result
        reasons = " ".join(f"{_prose(reason.message)}. {_prose(reason.hint)}" for reason in result.reasons)
        if reasons and row.row.quotable:
            yield f"- {cells.remark(row.row)} **{plain(row.row.label)}**: {reasons}"
        elif reasons:
            yield f"- **{plain(row.row.label)}**, {result.status}: {reasons}"
        if row.row.explained:
            yield f"- **{plain(row.row.label)}**: {plain('; '.join(row.row.explained))}."
        if row.row.lacking:
            yield f"- **{plain(row.row.label)}**: {plain(cells.lacking(row.row))}."


def _reading(report: Report) -> Iterator[str]:
    if report.example is None:
        return
    yield from ("## How to read a number", "")
    yield (
        "The median is the typical trial's: half of the inferences of one fresh process took less. "
        "The 95 % interval says where that typical median lies; it comes from the spread between trials, because "
        "samples of one process are not independent. A percentile stands only where enough independent samples "
        "support it, and a case that is not valid has no figure. × faster is a ratio of medians within one run; "
        "σ is the standard deviation of the reference's output."
    )
    yield ""


def _line(row: Sequence[str]) -> str:
    return f"| {' | '.join(row)} |"


_ENTITIES = {ord(character): f"&#{ord(character)};" for character in "<>|@#~"}
"""What would be a tag, a cell's end, a mention, a reference or struck out."""


def plain(value: str) -> str:
    """``value`` as plain text in one line: nothing in it is markup, a link, a mention or a new cell."""
    safe = re.sub(r"([\\`*\[\]])", r"\\\1", " ".join(shown_text.line(value).split()).replace("&", "&amp;"))
    safe = re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", safe)  # inside a word it is no emphasis
    return safe.translate(_ENTITIES).replace("://", "&#58;//").replace("www.", "www&#46;")


def _prose(value: str) -> str:
    """A sentence as `_text`, but what stands in backticks is code."""
    spans = cells.code_spans(value)
    return "".join(" ".join(f"`{part}`".split()).replace("|", "\\|") if code else _spaced(part) for part, code in spans)


def _spaced(part: str) -> str:
    """A part of a sentence as `_text`, with the spaces at its ends."""
    return " " * part[:1].isspace() + plain(part) + " " * part[-1:].isspace()
