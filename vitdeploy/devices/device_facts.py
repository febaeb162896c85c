"""Device facts: read from the machine behind a device's link and held against what its device file says."""

from collections.abc import Mapping
from typing import Any, get_args

from vitdeploy.catalog import fact_table
from vitdeploy.catalog.fact_table import DeviceFacts
from vitdeploy.catalog.spec import Compute, Cpu
from vitdeploy.devices import computer_facts, inventory, phone_state, probe_cpu
from vitdeploy.devices.hosted import HostedConnection
from vitdeploy.devices.inventory import Device
from vitdeploy.errors import DeviceError, ToolchainFailed
from vitdeploy.processes import child_reply
from vitdeploy.processes.connection import Connection

FACTS_LIMIT_S = 60.0

ON_A_GPU = ("torch-", "trt-")
"""How the targets begin that compute on an NVIDIA GPU where there is one."""


def facts_of(device: Device) -> DeviceFacts:
    """Facts of a device, its state now included; the link is opened for it.

    Raises:
        DeviceError: it does not answer, or is another machine than its file says.
    """
    if device.link == "local":
        return DeviceFacts(computer_facts.read_facts())
    with inventory.connect(device) as link:
        return read_facts(device, link)


def read_facts(device: Device, link: Connection) -> DeviceFacts:
    """Facts of the machine behind an open link, with what the link holds there while it has the lock.

    Raises:
        DeviceError: it does not answer, or is another machine than its file says.
    """
    facts = _facts_behind(device, link)
    if (name := mismatch(facts, device.facts)) is not None:
        phone = f"; it is the wrong phone: {facts.phone}, {facts.cpu}" if device.link == "adb" else ""
        raise DeviceError(
            f"the machine behind {device.name} has {name} {facts.get(name)!r}, "
            f"its file says {device.facts[name]!r}{phone}",
            "Correct the host or the facts in the device file.",
        )
    power: Mapping[str, str] = getattr(link, "power", {})
    return DeviceFacts({**facts, DeviceFacts.clocks_held.name: power["clocks"]}) if "clocks" in power else facts


def mismatch(facts: DeviceFacts, expected: Mapping[str, Any]) -> str | None:
    """Name of the first fact that is not what is expected, or not visible; None: all are."""
    for name, value in expected.items():
        seen = facts.get(name)
        if seen is None or not fact_table.same(name, seen, value):
            return name
    return None


def cpu_of(facts: DeviceFacts) -> Cpu | None:
    """The vector instructions of a device's CPU; None: its facts do not show them."""
    seen = facts.vector_instructions
    if facts.machine in computer_facts.ARM:
        return "neon"
    return next((cpu for cpu in get_args(Cpu) if cpu == seen), None)


def compute_of(target: str, device: Device, facts: DeviceFacts) -> Compute:
    """Where a target computes on a device: decided here for every verb that times or runs one.

    The kind of host memory (`workload.MEMORY`), the probe and the runtime's device follow from it.
    """
    if device.link in ("adb", "hub"):
        return "phone"
    return "cuda" if target.startswith(ON_A_GPU) and facts.compute_capability is not None else "cpu"


def probe_of(compute: Compute, facts: DeviceFacts) -> str:
    """The module that looks at the state of what computes."""
    if compute != "cuda":
        return probe_cpu.__name__
    return "vitdeploy.devices.probe_jetson" if facts.board or facts.l4t else "vitdeploy.devices.probe_nvml"


def stable_facts(device: Device, facts: DeviceFacts) -> dict[str, Any]:
    """What a run says of its device: what stays the same while nobody changes it."""
    return {DeviceFacts.title.name: device.title, DeviceFacts.link.name: device.link, **facts.stable()}


def _facts_behind(device: Device, link: Connection) -> DeviceFacts:
    if isinstance(link, HostedConnection):
        return link.facts()
    return phone_state.phone_facts(link) if device.link == "adb" else _of_computer(device, link)


def _of_computer(device: Device, link: Connection) -> DeviceFacts:
    what = "the process that looks"
    try:
        return DeviceFacts(
            child_reply.ask(link, computer_facts.__name__, None, dict[str, Any], what=what, timeout_s=FACTS_LIMIT_S)
        )
    except ToolchainFailed as error:
        raise DeviceError(
            f"{device.name} does not tell its facts: {error.message}", "Run `vitdeploy doctor` for it."
        ) from error
