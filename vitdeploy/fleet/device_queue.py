"""Device queues of a sweep: the state of one device, and the trials that its worker is to take."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from vitdeploy.benchmarks.trial import phone_trial
from vitdeploy.benchmarks.trial.case_trials import CaseTrials
from vitdeploy.benchmarks.trial.request import TrialSlot
from vitdeploy.catalog.fact_table import same
from vitdeploy.errors import DeviceError
from vitdeploy.fleet import messages, tasks
from vitdeploy.fleet.messages import DeviceSurvey, TrialTask
from vitdeploy.results.record import Protocol

State = Literal["surveying", "waiting", "building", "checking", "sending", "running", "ended"]


@dataclass(slots=True, kw_only=True)
class DeviceQueue:
    """A device and how far it is."""

    device: str
    places: tuple[int, ...]
    """Of its rows in the run."""
    lock_wait_s: float
    state: State = "surveying"
    survey: DeviceSurvey | None = None
    pending: set[str] = field(default_factory=set[str])
    """Trials that are out, or digests that are being built or sent."""
    deliveries: int = 0

    @property
    def resource(self) -> str:
        """What its worker offers."""
        return messages.resource(self.device)

    @property
    def surveyed(self) -> DeviceSurvey:
        """The survey, of a device that is past it."""
        assert self.survey is not None, f"{self.device} was not surveyed"
        return self.survey

    def finish(self, key: str) -> bool:
        """Take something off what is pending; whether nothing is left."""
        self.pending.discard(key)
        return not self.pending


def trial_task(queue: DeviceQueue, slot: TrialSlot, row: CaseTrials, protocol: Protocol) -> TrialTask:
    """One trial of a row that is ready."""
    assert row.manifest_sha256 is not None, "a row that runs has an artifact"
    return TrialTask(
        slot=slot,
        case=row.job.case,
        compute=row.job.compute,
        digest=row.manifest_sha256,
        protocol=phone_trial.as_run(protocol) if queue.surveyed.device.link == "adb" else protocol,
        facts_digest=tasks.digest_of_facts(queue.surveyed.facts),
        lock_wait_s=queue.lock_wait_s,
    )


def device_changed(queue: DeviceQueue, facts: Mapping[str, Any]) -> DeviceError:
    """The error for another machine behind the device's name than the one that was surveyed."""
    before: Mapping[str, Any] = queue.survey.facts if queue.survey else {}
    key = next(
        (key for key in sorted({*before, *facts}) if not same(key, before.get(key), facts.get(key))), "nothing visible"
    )
    return DeviceError(
        f"device facts of {queue.device} differ: {key} was {before.get(key)!r}, is {facts.get(key)!r}",
        "Let one machine serve one device, and begin a new run.",
    )
