"""Build a TensorRT engine from a graph: ``python -m vitdeploy.exporters.engines.build``, JSON on stdin and stdout.

It runs where the engine shall run, so it needs Python 3.10 and the package ``tensorrt`` (or ``tensorrt_rtx``) and
nothing else: no torch, no onnx. `vitdeploy.exporters.to_trt` calls `build` in its own process; the agent carries this
file to boards. The job on stdin is a `BuildRequest`, one JSON object with its fields::

    {"graph": "/somewhere/model.onnx", "engine": "/somewhere/model.engine", "precision": "fp16"}

The reply is a `BuiltEngine`, and travels as `vitdeploy.processes.child_process` says; what TensorRT says goes to
stderr. A builder that crashes leaves no reply and no engine: the file is written under another name and renamed.

Networks are strongly typed, so one path serves TensorRT 10.3 to 11 and TensorRT for RTX: every tensor has the type that
the graph gives it, and no flag asks for a precision.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingImports=false, reportMissingTypeStubs=false, reportUnknownParameterType=false
# pyright: reportMissingModuleSource=false

import hashlib
import importlib
import os
import re
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from vitdeploy.artifacts import engine_binding
from vitdeploy.devices import gpu
from vitdeploy.errors import Impossible, MissingPackage, ToolchainFailed, UnreadableFile, UsageError
from vitdeploy.processes import child_process

if TYPE_CHECKING:
    import tensorrt

WORKSPACE_BYTES = 2**31
"""What the builder may use on the device while it tries tactics. Source: a choice; an Orin has several times that."""

PRECISIONS = ("fp16", "bf16", "fp32")


_KINDS: Final[dict[str, Any]] = {
    **dict.fromkeys(("graph", "engine", "precision", "package"), str),
    "timing_caches": str | None,
    "workspace_bytes": int,
    "compute_capability": list,
}
"""What the fields of a `BuildRequest` are in JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """What is to be built."""

    graph: str
    """Path of the ONNX file; what lies beside it is found by its name."""
    engine: str
    """Path of the file to write."""
    precision: str
    """Of the graph, one of `PRECISIONS`; it changes one thing: fp32 is computed without TF32."""
    package: str = "tensorrt"
    """``tensorrt``, which builds for the GPU here, or ``tensorrt_rtx``, which builds ahead of time."""
    timing_caches: str | None = None
    """Folder in which the builder's timings are kept; None: the user's cache folder. Only ``tensorrt`` has them."""
    workspace_bytes: int = WORKSPACE_BYTES
    compute_capability: list[str] = field(default_factory=list[str])
    """What ``tensorrt_rtx`` builds for, ``["8.0"]``; empty: all that it can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltEngine:
    """An engine, and what its manifest records of it."""

    sha256: str = ""
    size_bytes: int = 0
    package: str
    version: str
    """Of the package."""
    bound_to: dict[str, Any]
    """See `vitdeploy.artifacts.engine_binding`."""
    build_ns: int
    """From the beginning of parsing to the serialized engine."""
    timing_cache_sha256: str | None = None
    """Of the timings after the build; None: the package has none."""
    timing_cache_used: bool = False
    """Whether there were timings of an earlier build to choose by."""


def build(request: BuildRequest) -> BuiltEngine:
    """Build the engine.

    Raises:
        UsageError: the precision or the package is unknown.
        MissingPackage: the package is not here.
        Impossible: no GPU is here, this TensorRT is too old, or the package does not build for a capability.
        ToolchainFailed: the parser or the builder refuses the graph; their words are in the message.
    """
    if request.precision not in PRECISIONS or request.package not in engine_binding.PACKAGES:
        raise UsageError(
            f"{request.package} at {request.precision} is none of {', '.join(engine_binding.PACKAGES)} "
            f"at {', '.join(PRECISIONS)}",
            "Correct the build request.",
        )
    trt, version = _package(request.package)
    device = None if request.package == "tensorrt_rtx" else _gpu_for(version)
    log = _Logger(trt)
    started = time.perf_counter_ns()
    builder, network, parser = _parsed(trt, f"{request.package} {version}", request.graph, log)
    config: tensorrt.IBuilderConfig = builder.create_builder_config()
    cache, used = None, False
    if device is None:
        capabilities = _set_capabilities(trt, version, config, request.compute_capability)
    else:
        capabilities = [device.compute_capability]
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, request.workspace_bytes)
        cache = timing_cache(request.timing_caches, version, device)
        used = _load_timings(config, cache)
    if request.precision == "fp32":
        config.clear_flag(trt.BuilderFlag.TF32)  # on by default, and it keeps 10 bits of 23
    engine = cast("tensorrt.IHostMemory | None", builder.build_serialized_network(network, config))
    del parser
    if engine is None:
        raise ToolchainFailed(f"{request.package} {version} built nothing: {log.last}", "Read the step's log.")
    data = bytes(engine)  # pyright: ignore[reportArgumentType] (a buffer)
    build_ns = time.perf_counter_ns() - started
    _write(Path(request.engine), data)
    return BuiltEngine(
        sha256=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
        package=request.package,
        version=version,
        bound_to=engine_binding.bound_to(
            package=request.package,
            version=version,
            compute_capability=capabilities,
            gpu=device.name if device else None,
        ),
        build_ns=build_ns,
        timing_cache_sha256=_save_timings(config, cache) if cache else None,
        timing_cache_used=used,
    )


def _parsed(
    trt: Any, package: str, graph: str, log: "_Logger"
) -> "tuple[tensorrt.Builder, tensorrt.INetworkDefinition, tensorrt.OnnxParser]":
    """The builder, the network of a graph, and its parser, which holds the network's weights until the engine is built.

    Raises:
        ToolchainFailed: the package does not start, or its parser refuses the graph.
    """
    try:
        builder: tensorrt.Builder = trt.Builder(log.logger)
        # From 11 on it is accepted and ignored, every network is strongly typed. Before, it has to be asked for. Its
        # number is another one there. Source: docs/tensorrt-versions.md and
        # https://docs.nvidia.com/deeplearning/tensorrt/11.0.0/api/migration/tensorrt-10x-to-11x.html
        flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        network: tensorrt.INetworkDefinition = builder.create_network(flags)
        parser: tensorrt.OnnxParser = trt.OnnxParser(network, log.logger)
    except TypeError as error:  # what the bindings make of a null pointer, and it says nothing
        raise ToolchainFailed(
            f"{package} does not start: {log.last}", "Look at the driver with `nvidia-smi`."
        ) from error
    if not parser.parse_from_file(graph):
        refused = "; ".join(str(parser.get_error(place)) for place in range(parser.num_errors)) or log.last
        raise ToolchainFailed(f"{package} refuses the graph: {refused}", "Report it: it is our bug.")
    return builder, network, parser


def timing_cache(folder: str | None, version: str, device: gpu.Gpu) -> Path:
    """Where the timings of a GPU's kernels are kept: they hold for one version of TensorRT and one GPU."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    name = re.sub(r"[^A-Za-z0-9]+", "-", f"{device.name}-sm{device.compute_capability.replace('.', '')}").strip("-")
    return Path(folder or cache / "vitdeploy" / "timing") / f"tensorrt-{version}-{name}.cache"


