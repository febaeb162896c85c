"""Terminal output of all commands: tables on stdout, progress and notes on stderr, JSON where it is named.

Rich and msgspec are imported where something is printed: `vitdeploy --help` needs neither.
"""

import sys
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitdeploy import units
from vitdeploy.cli import streams
from vitdeploy.errors import VitdeployError, worst_exit_code

if TYPE_CHECKING:
    import rich.console
    import rich.table

    from vitdeploy.api.listings import ListingRow
    from vitdeploy.artifacts.manifest import Parity
    from vitdeploy.processes.progress import OnTrial
    from vitdeploy.results.record import Result

NOT_A_TERMINAL_WIDTH = 160
"""Columns when stdout is a pipe or a file: tables there are read unwrapped."""

STDOUT = ("-", "/dev/stdout", "/dev/fd/1")
"""Values of ``--json`` that take stdout from the tables."""

_settings = {"quiet": False, "verbose": 0}


@dataclass(frozen=True, slots=True)
class Annotation:
    """A line that GitHub is to obey."""

    line: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of text under their heads; ``right`` are the columns of numbers."""

    title: str | None = None
    heads: Sequence[str]
    right: Sequence[int] = ()
    rows: Sequence[Sequence[str]]
    """One cell a head."""

    def __rich__(self) -> "rich.table.Table":
        from rich.table import Table as RichTable

        from vitdeploy.reports.shown_text import line

        title = line(self.title) if self.title is not None else None
        drawn = RichTable(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for index, head in enumerate(self.heads):
            drawn.add_column(line(head), justify="right" if index in self.right else "left", overflow="fold")
        for cells in self.rows:
            drawn.add_row(*map(line, cells))
        return drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandOutput:
    """What a command shows people and machines, and its exit code."""

    document: Any
    """Anything msgspec can write as JSON."""
    human: Sequence[Table | str | Annotation] = ()
    """Printed in order."""
    exit_code: int = 0
    """Of the whole; 0: that of the worst failure, if there is one."""
    failures: Sequence[VitdeployError] = ()
    """Errors of the rows that failed, printed on stderr."""
    verdict: bool = False
    """The exit code answers a question, so it holds even if the output cannot be printed."""

    @property
    def code(self) -> int:
        """The exit code of the command."""
        return self.exit_code or worst_exit_code(error.exit_code for error in self.failures)


def configure(*, quiet: bool, verbose: int) -> None:
    """Set how much is printed on stderr."""
    _settings.update(quiet=quiet, verbose=verbose)


@cache
def _stderr() -> "rich.console.Console":
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)


def progress(line: str, detail: int = 0) -> None:
    """One line of progress on stderr; ``detail`` 1 is only for ``-v``."""
    if not _settings["quiet"] and _settings["verbose"] >= detail:
        from rich.markup import escape

        from vitdeploy.reports import shown_text

        _stderr().print(escape(shown_text.without_commands(shown_text.line(line))), style="dim")


@contextmanager
def bar() -> "Generator[OnTrial]":
    """A progress bar on a terminal; elsewhere a line a trial with ``-v``."""
    if not sys.stderr.isatty() or _settings["quiet"]:
        yield lambda done, total, label: progress(f"[{done}/{total}] {label}", detail=1)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from vitdeploy.reports import shown_text

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=_stderr(), transient=True) as shown:
        task = shown.add_task("timing", total=None)

        def advance(done: int, total: int, label: str) -> None:
            shown.update(task, completed=done, total=total, description=shown_text.line(label))

        yield advance


def show(output: CommandOutput, json: str | None) -> int:
    """Print an output: tables on stdout unless JSON takes it, failed rows on stderr; returns the exit code.

    The code of the output stays what it is if the output cannot be written; success does not.
    """
    from vitdeploy import documents

    if output.verdict:
        streams.keep_verdict()
    failures = list(output.failures)
    if json in STDOUT:
        sys.stdout.write(documents.encode(output.document).decode() + "\n")
    else:
        sys.stdout.write(_rendered(output.human))
        if json is not None:
            try:
                documents.write(Path(json), output.document)
            except VitdeployError as error:
                failures.append(error)
    for error in failures:
        print_error(error)
    return output.code or worst_exit_code(error.exit_code for error in failures)


def print_error(error: VitdeployError) -> None:
    """An error in its two lines on stderr."""
    from vitdeploy.reports import shown_text

    for word, text in (("error", error.message), ("hint", error.hint)):
        shown = shown_text.line(" ".join(text.split()))
        print(shown_text.without_commands(f"{word}: {shown}"), file=sys.stderr)


def _rendered(parts: "Sequence[Table | str | Annotation]") -> str:
    """Tables and lines as the text that stdout takes; rich itself would end the program when nobody reads it."""
    from rich.console import Console

    from vitdeploy.reports import shown_text

    width = None if sys.stdout.isatty() else NOT_A_TERMINAL_WIDTH
    stdout = Console(width=width, highlight=False, markup=False, emoji=False)
    texts: list[str] = []
    for part in parts:
        if isinstance(part, Annotation):
            texts.append(f"{shown_text.line(part.line)}\n")
            continue
        with stdout.capture() as capture:  # documents keep their lines
            stdout.print(part if isinstance(part, Table) else shown_text.lines(part), soft_wrap=isinstance(part, str))
        texts.append(shown_text.without_commands(capture.get()))
    return "".join(texts)


def plan(lines: Sequence[str]) -> CommandOutput:
    """The steps of a plan, one a line."""
    return CommandOutput(document={"plan": list(lines)}, human=list(lines))


def listing(kind: str, rows: "Sequence[ListingRow]") -> CommandOutput:
    """The table of models, targets, devices, suites or published tables; ``kind`` in the singular."""
    facts = list(dict.fromkeys(key for row in rows for key in row.facts))
    cells = [(row.name, *(row.facts.get(key, "") for key in facts), _usable(row)) for row in rows]
    return CommandOutput(document=rows, human=[Table(heads=(kind, *facts, "usable here"), rows=cells)])


def _usable(row: "ListingRow") -> str:
    if row.usable is None:
        return f"not known: {row.why_not}"
    return "yes" if row.usable else f"no: {row.why_not}"


def parity_words(parity: "Parity") -> str:
    """``ok, pixel agreement 99.98 % (at least 99.9 %)`` or ``FAILED``."""
    value = parity.metric.value
    if value is None:
        figure = "exact" if parity.passed else units.MISSING
    else:
        figure = f"{value:.1f} dB" if "dB" in parity.metric.name else f"{value:.2%}"
    name = parity.metric.name.removesuffix(" in dB against the reference")
    decibels = "dB" in parity.metric.name
    floor = f"{parity.metric.floor:g} dB" if decibels else f"{100 * parity.metric.floor:g} %"
    return f"{'ok' if parity.passed else 'FAILED'}, {name} {figure} (at least {floor})"


def status(result: "Result") -> str:
    """``valid``, or the other status and the codes of its reasons."""
    codes = ", ".join(reason.code for reason in result.reasons)
    return f"{result.status}: {codes}" if codes else result.status


def model_notes(results: "Iterable[Result]") -> list[str]:
    """The notes of the models of these results: whose design it is, and the like."""
    from vitdeploy.catalog import registry

    return registry.notes(result.case.model for result in results)
