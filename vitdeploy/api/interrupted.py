"""Runs that were interrupted: the one that ``--resume`` goes on with where none is named."""

from collections.abc import Callable, Sequence
from pathlib import Path

from vitdeploy.api.cases import Planned
from vitdeploy.catalog.variant import Variant
from vitdeploy.errors import VitdeployError
from vitdeploy.results import record
from vitdeploy.results.record import Protocol, Run

Matches = Callable[[Run], bool]
"""Whether an earlier run is the one that is asked for."""


def of_workload(cases: Sequence[Planned], protocol: Protocol) -> Matches:
    """Runs of the same cases and suite that lack trials. Whether they can be resumed is checked when they are."""
    planned = [_identity(case.variant) for case in cases]

    def matches(run: Run) -> bool:
        recorded = [_identity(result.case.variant) for result in run.results]
        return run.protocol.suite == protocol.suite and recorded == planned and _lacks_trials(run)

    return matches


def _identity(variant: Variant) -> tuple[object, ...]:
    """What a case has before its artifact is known."""
    return variant.model, variant.part, variant.target, tuple(variant.size), variant.batch, variant.attention


def _lacks_trials(run: Run) -> bool:
    return any(row.status != "failed" and len(row.trials) < run.protocol.trials for row in run.results)


def last(folder: Path, prefix: str, matches: Matches) -> Path | None:
    """The newest run of ``folder`` that matches, of those whose name begins with ``prefix``."""
    for path in newest(folder):
        if path.name.startswith(f"{prefix}-"):
            try:
                run = record.load(path)
            except VitdeployError:
                continue
            if matches(run):
                return path
    return None


def newest(folder: Path) -> list[Path]:
    """The JSON files of a folder, the last changed first."""
    return sorted(folder.glob("*.json"), key=_changed_s, reverse=True)


def _changed_s(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
