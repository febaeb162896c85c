"""`bench`: models and artifacts timed on a device; what is not exported yet is exported first."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

from vitdeploy.api import cases, estimates, interrupted, official_weights, output_path
from vitdeploy.api.cases import BenchRequest, Planned
from vitdeploy.api.devices import reachable
from vitdeploy.api.jobs import jobs_for
from vitdeploy.benchmarks import bench as timing
from vitdeploy.benchmarks.yardstick.files import Wish, Yardsticks
from vitdeploy.catalog import registry
from vitdeploy.catalog.shown import Shown
from vitdeploy.devices import device_facts, inventory
from vitdeploy.devices.inventory import Device
from vitdeploy.errors import worst_exit_code
from vitdeploy.processes.progress import OnTrial, Progress, silent, silent_trial
from vitdeploy.results.record import Protocol, Run

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class BenchOutcome(Shown):
    """A run, where it was written, and the exit code of its rows."""

    shown_by: ClassVar = "vitdeploy.cli.bench:bench_output"
    run: Run
    path: Path
    exit_code: int

    def __fspath__(self) -> str:
        """The run file: the outcome stands where a path is expected."""
        return str(self.path)

    def to_pandas(self, *, samples: bool = False) -> "pd.DataFrame":
        """One row a result, units in the column names; ``samples``: one row a sample."""
        return self.run.to_pandas(samples=samples)

    def _repr_html_(self) -> str:
        """For notebooks: the report's tables."""
        return registry.load("vitdeploy.reports.as_notebook:html")(self.run)


def bench_plan(what: Sequence[str], request: BenchRequest) -> list[str]:
    """What `bench` would do, one case a line."""
    request, device, planned = _planned(what, request)
    protocol = _protocol(what, request)
    how = f"{protocol.trials} trials of at least {protocol.min_time_s:g} s"
    if protocol.until is not None:
        how += f", more until the interval is within ±{protocol.until:.1%} or the time budget is spent"
    lines = [
        f"{case.words} on {device.name}: " + (f"left out, {case.refused.message}" if case.refused else how)
        for case in planned
    ]
    time_words = estimates.timing_words(
        planned,
        device=device.name,
        trials=protocol.trials,
        min_time_s=protocol.min_time_s,
        most=timing.BUDGET_FACTOR if protocol.until is not None and protocol.time_budget_s is None else None,
    )
    return [*official_weights.plan_lines((case.weights, case.variant) for case in planned), *lines, time_words]


def bench(
    what: Sequence[str], request: BenchRequest, *, progress: Progress = silent, on_trial: OnTrial = silent_trial
) -> BenchOutcome:
    """Time models and artifacts; what is not exported yet is exported first.

    Raises:
        VitdeployError: what is wrong before any work: names, values, packages, an unreachable device.
    """
    request, device, planned = _planned(what, request)
    protocol = _protocol(what, request)
    resume = request.resume
    with output_path.claimed(
        request.out,
        output_path.new_path("runs", device.name),
        resume=resume,
        force=request.force,
        search=interrupted.of_workload(planned, protocol),
        progress=progress,
    ) as out:
        jobs = jobs_for(planned, request, device, device_facts.facts_of(device), progress=progress)
        run = timing.run(
            jobs,
            device=device,
            protocol=protocol,
            out=out,
            resume=resume,
            yardsticks=Yardsticks(cast("Wish | None", request.yardstick)),
            progress=progress,
            on_trial=on_trial,
        )
    path = request.out or out
    return BenchOutcome(run=run, path=path, exit_code=worst_exit_code(timing.exit_code_of(r) for r in run.results))


def _protocol(what: Sequence[str], request: BenchRequest) -> Protocol:
    """How it is measured: a given number of trials is exact, else trials are added until the interval is narrow."""
    adds = request.trials is None and request.sustained_s is None
    return timing.make_protocol(
        suite=None if what else request.suite or cases.default_suite(),
        trials=timing.TRIALS if request.trials is None else request.trials,
        min_time_s=request.min_time_s,
        sustained_s=request.sustained_s,
        until=(timing.UNTIL if request.until is None else request.until) if adds else request.until,
        time_budget_s=request.time_budget_s,
        priority=request.priority,
    )


def _planned(what: Sequence[str], request: BenchRequest) -> tuple[BenchRequest, Device, list[Planned]]:
    """The request as its device can fill it, the device, and the cases."""
    request = cases.fitted(request, inventory.find(request.device))
    planned = cases.plan(what, request)
    return request, reachable(request.device), planned
