"""Sweep: time and evaluate the models of a plan on many devices at once."""

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import msgspec

from vitdeploy import documents
from vitdeploy.api import evaluate, output_path
from vitdeploy.api.devices import reachable
from vitdeploy.catalog import packages, registry
from vitdeploy.catalog.fact_table import DeviceFacts
from vitdeploy.catalog.shown import Shown
from vitdeploy.devices import computer_facts
from vitdeploy.errors import Impossible, UnreadableFile, UsageError, worst_exit_code
from vitdeploy.fleet import messages, sweep_files
from vitdeploy.fleet import plan as planning
from vitdeploy.fleet.plan import EvalJob, SweepCase, SweepPlan
from vitdeploy.fleet.trial_files import TrialFiles, client_folder
from vitdeploy.processes.progress import OnTrial, Progress, silent, silent_trial
from vitdeploy.results import record
from vitdeploy.results.record import Run

if TYPE_CHECKING:
    from vitdeploy.fleet.evaluations import EvaluationResult


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRequest:
    """Options of `sweep`, beside its plan."""

    scheduler: str | None = None
    """Address of a Dask scheduler; None: a cluster of processes on this machine."""
    out: Path | None = None
    artifacts: Path = Path("artifacts")
    resume: bool = False
    force: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class SweepOutcome(Shown):
    """A sweep's run, where it was written, the exit code its rows ask for, and how its trials came about."""

    shown_by: ClassVar = "vitdeploy.cli.sweep:sweep_output"
    run: "Run | None"
    """None: the plan times nothing."""
    path: Path
    exit_code: int
    taken: int
    """Trials that were taken now."""
    found: int
    """Trials that were there from an earlier, interrupted sweep."""
    twice: int
    """Trials that came a second time and were not counted."""
    evaluated: "tuple[EvaluationResult, ...]" = ()
    """What became of the plan's evaluations."""

    def __fspath__(self) -> str:
        """The run file: the outcome stands where a path is expected."""
        return str(self.path)


def sweep_plan(path: Path, request: SweepRequest) -> list[str]:
    """What `sweep` would do, one case a line; no scheduler, worker or device is asked.

    Raises:
        VitdeployError: the plan cannot be read or names what is not there.
    """
    plan = planning.read(path)
    cases, jobs = planning.expand(plan), _evaluations(plan)
    names = _devices(cases, jobs)
    if request.scheduler is None:
        _reachable(names)
    where = request.scheduler or "a local Dask cluster, a process a device and one with memory"
    lines = [f"{case.words}: {plan.trials} trials of at least {plan.min_time_s:g} s" for case in cases]
    lines += [f"{job.words}: {job.count} parts of the pictures in {job.request.root}" for job in jobs]
    evaluations = f"{len(jobs)} evaluation{'s' * (len(jobs) != 1)}"
    counts = [f"{len(cases) * plan.trials} trials"] * bool(cases) + [evaluations] * bool(jobs)
    return [*lines, f"{' and '.join(counts)} on {len(names)} devices, by {where}"]


