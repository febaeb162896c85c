"""What `eval` is asked for, and what it answers."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from vitdeploy.catalog.shown import Shown
from vitdeploy.errors import VitdeployError
from vitdeploy.evaluation.record import Evaluation


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalRequest:
    """What `eval` is asked for, beside the artifacts; None: the data set's or the device's default."""

    dataset: str
    root: Path
    device: str = "local"
    split: str | None = None
    limit: int | None = None
    crop: float | None = None
    prompt: str | None = None
    clicks: int = 1
    annotations: Path | None = None
    detections: Path | None = None
    threads: int | None = None
    weights: Path | None = None
    """The checkpoint, for the reference: a file, or ``official``; None: what an earlier export left in the store."""
    accept_licence: bool = False
    """Of official weights, as `export` has it."""
    reference: bool = True
    """Evaluate fp32 torch on the same pictures."""
    runs: tuple[Path, ...] = ()
    """Runs whose latencies are shown beside the accuracy of the same file."""
    out: Path | None = None
    resume: bool = False
    force: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class EvalOutcome(Shown):
    """The evaluation, where it and its page were written, and the error that its pictures ask for."""

    shown_by: ClassVar = "vitdeploy.cli.evaluate:eval_output"
    evaluation: Evaluation
    path: Path
    page: Path | None
    error: VitdeployError | None

    def __fspath__(self) -> str:
        """The evaluation's file: the outcome stands where a path is expected."""
        return str(self.path)
