"""The verbs that hold the field against itself, as functions: attention, reproduce; composers of rooms, as `api` is."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vitdeploy.api import cases
from vitdeploy.api.cases import BenchRequest, Planned
from vitdeploy.benchmarks.suite import Wanted
from vitdeploy.catalog import registry
from vitdeploy.errors import UsageError
from vitdeploy.processes.progress import OnTrial, Progress
from vitdeploy.results.record import Run

if TYPE_CHECKING:
    from vitdeploy.catalog.fact_table import DeviceFacts
    from vitdeploy.devices.inventory import Device
    from vitdeploy.results.record import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRequest:
    """What `attention` and `reproduce` are asked for; None: the default, which `quick` lowers."""

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


def plan_lines(rows: Sequence[Wanted], order: StudyRequest, device: "Device") -> list[str]:
    """What a study would time, one case a line."""
    asked = as_bench(order, device)
    how = f"{asked.trials} rounds of at least {asked.min_time_s:g} s"
    return [
        f"{planned_of(row).words}: "
        + (f"left out, {row.refused.message}" if row.refused else f"{how} on {device.name}")
        for row in rows
    ]  # fmt: skip


def timed(
    rows: Sequence[Wanted],
    order: StudyRequest,
    device: "Device",
    found: "DeviceFacts",
    suite: str,
    out: Path,
    progress: Progress,
    on_trial: OnTrial,
) -> Run:
    """Make the files and time them, all cases in turn; a row that fails says why and stops no other."""
    from vitdeploy.api.jobs import jobs_for
    from vitdeploy.benchmarks import bench as timing
    from vitdeploy.results import provenance

    asked = as_bench(order, device)
    protocol = timing.make_protocol(suite=suite, trials=asked.trials, min_time_s=asked.min_time_s)
    provenance.check_out(out, resume=order.resume)
    jobs = jobs_for([planned_of(row) for row in rows], asked, device, found, progress=progress)
    return timing.run(
        jobs, device=device, protocol=protocol, out=out, resume=order.resume, progress=progress, on_trial=on_trial
    )


def planned_of(row: Wanted) -> Planned:
    """The case of a row."""
    entry = row.entry
    spec = registry.find_model(entry.model)
    return Planned(
        spec=spec,
        target=registry.find_target(entry.targets[0]),
        size=entry.size or spec.size,
        batch=entry.batch,
        attention=registry.attention_of(spec, entry.attention),
        streams=entry.streams,
        refused=row.refused,
    )


def as_bench(order: StudyRequest, device: "Device") -> BenchRequest:
    """The same request as `bench` has it, with the defaults of a study."""
    return cases.fitted(
        BenchRequest(
            device=order.device,
            threads=order.threads,
            trials=(QUICK_TRIALS if order.quick else TRIALS) if order.trials is None else order.trials,
            min_time_s=(QUICK_MIN_TIME_S if order.quick else MIN_TIME_S)
            if order.min_time_s is None
            else order.min_time_s,
            artifacts=order.artifacts,
        ),
        device,
    )


def run_path(order: StudyRequest, kind: str, device: "Device") -> Path:
    """Where the run of a study is written."""
    if order.resume and order.out is None:
        raise UsageError("--resume needs the run file", "Name it with --out.")
    return order.out or Path("runs") / f"{kind}-{device.name}-{time.strftime('%Y%m%d-%H%M%S')}.json"


def facts_of(device: "Device") -> "DeviceFacts":
    """Facts of the device, its state now included."""
    from vitdeploy.devices import device_facts

    return device_facts.facts_of(device)


def free_bytes(device: "Device") -> int | None:
    """Memory of the device that nobody uses; None where it is not visible."""
    return free_bytes_of(facts_of(device))


def free_bytes_of(facts: "DeviceFacts") -> int | None:
    """Memory that nobody uses; None where it is not visible."""
    return facts.memory_free_bytes or facts.memory_bytes
