"""TensorRT engines from the half-precision graph: built where the package is, else left to the device, checked.

``tensorrt`` and ``tensorrt_rtx`` have one interface for what is used here (networks are strongly typed, so there is no
precision flag to set). A leaf over both, untyped at its border. What was run: ``tensorrt_rtx`` 1.7 on machines
without a GPU, which compiles ahead of time for stated compute capabilities; ``tensorrt`` itself was not.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingImports=false, reportMissingTypeStubs=false

import importlib
import shutil
from typing import Any

import torch

from vitdeploy import artifact
from vitdeploy.artifact import Artifact
from vitdeploy.errors import Impossible, ToolchainFailed
from vitdeploy.exporters.job import Job, Made
from vitdeploy.spec import ModelSpec

FILE = "model.engine"

WORKSPACE_BYTES = 2**31
"""What the builder may use on the device while it tries tactics. Source: a choice; an Orin has several times that."""

NO_GPU = "built ahead of time where no GPU is: it proves parser, types and graph, not numbers or speed"


def make(model: torch.nn.Module, spec: ModelSpec, job: Job) -> Made:
    """Build the engine of the job's parent graph, or take the graph over where the device has to build it.

    Raises:
        ToolchainFailed: the parser or the builder refuses the graph; their words are in the message.
        Impossible: a compute capability that this package does not build for.
    """
    del model, spec
    assert job.parent is not None, "an engine is made from a graph"
    parent = artifact.open_artifact(job.parent)
    if job.deferred:
        return _deferred(parent, job)
    package = "tensorrt_rtx" if job.target.startswith("trt-rtx") else "tensorrt"
    trt: Any = importlib.import_module(package)
    said = _Logger(trt)
    builder = trt.Builder(said.logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, said.logger)
    if not parser.parse_from_file(str(parent.file)):
        refused = "; ".join(str(parser.get_error(place)) for place in range(parser.num_errors))
        raise ToolchainFailed(f"{package} {trt.__version__} refuses the graph: {refused}", "Report it: it is our bug.")
    config = builder.create_builder_config()
    capabilities = _aimed(trt, config, job) if package == "tensorrt_rtx" else [_capability_here()]
    if package == "tensorrt":
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, WORKSPACE_BYTES)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise ToolchainFailed(f"{package} {trt.__version__} built nothing: {said.last}", "Read the step's log.")
    (job.folder / FILE).write_bytes(bytes(engine))
    return Made(
        file=FILE,
        inputs=parent.manifest.inputs,
        outputs=parent.manifest.outputs,
        recipe=f"{parent.manifest.recipe}; parsed and built by {package} {trt.__version__}, strongly typed",
        operators=dict(parent.manifest.operators),
        rewrites=parent.manifest.rewrites,
        parents=(parent.manifest.sha256,),
        tools={package: str(trt.__version__)},
        bound_to={"compute_capability": capabilities, package: str(trt.__version__)},
        unproven=NO_GPU if package == "tensorrt_rtx" else None,
    )


def _deferred(parent: Artifact, job: Job) -> Made:
    """The checked graph, and that the device has still to build it."""
    manifest = parent.manifest
    for name in (manifest.file, *(beside.file for beside in manifest.beside)):
        shutil.copyfile(parent.folder / name, job.folder / name)
    return Made(
        file=manifest.file,
        inputs=manifest.inputs,
        outputs=manifest.outputs,
        recipe=f"{manifest.recipe}; the engine is still to be built",
        operators=dict(manifest.operators),
        rewrites=manifest.rewrites,
        beside=manifest.beside,
        parents=(manifest.sha256,),
        deferred=f"TensorRT on the device has to build the engine from {manifest.file}: a strongly typed network, "
        f"`trtexec --onnx={manifest.file} --stronglyTyped --saveEngine={FILE}`",
        parity=manifest.parity,
    )


def _aimed(trt: Any, config: Any, job: Job) -> list[str]:
    """Have the builder compile for the capabilities that were asked for, or for all it can."""
    known = {
        f"{name[2:-1]}.{name[-1]}": value
        for name, value in trt.ComputeCapability.__members__.items()
        if name.startswith("SM")
    }
    asked = job.compute_capability or tuple(sorted(known, key=float))
    unknown = [one for one in asked if one not in known]
    if unknown:
        raise Impossible(
            f"TensorRT for RTX {trt.__version__} does not build for compute capability {', '.join(unknown)}",
            f"It builds for {', '.join(sorted(known, key=float))}; an Orin (8.7) needs trt-fp16.",
        )
    config.num_compute_capabilities = len(asked)
    for place, one in enumerate(asked):
        config.set_compute_capability(known[one], place)
    return list(asked)


def _capability_here() -> str:
    if not torch.cuda.is_available():
        raise Impossible("there is no CUDA GPU here to build the engine for", "Leave --device out to defer the build.")
    major, minor = torch.cuda.get_device_capability()
    return f"{major}.{minor}"


class _Logger:
    """The package's logger on stderr, with its last complaint."""

    def __init__(self, trt: Any) -> None:
        self.last = "it said nothing"
        outer = self

        class Logger(trt.ILogger):
            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, severity: Any, text: str) -> None:
                if int(severity) <= int(trt.ILogger.Severity.WARNING):
                    print(text)  # standard output is the step's log
                if int(severity) <= int(trt.ILogger.Severity.ERROR):
                    outer.last = text

        self.logger: Any = Logger()
