"""A device ready for trials, and one trial on it by the tool it has: the same for a bench and a worker of a sweep."""

from dataclasses import dataclass
from pathlib import Path

from vitdeploy.artifacts.manifest import Artifact
from vitdeploy.benchmarks import phone_trial, trtexec_trial
from vitdeploy.benchmarks.trial import launch
from vitdeploy.benchmarks.trial.launch import Lost, TrialSlot
from vitdeploy.catalog.fact_table import DeviceFacts
from vitdeploy.catalog.spec import Compute
from vitdeploy.devices import device_facts
from vitdeploy.devices.inventory import Device
from vitdeploy.devices.phone import ready
from vitdeploy.processes.connection import Connection
from vitdeploy.results import record
from vitdeploy.results.record import Case, Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedDevice:
    """A device whose lock is held."""

    device: Device
    link: Connection
    facts: DeviceFacts
    """Its facts, of `machine.found`."""
    phone: ready.Phone | None = None
    """With the measuring tool on it, where it is one."""


def prepare(device: Device, link: Connection, facts: DeviceFacts) -> PreparedDevice:
    """Put on the device what its trials need.

    Raises:
        DeviceError: a phone has no measuring tool configured, or was lost.
    """
    phone = ready.prepare(device, link, facts) if device.link == "adb" else None
    return PreparedDevice(device=device, link=link, facts=facts, phone=phone)


def take(
    stand: PreparedDevice,
    turn: TrialSlot,
    case: Case,
    made: Artifact,
    *,
    compute: Compute,
    protocol: record.Protocol,
    log: Path,
) -> Trial | Lost:
    """One trial: by benchmark_model on a phone, by trtexec where the device names one, else by our own worker.

    Raises:
        VitdeployError: the tool's own error, or `ToolchainFailed` where it ended without a word.
    """
    device, link = stand.device, stand.link
    if stand.phone is not None:
        return phone_trial.take(turn, case, made, phone=stand.phone, protocol=protocol, log=log)
    if device.trtexec and case.target.startswith("trt-"):
        return trtexec_trial.take(turn, case, made, link=link, program=device.trtexec, protocol=protocol, log=log)
    return launch.take(
        turn,
        case,
        made,
        compute=compute,
        probe=device_facts.probe_of(compute, stand.facts),
        link=link,
        protocol=protocol,
        log=log,
        cool_c=device.cool_c,
    )
