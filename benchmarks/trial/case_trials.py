"""Trials of a case while its run goes on: those measured and those lost so far, and the result that follows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from vitdeploy.artifacts.manifest import MANIFEST, Artifact, digest_of
from vitdeploy.benchmarks.trial import hub_trial, phone_trial
from vitdeploy.benchmarks.trial.host_clock import HOST
from vitdeploy.benchmarks.trial.request import LostTrial
from vitdeploy.catalog import registry
from vitdeploy.catalog.fact_table import TrialFacts
from vitdeploy.catalog.spec import Compute
from vitdeploy.devices import inventory
from vitdeploy.errors import DeviceError, Impossible, VitdeployError, reason_code
from vitdeploy.results import consistency, record, validity
from vitdeploy.results.record import Case, Reason, Trial

MOST_FOREIGN_CORES = 0.1
"""A trial during which others took more than this many cores gets the reason ``foreign-load``.

Source: a choice, well above what an idle machine shows (0.00 to 0.03 here). One look at EfficientViT-B1 on both
of two virtual cores, seven rounds a competitor, is too noisy to place it: medians 20.2, 20.0, 21.7, 29.5, 25.2 ms
at 0.01, 0.07, 0.11, 0.18, 0.22 foreign cores, while single trials without any ranged from 17.7 to 27.1 ms.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One row to be: a case, and its artifact or the error why there is none."""

    case: Case
    compute: Compute
    """Where it computes; `device_facts.compute_of` decides."""
    artifact: Artifact | None = None
    error: VitdeployError | None = None
    side: record.Side | None = None


@dataclass(slots=True, kw_only=True)
class CaseTrials:
    """What became of a job so far."""

    job: Job
    error: VitdeployError | None
    trials: dict[str, Trial] = field(default_factory=dict[str, Trial])
    lost: dict[str, Reason] = field(default_factory=dict[str, Reason])
    """Trial id → why that trial has no samples."""
    manifest_sha256: str | None = None


def add_trial(row: CaseTrials, trial_id: str, outcome: Trial | LostTrial, protocol: record.Protocol) -> None:
    """Add a trial to its case, or that it was lost; the case has failed when too many were lost."""
    if isinstance(outcome, Trial):
        try:
            row.trials[trial_id] = _credible(row, trial_id, outcome)
        except DeviceError as error:
            row.error = error
        return
    row.lost[trial_id] = Reason(code=validity.LOST, message=outcome.message, hint=outcome.hint)
    # A hopeless case shall not cost all its trials, each up to its time limit.
    if len(row.lost) > validity.MOST_UNSTEADY * protocol.trials:
        row.error = DeviceError(f"{len(row.lost)} of {protocol.trials} trials were lost", outcome.hint)


def _credible(row: CaseTrials, trial_id: str, trial: Trial) -> Trial:
    """The trial that a device answered with; where its clock is wrong or has stepped, dated by ours.

    Raises:
        DeviceError: it is another trial, of another file, or cannot be true.
    """
    trial = _dated(trial)
    faults = list(consistency.trial_faults(trial, row.job.case, _digest(row)))
    if trial.id != trial_id:
        faults.insert(0, ("id", f"{trial.id!r}, asked for was {trial_id!r}"))
    for name, why in faults:
        raise DeviceError(
            f"{row.job.case.device} answered with a trial that cannot be true, `{name}`: {why}",
            "Measure again; if it repeats, look for what answers in the device's place.",
        )
    return trial


def _dated(trial: Trial) -> Trial:
    date = HOST.credible(trial.started_utc)
    return trial if date == trial.started_utc else msgspec.structs.replace(trial, started_utc=date)


def _digest(row: CaseTrials) -> str | None:
    """Of the file that is timed; where it cannot be had now, of the one that earlier trials were taken with."""
    if row.job.artifact is not None:
        return row.job.artifact.manifest.sha256
    return next((trial.artifact_sha256 for trial in row.trials.values()), None)


def result_of(row: CaseTrials, protocol: record.Protocol) -> record.Result:
    """The record of a row as far as it is now."""
    artifact = row.job.artifact
    trials = tuple(sorted(row.trials.values(), key=lambda trial: trial.order))
    reasons: list[Reason] = []
    if row.error is not None:
        reasons.append(Reason(code=reason_code(type(row.error)), message=row.error.message, hint=row.error.hint))
    reasons += row.lost.values()
    reasons += _foreign_load(trials)
    reasons += _not_compared(trials)
    reasons += _not_controlled(trials)
    result = record.Result(
        case=row.job.case,
        artifact_sha256=_digest(row),
        parity=artifact.manifest.parity if artifact else None,
        status="valid" if row.error is None else "failed",
        reasons=tuple(reasons),
        trials=trials,
        summary=None,
        params=artifact.manifest.params if artifact else None,
        macs=artifact.manifest.macs if artifact else None,
        size_bytes=artifact.manifest.size_bytes if artifact else None,
        manifest_sha256=row.manifest_sha256,
        official=artifact.manifest.weights.official if artifact else None,
        side=row.job.side,
    )
    return record.rederive(result, protocol)


def run_of(frame: record.Run, rows: Sequence[CaseTrials]) -> record.Run:
    """The run as far as it is now; what was dated by a clock that was set back since is dated again."""
    for row in rows:
        row.trials = {trial_id: _dated(trial) for trial_id, trial in row.trials.items()}
    started_utc = HOST.credible(frame.started_utc)
    return msgspec.structs.replace(
        frame, started_utc=started_utc, results=tuple(result_of(row, frame.protocol) for row in rows)
    )


def _foreign_load(trials: Sequence[Trial]) -> list[Reason]:
    """Reasons, if other processes were busy or held the GPU; they do not make the row invalid."""
    facts = [TrialFacts(trial.facts) for trial in trials]
    loaded = [cores for fact in facts if (cores := fact.foreign_cores or 0.0) > MOST_FOREIGN_CORES]
    holders = [fact.foreign_gpu_processes for fact in facts if fact.foreign_gpu_processes]
    reasons: list[Reason] = []
    if loaded:
        message = f"other processes used up to {max(loaded):.1f} cores during {len(loaded)} of {len(trials)} trials"
        hint = "Stop other work on the machine and measure again."
        reasons.append(Reason(code="foreign-load", message=message, hint=hint))
    if holders:
        message = f"up to {max(holders)} other processes used the GPU during {len(holders)} of {len(trials)} trials"
        hint = "See `nvidia-smi`, stop them, and measure again."
        reasons.append(Reason(code="foreign-load", message=message, hint=hint))
    return reasons


def _not_compared(trials: Sequence[Trial]) -> list[Reason]:
    """That outputs of the device were not seen, where its tool gives none; the row's parity was proven elsewhere."""
    why_not = sorted({why for trial in trials if (why := TrialFacts(trial.facts).outputs_not_compared) is not None})
    return [
        Reason(
            code="not-compared",
            message=f"not compared on the device: {why}; the parity shown is that of the file on this computer",
            hint="See docs/phones.md for the tool that gives outputs too.",
        )
        for why in why_not
    ]


