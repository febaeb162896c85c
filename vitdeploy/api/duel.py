"""`duel`: two artifacts against each other in interleaved pairs of fresh processes."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import msgspec

from vitdeploy.api import cases, official_weights, output_path, turns
from vitdeploy.api.cases import BenchRequest, Planned
from vitdeploy.api.devices import reachable
from vitdeploy.api.jobs import jobs_for
from vitdeploy.benchmarks import bench as timing
from vitdeploy.benchmarks import duel as duels
from vitdeploy.benchmarks.profile import attribution
from vitdeploy.benchmarks.trial import turns_trial
from vitdeploy.benchmarks.trial.case_trials import Job
from vitdeploy.catalog.shown import Shown
from vitdeploy.devices import device_facts, inventory
from vitdeploy.devices.inventory import Device
from vitdeploy.errors import NothingToCompare, UsageError, worst_exit_code
from vitdeploy.processes.progress import OnTrial, Progress, silent, silent_trial
from vitdeploy.results import comparison, record
from vitdeploy.results.comparison import Compared
from vitdeploy.results.record import Run

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True)
class DuelRequest:
    """The options of `duel`, beside its two sides; None: the default."""

    device: str = "local"
    size: str | None = None
    weights: Path | None = None
    """Of sides that are names: a file, or `official.OFFICIAL`; None: random ones."""
    accept_licence: bool = False
    """Of official weights, as `export` has it."""
    threads: int | None = None
    pairs: int | None = None
    by: str | None = None
    """``turns`` or ``trials``; None: ``turns``, where the worker is ours."""
    min_time_s: float | None = None
    priority: str | None = None
    max_slowdown: float = 0.02
    alpha: float = 0.01
    early: bool = True
    """Look at the data before the end."""
    out: Path | None = None
    artifacts: Path = Path("artifacts")
    force: bool = False
    """Replace ``out`` when the new run is whole."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class DuelOutcome(Shown):
    """A duel's run, where it was written, its verdict, and the exit code of its rows."""

    shown_by: ClassVar = "vitdeploy.cli.compare:duel_output"
    run: Run
    path: Path
    compared: Compared
    exit_code: int

    def __fspath__(self) -> str:
        """The run file: the outcome stands where a path is expected."""
        return str(self.path)

    def to_pandas(self, *, samples: bool = False) -> "pd.DataFrame":
        """One row a side, units in the column names; ``samples``: one row a sample."""
        return self.run.to_pandas(samples=samples)


def duel_plan(a: str, b: str, request: DuelRequest) -> list[str]:
    """What `duel` would do."""
    device = reachable(request.device)
    sides, alone = _sides(a, b, request)
    by = "trials" if turns.obstacle(request.by, device, sides) else "turns"
    pairs, min_time_s = request.pairs or duels.PAIRS[by], request.min_time_s or duels.MIN_TIME_S[by]
    looks = ", ".join(str(count) for count in duels.looks(pairs, by)) if request.early else str(pairs)
    way = f"in turns of {1000 * turns_trial.TURN_S:g} ms" if by == "turns" else "one after the other"
    return [
        *(f"side {'AB'[place % 2]}: {side.words} on {device.name}" for place, side in enumerate(sides)),
        *official_weights.plan_lines((side.weights, side.variant) for side in sides),
        *alone,
        f"at most {pairs} pairs of fresh processes, at least {min_time_s:g} s each, {way}; looked at after {looks}",
    ]


def duel(
    a: str, b: str, request: DuelRequest, *, progress: Progress = silent, on_trial: OnTrial = silent_trial
) -> DuelOutcome:
    """Time two artifacts or models against each other in pairs of processes; what is not exported yet is made first.

    Two folders of artifacts are a duel of every case that both have.

    Raises:
        UsageError: an unknown name, or a number that means nothing.
        NothingToCompare: two folders have no case in common.
        DeviceError: the device is not reachable, busy, or another one than its file says.
        VitdeployError: a side could not be made.
    """
    sides, alone = _sides(a, b, request)
    for words in alone:
        progress(words)
    return timed_duel(sides, (a, b), request, progress, on_trial)


def timed_duel(
    sides: Sequence[Planned], names: tuple[str, str], request: DuelRequest, progress: Progress, on_trial: OnTrial
) -> DuelOutcome:
    """The duel of sides A and B of each case; a side that cannot be made is an error."""
    default = output_path.new_path("runs", "duel", request.device)
    with output_path.claimed(request.out, default, force=request.force, progress=progress) as out:
        outcome = _timed_into(out, sides, names, request, progress, on_trial)
    return dataclasses.replace(outcome, path=request.out or out)


