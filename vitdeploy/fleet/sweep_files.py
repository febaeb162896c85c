"""The files of a sweep: its run, the folder of its evaluations beside it, and which of them were interrupted."""

from collections.abc import Callable
from pathlib import Path

from vitdeploy.api import interrupted
from vitdeploy.api.interrupted import Search
from vitdeploy.benchmarks import bench as timing
from vitdeploy.errors import VitdeployError
from vitdeploy.fleet.evaluations import PARTS
from vitdeploy.results import record
from vitdeploy.results.record import Run

EVALS = ".evals"
"""Ends the name of the folder of a sweep's evaluations, beside its run."""


def evals_folder(out: Path) -> Path:
    """The folder of the evaluations of the sweep whose run file is ``out``."""
    return out.with_suffix(EVALS)


def interrupted_sweep(is_of_plan: Callable[[Run], bool] | None, evaluations: int) -> Search:
    """Sweeps of a plan that lack trials or evaluations.

    Args:
        is_of_plan: whether a run was begun by the plan; None: the plan times nothing.
        evaluations: how many the plan has.
    """

    def lacks(path: Path) -> bool:
        if is_of_plan is None:
            return not path.exists() and _lacks_evaluations(path, evaluations)
        try:
            run = record.load(path)
        except VitdeployError:
            return False
        return is_of_plan(run) and (timing.is_unfinished(run) or _lacks_evaluations(path, evaluations))

    def search(folder: Path, prefix: str) -> Path | None:
        left = interrupted.newest(folder, f"{prefix}-*")
        paths = dict.fromkeys(path.with_suffix(".json") for path in left if path.suffix in (".json", EVALS))
        return next((path for path in paths if lacks(path)), None)

    return search


def _lacks_evaluations(out: Path, count: int) -> bool:
    folder = evals_folder(out)
    return (folder / PARTS).exists() or len(list(folder.glob("*.json"))) < count
