"""The plan of a study: the cases that `attention` and `reproduce` time, on which device, and how."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vitdeploy.api import cases, estimates, interrupted, output_path, turns
from vitdeploy.api.cases import BenchRequest, Planned
from vitdeploy.api.jobs import jobs_for
from vitdeploy.benchmarks import bench as timing
from vitdeploy.benchmarks.suite import Wanted
from vitdeploy.benchmarks.trial import turns_trial
from vitdeploy.benchmarks.trial.order import Unit
from vitdeploy.catalog.fact_table import DeviceFacts
from vitdeploy.devices.inventory import Device
from vitdeploy.processes.progress import OnTrial, Progress
from vitdeploy.results.record import Group, Protocol, Run


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRequest:
    """The options of `attention` and `reproduce`; None: the default, which `quick` lowers."""

    device: str = "local"
    target: str | None = None
    quick: bool = False
    threads: int | None = None
    by: str | None = None
    """``turns`` or ``trials``; None: ``turns``, where the worker is ours."""
    trials: int | None = None
    min_time_s: float | None = None
    out: Path | None = None
    page: Path | None = None
    artifacts: Path = Path("artifacts")
    resume: bool = False
    force: bool = False
    """Replace ``out`` when the new run is whole."""


TRIALS = 7
QUICK_TRIALS = 6
"""Rounds. Source: contract, "A comparison"; issue "Shared machines": by turns at least six pairs of fresh processes."""

MIN_TIME_S = 1.0
QUICK_MIN_TIME_S = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyPlan:
    """What a study times."""

    rows: Sequence[Wanted]
    device: Device
    facts: DeviceFacts
    """Of the device, its state now included."""
    request: StudyRequest
    groups: Sequence[Group]
    """Rows whose ratios are told."""
    whole: str | None
    """Why no group takes turns; None: they do."""

    @property
    def trials(self) -> int:
        """Rounds: exactly so many."""
        if self.request.trials is not None:
            return self.request.trials
        return QUICK_TRIALS if self.request.quick else TRIALS

    @property
    def bench(self) -> BenchRequest:
        """The same options as `bench` has them, with the defaults of a study."""
        request = self.request
        min_time_s = QUICK_MIN_TIME_S if request.quick else MIN_TIME_S
        options = BenchRequest(
            device=request.device,
            threads=request.threads,
            trials=self.trials,
            min_time_s=min_time_s if request.min_time_s is None else request.min_time_s,
            artifacts=request.artifacts,
        )
        return cases.fitted(options, self.device)

    @property
    def planned(self) -> list[Planned]:
        """The case of each row."""
        return _cases(self.rows)

    def protocol(self, suite: str) -> Protocol:
        """How the cases are timed. Raises `UsageError` for a number that means nothing."""
        return timing.make_protocol(suite=suite, trials=self.trials, min_time_s=self.bench.min_time_s)

    def lines(self) -> list[str]:
        """For ``--dry-run``, one case a line."""
        planned = self.planned
        how = f"{self.trials} rounds of at least {self.bench.min_time_s:g} s on {self.device.name}"
        lines = [f"{c.words}: " + (f"left out, {c.refused.message}" if c.refused else how) for c in planned]
        able = [
            [planned[place].words for place in group.rows if planned[place].refused is None] for group in self.groups
        ]
        if self.whole is not None:
            return [*lines, f"ratios from rounds of whole trials, without turns: {self.whole}", self.time_words]
        turn_words = f"in turns of {1000 * turns_trial.TURN_S:g} ms"
        in_turns = [f"{turn_words}: {', '.join(names)}" for names in able if len(names) > 1]
        return [*lines, *in_turns, self.time_words]

    @property
    def time_words(self) -> str:
        """How long it will take."""
        return estimates.timing_words(
            self.planned, device=self.device.name, trials=self.trials, min_time_s=self.bench.min_time_s
        )


def plan_of(
    rows: Sequence[Wanted], device: Device, facts: DeviceFacts, request: StudyRequest, units: Sequence[Unit]
) -> StudyPlan:
    """The plan of a study; ``units`` has the places of rows whose ratios are told.

    Raises:
        UsageError: turns are asked for and cannot be taken.
    """
    whole = turns.obstacle(request.by, device, _cases(rows))
    turn_s = turns_trial.TURN_S if whole is None else None
    groups = [Group(rows=unit, turn_s=turn_s) for unit in units]
    return StudyPlan(rows=rows, device=device, facts=facts, request=request, groups=groups, whole=whole)


def _cases(rows: Sequence[Wanted]) -> list[Planned]:
    return [cases.of_entry(row.entry, row.entry.targets[0], row.refused) for row in rows]


@contextmanager
def claimed(plan: StudyPlan, protocol: Protocol, name: str, progress: Progress) -> Generator[Path, None, None]:
    """The run file of a study, as `output_path.claimed` has it; ``name`` begins its default name."""
    request = plan.request
    with output_path.claimed(
        request.out,
        output_path.new_path("runs", name, plan.device.name),
        resume=request.resume,
        force=request.force,
        search=interrupted.of_workload(plan.planned, protocol),
        progress=progress,
    ) as out:
        progress(plan.time_words)
        yield out


def timed(plan: StudyPlan, protocol: Protocol, out: Path, progress: Progress, on_trial: OnTrial) -> Run:
    """Make the files and time them, all cases in each round; a row that fails says why and stops no other."""
    device = plan.device
    if plan.groups and plan.whole is not None and plan.request.by is None:
        progress(f"whole trials, without turns: {plan.whole}")
    return timing.run(
        jobs_for(plan.planned, plan.bench, device, plan.facts, progress=progress),
        device=device,
        protocol=protocol,
        out=out,
        groups=plan.groups,
        resume=plan.request.resume,
        progress=progress,
        on_trial=on_trial,
    )


def free_bytes(facts: DeviceFacts) -> int | None:
    """Memory that nobody uses; None where it is not visible."""
    return facts.memory_free_bytes or facts.memory_bytes
