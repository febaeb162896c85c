"""The verbs that decide, as functions: duel, compare, accept, calibrate, verify; composers of rooms, as `api` is."""

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from vitdeploy import api, baselines, calibration, chain, comparison, record, workload
from vitdeploy.baselines import Baseline
from vitdeploy.comparison import Compared
from vitdeploy.errors import UnreadableFile, UsageError, worst_exit_code
from vitdeploy.orders import (
    BenchOrder,
    Calibrated,
    CompareOrder,
    CompareOutcome,
    DuelOrder,
    DuelOutcome,
    OnTrial,
    Verified,
)
from vitdeploy.record import Case, Result, Run
from vitdeploy.verdict import Comparison
from vitdeploy.workload import Planned

if TYPE_CHECKING:
    from vitdeploy.benchmarks.rows import Job

CALIBRATION_MODEL = "efficientvit_b1"
"""Small enough that a calibration takes a minute, large enough to use all cores."""


def duel_plan(a: str, b: str, order: DuelOrder) -> list[str]:
    """What `duel` would do."""
    from vitdeploy.benchmarks import duel as duels

    device = api.reachable(order.device)
    sides = [workload.side(name, _as_bench(order)) for name in (a, b)]
    pairs = order.pairs or duels.PAIRS
    looks = ", ".join(str(count) for count in duels.looks(pairs)) if order.early else str(pairs)
    return [
        *(f"side {letter}: {side.words} on {device.name}" for letter, side in zip("AB", sides, strict=True)),
        f"at most {pairs} pairs of fresh processes, at least {order.min_time_s:g} s each; looked at after {looks}",
    ]


def duel(
    a: str, b: str, order: DuelOrder, *, progress: api.Progress = api.silent, on_trial: OnTrial = api.unseen
) -> DuelOutcome:
    """Time two artifacts or models against each other in interleaved pairs; what is not exported yet is made first.

    Raises:
        UsageError: an unknown name, or a number that means nothing.
        DeviceError: the device is not reachable, busy, or another one than its file says.
        VitdeployError: a side could not be made.
    """
    sides = [workload.side(name, _as_bench(order)) for name in (a, b)]
    return _dueled(sides, (a, b), order, progress, on_trial)


def _dueled(
    sides: Sequence[Planned], names: tuple[str, str], order: DuelOrder, progress: api.Progress, on_trial: OnTrial
) -> DuelOutcome:
    """The duel of two cases; a side that cannot be made is an error."""
    from vitdeploy import api_jobs
    from vitdeploy.benchmarks import bench as timing
    from vitdeploy.benchmarks import duel as duels
    from vitdeploy.benchmarks import machine

    out = order.out or _run_path("duel", order.device)
    timing.check_out(out, resume=False)
    request = duels.Request(
        names=names,
        pairs=order.pairs if order.pairs is not None else duels.PAIRS,
        alpha=_share("alpha", order.alpha),
        max_slowdown=_share("max-slowdown", order.max_slowdown),
        min_time_s=order.min_time_s,
        early=order.early,
    )
    device = api.reachable(order.device)
    facts = machine.of(device)
    jobs = api_jobs.jobs_for(sides, _as_bench(order), device, facts, progress=progress, keep_going=False)
    run = duels.run(jobs, request, device=device, out=out, progress=progress, on_trial=on_trial)
    run = _attributed(run, jobs, out, progress)
    exit_code = worst_exit_code(timing.exit_code_of(result) for result in run.results)
    return DuelOutcome(run=run, path=out, compared=comparison.duel(run), exit_code=exit_code)


def _attributed(run: Run, jobs: "Sequence[Job]", out: Path, progress: api.Progress) -> Run:
    """The run with what explains its difference, where there is one and the device can be profiled."""
    from vitdeploy.benchmarks import attribution, machine
    from vitdeploy.devices import inventory

    (found,) = comparison.duel(run).comparisons
    a, b = (job.artifact for job in jobs)
    if found.verdict not in ("slower", "faster") or run.duel is None or a is None or b is None:
        return run
    progress(f"{found.verdict}: looking at the operators of both sides")
    device, threads = inventory.find(run.device.name), jobs[0].case.threads
    with inventory.connect(device) as link:
        measure = attribution.on_device(device, link, machine.found(device, link), threads=threads)
        explained = attribution.attribute(a, b, measure)
    told = msgspec.structs.replace(run, duel=msgspec.structs.replace(run.duel, attribution=explained))
    record.save(told, out)
    return told


