"""`duel`: two artifacts against each other in interleaved pairs of fresh processes."""

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from vitdeploy.api import cases
from vitdeploy.api.cases import BenchRequest, Planned
from vitdeploy.api.devices import reachable
from vitdeploy.errors import UsageError, worst_exit_code
from vitdeploy.processes.progress import OnTrial, Progress, silent, silent_trial
from vitdeploy.results import comparison, record
from vitdeploy.results.comparison import Compared
from vitdeploy.results.record import Run

if TYPE_CHECKING:
    from vitdeploy.benchmarks.trial.case_trials import Job
    from vitdeploy.results.comparison import Compared
    from vitdeploy.results.record import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class DuelRequest:
    """What `duel` is asked for, beside its two sides; None: the default."""

    device: str = "local"
    size: str | None = None
    threads: int | None = None
    pairs: int | None = None
    min_time_s: float = 1.0
    max_slowdown: float = 0.02
    alpha: float = 0.01
    early: bool = True
    """Look at the data before the end."""
    out: Path | None = None
    artifacts: Path = Path("artifacts")


@dataclass(frozen=True, slots=True, kw_only=True)
class DuelOutcome:
    """A duel's run, where it was written, its verdict, and the exit code that its rows ask for."""

    run: "Run"
    path: Path
    compared: "Compared"
    exit_code: int


def duel_plan(a: str, b: str, order: DuelRequest) -> list[str]:
    """What `duel` would do."""
    from vitdeploy.benchmarks import duel as duels

    device = reachable(order.device)
    sides = [cases.side(name, as_bench(order)) for name in (a, b)]
    pairs = order.pairs or duels.PAIRS
    looks = ", ".join(str(count) for count in duels.looks(pairs)) if order.early else str(pairs)
    return [
        *(f"side {letter}: {side.words} on {device.name}" for letter, side in zip("AB", sides, strict=True)),
        f"at most {pairs} pairs of fresh processes, at least {order.min_time_s:g} s each; looked at after {looks}",
    ]


def duel(
    a: str, b: str, order: DuelRequest, *, progress: Progress = silent, on_trial: OnTrial = silent_trial
) -> DuelOutcome:
    """Time two artifacts or models against each other in interleaved pairs; what is not exported yet is made first.

    Raises:
        UsageError: an unknown name, or a number that means nothing.
        DeviceError: the device is not reachable, busy, or another one than its file says.
        VitdeployError: a side could not be made.
    """
    sides = [cases.side(name, as_bench(order)) for name in (a, b)]
    return timed_duel(sides, (a, b), order, progress, on_trial)


def timed_duel(
    sides: Sequence[Planned], names: tuple[str, str], order: DuelRequest, progress: Progress, on_trial: OnTrial
) -> DuelOutcome:
    """The duel of two cases; a side that cannot be made is an error."""
    from vitdeploy.api.jobs import jobs_for
    from vitdeploy.benchmarks import bench as timing
    from vitdeploy.benchmarks import duel as duels
    from vitdeploy.devices import device_facts
    from vitdeploy.results import provenance

    out = order.out or run_path("duel", order.device)
    provenance.check_out(out, resume=False)
    request = duels.DuelSettings(
        names=names,
        pairs=order.pairs if order.pairs is not None else duels.PAIRS,
        alpha=checked_share("alpha", order.alpha),
        max_slowdown=checked_share("max-slowdown", order.max_slowdown),
        min_time_s=order.min_time_s,
        early=order.early,
    )
    device = reachable(order.device)
    facts = device_facts.facts_of(device)
    jobs = jobs_for(sides, as_bench(order), device, facts, progress=progress, keep_going=False)
    run = duels.run(jobs, request, device=device, out=out, progress=progress, on_trial=on_trial)
    run = _attributed(run, jobs, out, progress)
    exit_code = worst_exit_code(timing.exit_code_of(result) for result in run.results)
    return DuelOutcome(run=run, path=out, compared=comparison.duel(run), exit_code=exit_code)


def _attributed(run: Run, jobs: "Sequence[Job]", out: Path, progress: Progress) -> Run:
    """The run with what explains its difference, where there is one and the device can be profiled."""
    from vitdeploy.benchmarks.profile import attribution
    from vitdeploy.devices import device_facts, inventory

    (found,) = comparison.duel(run).comparisons
    a, b = (job.artifact for job in jobs)
    if found.verdict not in ("slower", "faster") or run.duel is None or a is None or b is None:
        return run
    progress(f"{found.verdict}: looking at the operators of both sides")
    device, threads = inventory.find(run.device.name), jobs[0].case.threads
    with inventory.connect(device) as link:
        measure = attribution.on_device(device, link, device_facts.read_facts(device, link), threads=threads)
        explained = attribution.attribute(a, b, measure)
    told = msgspec.structs.replace(run, duel=msgspec.structs.replace(run.duel, attribution=explained))
    record.save(told, out)
    return told


def as_bench(order: DuelRequest) -> BenchRequest:
    """The same request as `bench` has it; a side names its own target."""
    from vitdeploy.devices import inventory

    asked = BenchRequest(
        device=order.device,
        size=order.size,
        threads=order.threads,
        min_time_s=order.min_time_s,
        artifacts=order.artifacts,
    )
    # A side names its own format.
    return dataclasses.replace(cases.fitted(asked, inventory.find(order.device)), targets=())


def checked_share(option: str, value: float) -> float:
    """``value``, if it is a share; else a `UsageError` that names the option."""
    if not 0 < value < 1:
        raise UsageError(f"--{option} {value:g} is not a share between 0 and 1", f"Use --{option} 2% or 0.02.")
    return value


def run_path(kind: str, device: str) -> Path:
    """Where a run is written whose ``--out`` was not given."""
    return Path("runs") / f"{kind}-{device}-{time.strftime('%Y%m%d-%H%M%S')}.json"
