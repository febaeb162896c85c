"""A prepared device: locked, with what its trials need on it; a bench and a worker of a sweep run trials by it."""

from collections.abc import Sequence
from dataclasses import dataclass

from vitdeploy.benchmarks.trial import hub_trial, phone_trial, trtexec_trial, turns_trial, worker_trial, yardstick_trial
from vitdeploy.benchmarks.trial.request import LostTrial, TrialRequest
from vitdeploy.benchmarks.trial.turns_trial import DoesNotFit
from vitdeploy.benchmarks.trial.yardstick_trial import YardstickFailed
from vitdeploy.benchmarks.yardstick.files import Yardsticks
from vitdeploy.catalog.fact_table import DeviceFacts
from vitdeploy.devices import device_facts
from vitdeploy.devices.hosted import HostedConnection
from vitdeploy.devices.inventory import Device
from vitdeploy.devices.phone import prepared_phone
from vitdeploy.errors import Impossible
from vitdeploy.processes.connection import Connection
from vitdeploy.results.record import Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedDevice:
    """A device whose lock is held."""

    device: Device
    link: Connection
    facts: DeviceFacts
    phone: prepared_phone.PreparedPhone | None
    """The phone with the measuring tool on it; None: the device is no phone."""

    def run_trial(self, request: TrialRequest, yardsticks: Yardsticks | None = None) -> Trial | LostTrial:
        """One trial: by benchmark_model on a phone, by trtexec where the device names one, else by our own worker.

        Args:
            yardsticks: those of the run, which our worker times in turns with the case.

        Raises:
            VitdeployError: the tool's own error, or `ToolchainFailed` where it ended without a reply.
        """
        ours = self.device.link not in ("adb", "hub") and not (
            self.device.trtexec and request.case.target.startswith("trt-")
        )
        if request.protocol.priority and not ours:
            raise Impossible("--priority realtime is for our own worker, and another tool times this", "Leave it out.")
        if isinstance(self.link, HostedConnection):
            return hub_trial.run_trial(request, self.link)
        if self.phone is not None:
            return phone_trial.run_trial(request, self.phone)
        if not ours and self.device.trtexec:
            return trtexec_trial.run_trial(request, self.link, self.device.trtexec)
        probe = device_facts.probe_of(request.compute, self.facts)
        if yardsticks is not None and (file := yardsticks.of(request.case)) is not None:
            try:
                return yardstick_trial.run_trial(request, self.link, file, probe=probe, cool_c=self.device.cool_c)
            except YardstickFailed as failed:
                yardsticks.turn_off(request.case.target, str(failed))
        return worker_trial.run_trial(request, self.link, probe=probe, cool_c=self.device.cool_c)

    def run_turns(self, requests: Sequence[TrialRequest], turn_s: float) -> list[turns_trial.Outcome] | DoesNotFit:
        """The trials of one pair, in turns; only where `no_turns` has nothing against it.

        Raises:
            VitdeployError: the driver's own error, or `ToolchainFailed` where it ended without a reply.
        """
        probe = device_facts.probe_of(requests[0].compute, self.facts)
        return turns_trial.run_turns(requests, self.link, probe=probe, turn_s=turn_s, cool_c=self.device.cool_c)


def no_turns(device: Device, *, targets: Sequence[str], streams: int) -> str | None:
    """Why trials of these cases cannot take turns on the device; None: they can."""
    if device.link == "adb":
        return "benchmark_model times a phone, in one piece"
    if device.link == "hub":
        return "a hosted phone is timed in one piece"
    if device.trtexec and any(target.startswith("trt-") for target in targets):
        return "trtexec times engines, in one piece"
    if streams > 1:
        return "several streams run at once, in one piece"
    return None


def prepare(device: Device, link: Connection, facts: DeviceFacts) -> PreparedDevice:
    """Put on the device what its trials need.

    Raises:
        DeviceError: a phone has no measuring tool configured, or was lost.
    """
    phone = prepared_phone.prepare_phone(device, link, facts) if device.link == "adb" else None
    return PreparedDevice(device=device, link=link, facts=facts, phone=phone)