def _package(name: str) -> tuple[Any, str]:
    try:
        module = importlib.import_module(name)
        return module, str(module.__version__)
    except (ImportError, AttributeError, OSError) as error:  # a folder of stubs has no version; a library may be gone
        raise MissingPackage(
            f"missing here: {name} ({error})", "Install it: JetPack and the extra trt hold it."
        ) from None


def _gpu_for(version: str) -> gpu.Gpu:
    """The GPU to build for, if this TensorRT can.

    Raises:
        Impossible: it is too old, or no GPU is here.
    """
    numbers, oldest = tuple(int(part) for part in re.findall(r"\d+", version)[:2]), engine_binding.OLDEST_TENSORRT
    if numbers < oldest:
        raise Impossible(
            f"TensorRT {version} is older than {oldest[0]}.{oldest[1]}, the first that this version builds with",
            "Use JetPack 6.1 or later (6.0 has TensorRT 8.6), or leave --device out to defer the build.",
        )
    device = gpu.first_gpu()
    if device is None:
        raise Impossible("there is no CUDA GPU here to build the engine for", "Leave --device out to defer the build.")
    return device


def _set_capabilities(rtx: Any, version: str, config: "tensorrt.IBuilderConfig", requested: list[str]) -> list[str]:
    """Have TensorRT for RTX compile for the requested compute capabilities, or for all it can; returns them."""
    supported = {
        f"{name[2:-1]}.{name[-1]}": value
        for name, value in rtx.ComputeCapability.__members__.items()
        if name.startswith("SM")
    }
    every = sorted(supported, key=float)
    unknown = [capability for capability in requested if capability not in supported]
    if unknown:
        raise Impossible(
            f"TensorRT for RTX {version} does not build for compute capability {', '.join(unknown)}",
            f"It builds for {', '.join(every)}; an Orin (8.7) needs trt-fp16.",
        )
    capabilities = requested or every
    config.num_compute_capabilities = len(capabilities)
    for index, capability in enumerate(capabilities):
        config.set_compute_capability(supported[capability], index)
    return capabilities


