"""`compare`: verdicts on every case of two runs, of a run and its baseline, or of the two sides of a duel."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from vitdeploy.api import cases
from vitdeploy.api.cases import Planned
from vitdeploy.api.devices import reachable
from vitdeploy.api.duel import DuelRequest, checked_alpha, checked_share, timed_duel
from vitdeploy.api.output_path import new_path
from vitdeploy.artifacts.store import Store
from vitdeploy.catalog.shown import Shown
from vitdeploy.devices import device_facts
from vitdeploy.errors import UsageError
from vitdeploy.processes.progress import OnTrial, Progress, silent, silent_trial
from vitdeploy.results import baselines, calibration, comparison, record, verdict
from vitdeploy.results.baselines import Baseline
from vitdeploy.results.comparison import Compared
from vitdeploy.results.record import Case, Result, Run
from vitdeploy.results.verdict import Comparison


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareRequest:
    """The options of `compare`, beside the runs."""

    baselines: Path = Path("vitdeploy-baselines")
    max_slowdown: float = 0.02
    alpha: float = 0.01
    confirm: bool = False
    strict: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class CompareOutcome(Shown):
    """The verdicts, the baseline if they are against one, and their exit code."""

    shown_by: ClassVar = "vitdeploy.cli.compare:compare_output"
    compared: Compared
    baseline: Baseline | None
    exit_code: int


def compare_plan(runs: Sequence[Path], request: CompareRequest) -> list[str]:
    """What `compare` would do."""
    base, head = _base_and_head(runs)
    against = base or f"the baseline in {request.baselines}, or its own other side if it is a duel"
    confirm = "; a suspected slowdown is confirmed by a duel of the stored files" if request.confirm else ""
    return [f"compare {head} with {against} at ±{request.max_slowdown:.1%}, alpha {request.alpha:g}{confirm}"]


def compare(
    runs: Sequence[Path], request: CompareRequest, *, progress: Progress = silent, on_trial: OnTrial = silent_trial
) -> CompareOutcome:
    """Verdicts on every case: two runs, a run and its baseline, or the two sides of a duel.

    Raises:
        UsageError: not one or two runs, or a number that means nothing.
        UnreadableFile: a run or the baseline cannot be read, or is not what was accepted.
        NothingToCompare: there is no baseline, or the environments differ.
    """
    base_path, head_path = _base_and_head(runs)
    max_slowdown, alpha = checked_share("max-slowdown", request.max_slowdown), checked_alpha(request.alpha)
    head = record.load(head_path, tails=False)
    baseline: Baseline | None = None
    if base_path is not None:
        base = record.load(base_path, tails=False)
    elif head.duel is not None:
        # The default is the error that was planned with the duel's early looks in it.
        own = alpha == verdict.ALPHA
        compared = comparison.duel(head, max_slowdown=max_slowdown, alpha=None if own else alpha)
        return CompareOutcome(compared=compared, baseline=None, exit_code=compared.exit_code(strict=request.strict))
    else:
        baseline = baselines.find(head, request.baselines)
        base = baseline.run
    device = head.device
    noise = calibration.find(device.name, device.facts)
    notes = [
        f"The calibration of {device.name} adds its drift of {noise.drift:.2%} to the error."
        if noise
        else f"{device.name} is not calibrated. Run `vitdeploy calibrate` to measure its noise and drift."
    ]
    if baseline is not None:
        accepted = baseline.acceptance
        notes.append(f"Baseline accepted by {accepted.who} on {accepted.accepted_utc[:10]}: {accepted.because}")
    compared = comparison.runs(
        base, head, max_slowdown=max_slowdown, alpha=alpha, drift=noise.drift if noise else 0.0, notes=notes
    )
    if request.confirm:
        compared = _confirmed(compared, base, head, request, progress, on_trial)
    return CompareOutcome(compared=compared, baseline=baseline, exit_code=compared.exit_code(strict=request.strict))


def _confirmed(
    compared: Compared, base: Run, head: Run, request: CompareRequest, progress: Progress, on_trial: OnTrial
) -> Compared:
    """``compared`` with every ``slower`` case decided anew by a duel of the two stored files."""
    before, after = ({result.case: result for result in run.results} for run in (base, head))
    decided: list[Comparison] = []
    notes = list(compared.notes)
    for suspected in compared.comparisons:
        case = suspected.case
        if suspected.verdict != "slower":
            decided.append(suspected)
            continue
        sides = _stored_sides(before[case], after[case])
        if isinstance(sides, str):
            notes.append(f"{case.name} could not be confirmed: {sides}.")
            decided.append(suspected)
            continue
        progress(f"{case.name}: slower by {suspected.reason}; confirming by a duel of the stored files")
        options = DuelRequest(
            device=case.device,
            max_slowdown=request.max_slowdown,
            alpha=request.alpha,
            out=new_path("runs", "confirm", case.model.replace("/", "-").replace(":", "-"), case.device),
        )
        base_folder, head_folder = (str(side.artifact.folder) for side in sides if side.artifact)
        outcome = timed_duel(sides, (base_folder, head_folder), options, progress, on_trial)
        decided.append(outcome.compared.comparisons[0])
        notes.append(f"{case.name} was decided by a duel of the stored files.")
    return dataclasses.replace(compared, comparisons=tuple(decided), notes=tuple(notes))


def _stored_sides(base: Result, head: Result) -> list[Planned] | str:
    """The two sides of a case with their stored files, to be timed as they were; or why they cannot be."""
    store = Store()
    files = [store.holding(side.artifact_sha256, side.case.target) for side in (base, head)]
    if lost := [name for name, file in zip(("base", "head"), files, strict=True) if file is None]:
        return f"the {' and '.join(lost)} file is no longer in the store"
    sides = [cases.again(side.case, file) for side, file in zip((base, head), files, strict=True) if file]
    return _changed_compute(head.case) or sides


def _changed_compute(case: Case) -> str | None:
    """Why a case cannot be timed on its device as it was: it would compute elsewhere; None: it can."""
    device = reachable(case.device)
    compute = device_facts.compute_of(case.target, device, device_facts.facts_of(device))
    if case.memory in (None, cases.MEMORY[compute]):
        return None
    return f"it was timed with {case.memory} host memory, and {device.name} would compute it on {compute} now"


def _base_and_head(runs: Sequence[Path]) -> tuple[Path | None, Path]:
    if len(runs) not in (1, 2):
        raise UsageError(f"{len(runs)} runs were given", "Name HEAD.json, or BASE.json HEAD.json.")
    return (runs[0] if len(runs) == 2 else None), runs[-1]
