"""Which devices answer now: each is connected to at the same time, and asked for its facts within a short limit."""

import threading
import time
from collections.abc import Sequence
from functools import partial

from vitdeploy.catalog.fact_table import DeviceFacts
from vitdeploy.devices import device_facts, inventory
from vitdeploy.devices.inventory import Device
from vitdeploy.errors import DeviceError, VitdeployError

LIMIT_S = 10.0
"""A device that has not told its facts by then is not reached. Source: a choice; over SSH on loopback it takes 1 s."""

END_S = 2.0
"""A link ends within this after its limit, or is left alone."""

Answer = DeviceFacts | VitdeployError
"""What a device tells of itself, or why it was not reached."""


def reach(devices: Sequence[Device], *, limit_s: float = LIMIT_S) -> dict[str, Answer]:
    """Connect to devices and read their facts; returns the answer of each by its name."""
    answers: dict[str, Answer] = {}
    threads = [threading.Thread(target=partial(_reach, device, limit_s, answers), daemon=True) for device in devices]
    for thread in threads:
        thread.start()
    end = time.monotonic() + limit_s + END_S
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    late = f"did not answer in {limit_s:g} s"
    return {
        device.name: answers.get(device.name) or DeviceError(f"{device.name} {late}", "Check the link.")
        for device in devices
    }


def _reach(device: Device, limit_s: float, answers: dict[str, Answer]) -> None:
    try:
        with inventory.connect(device, limit_s=limit_s) as link:
            answers[device.name] = device_facts.read_facts(device, link)
    except VitdeployError as error:
        answers[device.name] = error