def sweep(
    path: Path, request: SweepRequest, *, progress: Progress = silent, on_trial: OnTrial = silent_trial
) -> SweepOutcome:
    """Time a plan's models on its devices, then evaluate what it names; each by whichever worker serves the device.

    One run file holds what was timed; evaluations lie beside it in ``RUN.evals/``.

    Raises:
        UsageError: an unknown name or address, a run that exists, or one that is resumed otherwise than it was begun.
        UnreadableFile: the plan or the run cannot be read or written.
        MissingPackage: Dask is not here.
        DeviceError: no scheduler answers, or it went away and did not come back.
    """
    plan = planning.read(path)
    cases, jobs = planning.expand(plan), _evaluations(plan)
    name = planning.name_of(path)
    default = output_path.new_path("runs", name)
    with output_path.claimed(
        request.out,
        default,
        resume=request.resume,
        force=request.force,
        search=sweep_files.interrupted_sweep(partial(_is_of_plan, plan, cases, name) if cases else None, len(jobs)),
        beside=sweep_files.evals_folder,
        progress=progress,
    ) as out:
        if request.scheduler is None:
            _reachable(_devices(cases, jobs))
        packages.require(("distributed",))
        open_pool = registry.load("vitdeploy.fleet.on_dask:open_pool")
        resources = _resources(plan, cases, jobs)
        with open_pool(request.scheduler, resources, silent_s=plan.wait_s, progress=progress) as pool:
            if pool.dashboard:
                progress(f"Dask's dashboard: {pool.dashboard}")
            outcome = SweepOutcome(run=None, path=out, exit_code=0, taken=0, found=0, twice=0)
            if cases:
                outcome = _time_cases(plan, cases, pool, name, out, request, progress, on_trial)
            runs = (out,) if cases else ()
            evaluated = _evaluate_jobs(plan, jobs, pool, out, runs, progress, on_trial) if jobs else ()
    codes = (outcome.exit_code, *(result.error.exit_code for result in evaluated if result.error is not None))
    path = request.out or out
    return dataclasses.replace(
        outcome,
        path=path,
        evaluated=tuple(_moved(result, sweep_files.evals_folder(path)) for result in evaluated),
        exit_code=worst_exit_code(codes),
    )


def _moved(result: "EvaluationResult", folder: Path) -> "EvaluationResult":
    """The result of an evaluation with its files where they lie when the sweep has ended."""
    outcome = result.outcome
    if outcome is None:
        return result
    page = None if outcome.page is None else folder / outcome.page.name
    return dataclasses.replace(result, outcome=dataclasses.replace(outcome, path=folder / outcome.path.name, page=page))


def _is_of_plan(plan: SweepPlan, cases: Sequence[SweepCase], name: str, run: Run) -> bool:
    """Whether a run was begun by the plan."""
    try:
        new_run(plan, cases, name, run, Path(name))
    except UsageError:
        return False
    return True


def _time_cases(
    plan: SweepPlan,
    cases: Sequence[SweepCase],
    pool: messages.Pool,
    name: str,
    out: Path,
    request: SweepRequest,
    progress: Progress,
    on_trial: OnTrial,
) -> SweepOutcome:
    from vitdeploy.benchmarks import bench as timing
    from vitdeploy.fleet.sweep import Sweep

    earlier = record.load(out) if request.resume and out.exists() else None
    trial_files = TrialFiles(client_folder(out))
    if earlier is None:
        trial_files.remove()  # of a run that was removed
    sweeping = Sweep(
        plan,
        cases,
        pool,
        frame=new_run(plan, cases, name, earlier, out),
        out=out,
        trial_files=trial_files,
        artifacts=request.artifacts,
        earlier=earlier,
        progress=progress,
        on_trial=on_trial,
    )
    if sweeping.rows.resumed:
        progress(f"going on with {out}: {sweeping.rows.resumed} of {sweeping.rows.total} trials are there")
    run = sweeping.run()
    return SweepOutcome(
        run=run,
        path=out,
        exit_code=worst_exit_code(timing.exit_code_of(result) for result in run.results),
        taken=sweeping.rows.taken,
        found=sweeping.rows.resumed,
        twice=sweeping.rows.duplicates,
    )


def _evaluate_jobs(
    plan: SweepPlan,
    jobs: Sequence[EvalJob],
    pool: messages.Pool,
    out: Path,
    runs: tuple[Path, ...],
    progress: Progress,
    on_shard: OnTrial,
) -> "tuple[EvaluationResult, ...]":
    from vitdeploy.fleet.evaluations import ShardedEvaluations

    folder = sweep_files.evals_folder(out)
    evaluating = ShardedEvaluations(
        plan, jobs, pool, run_id=_id_of(folder), folder=folder, runs=runs, progress=progress, on_shard=on_shard
    )
    if evaluating.found:
        progress(f"going on with {folder}: {evaluating.found} of {evaluating.total} parts are there")
    return tuple(evaluating.run())


_ID = re.compile(r"evals-[0-9a-f]{12}")


