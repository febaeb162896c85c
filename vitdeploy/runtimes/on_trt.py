"""Run ``model.engine`` with TensorRT, or with TensorRT for RTX, which is another package; one loop for both.

Every buffer, stream and event is made when the session is; a round trip queues copies and one launch on its own
stream, and waits once. A leaf over an untyped package, converted at its border. Written and tested without a GPU: the
calls are checked against NVIDIA's own bindings of each version (docs/tensorrt-versions.md) and on doubles that keep
CUDA's rules. It has not run on hardware.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingImports=false, reportMissingTypeStubs=false, reportUnknownParameterType=false
# pyright: reportMissingModuleSource=false

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from vitdeploy.artifacts import engine_binding
from vitdeploy.devices import gpu
from vitdeploy.errors import DeviceError, Impossible, MissingPackage, ToolchainFailed
from vitdeploy.runtimes import cuda, profiled_trt
from vitdeploy.runtimes.loaded_session import checked
from vitdeploy.runtimes.queued_session import QueuedSession
from vitdeploy.runtimes.session import Session, SessionOptions

if TYPE_CHECKING:
    import tensorrt

OLDEST = (8, 5)
"""The first whose Python interface names tensors, as this runtime does. Source: TensorRT 8.5's release notes."""

UNVERIFIED = "this runtime was made without a GPU and has not run on hardware: hold its figures against trtexec's"
"""Said in the facts of every trial."""


@dataclass(slots=True)
class _Loaded:
    """One engine that several sessions run: their streams share its weights."""

    runtime: "tensorrt.Runtime"
    engine: "tensorrt.ICudaEngine"
    logger: Any
    users: int = 0


_LOADED: dict[tuple[str, str], _Loaded] = {}
"""Package and file → what is loaded of it."""


class TrtSession(QueuedSession):
    """One execution context with its own stream and buffers."""

    def __init__(self, file: Path, manifest: Mapping[str, Any], options: SessionOptions) -> None:
        package = package_of(manifest)
        trt, version = import_package(package)
        gpu_facts = _checked_gpu(manifest, package, version)
        api = cuda.open_cuda(graph=options.graph)
        api.enter()
        self._key = (package, str(file))
        self._loaded = _load(trt, package, version, file)
        try:
            context = _context(self._loaded, f"{package} {version}")
            self._context: tensorrt.IExecutionContext | None = context
            self._profiler: Any = profiled_trt.make_profiler(trt) if options.profile else None
            if self._profiler is not None:
                context.profiler = self._profiler
            own = _own_tensors(trt, self._loaded.engine)
            inputs, outputs = (checked(manifest[key], own[key], file) for key in ("inputs", "outputs"))
            super().__init__(api, inputs, outputs, options, facts=_facts(package, version, gpu_facts))
            for name, address in self.addresses.items():
                if not context.set_tensor_address(name, address):
                    self._refused(f"takes no address for {name}")
            self.prepare()
        except BaseException:
            self._release()
            raise

    def enqueue(self) -> None:
        """Queue one inference on the session's stream."""
        assert self._context is not None, "the session is closed"
        if not self._context.execute_async_v3(self.stream):
            self._refused("did not start the inference")

    def operator_ns(self) -> Mapping[str, int]:
        """Nanoseconds of one inference by kind of layer; nothing, unless the session was opened with ``profile``."""
        return profiled_trt.total_ns_by_kind(self._profiler.layers) if self._profiler is not None else {}

    def close(self) -> None:
        """Release the buffers, the execution context, and with its last user the engine."""
        super().close()
        self._release()

    def _refused(self, what: str) -> NoReturn:
        raise ToolchainFailed(f"TensorRT {what}: {self._loaded.logger.last}", _LOG)

    def _release(self) -> None:
        self._context = None  # before its engine, which goes before its runtime
        self._loaded.users -= 1
        if self._loaded.users == 0:
            del _LOADED[self._key]


_LOG = "Read the worker's log beside the run file."


def open_session(file: Path, manifest: Mapping[str, Any], options: SessionOptions) -> Session:
    """Load an engine.

    Raises:
        MissingPackage: TensorRT is not installed here, or nothing that speaks CUDA.
        Impossible: the engine is bound to another GPU or another TensorRT.
        DeviceError: there is no GPU.
        ToolchainFailed: TensorRT refuses the file.
    """
    return TrtSession(file, manifest, options)


