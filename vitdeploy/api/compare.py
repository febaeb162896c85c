"""The verbs that decide, as functions: duel, compare, accept, calibrate, verify; composers of rooms, as `api` is."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vitdeploy.api import cases
from vitdeploy.api.cases import Planned
from vitdeploy.api.devices import reachable
from vitdeploy.api.duel import DuelRequest, checked_share, run_path, timed_duel
from vitdeploy.errors import UsageError
from vitdeploy.processes.progress import OnTrial, Progress, silent, silent_trial
from vitdeploy.results import baselines, calibration, comparison, record
from vitdeploy.results.baselines import Baseline
from vitdeploy.results.comparison import Compared
from vitdeploy.results.record import Case, Result, Run
from vitdeploy.results.verdict import Comparison

if TYPE_CHECKING:
    from vitdeploy.results.baselines import Baseline
    from vitdeploy.results.comparison import Compared
    from vitdeploy.results.record import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareRequest:
    """What `compare` is asked for, beside the runs."""

    baselines: Path = Path("vitdeploy-baselines")
    max_slowdown: float = 0.02
    alpha: float = 0.01
    confirm: bool = False
    strict: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareOutcome:
    """The verdicts, the baseline they are against where it was one, and the exit code they ask for."""

    compared: "Compared"
    baseline: "Baseline | None"
    exit_code: int


def compare_plan(runs: Sequence[Path], order: CompareRequest) -> list[str]:
    """What `compare` would do."""
    base, head = _sides(runs)
    against = base or (f"the baseline in {order.baselines}, or its own other side if it is a duel")
    confirm = "; a suspicion is confirmed by a duel of the stored files" if order.confirm else ""
    return [f"compare {head} with {against} at ±{order.max_slowdown:.1%}, alpha {order.alpha:g}{confirm}"]


def compare(
    runs: Sequence[Path], order: CompareRequest, *, progress: Progress = silent, on_trial: OnTrial = silent_trial
) -> CompareOutcome:
    """Verdicts on every case: two runs, a run and its baseline, or the two sides of a duel.

    Raises:
        UsageError: not one or two runs, or a number that means nothing.
        UnreadableFile: a run or the baseline cannot be read, or is not what was accepted.
        NothingToCompare: there is no baseline, or the environments differ.
    """
    base_path, head_path = _sides(runs)
    max_slowdown, alpha = checked_share("max-slowdown", order.max_slowdown), checked_share("alpha", order.alpha)
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


def _confirmed(
    compared: Compared, base: Run, head: Run, order: CompareRequest, progress: Progress, on_trial: OnTrial
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
        request = DuelRequest(
            device=one.case.device,
            min_time_s=head.protocol.min_time_s,
            max_slowdown=order.max_slowdown,
            alpha=order.alpha,
            out=run_path(f"confirm-{one.case.model.replace('/', '-').replace(':', '-')}", one.case.device),
        )
        base_folder, head_folder = (str(side.artifact.folder) for side in sides if side.artifact)
        outcome = timed_duel(sides, (base_folder, head_folder), request, progress, on_trial)
        decided.append(outcome.compared.comparisons[0])
        notes.append(f"{one.case.name} was decided by a duel of the stored files.")
    return dataclasses.replace(compared, comparisons=tuple(decided), notes=tuple(notes))


def _timed_again(base: Result, head: Result) -> list[Planned] | str:
    """The two sides of a case with their stored files, to be timed as they were; or why they cannot be."""
    from vitdeploy.artifacts.store import Store

    store = Store()
    files = [store.holding(side.artifact_sha256, side.case.target) for side in (base, head)]
    if lost := [name for name, file in zip(("base", "head"), files, strict=True) if file is None]:
        return f"the {' and '.join(lost)} file is no longer in the store"
    sides = [cases.again(side.case, file) for side, file in zip((base, head), files, strict=True) if file]
    return _changed_compute(head.case) or sides


def _changed_compute(case: Case) -> str | None:
    """Why a case cannot be timed on its device as it was: it would compute elsewhere; None: it can."""
    from vitdeploy.devices import device_facts

    device = reachable(case.device)
    compute = device_facts.compute_of(case.target, device, device_facts.facts_of(device))
    if case.memory in (None, cases.MEMORY[compute]):
        return None
    return f"it was timed with {case.memory} host memory, and {device.name} would compute it on {compute} now"


def _sides(runs: Sequence[Path]) -> tuple[Path | None, Path]:
    if len(runs) not in (1, 2):
        raise UsageError(f"{len(runs)} runs were given", "Name HEAD.json, or BASE.json HEAD.json.")
    return (runs[0] if len(runs) == 2 else None), runs[-1]
