"""``torch-fp32`` and ``torch-fp16``: the state dict of the module as published, run by eager PyTorch."""

import torch

from vitdeploy.artifacts.manifest import Tensor
from vitdeploy.catalog import graph_io
from vitdeploy.catalog.spec import Layout, ModelSpec
from vitdeploy.exporters.job import ExportedFile, StepJob
from vitdeploy.exporters.on_torch_fp32 import called
from vitdeploy.processes import stages

FILE = "model.pt"
_LAYOUTS: dict[int, Layout] = {4: "NCHW", 2: "NC"}


def make(model: torch.nn.Module, spec: ModelSpec, job: StepJob) -> ExportedFile:
    """Save the state dict; the runtime builds the module from the catalog and loads it."""
    stages.begin("write")
    half = job.target.precision == "fp16"
    state = {k: v.half() if half and v.is_floating_point() else v for k, v in model.state_dict().items()}
    with (job.folder / FILE).open("wb") as stream:  # a stream of ours, so that a full disk is an OSError
        torch.save(state, stream)
    entries = graph_io.inputs(spec, size=job.variant.size, batch=job.variant.batch)
    outputs = called(model, *(torch.zeros(entry.shape) for entry in entries))
    return ExportedFile(
        file=FILE,
        inputs=tuple(Tensor(name=t.name, shape=t.shape, dtype=t.dtype, layout=t.layout) for t in entries),
        outputs=tuple(_output(name, value, half=half) for name, value in zip(spec.outputs, outputs, strict=True)),
        recipe=f"torch.save of the state dict{' in float16' * half}; run in eager mode",
    )


def _output(name: str, value: torch.Tensor, *, half: bool) -> Tensor:
    """An output as the runtime returns it: halves as float32."""
    dtype = "float32" if half and value.is_floating_point() else str(value.dtype).removeprefix("torch.")
    return Tensor(name=name, shape=tuple(value.shape), dtype=dtype, layout=_LAYOUTS.get(value.ndim, "other"))
