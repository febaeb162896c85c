"""A TFLite file with the time of each operator, through LiteRT's own C interface in the ai-edge-litert wheel.

Its Python interface has no profiler. The operators in XNNPACK's parts are timed too. Never for a timed trial: it is
another way to the same kernels than the interpreter's.

Source: LiteRT 2, litert/c/{litert_environment,litert_model,litert_compiled_model,litert_opaque_options,litert_profiler,
litert_tensor_buffer}.h; names and keys of options in litert/runtime/{litert_runtime_options,litert_cpu_options}.cc.
"""

# pyright: reportMissingTypeStubs=false

import ctypes
import importlib.util
import os
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import numpy as np

from vitdeploy.errors import ToolchainFailed
from vitdeploy.runtimes import operator_table
from vitdeploy.runtimes.loaded_session import LoadedSession, tensors_of
from vitdeploy.runtimes.session import Array, Arrays, SessionOptions

_Handle = ctypes.c_void_p
_Index = ctypes.c_size_t
_CPU: Final = 1
"""``kLiteRtHwAcceleratorCpu``."""
_READ: Final = 0
_WRITE: Final = 1
"""``LiteRtTensorBufferLockMode``."""
_TYPE_BYTES: Final = 256
"""Room for a ``LiteRtRankedTensorType``, which is only carried from one call to another; it has fewer than 100."""


