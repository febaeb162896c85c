"""Overhead of a sweep for each job: empty trials on 1 to 8 workers, and a simulated lab of any size.

    python -m vitdeploy.benchmarks.studies.fleet_overhead ARTIFACT [--jobs 200] [--workers 1 2 4 8]

Each worker is a process of a local Dask cluster that serves one device, which is this machine; a job goes through all
of a sweep but the measuring: task, resource, task, answer, file of the trial, run file. The simulation takes two
measured constants, the client's time a job and its delay, and is no measurement: it says so.
"""

import contextlib
import heapq
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vitdeploy.benchmarks.studies import command_line, plain_records
from vitdeploy.benchmarks.studies.command_line import print_table, with_errors
from vitdeploy.fleet import messages, on_dask
from vitdeploy.fleet import plan as planning
from vitdeploy.fleet.api import new_run
from vitdeploy.fleet.messages import TrialTask
from vitdeploy.fleet.sweep import Sweep
from vitdeploy.fleet.trial_files import TrialFiles
from vitdeploy.processes import progress
from vitdeploy.results import record

DEVICE = """name = "{name}"
title = "One of {count} stand-ins, which are this machine"
link = "local"
targets = [{targets}]
threads = 1
"""

TRIAL_S = (2.0, 10.0)
"""How long a trial takes in the simulation: a short one, and one with its start on a slow board."""

LABS = ((8, 1_000), (100, 10_000), (1000, 100_000))
"""Devices and jobs that are simulated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What was measured with a number of workers."""

    workers: int
    jobs: int
    seconds: float
    client_s: float
    """Processor time of the client and the scheduler, which are one process here."""

    @property
    def per_job_s(self) -> float:
        """From the first task to the last answer, by job."""
        return self.seconds / self.jobs


def empty_trial(task: TrialTask) -> record.Trial:
    """A trial that measures nothing."""
    return plain_records.trial(task.slot.id, [1_000_000] * 100, order=task.slot.order)


def measure(artifact: Path, workers: int, jobs: int) -> Cost:
    """Run ``jobs`` empty trials over ``workers`` devices."""
    each = max(1, jobs // workers)
    names = [f"device-{place}" for place in range(workers)]
    with tempfile.TemporaryDirectory() as place, _inside(Path(place)):
        (Path(place) / "devices").mkdir()
        for name in names:
            text = DEVICE.format(name=name, count=workers, targets=f'"{artifact.name}"')
            (Path(place) / "devices" / f"{name}.toml").write_text(text)
        listed = ", ".join(f'"{name}"' for name in names)
        path = Path(place) / "overhead.toml"
        path.write_text(
            f'title = "Nothing"\ntrials = {each}\n[[rows]]\nmodels = ["{artifact}"]\ndevices = [{listed}]\n'
        )
        plan = planning.read(path)
        rows = planning.expand(plan)
        out = Path(place) / "run.json"
        with on_dask.open_pool(None, [{messages.resource(name): 1.0} for name in names]) as pool:
            started: list[float] = []
            sweep = Sweep(
                plan,
                rows,
                pool,
                frame=new_run(plan, rows, "overhead", None, out),
                out=out,
                trial_files=TrialFiles(out.with_suffix(".trials")),
                artifacts=Path(place),
                earlier=None,
                progress=lambda _: started.append(time.perf_counter()),
                on_trial=progress.silent_trial,
                take=empty_trial,
            )
            before = time.process_time()
            sweep.run()
            ended, spent = time.perf_counter(), time.process_time() - before
    return Cost(workers=workers, jobs=each * workers, seconds=ended - started[-1], client_s=spent)


def simulate(devices: int, jobs: int, *, trial_s: float, client_s: float, delay_s: float) -> float:
    """Seconds until all jobs are done: each device works alone, and all answers pass one client after another.

    Args:
        client_s: the client's work for one job.
        delay_s: from an answer to the device's next job, when nobody else waits.
    """
    free = [(trial_s, place) for place in range(min(devices, jobs))]
    heapq.heapify(free)
    client_free_s = ended_s = 0.0
    remaining = jobs - len(free)
    while free:
        done_s, place = heapq.heappop(free)
        client_free_s = max(done_s, client_free_s) + client_s
        ended_s = client_free_s
        if remaining:
            remaining -= 1
            heapq.heappush(free, (client_free_s + delay_s + trial_s, place))
    return ended_s


@contextlib.contextmanager
def _inside(folder: Path) -> Generator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _print(costs: Sequence[Cost]) -> None:
    heads = ("workers", "jobs", "jobs per s", "ms a job", "client and scheduler, ms CPU a job")
    rows = (
        (
            str(cost.workers),
            str(cost.jobs),
            f"{cost.jobs / cost.seconds:.1f}",
            f"{1000 * cost.per_job_s:.1f}",
            f"{1000 * cost.client_s / cost.jobs:.1f}",
        )
        for cost in costs
    )
    print_table("measured", heads, rows)
    client_s = statistics.median(cost.client_s / cost.jobs for cost in costs)
    delay_s = costs[0].per_job_s
    title = (
        f"simulated, not measured: {1000 * client_s:.1f} ms of the client a job, {1000 * delay_s:.1f} ms between jobs"
    )
    labs: list[tuple[str, ...]] = []
    for devices, jobs in LABS:
        for trial_s in TRIAL_S:
            took_s = simulate(devices, jobs, trial_s=trial_s, client_s=client_s, delay_s=delay_s)
            busy = jobs * trial_s / (took_s * devices)
            labs.append((str(devices), str(jobs), f"{trial_s:g}", f"{took_s / 3600:.2f}", f"{busy:.0%}"))
    print_table(title, ("devices", "jobs", "trial, s", "hours", "devices busy"), labs)
    print(f"One client handles {1 / client_s:.0f} jobs a second; above that devices wait.")


@with_errors
def main() -> int:
    """Print the measured table, then the simulated one."""
    parser = command_line.parser(__file__, __doc__)
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8])
    options = parser.parse_args()
    _print([measure(options.artifact.resolve(), workers, options.jobs) for workers in options.workers])
    return 0


if __name__ == "__main__":
    sys.exit(main())