def _id_of(folder: Path) -> str:
    """What the workers know these evaluations by: drawn once, and the same when a sweep is resumed."""
    path = folder / "id"
    if not path.exists():
        documents.write_bytes(path, f"evals-{os.urandom(6).hex()}".encode())
    name = documents.read_bytes(path, what="id").decode(errors="replace")
    if _ID.fullmatch(name) is None:
        raise UnreadableFile(f"{path} holds {name[:80]!r}, which is no id of evaluations", "Remove it.")
    return name


def _evaluations(plan: SweepPlan) -> list[EvalJob]:
    """The plan's evaluations; a wrong data set folder is reported before hours of timing."""
    jobs = planning.evaluations(plan)
    for job in jobs:
        try:
            evaluate.check_request(job.artifacts, job.request)
        except (UsageError, Impossible, UnreadableFile) as error:  # noqa: PERF203 (each error names its evaluation)
            raise type(error)(f"{job.words}: {error.message}", error.hint) from error
    return jobs


def _devices(cases: Sequence[SweepCase], jobs: Sequence[EvalJob]) -> list[str]:
    return list(dict.fromkeys([*planning.devices(cases), *(job.request.device for job in jobs)]))


def new_run(plan: SweepPlan, cases: Sequence[SweepCase], name: str, earlier: Run | None, out: Path) -> Run:
    """The run without its results; of an interrupted one, that one's.

    Raises:
        UsageError: it was begun by another plan.
    """
    from vitdeploy.benchmarks import bench as timing
    from vitdeploy.benchmarks.trial import order
    from vitdeploy.results import provenance

    protocol = timing.make_protocol(
        suite=name,
        trials=plan.trials,
        min_time_s=plan.min_time_s,
        sustained_s=plan.sustained_s,
        order=f"{order.ROUNDS}, devices beside each other",
    )
    names = planning.devices(cases)
    facts = {} if len(names) == 1 else {"title": plan.title, "link": "fleet"}
    device = record.RunDevice(name=names[0] if len(names) == 1 else name, facts=facts)
    if earlier is None:
        return provenance.new_run(device, protocol, datetime.now(timezone.utc), host=computer_facts.read_facts())
    _check_same(cases, device, protocol, earlier, out)
    return msgspec.structs.replace(earlier, results=())


_PLANNED = ("model", "part", "target", "size", "batch", "attention")
"""Fields of a variant that the plan alone decides."""


def _check_same(
    cases: Sequence[SweepCase],
    device: record.RunDevice,
    protocol: record.Protocol,
    earlier: Run,
    out: Path,
) -> None:
    """Refuse to go on with a run of another plan; what only its devices can tell is checked when they do."""
    from vitdeploy.benchmarks.trial.resume import check_same

    expected = [
        msgspec.structs.replace(
            result.case,
            **{name: getattr(case.planned.variant, name) for name in _PLANNED},
            streams=case.planned.streams,
            device=case.device,
        )
        for case, result in zip(cases, earlier.results, strict=False)
    ]
    expected += [earlier.results[0].case] * (len(cases) - len(expected)) if earlier.results else []
    check_same(
        earlier,
        protocol=msgspec.structs.replace(protocol, inputs=earlier.protocol.inputs),
        device=record.RunDevice(name=device.name, facts=earlier.device.facts),
        cases=expected,
        digests=[result.artifact_sha256 for result in earlier.results],
        out=out,
    )


def _reachable(devices: Sequence[str]) -> None:
    """Without a scheduler this machine serves all devices: each has to be configured here."""
    for device in devices:
        reachable(device)


def _resources(plan: SweepPlan, cases: Sequence[SweepCase], jobs: Sequence[EvalJob]) -> list[Mapping[str, float]]:
    """The workers of a local cluster: one a device, and one that exports and runs torch with the memory there is."""
    workers: list[Mapping[str, float]] = [{messages.resource(name): 1.0} for name in _devices(cases, jobs)]
    if any(case.planned.artifact is None for case in cases) or any(job.request.reference for job in jobs):
        claim = plan.export_memory_gib * messages.GIB
        free_bytes = DeviceFacts(computer_facts.read_facts()).memory_free_bytes or 0
        workers.append({messages.MEMORY: max(claim, float(free_bytes))})
    return workers
