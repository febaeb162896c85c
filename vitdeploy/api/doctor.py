"""`doctor`: tools, versions, clocks, heat, space and link of a device."""

from typing import TYPE_CHECKING

from vitdeploy.catalog import registry
from vitdeploy.devices import doctor as doctor_devices
from vitdeploy.devices.doctor import Finding
from vitdeploy.errors import VitdeployError

if TYPE_CHECKING:
    pass


def doctor(device: str = "local") -> list[Finding]:
    """What would spoil a number or stop an export."""
    from vitdeploy.artifacts import store
    from vitdeploy.catalog import packages
    from vitdeploy.devices import device_facts, inventory

    found = inventory.find(device)
    if found.link != "local":
        try:
            facts = device_facts.of(found)
        except VitdeployError as error:
            return [doctor_devices.absent(device, error)]
        if found.link == "adb":
            return doctor_devices.phone(facts)
        address = f"{found.user}@{found.host}" if found.user else found.host
        return doctor_devices.over_ssh(facts, address=address, targets=found.targets, trtexec=found.trtexec)
    needed = sorted(registry.EXTRAS)
    return [
        *doctor_devices.machine(device_facts.of(found)),
        doctor_devices.space(store.default_root()),
        *doctor_devices.packages(packages.missing(needed), needed),
        *doctor_devices.tools(),
    ]