def compare_plan(runs: Sequence[Path], order: CompareOrder) -> list[str]:
    """What `compare` would do."""
    base, head = _sides(runs)
    against = base or (f"the baseline in {order.baselines}, or its own other side if it is a duel")
    confirm = "; a suspicion is confirmed by a duel of the stored files" if order.confirm else ""
    return [f"compare {head} with {against} at ±{order.max_slowdown:.1%}, alpha {order.alpha:g}{confirm}"]


def compare(
    runs: Sequence[Path], order: CompareOrder, *, progress: api.Progress = api.silent, on_trial: OnTrial = api.unseen
) -> CompareOutcome:
    """Verdicts on every case: two runs, a run and its baseline, or the two sides of a duel.

    Raises:
        UsageError: not one or two runs, or a number that means nothing.
        UnreadableFile: a run or the baseline cannot be read, or is not what was accepted.
        NothingToCompare: there is no baseline, or the environments differ.
    """
    base_path, head_path = _sides(runs)
    max_slowdown, alpha = _share("max-slowdown", order.max_slowdown), _share("alpha", order.alpha)
    head = record.load(head_path)
    baseline: Baseline | None = None
    if base_path is not None:
        base = record.load(base_path)
    elif head.duel is not None:
        compared = comparison.duel(head, max_slowdown=max_slowdown)
        return CompareOutcome(compared=compared, baseline=None, exit_code=compared.exit_code(strict=order.strict))
    else:
        baseline = baselines.find(head, order.baselines)
        base = baseline.run
    known = calibration.find(head.device.name, head.device.facts)
    notes = (
        [f"The calibration of {head.device.name} adds its drift of {known.drift:.2%} to the error."]
        if known
        else [f"{head.device.name} is not calibrated: `vitdeploy calibrate` tells its noise and drift."]
    )
    if baseline is not None:
        told = baseline.acceptance
        notes.append(f"Baseline accepted by {told.who} on {told.accepted_utc[:10]}: {told.because}")
    compared = comparison.runs(
        base, head, max_slowdown=max_slowdown, alpha=alpha, drift=known.drift if known else 0.0, notes=notes
    )
    if order.confirm:
        compared = _confirmed(compared, base, head, order, progress, on_trial)
    return CompareOutcome(compared=compared, baseline=baseline, exit_code=compared.exit_code(strict=order.strict))


def accept(run: Path, *, because: str, root: Path = baselines.DEFAULT_ROOT) -> Baseline:
    """Make a run the baseline of its device and suite. Raises as `baselines.accept` does."""
    return baselines.accept(run, because=because, root=root)


def accept_plan(run: Path, *, root: Path) -> list[str]:
    """What `accept` would do."""
    return [f"copy {run} to {baselines.place_of(record.load(run), root)} with its acceptance beside it"]


def verify_plan(path: Path) -> list[str]:
    """What `verify` would do."""
    kind = "run" if chain.is_run(path) else "artifact"
    return [f"re-check every digest behind the {kind} {path}: files, manifests, parents, weights, commit"]


def verify(path: Path, *, artifacts: Path = Path("artifacts"), weights: Path | None = None) -> Verified:
    """Re-check the chain behind a run or an artifact; nothing is changed.

    Raises:
        UnreadableFile: it is neither.
    """
    from vitdeploy import store

    places = [artifacts, path.parent, store.default_root()]
    links = (chain.of_run if chain.is_run(path) else chain.of_artifact)(path, places, weights)
    changed = [link for link in links if link.state == "changed"]
    error = None
    if changed:
        error = UnreadableFile(f"{changed[0].of}, {changed[0].what}: {changed[0].said}", "Do not quote this figure.")
    return Verified(path=path, links=tuple(links), error=error)


def calibrate_plan(order: DuelOrder) -> list[str]:
    """What `calibrate` would do; the device is asked what it is for."""
    side = _calibrated_side(order)
    return duel_plan(side, side, _calibrating(order))


def calibrate(order: DuelOrder, *, progress: api.Progress = api.silent, on_trial: OnTrial = api.unseen) -> Calibrated:
    """Time one file against itself on a device, and keep what that says of its noise.

    Raises:
        DeviceError: the device is not reachable, busy, or another one than its file says.
        NoValidMeasurement: too little could be measured.
    """
    from vitdeploy.benchmarks import calibrate as calibrating

    asked = _calibrating(order)
    side = _calibrated_side(order)
    outcome = duel(side, side, asked, progress=progress, on_trial=on_trial)
    made = calibrating.calibrate(outcome.run, alpha=asked.alpha, max_slowdown=asked.max_slowdown)
    return Calibrated(calibration=made, path=calibration.save(made), run_path=outcome.path)


