"""Runs and evaluations as pages, tables and machine formats."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vitdeploy.api import evaluate
from vitdeploy.catalog import registry
from vitdeploy.errors import Impossible

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A report: its text, or the file it was written to."""

    text: str
    path: Path | None
    annotations: tuple[str, ...] = ()
    """Workflow commands that go to stdout, wherever the text goes."""


def report_plan(runs: Sequence[Path], form: str, baseline: Path | None, out: Path | None) -> list[str]:
    """What `report` would do."""
    registry.find_format(form)
    names = ", ".join(map(str, (*runs, *([baseline] if baseline else []))))
    return [f"read {names} and write {form} to {_report_path(form, out) or 'stdout'}"]


def report(
    runs: Sequence[Path], *, form: str = "markdown", baseline: Path | None = None, out: Path | None = None
) -> Document:
    """Render runs as a page, a table or a machine format.

    Raises:
        UsageError: no such format.
        UnreadableFile: a run cannot be read, or ``out`` cannot be written.
    """
    from vitdeploy import documents
    from vitdeploy.results import record

    module = registry.find_format(form)

    evaluations = [path for path in runs if evaluate.is_evaluation(path)]
    if evaluations:
        if form != "html":
            raise Impossible(
                f"evaluations are shown by html, not by {form}", "Use --format html; their JSON is a form too."
            )
        timed = [path for path in runs if path not in evaluations]
        made = evaluate.page(evaluations, timed, out or Path("report.html"))
        return Document(text=made.read_text(encoding="utf-8"), path=made)
    if form == "history":
        return _history(module, runs, out or Path("history.html"))
    loaded = [record.load(path) for path in runs]
    against = record.load(baseline) if baseline else None
    from vitdeploy.reports import report as reporting

    renderer = registry.load(module)
    built = reporting.build(loaded, against)
    data: bytes = renderer.render(built)
    path = _report_path(form, out)
    if path is not None:
        documents.write_bytes(path, data)
    said: list[str] = renderer.annotations(built) if form == "github" else []
    return Document(text=data.decode(), path=path, annotations=tuple(said))


def _history(module: str, runs: Sequence[Path], out: Path) -> Document:
    from vitdeploy import documents
    from vitdeploy.results import history

    data: bytes = registry.load(module).render(history.read(runs))
    documents.write_bytes(out, data)
    return Document(text=data.decode(), path=out)


def _report_path(form: str, out: Path | None) -> Path | None:
    """Where a report goes: a page always into a file, text to stdout unless a file is named."""
    return out or {"html": Path("report.html"), "history": Path("history.html")}.get(form)
