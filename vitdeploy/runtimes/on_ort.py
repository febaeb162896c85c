"""Run ``model.onnx`` with ONNX Runtime on the CPU; a leaf over an untyped framework, converted at its border.

On a CPU the host's memory is the device's memory: inputs are bound where they lie and outputs are
written into buffers that were made once, so one round trip copies and allocates nothing of its own.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false, reportUnknownParameterType=false, reportMissingParameterType=false

import json
import shutil
import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from vitdeploy.errors import ToolchainFailed
from vitdeploy.runtimes.loaded_session import LoadedSession, checked
from vitdeploy.runtimes.session import Array, Arrays, Session, SessionOptions

PROVIDER = "CPUExecutionProvider"

SPINNING = "1"
"""Idle pool threads spin before they sleep: ONNX Runtime's default, and what a user's session does.

Source: onnxruntime_session_options_config_keys.h, ``session.intra_op.allow_spinning``.
"""

_NO_THREAD = "Resource temporarily unavailable"
"""The system's words for EAGAIN, in ONNX Runtime's message where its pool gets no thread."""

_ELEMENTS = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(uint16)": "uint16",
    "tensor(int16)": "int16",
    "tensor(uint32)": "uint32",
    "tensor(int32)": "int32",
    "tensor(uint64)": "uint64",
    "tensor(int64)": "int64",
    "tensor(bool)": "bool",
}
"""ONNX Runtime's element type → numpy's name."""


class OrtSession(LoadedSession):
    """One ``onnxruntime.InferenceSession`` with everything bound that can be bound beforehand."""

    def __init__(self, file: Path, manifest: Mapping[str, Any], options: SessionOptions) -> None:
        settings = ort.SessionOptions()
        settings.intra_op_num_threads = options.threads
        settings.inter_op_num_threads = 1
        settings.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        settings.log_severity_level = 3  # errors: what a user must know is in facts
        settings.add_session_config_entry("session.intra_op.allow_spinning", SPINNING)
        if options.rests:
            # Source: onnxruntime_session_options_config_keys.h, ``session.force_spinning_stop``.
            settings.add_session_config_entry("session.force_spinning_stop", "1")
        if options.profile:
            settings.enable_profiling = True
            settings.profile_file_prefix = str(Path(tempfile.mkdtemp(prefix="vitdeploy-profile-")) / "operators")
        try:
            # Without a fallback: it prints to stdout, where a worker answers, and tries the same provider again.
            self._session: Any = ort.InferenceSession(str(file), settings, providers=[PROVIDER], enable_fallback=0)
        except Exception as error:
            raise ToolchainFailed(
                f"ONNX Runtime {ort.__version__} refuses {file}: {error}",
                "Raise the limit of processes, `ulimit -u`, or end some."
                if _NO_THREAD in str(error)
                else "Export the model again.",
            ) from error
        super().__init__(
            checked(manifest["inputs"], _tensors(self._session.get_inputs()), file),
            checked(manifest["outputs"], _tensors(self._session.get_outputs()), file),
        )
        self.facts: Mapping[str, str] = {
            "runtime": f"onnxruntime {ort.__version__}",
            "provider": ", ".join(self._session.get_providers()),
            "threads": str(options.threads),
            "inter_op_threads": "1",
            "spinning": "off between inferences" if options.rests else "on" if SPINNING == "1" else "off",
            "graph_optimization": "all",
        }
        self._results: dict[str, Array] = {t.name: np.empty(t.shape, t.dtype) for t in self.outputs}
        self._held: list[Array] = []
        self._binding: Any = self._session.io_binding()
        for name, buffer in self._results.items():
            self._binding.bind_output(name, "cpu", 0, buffer.dtype, buffer.shape, buffer.ctypes.data)

    def close(self) -> None:
        """Release the binding and the session."""
        del self._binding, self._session

    def put(self, feeds: Arrays) -> None:
        """Bind the inputs where they lie; they must stay as they are until `run` returns.

        Raises:
            UsageError: a name, shape or type is not the graph's (its memory would be misread).
        """
        self.check(feeds)
        arrays: list[Array] = []
        for name, (shape, dtype) in self._expected.items():
            array = feeds[name]
            if not array.flags.c_contiguous:
                array = np.ascontiguousarray(array)
            arrays.append(array)
            self._binding.bind_input(name, "cpu", 0, dtype, shape, array.ctypes.data)
        self._held = arrays  # the binding knows addresses only

    def run(self) -> None:
        """Run the graph; on the CPU provider it is done on return."""
        self._session.run_with_iobinding(self._binding)

    def get(self) -> Arrays:
        """The output buffers; the next `run` overwrites them."""
        return self._results

    def operator_ns(self) -> Mapping[str, int]:
        """Operator type → nanoseconds of an inference, of a session opened with ``profile``; ends the profile."""
        profile = Path(self._session.end_profiling())
        try:
            return total_ns_by_type(json.loads(profile.read_text()))
        finally:
            shutil.rmtree(profile.parent, ignore_errors=True)


def open_session(file: Path, manifest: Mapping[str, Any], options: SessionOptions) -> Session:
    """Load an ONNX file.

    Raises:
        ToolchainFailed: ONNX Runtime refuses the file, or its inputs and outputs are not the manifest's.
    """
    return OrtSession(file, manifest, options)


def total_ns_by_type(events: list[dict[str, Any]]) -> dict[str, int]:
    """Nanoseconds by operator type of ONNX Runtime's profile; each node counts with its median.

    Source: onnxruntime.ai/docs/performance/tune-performance/profiling-tools.html: events of category ``Node`` whose
    name ends in ``kernel_time``, ``dur`` in microseconds.
    """
    by_node: dict[tuple[str, str], list[int]] = {}
    for event in events:
        if event.get("cat") == "Node" and str(event.get("name", "")).endswith("kernel_time"):
            key = (str(event["args"]["op_name"]), str(event["name"]))
            by_node.setdefault(key, []).append(int(event["dur"]))
    total_ns: dict[str, int] = {}
    for (operator, _), durations_us in by_node.items():
        total_ns[operator] = total_ns.get(operator, 0) + round(1000 * statistics.median(durations_us))
    return total_ns


def _tensors(nodes: Any) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and type of the graph's own inputs or outputs by name."""
    return {node.name: (tuple(node.shape), _ELEMENTS.get(node.type, str(node.type))) for node in nodes}
