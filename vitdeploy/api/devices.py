"""Devices by name, refused where they cannot be reached, and artifacts that are ready to run on them."""

from vitdeploy.artifacts.manifest import Artifact
from vitdeploy.devices import device_facts, inventory
from vitdeploy.devices.inventory import Device
from vitdeploy.exporters.engines import remote_build
from vitdeploy.processes.progress import Progress, silent


def reachable(name: str, *, progress: Progress = silent) -> Device:
    """The device of that name, if it is configured.

    Args:
        name: the device's.
        progress: told of each file that changes it.

    Raises:
        DeviceError: it is not.
    """
    device = inventory.find(name)
    if (why_not := inventory.unreachable(device)) is not None:
        raise inventory.unreachable_error(device, why_not)
    for notice in inventory.load().notices_of(name):
        progress(notice)
    return device


def ready_there(artifact: Artifact, device: Device, *, progress: Progress) -> Artifact:
    """The artifact that runs on the device: in place of a deferred one, the engine that the device builds.

    Raises:
        Impossible: the device has no GPU to build for.
        DeviceError: it is not reachable, busy, or another machine than its file says.
        VitdeployError: the engine could not be built.
    """
    if artifact.manifest.state != "deferred":
        return artifact
    facts = device_facts.facts_of(device)
    assert remote_build.needs_build(device, facts, artifact), "it is deferred"
    return remote_build.build(artifact, device, facts=facts, progress=progress)
