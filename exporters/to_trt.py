"""TensorRT engines from a checked graph: built where package and GPU are, else left to the device.

What was run: ``tensorrt_rtx`` 1.7 on machines without a GPU, which compiles ahead of time for stated compute
capabilities. ``tensorrt`` itself was not: its calls are checked against NVIDIA's own bindings of each version
(docs/tensorrt-versions.md), and run on a double.
"""

import shutil

import platformdirs
import torch

from vitdeploy.artifacts.manifest import Artifact, open_artifact
from vitdeploy.catalog.spec import ModelSpec
from vitdeploy.exporters.engines import build
from vitdeploy.exporters.job import ExportedFile, StepJob
from vitdeploy.processes import stages

FILE = "model.engine"

NO_GPU = (
    "built ahead of time by TensorRT for RTX, which is not TensorRT proper, without a GPU. This checks parser, types "
    "and graph, not outputs or speed"
)


def make(model: torch.nn.Module, spec: ModelSpec, job: StepJob) -> ExportedFile:
    """Build the engine of the job's parent graph, or take the graph over where the device has to build it.

    Raises:
        ToolchainFailed: the parser or the builder refuses the graph; their words are in the message.
        Impossible: no GPU is here, this TensorRT is too old, or the package does not build for a capability.
    """
    del model, spec
    assert job.parent is not None, "an engine is made from a graph"
    parent = open_artifact(job.parent)
    return _deferred(parent, job) if job.deferred else _built(parent, job)


def _built(parent: Artifact, job: StepJob) -> ExportedFile:
    target = job.target
    stages.begin("engine")
    built = build.build(
        build.BuildRequest(
            graph=str(parent.file),
            engine=str(job.folder / FILE),
            precision=target.precision,
            package=target.export_packages[0],
            timing_caches=str(platformdirs.user_cache_path("vitdeploy") / "timing"),
            compute_capability=list(job.variant.compute_capability),
        )
    )
    return ExportedFile(
        file=FILE,
        inputs=parent.manifest.inputs,
        outputs=parent.manifest.outputs,
        recipe=f"{parent.manifest.recipe}; parsed and built by {built.package} {built.version}, strongly typed",
        operators=dict(parent.manifest.operators),
        rewrites=parent.manifest.rewrites,
        parents=(parent.manifest.sha256,),
        tools={built.package: built.version},
        bound_to=built.bound_to,
        timing_cache_sha256=built.timing_cache_sha256,
        unproven=NO_GPU if "gpu" not in built.bound_to else None,
    )


def _deferred(parent: Artifact, job: StepJob) -> ExportedFile:
    """The checked graph, and that the device has still to build it."""
    manifest = parent.manifest
    for name in manifest.digests:
        shutil.copyfile(parent.folder / name, job.folder / name)
    exact = " --noTF32" if job.variant.target == "trt-fp32" else ""
    return ExportedFile(
        file=manifest.file,
        inputs=manifest.inputs,
        outputs=manifest.outputs,
        recipe=f"{manifest.recipe}; the engine is still to be built",
        operators=dict(manifest.operators),
        rewrites=manifest.rewrites,
        beside=manifest.beside,
        parents=(manifest.sha256,),
        deferred=f"TensorRT on the device has to build the engine from {manifest.file}: a strongly typed network, "
        f"`trtexec --onnx={manifest.file} --stronglyTyped{exact} --saveEngine={FILE}`",
        parity=manifest.parity,
    )
