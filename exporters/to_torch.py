"""``torch-fp32``: the state dict of the module as published, run by eager PyTorch: what others are held against."""

import torch

from vitdeploy.artifact import Tensor
from vitdeploy.exporters.job import Job, Made
from vitdeploy.spec import ModelSpec

FILE = "model.pt"


def make(model: torch.nn.Module, spec: ModelSpec, job: Job) -> Made:
    """Save the state dict; the runtime builds the module from the catalog and loads it."""
    with (job.folder / FILE).open("wb") as stream:  # a stream of ours, so that a full disk is an OSError
        torch.save(model.state_dict(), stream)
    image = torch.zeros((job.batch, 3, *job.size))
    with torch.inference_mode():
        shape = tuple(model(image).shape)
    return Made(
        file=FILE,
        inputs=(Tensor(name="image", shape=tuple(image.shape), dtype="float32", layout="NCHW"),),
        outputs=(Tensor(name=spec.output, shape=shape, dtype="float32", layout="NCHW" if len(shape) == 4 else "NC"),),
        recipe="torch.save of the state dict; run in eager mode",
    )
