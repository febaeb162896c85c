"""`report`: runs and evaluations as pages, tables and machine formats."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vitdeploy import documents
from vitdeploy.catalog import registry
from vitdeploy.catalog.fact_table import DeviceFacts
from vitdeploy.devices.hosted import NOT_CONTROLLED
from vitdeploy.errors import Impossible
from vitdeploy.evaluation import reading
from vitdeploy.evaluation.record import Evaluation
from vitdeploy.reports import accuracy
from vitdeploy.reports import report as reporting
from vitdeploy.reports.predictions import read as read_predictions
from vitdeploy.results import history, record


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Document:
    """A report: its text, or the file it was written to."""

    text: str
    path: Path | None
    annotations: tuple[str, ...] = ()
    """Workflow commands that go to stdout, wherever the text goes."""

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        """Where it lies, else its text."""
        return self.text if self.path is None else f"Document: {self.path}"


def report_plan(runs: Sequence[Path], form: str, baseline: Path | None, out: Path | None) -> list[str]:
    """What `report` would do."""
    registry.find_format(form)
    names = ", ".join(map(str, (*runs, *([baseline] if baseline else []))))
    return [f"read {names} and write {form} to {_report_path(form, out) or 'stdout'}"]


def report(
    runs: Sequence[Path],
    *,
    form: str = "markdown",
    baseline: Path | None = None,
    predictions: Sequence[Path] = (),
    out: Path | None = None,
) -> Document:
    """Render runs as a page, a table or a machine format.

    Args:
        predictions: documents of ``predict --json``, whose pictures the page shows.

    Raises:
        UsageError: no such format.
        UnreadableFile: a run or a prediction cannot be read, or ``out`` cannot be written.
        Impossible: the format shows no evaluations, or no pictures, or hosted phones stand beside other devices.
    """
    module = registry.find_format(form)
    path = _report_path(form, out)
    if path is not None:
        documents.check_place(path)
    if predictions and form != "html":
        raise Impossible(f"predictions are shown by html, not by {form}", "Use --format html, or leave them out.")
    evaluations = [run for run in runs if is_evaluation(run)]
    if evaluations:
        if form != "html":
            raise Impossible(
                f"evaluations are shown by html, not by {form}", "Use --format html; their JSON is a form too."
            )
        page = evaluation_page(evaluations, [run for run in runs if run not in evaluations], out or Path("report.html"))
        return Document(text=page.read_text(encoding="utf-8"), path=page)
    annotations: list[str] = []
    if form == "history":
        data: bytes = registry.load(module).render(history.read(runs))
    else:
        loaded = record.load_all(runs)
        before = record.load(baseline) if baseline else None
        _check_links([*loaded, *([before] if before else [])])
        built = reporting.build(loaded, before)
        built = dataclasses.replace(built, predictions=read_predictions(predictions))
        renderer = registry.load(module)
        data = renderer.render(built)
        annotations = renderer.annotations(built) if form == "github" else []
    if path is not None:
        documents.write_bytes(path, data)
    return Document(text=data.decode(), path=path, annotations=tuple(annotations))


def _check_links(runs: Sequence[record.Run]) -> None:
    """Refuse figures of hosted phones beside those of devices that their owner controls.

    Raises:
        Impossible: there are both.
    """
    links = {DeviceFacts(run.device.facts).link for run in runs}
    if "hub" in links and len(links) > 1:
        raise Impossible(
            f"figures of hosted phones stand in no table with others: {NOT_CONTROLLED}", "Write a report for each."
        )


def evaluation_page(evaluations: Sequence[Path], runs: Sequence[Path], out: Path) -> Path:
    """One page of evaluations, with the latencies that runs have of the same files.

    Raises:
        UnreadableFile: an evaluation or a run cannot be read, or ``out`` cannot be written.
    """
    return write_evaluation_page([(path, reading.load(path)) for path in evaluations], runs, out)


def write_evaluation_page(evaluations: Sequence[tuple[Path, Evaluation]], runs: Sequence[Path], out: Path) -> Path:
    """As `evaluation_page`, of evaluations that were read or just made."""
    page = accuracy.build(evaluations, record.load_all(runs))
    documents.write_bytes(out, registry.load("vitdeploy.reports.as_evaluation:render")(page))
    return out


def is_evaluation(path: Path) -> bool:
    """Whether a document is an evaluation, by its first lines; of a pipe, which can be read once, nobody looks."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as stream:
            return b'"kind": "evaluation"' in stream.read(200)
    except OSError:
        return False


def _report_path(form: str, out: Path | None) -> Path | None:
    """Where a report goes: a page always into a file, text to stdout unless a file is named."""
    return out or {"html": Path("report.html"), "history": Path("history.html")}.get(form)
