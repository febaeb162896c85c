"""A prepared device: locked, with what its trials need on it; a bench and a worker of a sweep run trials by it."""

from dataclasses import dataclass

from vitdeploy.benchmarks.trial import phone_trial, trtexec_trial, worker_trial
from vitdeploy.benchmarks.trial.request import LostTrial, TrialRequest
from vitdeploy.catalog.fact_table import DeviceFacts
from vitdeploy.devices import device_facts
from vitdeploy.devices.inventory import Device
from vitdeploy.devices.phone import prepared_phone
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

    def run_trial(self, request: TrialRequest) -> Trial | LostTrial:
        """One trial: by benchmark_model on a phone, by trtexec where the device names one, else by our own worker.

        Raises:
            VitdeployError: the tool's own error, or `ToolchainFailed` where it ended without a reply.
        """
        if self.phone is not None:
            return phone_trial.run_trial(request, self.phone)
        if self.device.trtexec and request.case.target.startswith("trt-"):
            return trtexec_trial.run_trial(request, self.link, self.device.trtexec)
        probe = device_facts.probe_of(request.compute, self.facts)
        return worker_trial.run_trial(request, self.link, probe=probe, cool_c=self.device.cool_c)


def prepare(device: Device, link: Connection, facts: DeviceFacts) -> PreparedDevice:
    """Put on the device what its trials need.

    Raises:
        DeviceError: a phone has no measuring tool configured, or was lost.
    """
    phone = prepared_phone.prepare_phone(device, link, facts) if device.link == "adb" else None
    return PreparedDevice(device=device, link=link, facts=facts, phone=phone)
