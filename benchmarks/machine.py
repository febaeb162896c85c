"""What stands behind a device's link: its facts, held against what its file says."""

from collections.abc import Mapping
from typing import Any

import msgspec

from vitdeploy.benchmarks import host, probe_android, trial
from vitdeploy.devices import inventory
from vitdeploy.devices.connection import Connection
from vitdeploy.devices.inventory import Device
from vitdeploy.errors import DeviceError
from vitdeploy.record import Case

FACTS_LIMIT_S = 60.0


def of(device: Device) -> dict[str, Any]:
    """What is found on a device, its state now included; the link is opened for it.

    Raises:
        DeviceError: it does not answer, or is another machine than its file says.
    """
    if device.link == "local":
        return host.facts()
    with inventory.connect(device) as link:
        return found(device, link)


def found(device: Device, link: Connection) -> dict[str, Any]:
    """What is found on the machine behind an open link, with what the link holds there while it has the lock.

    Raises:
        DeviceError: it does not answer, or is another machine than its file says.
    """
    seen = probe_android.facts(link) if device.link == "adb" else _told_by_python(device, link)
    for key, expected in device.facts.items():
        if seen.get(key) != expected:
            phone = f"; it is the wrong phone: {seen['phone']}, {seen['cpu']}" if device.link == "adb" else ""
            raise DeviceError(
                f"the machine behind {device.name} has {key} {seen.get(key)!r}, its file says {expected!r}{phone}",
                "Correct the host or the facts in the device file.",
            )
    power: Mapping[str, str] = getattr(link, "power", {})
    return {**seen, **({"clocks_held": power["clocks"]} if "clocks" in power else {})}


def probe_of(case: Case, seen: Mapping[str, Any]) -> str:
    """The module that looks at the state of what computes a case."""
    if case.memory == "pageable":
        return trial.PROBE
    return "vitdeploy.benchmarks.probe_jetson" if seen.get("board") else "vitdeploy.benchmarks.probe_nvml"


def stable(device: Device, seen: Mapping[str, Any]) -> dict[str, Any]:
    """What a run says of its device: what stays the same while nobody changes it."""
    kept = probe_android.stable(seen) if device.link == "adb" else host.stable(seen)
    return {"title": device.title, "link": device.link, **kept}


def _told_by_python(device: Device, link: Connection) -> dict[str, Any]:
    done = link.run([*link.interpreter(), "-m", "vitdeploy.benchmarks.host"], timeout_s=FACTS_LIMIT_S)
    if done.exit_code:
        raise DeviceError(
            f"{device.name} does not tell its facts: {trial.last_line(done)}", "Run `vitdeploy doctor` for it."
        )
    return msgspec.json.decode(done.stdout)