def package_of(manifest: Mapping[str, Any]) -> str:
    """The Python package that runs an artifact's engine."""
    bound = manifest.get("bound_to") or {}
    return next((name for name in engine_binding.PACKAGES if name in bound), "tensorrt")


def import_package(package: str) -> tuple[Any, str]:
    """The package and its version.

    Raises:
        MissingPackage: it is not here, or does not import.
        Impossible: it is too old.
    """
    try:
        trt = importlib.import_module(package)
        version = str(trt.__version__)
    except (ImportError, AttributeError, OSError) as error:  # stubs have no version; a wheel may lack its library
        raise MissingPackage(
            f"missing here: {package} ({error})", "Install it: JetPack holds tensorrt, the extras trt and trt-rtx do."
        ) from error
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if package == "tensorrt" and numbers < OLDEST:
        raise Impossible(f"TensorRT {version} is older than {OLDEST[0]}.{OLDEST[1]}", "Use JetPack 6.1 or later.")
    return trt, version


def _context(loaded: _Loaded, words: str) -> "tensorrt.IExecutionContext":
    context: tensorrt.IExecutionContext | None = loaded.engine.create_execution_context()
    if context is None:  # memory is short
        raise ToolchainFailed(f"{words} makes no context: {loaded.logger.last}", _LOG)
    return context


def _checked_gpu(manifest: Mapping[str, Any], package: str, version: str) -> gpu.Gpu:
    gpu_facts = gpu.first_gpu()
    if gpu_facts is None:
        raise DeviceError("no NVIDIA GPU answers here, and an engine runs on nothing else", "Name the device with one.")
    engine_binding.check(
        manifest.get("bound_to") or {},
        package=package,
        version=version,
        compute_capability=gpu_facts.compute_capability,
        gpu=gpu_facts.name,
    )
    return gpu_facts


def _load(trt: Any, package: str, version: str, file: Path) -> _Loaded:
    """The engine of ``file``, loaded once in this process."""
    key = (package, str(file))
    if key not in _LOADED:
        logger = make_logger(trt)
        try:
            runtime: tensorrt.Runtime = trt.Runtime(logger)
        except TypeError as error:  # what the bindings make of a null pointer, and it says nothing
            raise ToolchainFailed(
                f"{package} {version} does not start: {logger.last}", "Look at the driver with `nvidia-smi`."
            ) from error
        try:
            engine: tensorrt.ICudaEngine | None = runtime.deserialize_cuda_engine(file.read_bytes())
        except (OSError, TypeError) as error:
            raise ToolchainFailed(f"{package} {version} cannot load {file}: {error}", "Export it again.") from error
        if engine is None:
            raise ToolchainFailed(
                f"{package} {version} refuses {file}: {logger.last}", "Build it again on this device."
            )
        _LOADED[key] = _Loaded(runtime, engine, logger)
    _LOADED[key].users += 1
    return _LOADED[key]


def _own_tensors(trt: Any, engine: "tensorrt.ICudaEngine") -> dict[str, dict[str, tuple[tuple[int, ...], str]]]:
    """Shape and type of the engine's own ``inputs`` and ``outputs`` by name."""
    tensors: dict[str, dict[str, tuple[tuple[int, ...], str]]] = {"inputs": {}, "outputs": {}}
    for place in range(engine.num_io_tensors):
        name = engine.get_tensor_name(place)
        shape = tuple(int(side) for side in engine.get_tensor_shape(name))
        dtype = np.dtype(trt.nptype(engine.get_tensor_dtype(name))).name
        side = "inputs" if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT else "outputs"
        tensors[side][name] = (shape, dtype)
    return tensors


def _facts(package: str, version: str, gpu_facts: gpu.Gpu) -> dict[str, str]:
    name = "TensorRT for RTX (not TensorRT proper)" if package == "tensorrt_rtx" else "tensorrt"
    return {
        "runtime": f"{name} {version}",
        "provider": f"CUDA on {gpu_facts.name}, compute capability {gpu_facts.compute_capability}",
        "unverified": UNVERIFIED,
    }


def make_logger(trt: Any) -> Any:
    """A logger of the package that keeps its last complaint, in ``last``."""

    class Logger(trt.ILogger):
        """Complaints go to the worker's log."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.last = "it said nothing"

        def log(self, severity: Any, text: str) -> None:
            """Keep errors, print them and warnings."""
            if int(severity) <= int(trt.ILogger.Severity.WARNING):
                print(text)
            if int(severity) <= int(trt.ILogger.Severity.ERROR):
                self.last = text

    return Logger()