class ProfiledTflite(LoadedSession):
    """A compiled model on the CPU with its profiler on."""

    def __init__(self, file: Path, manifest: Mapping[str, Any], options: SessionOptions) -> None:
        super().__init__(tensors_of(manifest["inputs"]), tensors_of(manifest["outputs"]))
        self._library = _library()
        self._kept: list[Any] = []
        self._runs = 0
        self._environment = self._new("LiteRtCreateEnvironment", 0, None)
        self._model = self._new("LiteRtCreateModelFromFile", self._environment, os.fsencode(file))
        settings = self._new("LiteRtCreateOptions")
        self._call("LiteRtSetOptionsHardwareAccelerators", settings, _CPU)
        self._set(settings, "runtime_options_string", "enable_profiling = true\n")
        self._set(settings, "xnnpack", f"num_threads = {options.threads}\n")
        self._compiled = self._new("LiteRtCreateCompiledModel", self._environment, self._model, settings)
        self._profiler = self._new("LiteRtCompiledModelGetProfiler", self._compiled)
        signature = self._new("LiteRtGetModelSignature", self._model, _Index(0))
        self._entries = self._buffers(signature, "Input", len(self.inputs))
        self._exits = self._buffers(signature, "Output", len(self.outputs))
        self.facts: Mapping[str, str] = {
            "runtime": f"ai-edge-litert {metadata.version('ai-edge-litert')}",
            "provider": "XNNPACK, CPU, by LiteRT's compiled model",
            "threads": str(options.threads),
        }

    def close(self) -> None:
        """Release buffers, model and environment."""
        for buffer in (*self._entries, *self._exits):
            self._library.LiteRtDestroyTensorBuffer(_Handle(buffer))
        self._library.LiteRtDestroyCompiledModel(self._compiled)
        self._library.LiteRtDestroyModel(self._model)
        self._library.LiteRtDestroyEnvironment(self._environment)

    def put(self, feeds: Arrays) -> None:
        """Copy the inputs into the model's buffers."""
        for spec, buffer in zip(self.inputs, self._entries, strict=True):
            self._copy(buffer, np.ascontiguousarray(feeds[spec.name]), _WRITE)

    def run(self) -> None:
        """Run the graph; on the CPU it is done on return. The first one is not profiled: it is slow."""
        if self._runs == 1:
            self._call("LiteRtStartProfiler", self._profiler)
        counts = _Index(len(self._entries)), _Index(len(self._exits))
        self._call(
            "LiteRtRunCompiledModel", self._compiled, _Index(0), counts[0], self._entries, counts[1], self._exits
        )
        self._runs += 1

    def get(self) -> Arrays:
        """The outputs, copied."""
        results = {spec.name: np.empty(spec.shape, spec.dtype) for spec in self.outputs}
        for spec, buffer in zip(self.outputs, self._exits, strict=True):
            self._copy(buffer, results[spec.name], _READ)
        return results

    def operator_ns(self) -> Mapping[str, int]:
        """Operator type → nanoseconds of one of the inferences so far, their mean."""
        self._call("LiteRtStopProfiler", self._profiler)
        table = ctypes.c_char_p()
        self._call("LiteRtGetProfileSummary", self._profiler, self._compiled, ctypes.byref(table))
        return operator_table.ns_by_type(
            (table.value or b"").decode(errors="replace"), inferences=max(1, self._runs - 1)
        )

    def _buffers(self, signature: _Handle, way: str, expected: int) -> "ctypes.Array[_Handle]":
        count = _Index()
        self._call(f"LiteRtGetNumSignature{way}s", signature, ctypes.byref(count))
        if count.value != expected:
            raise ToolchainFailed(
                f"the file has {count.value} {way.lower()}s, its manifest says {expected}", "Export the model again."
            )
        buffers = (_Handle * expected)()
        for place in range(expected):
            tensor = self._new(f"LiteRtGetSignature{way}TensorByIndex", signature, _Index(place))
            kind = ctypes.create_string_buffer(_TYPE_BYTES)
            self._call("LiteRtGetRankedTensorType", tensor, kind)
            sizes = self._new(
                f"LiteRtGetCompiledModel{way}BufferRequirements", self._compiled, _Index(0), _Index(place)
            )
            buffers[place] = self._new(
                "LiteRtCreateManagedTensorBufferFromRequirements", self._environment, kind, sizes
            )
        return buffers

    def _copy(self, buffer: int | None, array: Array, mode: int) -> None:
        """Copy an array into a buffer, or out of it."""
        handle, address, size = _Handle(buffer), _Handle(), _Index()
        self._call("LiteRtGetTensorBufferSize", handle, ctypes.byref(size))
        if size.value < array.nbytes:
            raise ToolchainFailed(
                f"a buffer has {size.value} bytes, {array.nbytes} expected", "Export the model again."
            )
        self._call("LiteRtLockTensorBuffer", handle, ctypes.byref(address), mode)
        assert address.value is not None
        ends = (address.value, array.ctypes.data) if mode == _WRITE else (array.ctypes.data, address.value)
        ctypes.memmove(*ends, array.nbytes)
        self._call("LiteRtUnlockTensorBuffer", handle)

    def _set(self, settings: _Handle, name: str, text: str) -> None:
        """Add one group of options; LiteRT reads its text when the model is compiled, and never frees it."""
        buffer = ctypes.create_string_buffer(text.encode())
        self._kept.append(buffer)
        group = self._new("LiteRtCreateOpaqueOptions", name.encode(), buffer, _NOTHING)
        self._call("LiteRtAddOpaqueOptions", settings, group)

    def _new(self, function: str, *arguments: Any) -> _Handle:
        """What a function makes: its last argument is where it puts the handle."""
        handle = _Handle()
        self._call(function, *arguments, ctypes.byref(handle))
        return handle

    def _call(self, function: str, *arguments: Any) -> None:
        status = getattr(self._library, function)(*arguments)
        if status:
            raise ToolchainFailed(f"LiteRT's {function} ended with status {status}", "Export the model again.")


def _free_nothing(_: int | None) -> None:
    """LiteRT's way to free what it was given; ours is Python's."""


_NOTHING = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(_free_nothing)


def _library() -> ctypes.CDLL:
    """The library of the installed wheel.

    Raises:
        ToolchainFailed: this version has none, or none with a profiler.
    """
    package = importlib.util.find_spec("ai_edge_litert")
    assert package is not None
    assert package.submodule_search_locations is not None
    path = Path(package.submodule_search_locations[0]) / "libLiteRt.so"
    try:
        library = ctypes.CDLL(str(path))
        library.LiteRtGetProfileSummary  # noqa: B018 - asked whether it is there
    except (OSError, AttributeError) as error:
        raise ToolchainFailed(
            f"ai-edge-litert {metadata.version('ai-edge-litert')} has no profiler: {error}", "Install version 2.3."
        ) from error
    return library
