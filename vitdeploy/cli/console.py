"""Terminal output of all commands: tables on stdout, progress and notes on stderr, JSON where it is named.

Rich and msgspec are imported where something is printed: `vitdeploy --help` needs neither.
"""

import os
import shlex
import shutil
import sys
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from vitdeploy import units
from vitdeploy.cli import download_bar, streams
from vitdeploy.cli.table_layout import Table, lines_of, prose, tabbed
from vitdeploy.errors import UsageError, VitdeployError, worst_exit_code
from vitdeploy.processes.progress import GOES_ON

if TYPE_CHECKING:
    import rich.console

    from vitdeploy.api.listings import ListingRow
    from vitdeploy.artifacts.manifest import Parity
    from vitdeploy.processes.progress import OnTrial, Progress
    from vitdeploy.results.record import Result

FORMATS = ("fitted", "plain", "tsv")
"""Values of ``--format`` of listings: fitted to the terminal, a row a line, tab-separated."""

STDOUT = ("-", "/dev/stdout", "/dev/fd/1")
"""Values of ``--json`` that take stdout from the tables."""

_settings = {"quiet": False, "verbose": 0}
_form = ["fitted"]
_begin: "list[Callable[[str], None]]" = []
"""What shows in the bar on the terminal now what begins; rich shows one bar at once."""


@dataclass(frozen=True, slots=True)
class Annotation:
    """A line that GitHub is to obey."""

    line: str


@dataclass(frozen=True, slots=True)
class Verbatim:
    """Text whose lines stay as they are: documents, commands to paste."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandOutput:
    """What a command shows people and machines, and its exit code."""

    document: Any
    """Anything msgspec can write as JSON."""
    human: Sequence[Table | str | Verbatim | Annotation] = ()
    """Printed in order."""
    next_command: Sequence[str] = ()
    """Words of the command that comes next, for who types; it works when it is pasted."""
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


def configure(*, quiet: bool, verbose: int, form: str | None = None) -> None:
    """Set how much is printed on stderr, and the form of tables, one of `FORMATS`.

    Raises:
        UsageError: there is no such form.
    """
    if form is not None and form not in FORMATS:
        raise UsageError(f"--format {form!r} is not one of {', '.join(FORMATS)}", "Use --format plain or --format tsv.")
    _settings.update(quiet=quiet, verbose=verbose)
    _form[0] = form or "fitted"


def has_colour(stream: TextIO) -> bool:
    """Whether a stream shows colours: a terminal, where ``NO_COLOR`` is not set. Source: https://no-color.org."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


@cache
def _stderr() -> "rich.console.Console":
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)


def progress(line: str, detail: int = 0) -> None:
    """One line of progress on stderr; ``detail`` 1 is for ``-v``.

    What only begins now stands in the bar that is on the terminal; without a bar it is for ``-v``.
    """
    if _begin and line.endswith(GOES_ON):
        _begin[-1](line)
        return
    detail = max(detail, line.endswith(GOES_ON))
    if not _settings["quiet"] and _settings["verbose"] >= detail:
        from rich.markup import escape

        from vitdeploy.reports import shown_text

        style = "dim" if has_colour(sys.stderr) else ""
        _stderr().print(escape(shown_text.without_commands(shown_text.line(line))), style=style)


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

        def describe(line: str) -> None:
            shown.update(task, description=shown_text.line(line))

        with download_bar.inside(describe), _beginnings(describe):
            yield advance


@contextmanager
def working() -> "Generator[Progress]":
    """Progress of work without trials: on a terminal, what goes on now is shown with a clock; else each line."""
    if not sys.stderr.isatty() or _settings["quiet"]:
        yield progress
        return
    from rich.progress import Progress as Shown
    from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

    from vitdeploy.reports import shown_text

    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Shown(*columns, console=_stderr(), transient=True) as shown:
        task = shown.add_task("planning", total=None)

        def begin(line: str) -> None:
            shown.reset(task, description=shown_text.line(line))

        with (
            download_bar.inside(lambda line: shown.update(task, description=shown_text.line(line))),
            _beginnings(begin),
        ):
            yield progress


