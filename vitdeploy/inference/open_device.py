"""An open device for inference: its link, lock, facts and threads, and what answers the inputs of an artifact there."""

import contextlib
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vitdeploy.artifacts.manifest import Artifact
from vitdeploy.catalog import packages, registry
from vitdeploy.devices import device_facts, inventory
from vitdeploy.devices.inventory import Device
from vitdeploy.errors import Impossible
from vitdeploy.inference import client
from vitdeploy.inference.client import Feed, Outputs

LOCK_WAIT_S = 60.0
"""A device may be busy for so long: a few inputs can wait for another's last trial."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenDevice:
    """A device that answers inputs for as long as the block of `open_device` lasts."""

    device: Device
    ran: Mapping[str, str]
    """What ran the last artifact, in the runtime's own words; empty before the first."""
    infer: Callable[[Artifact, Sequence[Feed]], list[Outputs]]

    def outputs(self, artifact: Artifact, feed: Feed) -> Outputs:
        """The outputs for one input, in memory: those of ``infer`` are mapped from a file that goes."""
        (outputs,) = self.infer(artifact, [feed])
        return {name: np.array(values) for name, values in outputs.items()}

    @property
    def words(self) -> str:
        """Where the last artifact ran: ``orin by onnxruntime 1.20.0``."""
        runtime = self.ran.get("runtime")
        return f"{self.device.name} by {runtime}" if runtime else self.device.name


@contextlib.contextmanager
def open_device(device: Device, targets: Iterable[str], *, log: Path) -> Generator[OpenDevice]:
    """Open a device, which is held alone meanwhile unless it is this machine.

    Args:
        device: where.
        targets: what is going to run on it.
        log: what a failed process said is appended to it.

    Raises:
        Impossible: it runs no file of one of the targets.
        MissingPackage: a runtime is missing on this machine, or what the link needs.
        DeviceError: it is not reachable, busy, or another machine than its file says.
    """
    for target in targets:
        if target not in device.targets:
            raise Impossible(f"{target} does not run on {device.name}", f"It takes {', '.join(device.targets)}.")
    here = device.link == "local"
    if here:
        packages.require(sorted({name for target in targets for name in registry.find_target(target).run_packages}))
    with (
        inventory.connect(device) as link,
        contextlib.nullcontext() if here else link.lock(timeout_s=LOCK_WAIT_S),
    ):
        facts = device_facts.read_facts(device, link)
        threads = inventory.threads_of(device, facts)
        ran: dict[str, str] = {}
        infer = client.inference_on(device, link, facts, threads=threads, log=log, on_facts=ran.update)
        yield OpenDevice(device=device, ran=ran, infer=infer)