def _calibrated_side(order: DuelOrder) -> str:
    """What a device is calibrated with, as a side of a duel: ``efficientvit_b1:trt-fp16``."""
    from vitdeploy.benchmarks import calibrate as calibrating
    from vitdeploy.benchmarks import machine

    device = api.reachable(order.device)
    return f"{CALIBRATION_MODEL}:{calibrating.target_of(device, machine.of(device))}"


def _calibrating(order: DuelOrder) -> DuelOrder:
    """A duel without early looks, and of enough pairs to draw others from."""
    from vitdeploy.benchmarks import calibrate as calibrating

    out = order.out or _run_path("calibration", order.device)
    return dataclasses.replace(order, pairs=order.pairs or calibrating.PAIRS, early=False, out=out)


def _confirmed(
    compared: Compared, base: Run, head: Run, order: CompareOrder, progress: api.Progress, on_trial: OnTrial
) -> Compared:
    """``compared`` with every ``slower`` case decided anew by a duel of the two stored files."""
    before, after = ({result.case: result for result in run.results} for run in (base, head))
    decided: list[Comparison] = []
    notes = list(compared.notes)
    for one in compared.comparisons:
        if one.verdict != "slower":
            decided.append(one)
            continue
        sides = _timed_again(before[one.case], after[one.case])
        if isinstance(sides, str):
            notes.append(f"{one.case.name} could not be confirmed: {sides}.")
            decided.append(one)
            continue
        progress(f"{one.case.name}: slower by {one.reason}; confirming by a duel of the stored files")
        request = DuelOrder(
            device=one.case.device,
            min_time_s=head.protocol.min_time_s,
            max_slowdown=order.max_slowdown,
            alpha=order.alpha,
            out=_run_path(f"confirm-{one.case.model.replace('/', '-').replace(':', '-')}", one.case.device),
        )
        base_folder, head_folder = (str(side.artifact.folder) for side in sides if side.artifact)
        outcome = _dueled(sides, (base_folder, head_folder), request, progress, on_trial)
        decided.append(outcome.compared.comparisons[0])
        notes.append(f"{one.case.name} was decided by a duel of the stored files.")
    return dataclasses.replace(compared, comparisons=tuple(decided), notes=tuple(notes))


def _timed_again(base: Result, head: Result) -> list[Planned] | str:
    """The two sides of a case with their stored files, to be timed as they were; or why they cannot be."""
    from vitdeploy.store import Store

    store = Store()
    files = [store.holding(side.artifact_sha256, side.case.target) for side in (base, head)]
    if lost := [name for name, file in zip(("base", "head"), files, strict=True) if file is None]:
        return f"the {' and '.join(lost)} file is no longer in the store"
    sides = [workload.again(side.case, file) for side, file in zip((base, head), files, strict=True) if file]
    return _changed_compute(head.case) or sides


def _changed_compute(case: Case) -> str | None:
    """Why a case cannot be timed on its device as it was: it would compute elsewhere; None: it can."""
    from vitdeploy.benchmarks import machine

    device = api.reachable(case.device)
    compute = machine.compute_of(case.target, device, machine.of(device))
    if case.memory in (None, workload.MEMORY[compute]):
        return None
    return f"it was timed with {case.memory} host memory, and {device.name} would compute it on {compute} now"


def _as_bench(order: DuelOrder) -> BenchOrder:
    from vitdeploy.devices import inventory

    asked = BenchOrder(
        device=order.device,
        size=order.size,
        threads=order.threads,
        min_time_s=order.min_time_s,
        artifacts=order.artifacts,
    )
    # A side names its own format.
    return dataclasses.replace(workload.fitted(asked, inventory.find(order.device)), targets=())


def _sides(runs: Sequence[Path]) -> tuple[Path | None, Path]:
    if len(runs) not in (1, 2):
        raise UsageError(f"{len(runs)} runs were given", "Name HEAD.json, or BASE.json HEAD.json.")
    return (runs[0] if len(runs) == 2 else None), runs[-1]


def _share(option: str, value: float) -> float:
    if not 0 < value < 1:
        raise UsageError(f"--{option} {value:g} is not a share between 0 and 1", f"Use --{option} 2% or 0.02.")
    return value


def _run_path(kind: str, device: str) -> Path:
    return Path("runs") / f"{kind}-{device}-{time.strftime('%Y%m%d-%H%M%S')}.json"
