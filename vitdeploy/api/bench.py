"""The verbs as functions, and the only place where the rooms meet: here ``export``, ``check`` and ``bench``.

The others lie beside it, in files named ``api_``. They take plain values and return frozen data; the command line
only prints it. Rooms and heavy packages are imported inside the verbs that need them, so that a verb costs what it
uses.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vitdeploy.api.cases import DEFAULT_SUITE, BenchRequest
from vitdeploy.api.devices import reachable
from vitdeploy.errors import UsageError, worst_exit_code
from vitdeploy.processes.progress import OnTrial, Progress, silent, silent_trial

if TYPE_CHECKING:
    from vitdeploy.api.cases import Planned
    from vitdeploy.results.record import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOutcome:
    """A run, where it was written, and the exit code its rows ask for."""

    run: "Run"
    path: Path
    exit_code: int


def bench_plan(what: Sequence[str], order: BenchRequest) -> list[str]:
    """What `bench` would do, one case a line."""
    from vitdeploy.api import cases
    from vitdeploy.devices import inventory

    order = cases.fitted(order, inventory.find(order.device))
    planned = _planned(what, order)
    device = reachable(order.device)
    return [
        f"{case.words} on {device.name}: {order.trials} trials of at least {order.min_time_s:g} s" for case in planned
    ]


def bench(
    what: Sequence[str],
    order: BenchRequest,
    *,
    progress: Progress = silent,
    on_trial: OnTrial = silent_trial,
) -> BenchOutcome:
    """Time models and artifacts; what is not exported yet is made first.

    Raises:
        VitdeployError: what is wrong before any work: names, values, packages, an unreachable device.
    """
    from vitdeploy.api import cases
    from vitdeploy.api.jobs import jobs_for
    from vitdeploy.benchmarks import bench as timing
    from vitdeploy.devices import device_facts, inventory
    from vitdeploy.results import provenance

    order = cases.fitted(order, inventory.find(order.device))
    planned = _planned(what, order)
    device = reachable(order.device)
    protocol = timing.make_protocol(
        suite=None if what else order.suite or DEFAULT_SUITE,
        trials=order.trials,
        min_time_s=order.min_time_s,
        sustained_s=order.sustained_s,
    )
    if order.resume and order.out is None:
        raise UsageError("--resume needs the run file", "Name it with --out.")
    out = order.out or Path("runs") / f"{device.name}-{time.strftime('%Y%m%d-%H%M%S')}.json"
    provenance.check_out(out, resume=order.resume)
    for notice in inventory.load().notices:
        progress(notice)
    jobs = jobs_for(planned, order, device, device_facts.facts_of(device), progress=progress)
    run = timing.run(
        jobs, device=device, protocol=protocol, out=out, resume=order.resume, progress=progress, on_trial=on_trial
    )
    return BenchOutcome(run=run, path=out, exit_code=worst_exit_code(timing.exit_code_of(r) for r in run.results))


def _planned(what: Sequence[str], order: BenchRequest) -> "list[Planned]":
    from vitdeploy.api import cases
    from vitdeploy.benchmarks import suite

    if what and order.suite:
        raise UsageError("both models and --suite were given", "Name models or a suite.")
    return cases.plan(what, () if what else suite.find(order.suite or DEFAULT_SUITE).entries, order)
