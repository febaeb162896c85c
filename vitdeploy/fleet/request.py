"""What a sweep is asked for, and what came of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vitdeploy.fleet.evaluations import EvaluationResult
    from vitdeploy.results.record import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRequest:
    """What `sweep` is asked for, beside its plan."""

    scheduler: str | None = None
    """Address of a Dask scheduler; None: a cluster of processes on this machine."""
    out: Path | None = None
    artifacts: Path = Path("artifacts")
    resume: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepOutcome:
    """A sweep's run, where it was written, the exit code its rows ask for, and how its trials came about."""

    run: "Run | None"
    """None: the plan times nothing."""
    path: Path
    exit_code: int
    taken: int
    """Trials that were taken now."""
    found: int
    """Trials that were there from an earlier, interrupted sweep."""
    twice: int
    """Trials that came a second time and were not counted."""
    evaluated: "tuple[EvaluationResult, ...]" = ()
    """What became of the plan's evaluations."""