def _load_timings(config: "tensorrt.IBuilderConfig", path: Path) -> bool:
    """Let the builder use the timings that are kept, and say whether it does; damaged or foreign ones are left out."""
    timings = path.read_bytes() if path.is_file() else b""
    for data in (timings, b""):
        cache = cast("tensorrt.ITimingCache | None", config.create_timing_cache(data))
        if cache is not None and config.set_timing_cache(cache, ignore_mismatch=False):
            return bool(data)
    return False


def _save_timings(config: "tensorrt.IBuilderConfig", path: Path) -> str | None:
    """Keep the timings after the build, and return their digest; None: the builder took no cache."""
    cache = cast("tensorrt.ITimingCache | None", config.get_timing_cache())
    if cache is None:
        return None
    data = bytes(cache.serialize())  # pyright: ignore[reportArgumentType] (a buffer)
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, data)
    return hashlib.sha256(data).hexdigest()


def _write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_bytes(data)
    part.replace(path)


class _Logger:
    """The package's logger on stderr, with its last complaint."""

    def __init__(self, trt: Any) -> None:
        self.last = "no output"
        outer = self

        class Logger(trt.ILogger):
            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, severity: Any, text: str) -> None:
                if int(severity) <= int(trt.ILogger.Severity.WARNING):
                    print(text, file=sys.stderr)
                if int(severity) <= int(trt.ILogger.Severity.ERROR):
                    outer.last = text

        self.logger: tensorrt.ILogger = Logger()


def run(job: Any) -> dict[str, Any]:
    """Build what the request on stdin describes; returns a `BuiltEngine` as plain JSON.

    Raises:
        UsageError: it is no JSON object, or a field is missing, unknown or of another type.
        UnreadableFile: the engine cannot be written.
    """
    request = child_process.job_of(BuildRequest, job)
    for name, kind in _KINDS.items():
        value = getattr(request, name)
        if not isinstance(value, kind):
            raise UsageError(
                f"the build request's {name} is {value!r}", f"Give {name} its own type: see `BuildRequest`."
            )
    try:
        return asdict(build(request))
    except OSError as error:
        raise UnreadableFile(
            f"cannot write {error.filename}: {error.strerror}", "Make room, or change its permissions."
        ) from error


if __name__ == "__main__":
    sys.exit(child_process.answer(run))