@contextmanager
def _beginnings(begin: "Callable[[str], None]") -> Generator[None]:
    """While a bar is shown, what begins is a line in it."""
    _begin.append(begin)
    try:
        yield
    finally:
        _begin.pop()


def downloads() -> AbstractContextManager[None]:
    """Show the downloads of a command on a terminal."""
    return download_bar.watching(_stderr, quiet=bool(_settings["quiet"]))


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
    if output.next_command and json not in STDOUT:
        _print_next(output.next_command)
    return output.code or worst_exit_code(error.exit_code for error in failures)


def _print_next(words: Sequence[str]) -> None:
    """The next command, for who sits at the terminal."""
    if not _settings["quiet"] and sys.stderr.isatty():
        command = shlex.join(("vitdeploy", *words))
        print(f"\x1b[2mnext:\x1b[0m {command}" if has_colour(sys.stderr) else f"next: {command}", file=sys.stderr)


def print_error(error: VitdeployError) -> None:
    """An error in its two lines on stderr."""
    from vitdeploy.reports import shown_text

    for word, text in (("error", error.message), ("hint", error.hint)):
        shown = shown_text.without_commands(f"{word}: {shown_text.line(' '.join(text.split()))}")
        if has_colour(sys.stderr):
            shown = shown.replace(word, f"\x1b[{'31' if word == 'error' else '36'}m{word}\x1b[0m", 1)
        print(shown, file=sys.stderr)


def print_error_document(error: VitdeployError) -> None:
    """An error as the JSON document of a command that has no other; strings only, so that nothing else can fail."""
    import json

    fields = {
        "class": type(error).__name__,
        "message": error.message,
        "hint": error.hint,
        "exit_code": error.exit_code,
    }
    sys.stdout.write(json.dumps({"error": fields}, indent=1) + "\n")


def _rendered(parts: "Sequence[Table | str | Verbatim | Annotation]") -> str:
    """Tables and lines as the text that stdout takes."""
    from vitdeploy.reports import shown_text

    is_terminal, form = sys.stdout.isatty(), _form[0]
    _form[0] = "fitted"
    width = shutil.get_terminal_size().columns if is_terminal and form == "fitted" else None
    colour = form == "fitted" and has_colour(sys.stdout)
    texts: list[str] = []
    for part in parts:
        if isinstance(part, Annotation):
            texts.append(shown_text.line(part.line))
        elif isinstance(part, Table):
            lines = tabbed(part) if form == "tsv" else lines_of(part, width, colour=colour)
            texts.append(shown_text.without_commands("\n".join(lines)))
        elif form != "tsv":
            text = shown_text.lines(part if isinstance(part, str) else part.text)
            if isinstance(part, str) and width is not None and "\n" not in text:
                text = "\n".join(prose(text, width))
            texts.append(shown_text.without_commands(text))
    return "".join(f"{text}\n" for text in texts)


def plan(lines: Sequence[str]) -> CommandOutput:
    """The steps of a plan, one a line."""
    return CommandOutput(document={"plan": list(lines)}, human=[Verbatim(line) for line in lines])


def listing(
    kind: str, rows: "Sequence[ListingRow]", next_command: Sequence[str] = (), *, last: str = "usable here"
) -> CommandOutput:
    """The table of models, targets, devices, suites or published tables.

    Args:
        kind: of the rows, in the singular.
        rows: one a line.
        next_command: words of what to type next.
        last: head of the last column.
    """
    facts = list(dict.fromkeys(key for row in rows for key in row.facts))
    facts = [key for key in facts if any(row.facts.get(key) for row in rows)]
    cells = [(row.name, *(row.facts.get(key, "") for key in facts), _usable(row)) for row in rows]
    details = ("note", "attention", "weights", "extra", "precision", "file", "targets", "data set")
    table = Table(heads=(kind, *facts, last), rows=cells, details=details)
    return CommandOutput(document=rows, human=[table], next_command=next_command)


def _usable(row: "ListingRow") -> str:
    if row.state is not None:
        return f"{row.state}: {row.why_not}" if row.usable is False else row.state
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
