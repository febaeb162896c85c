"""Runtime of ONNX files in OpenVINO on the CPU, in fp32; for studies, never a target. A leaf over openvino, untyped."""

# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false, reportMissingModuleSource=false

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import openvino as ov

from vitdeploy.errors import ToolchainFailed
from vitdeploy.runtimes.loaded_session import LoadedSession, tensors_of
from vitdeploy.runtimes.session import Arrays, Session, SessionOptions


class OpenVinoSession(LoadedSession):
    """One compiled model and its only request."""

    def __init__(self, file: Path, manifest: Mapping[str, Any], options: SessionOptions) -> None:
        super().__init__(tensors_of(manifest["inputs"]), tensors_of(manifest["outputs"]))
        # Without the precision hint a CPU with bf16 computes in bf16. Source: docs.openvino.ai, "CPU Device".
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": "1",
            "INFERENCE_NUM_THREADS": str(options.threads),
            "INFERENCE_PRECISION_HINT": "f32",
        }
        try:
            compiled: Any = ov.Core().compile_model(str(file), "CPU", settings)
        except RuntimeError as error:
            words = " ".join(str(error).split())[:300]
            raise ToolchainFailed(f"OpenVINO {ov.__version__} refuses {file}: {words}", "Make it again.") from error
        self._request: Any = compiled.create_infer_request()
        self.facts: Mapping[str, str] = {
            "runtime": f"openvino {ov.__version__}",
            "provider": "CPU",
            "threads": str(options.threads),
            "precision": str(compiled.get_property("INFERENCE_PRECISION_HINT")),
        }

    def close(self) -> None:
        """Release the request."""
        del self._request

    def put(self, feeds: Arrays) -> None:
        """Hand the inputs over where they lie.

        Raises:
            UsageError: a name, shape or type is not the file's.
        """
        self.check(feeds)
        for place, tensor in enumerate(self.inputs):
            self._request.set_input_tensor(place, ov.Tensor(feeds[tensor.name], shared_memory=True))

    def run(self) -> None:
        """Run the model; it is done on return."""
        self._request.infer()

    def get(self) -> Arrays:
        """The request's output buffers; the next `run` overwrites them."""
        return {tensor.name: self._request.get_output_tensor(place).data for place, tensor in enumerate(self.outputs)}


def open_session(file: Path, manifest: Mapping[str, Any], options: SessionOptions) -> Session:
    """Load an ONNX file.

    Raises:
        ToolchainFailed: OpenVINO refuses the file.
    """
    return OpenVinoSession(file, manifest, options)
