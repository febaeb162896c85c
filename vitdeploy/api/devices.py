"""Devices by name: refused where they cannot be reached, or where a verb would not use them."""

from vitdeploy.devices import inventory
from vitdeploy.devices.inventory import Device
from vitdeploy.errors import Impossible


def reachable(name: str) -> Device:
    """The device of that name, if it is configured.

    Raises:
        DeviceError: it is not.
    """
    device = inventory.find(name)
    if (why_not := inventory.unreachable(device)) is not None:
        raise inventory.unreachable_error(device, why_not)
    return device


def only_here(verb: str, device: str | None) -> None:
    """Refuse a device that the verb would not use: an answer from this machine must not pass for another one's.

    Raises:
        DeviceError: the device is not configured.
        Impossible: it is, and the verb does not run there in this version.
    """
    if device not in (None, "local"):
        reachable(device or "local")
        raise Impossible(
            f"`{verb}` runs on this machine only in this version, not on {device}",
            "Leave --device out; `bench` on a phone holds every output against this machine's.",
        )
