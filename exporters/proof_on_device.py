"""What runs a file for its proof on another device: the device's own runtime, through its connection.

It is reached by name and is no part of what a file is made of: an artifact's key does not depend on the links.
"""

import contextlib
from collections.abc import Generator

from vitdeploy.artifacts.manifest import open_artifact
from vitdeploy.catalog import user_models
from vitdeploy.devices import inventory
from vitdeploy.exporters.job import StepJob
from vitdeploy.exporters.proof import Runner
from vitdeploy.inference.open_device import open_device
from vitdeploy.processes import child_reply

AT_ONCE = 8
"""Inputs that a device gets at once: each call there loads the file. Source: 8 fp32 images of 1024x2048 are 200 MB."""


@contextlib.contextmanager
def runner(job: StepJob) -> Generator[Runner]:
    """The device that the job names.

    Raises:
        DeviceError: it is not reachable, busy, or another machine than its file says.
    """
    assert job.device is not None, "a proof here has no device"
    artifact = open_artifact(job.folder, check_bytes=False)
    log = child_reply.log_file(f"check-{user_models.folder_name(job.variant.full_model, None)}-{job.device}")
    with open_device(inventory.find(job.device), [job.target.name], log=log) as place:
        yield Runner(
            run=lambda feeds: place.infer(artifact, feeds), at_once=AT_ONCE, how=lambda: f"; computed on {place.words}"
        )
