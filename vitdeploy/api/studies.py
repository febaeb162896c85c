"""The plan of a study: the cases that `attention` and `reproduce` time, on which device, and how."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vitdeploy.api import cases
from vitdeploy.api.cases import BenchRequest, Planned
from vitdeploy.api.jobs import jobs_for
from vitdeploy.benchmarks import bench as timing
from vitdeploy.benchmarks.suite import Wanted
from vitdeploy.catalog.fact_table import DeviceFacts
from vitdeploy.devices.inventory import Device
from vitdeploy.processes.progress import OnTrial, Progress
from vitdeploy.results.record import Protocol, Run


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRequest:
    """The options of `attention` and `reproduce`; None: the default, which `quick` lowers."""

    device: str = "local"
    target: str | None = None
    quick: bool = False
    threads: int | None = None
    trials: int | None = None
    min_time_s: float | None = None
    out: Path | None = None
    page: Path | None = None
    artifacts: Path = Path("artifacts")
    resume: bool = False


TRIALS = 7
QUICK_TRIALS = 5
"""Rounds. Five, because one trial in five may be unsteady before a row is invalid."""

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
        return [cases.of_entry(row.entry, row.entry.targets[0], row.refused) for row in self.rows]

    def protocol(self, suite: str) -> Protocol:
        """How the cases are timed. Raises `UsageError` for a number that means nothing."""
        return timing.make_protocol(suite=suite, trials=self.trials, min_time_s=self.bench.min_time_s)

    def lines(self) -> list[str]:
        """For ``--dry-run``, one case a line."""
        how = f"{self.trials} rounds of at least {self.bench.min_time_s:g} s on {self.device.name}"
        return [f"{c.words}: " + (f"left out, {c.refused.message}" if c.refused else how) for c in self.planned]


def timed(plan: StudyPlan, protocol: Protocol, out: Path, progress: Progress, on_trial: OnTrial) -> Run:
    """Make the files and time them, all cases in turn; a row that fails says why and stops no other."""
    device = plan.device
    return timing.run(
        jobs_for(plan.planned, plan.bench, device, plan.facts, progress=progress),
        device=device,
        protocol=protocol,
        out=out,
        resume=plan.request.resume,
        progress=progress,
        on_trial=on_trial,
    )


def free_bytes(facts: DeviceFacts) -> int | None:
    """Memory that nobody uses; None where it is not visible."""
    return facts.memory_free_bytes or facts.memory_bytes
