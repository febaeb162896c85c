"""Lanes of a sweep: one device each, what it is at, and how its rows, trials and facts are filled in."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import msgspec

from vitdeploy.api import cases
from vitdeploy.artifacts.manifest import Artifact
from vitdeploy.benchmarks.trial import case_trials, phone_trial
from vitdeploy.benchmarks.trial.case_trials import CaseTrials, Job
from vitdeploy.benchmarks.trial.request import TrialSlot
from vitdeploy.catalog.fact_table import DeviceFacts, listed
from vitdeploy.catalog.spec import Compute
from vitdeploy.devices import device_facts
from vitdeploy.errors import DeviceError, Impossible, UsageError, VitdeployError
from vitdeploy.fleet import tasks
from vitdeploy.fleet.messages import DeviceSurvey, ExportTask, TrialTask
from vitdeploy.fleet.plan import SweepCase
from vitdeploy.results.record import Protocol, Run

UNSURVEYED: Compute = "cpu"
"""In a row until its device is surveyed; nothing of it is timed before `fill_row` has replaced it."""

State = Literal["surveying", "waiting", "building", "asking", "sending", "running", "ended"]


@dataclass(slots=True, kw_only=True)
class DeviceQueue:
    """A device and what it is at."""

    device: str
    places: tuple[int, ...]
    lock_wait_s: float
    state: State = "surveying"
    surveyed: DeviceSurvey | None = None
    pending: set[str] = field(default_factory=set[str])
    """Trials that are out, or digests that are being built or sent."""
    deliveries: int = 0


def prefixed_facts(device: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """A device's facts beside those of others: ``orin-1 cpu``; packages in one line, so that a difference is one."""
    title = DeviceFacts.title.name
    beside = {
        f"{device} {name}": listed(cast("dict[str, Any]", value)) if isinstance(value, dict) else value
        for name, value in facts.items()
        if name not in (title, DeviceFacts.link.name)
    }
    return {f"{device} {title}": facts.get(title), **beside}


def export_task(one: SweepCase) -> ExportTask | None:
    """What has to be exported for a row; None where its artifact was named."""
    planned = one.planned
    if planned.artifact is not None:
        return None
    return ExportTask(
        model=planned.spec.name,
        target=planned.target.name,
        size=planned.size,
        batch=planned.batch,
        attention=planned.attention,
    )


def empty_row(one: SweepCase, earlier: Run | None) -> CaseTrials:
    """A row of which nothing is known yet but what the plan says; of an interrupted run, what was known."""
    if earlier is not None:
        before = earlier.results[one.place]
        return CaseTrials(
            job=Job(case=before.case, compute=UNSURVEYED), error=None, manifest_sha256=before.manifest_sha256
        )
    case = cases.case_of(
        one.planned,
        one.order,
        device=one.device,
        compute=UNSURVEYED,
        threads=one.order.threads or 0,
        made=one.planned.artifact,
    )
    return CaseTrials(job=Job(case=case, compute=UNSURVEYED), error=None)


def fill_row(
    row: CaseTrials,
    one: SweepCase,
    surveyed: DeviceSurvey,
    protocol: Protocol,
    made: Artifact | None,
    error: VitdeployError | None,
) -> None:
    """Make a row what its device and its artifact are; a reason why it cannot be timed stands in it."""
    if row.error is not None:
        return
    device = surveyed.device
    if one.planned.target.name not in device.targets:
        error = Impossible(
            f"{one.planned.target.name} does not run on {device.name}", f"It takes {', '.join(device.targets)}."
        )
    order = cases.fitted(one.order, device)
    compute = device_facts.compute_of(one.planned.target.name, device, DeviceFacts(surveyed.facts))
    case = cases.case_of(
        one.planned,
        order,
        device=device.name,
        compute=compute,
        threads=order.threads or surveyed.threads,
        made=made,
        power_mode=surveyed.power_mode,
    )
    row.job = Job(case=case, compute=compute, artifact=made, error=error)
    row.error = error or case_trials.refusal(row.job, device, protocol)
    row.manifest_sha256 = case_trials.manifest_digest(made)


def trial_task(lane: DeviceQueue, turn: TrialSlot, row: CaseTrials, protocol: Protocol) -> TrialTask:
    """One trial of a row that is ready."""
    assert lane.surveyed is not None, "a lane that runs was surveyed"
    assert row.manifest_sha256 is not None, "a row that runs has an artifact"
    return TrialTask(
        id=turn.id,
        place=turn.place,
        index=turn.index,
        order=turn.order,
        case=row.job.case,
        compute=row.job.compute,
        digest=row.manifest_sha256,
        protocol=phone_trial.as_run(protocol) if lane.surveyed.device.link == "adb" else protocol,
        facts_digest=tasks.digest_of_facts(lane.surveyed.facts),
        lock_wait_s=lane.lock_wait_s,
    )


def device_changed(lane: DeviceQueue, facts: Mapping[str, Any]) -> DeviceError:
    """Another machine answers to the device's name than the one that was surveyed."""
    before: Mapping[str, Any] = lane.surveyed.facts if lane.surveyed else {}
    key = next((key for key in sorted({*before, *facts}) if before.get(key) != facts.get(key)), "nothing visible")
    return DeviceError(
        f"the machine behind {lane.device} changed: {key} was {before.get(key)!r}, is {facts.get(key)!r}",
        "Let one machine serve one device, and begin a new run.",
    )


def with_device(frame: Run, lane: DeviceQueue, surveyed: DeviceSurvey, *, alone: bool, begun: bool, out: Path) -> Run:
    """The run with what the lane's device is.

    Raises:
        UsageError: the trials that are there were taken on another machine.
    """
    facts = dict(surveyed.facts) if alone else prefixed_facts(lane.device, DeviceFacts(surveyed.facts))
    known = frame.device.facts
    for key in sorted(facts) if begun else ():
        if known.get(key) != facts[key]:
            raise UsageError(
                f"{out} cannot be resumed: device.facts.{key} is {known.get(key)!r} there and {facts[key]!r} now",
                "Resume it as it was begun, or choose another place with --out.",
            )
    device = msgspec.structs.replace(frame.device, facts={**known, **facts})
    protocol = frame.protocol
    if surveyed.device.link == "adb" and phone_trial.INPUTS not in protocol.inputs:
        others = "" if alone else f"{protocol.inputs}; on phones: "
        protocol = msgspec.structs.replace(protocol, inputs=others + phone_trial.INPUTS)
    return msgspec.structs.replace(frame, device=device, protocol=protocol)
