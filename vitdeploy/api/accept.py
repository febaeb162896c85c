"""`accept`: a run becomes the baseline of its device and suite."""

from pathlib import Path

from vitdeploy.results import baselines, record
from vitdeploy.results.baselines import Baseline


def accept_plan(run: Path, *, root: Path) -> list[str]:
    """What `accept` would do."""
    return [f"copy {run} to {baselines.place_of(record.load(run), root)} with its acceptance beside it"]


def accept(run: Path, *, because: str, root: Path = baselines.DEFAULT_ROOT) -> Baseline:
    """Make a run the baseline of its device and suite. Raises as `baselines.accept` does."""
    return baselines.accept(run, because=because, root=root)
