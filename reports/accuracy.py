"""What the page of evaluations shows: evaluations, the latencies of the same files, and the published points."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vitdeploy import units
from vitdeploy.catalog import checkpoint_identity, checkpoints
from vitdeploy.catalog.checkpoints import Checkpoint, PublishedFigure
from vitdeploy.catalog.spec import Size
from vitdeploy.evaluation.record import ClassFigure, Evaluation, Figure, Subject, WorstImage
from vitdeploy.reports import shown_text
from vitdeploy.results.record import Run

MOST_CLASSES = 40
"""Rows of a table of classes; the lowest ones where there are more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """A valid figure of one of the files that were evaluated."""

    device: str
    case: str
    median_ms: float
    interval_ms: tuple[float, float] | None
    part: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedOfWeights:
    """What was published of the official checkpoint that a file was made from, on the data set of an evaluation."""

    title: str
    figure: PublishedFigure
    size: Size | None
    """Of the images it is of; None: any."""

    @property
    def words(self) -> str:
        """What it is of and where it stands, without the value."""
        at = f" at {self.size[0]}x{self.size[1]}" if self.size else ""
        return f"{self.title}{at}, {self.figure.source}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One evaluation, what is known of its files' speed, and its sheets by picture."""

    evaluation: Evaluation
    latencies: tuple[Latency, ...]
    sheets: tuple[tuple[WorstImage, bytes], ...]

    @property
    def headline(self) -> Figure | None:
        """The data set's own figure."""
        return self.evaluation.figures[0] if self.evaluation.figures else None

    @property
    def label(self) -> str:
        """For tables and charts: ``efficientvit_seg_b0_cityscapes onnx-fp32 1024x2048``."""
        first = self.evaluation.subjects[0]
        more = f" and {len(self.evaluation.subjects) - 1} more" if len(self.evaluation.subjects) > 1 else ""
        return f"{first.model} {first.target} {first.size[0]}x{first.size[1]}{more}"

    @property
    def short(self) -> str:
        """For the page's menu: ``efficientvit_seg_b0 onnx-fp32``."""
        first = self.evaluation.subjects[0]
        return f"{first.model.removesuffix(f'_{self.evaluation.dataset.name}')} {first.target}"

    @property
    def weights(self) -> str:
        """Where the parameters come from."""
        subject = self.evaluation.subjects[0]
        checkpoint = _checkpoint_of(subject)
        if checkpoint is not None:
            return checkpoint.words
        words = checkpoint_identity.weights_words(subject.weights)
        return words if subject.name is None else f"{subject.name} ({words})"

    @property
    def published(self) -> PublishedOfWeights | None:
        """What was published of these weights; None: they are none that is known, or nothing was."""
        return published_of(self.evaluation)

    @property
    def classes(self) -> tuple[ClassFigure, ...]:
        """Those that occur, the lowest first where not all are shown."""
        occurring = [row for row in self.evaluation.classes if row.value is not None]
        if len(occurring) > MOST_CLASSES:
            return tuple(sorted(occurring, key=lambda row: row.value or 0.0)[:MOST_CLASSES])
        return tuple(occurring)

    @property
    def drop(self) -> str:
        """``+0.012``."""
        figure = self.headline
        return units.MISSING if figure is None or figure.drop is None else f"{figure.drop:+.3f}"

    @property
    def drop_interval(self) -> str:
        """``-0.003 … +0.031``; empty where there is none."""
        bounds = None if self.headline is None else self.headline.drop_ci95
        return "" if bounds is None else f"{bounds[0]:+.3f} … {bounds[1]:+.3f}"


def published_of(evaluation: Evaluation) -> PublishedOfWeights | None:
    """What was published of the weights of an evaluation on its data set, as its headline figure."""
    checkpoint = _checkpoint_of(evaluation.subjects[0])
    figure = checkpoint.accuracy_on(evaluation.dataset.name) if checkpoint else None
    if checkpoint is None or figure is None:
        return None
    return PublishedOfWeights(title=checkpoint.title, figure=figure, size=checkpoint.size)


def _checkpoint_of(subject: Subject) -> Checkpoint | None:
    """The official checkpoint of what was evaluated: the one that its record names, else the one of its digest."""
    named = checkpoints.checkpoints().get(subject.official or "")
    return named or checkpoint_identity.of_weights(subject.weights)


def build(evaluations: Sequence[tuple[Path, Evaluation]], runs: Sequence[Run]) -> list[Shown]:
    """What is shown of evaluations and of the runs that timed the same files."""
    runs = shown_text.cleaned(tuple(runs))
    return [
        Shown(evaluation=evaluation, latencies=_latencies(evaluation, runs), sheets=_sheets(path, evaluation))
        for path, evaluation in ((path, shown_text.cleaned(evaluation)) for path, evaluation in evaluations)
    ]


def sheet_path(path: Path, place: int) -> Path:
    """Where the sheet of the ``place``-th worst picture of an evaluation lies."""
    return path.with_name(f"{path.stem}.worst") / f"{place:02d}.jpg"


def _sheets(path: Path, evaluation: Evaluation) -> tuple[tuple[WorstImage, bytes], ...]:
    files = [(image, sheet_path(path, place)) for place, image in enumerate(evaluation.worst)]
    return tuple((image, file.read_bytes()) for image, file in files if file.is_file())


def _latencies(evaluation: Evaluation, runs: Sequence[Run]) -> tuple[Latency, ...]:
    parts = {subject.sha256: subject.part for subject in evaluation.subjects}
    return tuple(
        Latency(
            device=result.case.device,
            case=result.case.name,
            median_ms=result.summary.median_ms,
            interval_ms=result.summary.median_ci95_ms,
            part=parts[result.artifact_sha256],
        )
        for run in runs
        for result in run.results
        if result.artifact_sha256 in parts and result.status == "valid" and result.summary is not None
    )
