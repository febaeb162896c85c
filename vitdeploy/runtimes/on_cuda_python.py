"""CUDA through NVIDIA's cuda-python, 12 and 13; a leaf over an untyped package, converted at its border."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingImports=false, reportMissingTypeStubs=false

import importlib
from importlib import metadata
from typing import Any, Final

from vitdeploy.errors import ToolchainFailed
from vitdeploy.runtimes.cuda import Cuda, cuda_error, no_driver_error

ENUMS: Final = {
    "cudaMemcpyAsync": (3, "cudaMemcpyKind"),
    "cudaStreamBeginCapture": (1, "cudaStreamCaptureMode"),
}
"""Function → which of its inputs is an enumeration there, and which; a plain number is refused."""


def open_cuda() -> Cuda:
    """CUDA through the package that is here.

    Raises:
        ImportError: it is not.
        DeviceError: it is, and finds no GPU.
    """
    api = _api()
    succeeded = api.cudaError_t.cudaSuccess

    def call(name: str, *arguments: Any) -> Any:
        if name in ENUMS:
            place, kind = ENUMS[name]
            arguments = (*arguments[:place], getattr(api, kind)(arguments[place]), *arguments[place + 1 :])
        try:
            code, *outputs = getattr(api, name)(*arguments)
        except RuntimeError as error:  # up to 12.6: it loads the driver itself, and has no code for its absence
            if "dlopen" in str(error):
                raise no_driver_error() from error
            raise ToolchainFailed(f"{name} failed: {error}", "Read the worker's log beside the run file.") from error
        if code != succeeded:
            words = api.cudaGetErrorString(code)[1]
            raise cuda_error(name, int(code), words.decode() if isinstance(words, bytes) else str(words))
        return outputs[0] if outputs else None

    return Cuda(call, f"cuda-python {_version()}")


def _api() -> Any:
    """Its runtime functions: ``cuda.bindings.runtime`` since 12.6, ``cuda.cudart`` before."""
    try:
        return importlib.import_module("cuda.bindings.runtime")
    except ImportError as error:
        try:
            return importlib.import_module("cuda.cudart")
        except ImportError:
            raise error from None  # it says what a package that is there lacks


def _version() -> str:
    versions = {distribution.name.lower(): distribution.version for distribution in metadata.distributions()}
    return versions.get("cuda-bindings") or versions.get("cuda-python") or "of unknown version"