def _not_controlled(trials: Sequence[Trial]) -> list[Reason]:
    """What of a hosted phone nobody here controls."""
    said = sorted({words for trial in trials if (words := TrialFacts(trial.facts).not_controlled) is not None})
    hint = "Quote it beside figures of the same service only, or time a phone of your own."
    return [Reason(code="hosted", message=words, hint=hint) for words in said]


_REFUSES: Mapping[inventory.Link, Callable[[record.Case, float | None], VitdeployError | None]] = {
    "adb": phone_trial.refusal,
    "hub": hub_trial.refusal,
}


def refusal(job: Job, device: inventory.Device, protocol: record.Protocol) -> VitdeployError | None:
    """Why a job cannot even be tried."""
    refuses = _REFUSES.get(device.link)
    if refuses is not None and (refused := refuses(job.case, protocol.sustained_s)) is not None:
        return refused
    target = registry.find_target(job.case.target)
    if target.runtime is None:
        why = target.unavailable or "its runtime is not built in this version"
        return Impossible(f"{target.name} cannot be run: {why}", "Choose another target.")
    if job.case.graph and job.compute != "cuda":
        return Impossible(
            f"--graph on: {target.name} computes on the CPU of {device.name}, but a CUDA graph needs a GPU",
            "Leave --graph out, or time a trt or torch target where a GPU is.",
        )
    if job.artifact is None:
        return VitdeployError(f"the job {job.case.name} has neither an artifact nor an error")
    if job.artifact.manifest.state == "deferred":
        return Impossible(
            f"{job.artifact.folder} has still to be built on its device: {job.artifact.manifest.deferred}",
            "Name that device with --device.",
        )
    return None


def manifest_digest(artifact: Artifact | None) -> str | None:
    """Digest of the manifest that lies beside the file."""
    return digest_of(artifact.folder / MANIFEST) if artifact else None