def _timed_into(
    out: Path,
    sides: Sequence[Planned],
    names: tuple[str, str],
    request: DuelRequest,
    progress: Progress,
    on_trial: OnTrial,
) -> DuelOutcome:
    device = reachable(request.device)
    obstacle = turns.obstacle(request.by, device, sides)
    if obstacle and request.by is None:
        progress(f"pairs of whole trials, without turns: {obstacle}")
    by: record.By = "trials" if obstacle else "turns"
    pairs = request.pairs if request.pairs is not None else duels.PAIRS[by]
    planned = record.Duel(
        names=names,
        pairs=pairs,
        most_pairs=pairs,
        alpha=checked_alpha(request.alpha),
        max_slowdown=checked_share("max-slowdown", request.max_slowdown),
        stopped=None,
        by=by,
        turn_s=turns_trial.TURN_S if by == "turns" else None,
    )
    jobs = jobs_for(
        sides, _bench_request(request), device, device_facts.facts_of(device), progress=progress, keep_going=False
    )
    run = duels.run(
        jobs,
        planned,
        min_time_s=request.min_time_s if request.min_time_s is not None else duels.MIN_TIME_S[by],
        early=request.early,
        priority=request.priority,
        device=device,
        out=out,
        progress=progress,
        on_trial=on_trial,
    )
    run = _attributed(run, jobs, device, out, progress)
    exit_code = worst_exit_code(timing.exit_code_of(result) for result in run.results)
    return DuelOutcome(run=run, path=out, compared=comparison.duel(run), exit_code=exit_code)


LARGEST_ALPHA = 0.5
"""From here on an interval's low end would be above its high end. Source: `quantities.ErrorChance`."""


def checked_share(option: str, value: float) -> float:
    """``value``, if it is a share; else a `UsageError` that names the option."""
    if not 0 < value < 1:
        raise UsageError(f"--{option} {value:g} is not a share between 0 and 1", f"Use --{option} 2% or 0.02.")
    return value


def checked_alpha(value: float) -> float:
    """``value``, if it is a chance of error that an interval can have; else a `UsageError`."""
    if not 0 < value < LARGEST_ALPHA:
        raise UsageError(f"--alpha {value:g} is not above 0 and below {LARGEST_ALPHA:g}", "Use --alpha 0.01.")
    return value


def _attributed(run: Run, jobs: Sequence[Job], device: Device, out: Path, progress: Progress) -> Run:
    """The run with the operators that explain its difference, where there is one and the device can be profiled."""
    if len(jobs) != 2:  # a run has one place for an explanation
        return run
    (compared,) = comparison.duel(run).comparisons
    a, b = (job.artifact for job in jobs)
    if compared.verdict not in ("slower", "faster") or run.duel is None or a is None or b is None:
        return run
    progress(f"{compared.verdict}: looking at the operators of both sides")
    with inventory.connect(device) as link:
        facts = device_facts.read_facts(device, link)
        measure = attribution.on_device(device, link, facts, threads=jobs[0].case.threads)
        explained = attribution.attribute(a, b, measure)
    run = msgspec.structs.replace(run, duel=msgspec.structs.replace(run.duel, attribution=explained))
    record.save(run, out)
    return run


def _sides(a: str, b: str, request: DuelRequest) -> tuple[list[Planned], list[str]]:
    """A and B of each case, and what is said of artifacts that only one of two folders has."""
    folders = [cases.artifact_folders(name) for name in (a, b)]
    if not all(folders):
        return [cases.side(name, _bench_request(request)) for name in (a, b)], []
    shared = [place for place in folders[0] if place in folders[1]]
    if not shared:
        raise NothingToCompare(
            f"{a} and {b} have no artifact in common", "Export the same models, sizes and targets into both."
        )
    sides = [cases.side(str(side[place]), _bench_request(request)) for place in shared for side in folders]
    alone = [
        f"{place} is left out: only {name} has it"
        for name, side, other in ((a, folders[0], folders[1]), (b, folders[1], folders[0]))
        for place in side
        if place not in other
    ]
    return sides, alone


def _bench_request(request: DuelRequest) -> BenchRequest:
    """The same options as `bench` has them; without targets, which the sides name themselves."""
    options = BenchRequest(
        device=request.device,
        size=request.size,
        weights=request.weights,
        accept_licence=request.accept_licence,
        threads=request.threads,
        artifacts=request.artifacts,
    )
    return dataclasses.replace(cases.fitted(options, inventory.find(request.device)), targets=())
