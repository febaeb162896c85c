"""How long work will take, from what was done before on this machine: earlier runs in a folder, builds in the store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from statistics import fmean

from vitdeploy import units
from vitdeploy.api import interrupted
from vitdeploy.api.cases import Planned
from vitdeploy.artifacts.store import Store, StoreEntry
from vitdeploy.catalog.variant import Variant
from vitdeploy.errors import VitdeployError
from vitdeploy.exporters.planning import Plan
from vitdeploy.results import record
from vitdeploy.results.record import Result, Run

MOST_RUNS = 8
"""Newest runs that are looked into: each is read whole."""

LONGEST_GAP_S = 600.0
"""Between two trials of one run; more is a pause. Source: choice of ours, above the time of the slowest model here."""

_Identity = tuple[object, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Earlier:
    """How long a trial of a case took, all around it included, and how much of that was planned sampling."""

    trial_s: float
    min_time_s: float


def timing_words(
    cases: Sequence[Planned],
    *,
    device: str,
    trials: int,
    min_time_s: float,
    most: float | None = None,
    folder: Path | None = None,
) -> str:
    """How long the trials will take, in words for a plan.

    Args:
        most: how many times as long it becomes where intervals stay wide; None: the number of trials is exact.
        folder: of earlier runs; None: ``runs``.
    """
    timed = [case for case in cases if case.refused is None]
    known = _earlier(folder or Path("runs"), device)
    total_s, new = 0.0, 0
    for case in timed:
        earlier = known.get(_identity(case.variant))
        new += earlier is None
        total_s += trials * (min_time_s if earlier is None else _trial_s(earlier, min_time_s))
    if not timed:
        return "time: none, every case is left out"
    about = "at least" if new else "about"
    longest = f", up to {units.seconds(most * total_s)} where intervals stay wide" if most else ""
    source = "from earlier runs in runs/"
    if new:
        source = f"{source}; {new} of the cases were never timed here: their sampling alone"
    if new == len(timed):
        source = "sampling alone: no earlier run in runs/ says more"
    count = f"{len(timed)} case{'s' * (len(timed) != 1)}"
    return f"time: {about} {units.seconds(total_s)} for {count}{longest} ({source}); exports come on top"


def export_words(plans: Sequence[Plan], store: Store) -> str:
    """How long exports will take, in words for a plan: what is stored is not made again."""
    waiting = [plan for plan in plans if plan.request.force or not (store.folder(plan.key) / "manifest.json").is_file()]
    if not waiting:
        return "time: seconds, all of it is in the store"
    before = _builds(store.entries())
    steps = [step.variant for plan in waiting for step in plan.steps]
    known = [before[_identity(variant)] for variant in steps if _identity(variant) in before]
    if not known:
        return "time: not known, nothing like it was exported on this machine before"
    lacking = len(steps) - len(known)
    others = f"; of {lacking} of {len(steps)} files there is none" if lacking else ""
    spent = units.seconds(sum(known))
    return f"time: at least {spent} of building, as before on this machine{others}; checks come on top"


def _builds(entries: Sequence[StoreEntry]) -> Mapping[_Identity, float]:
    """Seconds of the last build of each file."""
    return {_identity(entry.manifest.variant): entry.manifest.build_ns / 1e9 for entry in reversed(entries)}


def _earlier(folder: Path, device: str) -> Mapping[_Identity, _Earlier]:
    """What the newest runs of a device say of each case."""
    known: dict[_Identity, _Earlier] = {}
    for path in interrupted.newest(folder)[:MOST_RUNS]:
        try:
            run = record.load(path, tails=False)
        except VitdeployError:
            continue
        if run.device.name != device or run.duel is not None:
            continue
        trial_s = _spacing_s(run)
        for result in run.results if trial_s is not None else ():
            if result.trials:
                own = _Earlier(trial_s=trial_s or 0.0, min_time_s=run.protocol.min_time_s)
                known.setdefault(_identity(result.case.variant), own)
    return known


def _spacing_s(run: Run) -> float | None:
    """Seconds from one trial to the next, on average; pauses between a run and its resumption are left out."""
    starts = sorted(_moment(trial.started_utc) for trial in _trials(run.results))
    gaps = [gap for before, after in pairwise(starts) if (gap := (after - before).total_seconds()) < LONGEST_GAP_S]
    return fmean(gaps) if gaps else None


def _moment(text: str) -> datetime:
    """A moment of a record; Python 3.10 does not know ``Z``."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def _trials(results: Sequence[Result]) -> list[record.Trial]:
    return [trial for result in results for trial in result.trials]


def _trial_s(earlier: _Earlier, min_time_s: float) -> float:
    """Of a trial that samples for so long: what is around the sampling stays."""
    return max(earlier.trial_s + min_time_s - earlier.min_time_s, min_time_s)


def _identity(variant: Variant) -> _Identity:
    return variant.model, variant.part, variant.target, tuple(variant.size), variant.batch, variant.attention
