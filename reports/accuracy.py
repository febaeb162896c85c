"""What the page of evaluations shows: evaluations, the latencies of the same files, and the published points."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vitdeploy import units
from vitdeploy.evaluation.record import ClassFigure, Evaluation, Figure, WorstImage
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
        sizes = " ".join(f"{one.size[0]}x{one.size[1]}" for one in self.evaluation.subjects[:1])
        more = f" and {len(self.evaluation.subjects) - 1} more" if len(self.evaluation.subjects) > 1 else ""
        return f"{first.model} {first.target} {sizes}{more}"

    @property
    def classes(self) -> tuple[ClassFigure, ...]:
        """Those that occur, the lowest first where not all are shown."""
        seen = [one for one in self.evaluation.classes if one.value is not None]
        if len(seen) > MOST_CLASSES:
            return tuple(sorted(seen, key=lambda one: one.value or 0.0)[:MOST_CLASSES])
        return tuple(seen)

    @property
    def drop(self) -> str:
        """``+0.012 [−0.003 … +0.031]``."""
        figure = self.headline
        if figure is None or figure.drop is None:
            return units.MISSING
        if figure.drop_ci95 is None:
            return f"{figure.drop:+.3f}"
        return f"{figure.drop:+.3f} [{figure.drop_ci95[0]:+.3f} … {figure.drop_ci95[1]:+.3f}]"


def build(found: Sequence[tuple[Path, Evaluation]], runs: Sequence[Run]) -> list[Shown]:
    """What is shown of evaluations and of the runs that timed the same files."""
    return [
        Shown(evaluation=one, latencies=tuple(_latencies(one, runs)), sheets=tuple(_sheets(path, one)))
        for path, one in found
    ]


def sheet_path(path: Path, place: int) -> Path:
    """Where the sheet of the ``place``-th worst picture of an evaluation lies."""
    return path.with_name(f"{path.stem}.worst") / f"{place:02d}.jpg"


def _sheets(path: Path, one: Evaluation) -> list[tuple[WorstImage, bytes]]:
    found = [(bad, sheet_path(path, place)) for place, bad in enumerate(one.worst)]
    return [(bad, file.read_bytes()) for bad, file in found if file.is_file()]


def _latencies(one: Evaluation, runs: Sequence[Run]) -> list[Latency]:
    parts = {subject.sha256: subject.part for subject in one.subjects}
    return [
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
    ]
