"""Runtime of ExecuTorch programs on the CPU; for studies, never a target. A leaf over executorch, which is untyped."""

# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from executorch.extension.pybindings import portable_lib
from executorch.runtime import Runtime, Verification

from vitdeploy.errors import ToolchainFailed
from vitdeploy.runtimes.loaded_session import LoadedSession, tensors_of
from vitdeploy.runtimes.session import Arrays, Session, SessionOptions

VERSION = metadata.version("executorch")


class ExecuTorchSession(LoadedSession):
    """The method ``forward`` of one program."""

    def __init__(self, file: Path, manifest: Mapping[str, Any], options: SessionOptions) -> None:
        super().__init__(tensors_of(manifest["inputs"]), tensors_of(manifest["outputs"]))
        library: Any = portable_lib
        # By default it has a thread for each fast core. Source: executorch/extension/pybindings/pybindings.cpp.
        library._unsafe_reset_threadpool(options.threads)  # noqa: SLF001
        try:
            program: Any = Runtime.get().load_program(file, verification=Verification.Minimal)
            self._method: Any = program.load_method("forward")
        except RuntimeError as error:
            raise ToolchainFailed(f"ExecuTorch {VERSION} refuses {file}: {error}", "Make it again.") from error
        self.facts: Mapping[str, str] = {
            "runtime": f"executorch {VERSION}",
            "provider": "XNNPACK, CPU",
            "threads": str(library._threadpool_get_thread_count()),  # noqa: SLF001
        }
        self._feeds: list[torch.Tensor] = []
        self._results: list[torch.Tensor] = []

    def close(self) -> None:
        """Release the method."""
        self._results = []
        del self._method

    def put(self, feeds: Arrays) -> None:
        """Wrap the inputs where they lie.

        Raises:
            UsageError: a name, shape or type is not the program's.
        """
        self.check(feeds)
        self._feeds = [torch.from_numpy(feeds[tensor.name]) for tensor in self.inputs]

    def run(self) -> None:
        """Run the method; it is done on return."""
        self._results = list(self._method.execute(self._feeds))

    def get(self) -> Arrays:
        """The outputs."""
        return {tensor.name: value.numpy() for tensor, value in zip(self.outputs, self._results, strict=True)}


def open_session(file: Path, manifest: Mapping[str, Any], options: SessionOptions) -> Session:
    """Load a program.

    Raises:
        ToolchainFailed: ExecuTorch refuses the file.
    """
    return ExecuTorchSession(file, manifest, options)
