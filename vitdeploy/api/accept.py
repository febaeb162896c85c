"""`accept`: a run becomes the baseline of its device and suite."""

from pathlib import Path

from vitdeploy.api import project
from vitdeploy.results import baselines, record
from vitdeploy.results.baselines import Baseline


def accept_plan(run: Path, *, root: Path | None = None) -> list[str]:
    """What `accept` would do."""
    root = root or _default_root()
    return [f"copy {run} to {baselines.place_of(record.load(run), root)} with its acceptance beside it"]


def accept(run: Path, *, because: str, root: Path | None = None) -> Baseline:
    """Make a run the baseline of its device and suite. Raises as `baselines.accept` does."""
    return baselines.accept(run, because=because, root=root or _default_root())


def _default_root() -> Path:
    """The folder of baselines of the project file, else the built-in one."""
    return project.load().path_of("baselines") or baselines.DEFAULT_ROOT
