"""Run ``model.tflite`` with ai-edge-litert and its XNNPACK delegate; a leaf over an untyped framework.

The interpreter owns the memory of every tensor, so an input is copied into it and an output out of it: `put`
and `get` are those copies, which a program on a phone makes too.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportAttributeAccessIssue=false

import contextlib
import os
import sys
from collections.abc import Generator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from vitdeploy.catalog.spec import TensorSpec
from vitdeploy.errors import ToolchainFailed
from vitdeploy.runtimes.loaded_session import LoadedSession, tensors_of
from vitdeploy.runtimes.profiled_tflite import ProfiledTflite
from vitdeploy.runtimes.session import Array, Arrays, Session, SessionOptions

VERSION = metadata.version("ai-edge-litert")


class TfliteSession(LoadedSession):
    """One interpreter with its tensors allocated; files are static, so that happens once."""

    def __init__(self, file: Path, manifest: Mapping[str, Any], options: SessionOptions) -> None:
        try:
            # The default resolver brings the XNNPACK delegate along, with this many threads. It computes in fp16
            # only when it is forced to, or when the file's metadata allows it: neither is done here.
            with _quiet():
                self._interpreter: Any = Interpreter(model_path=str(file), num_threads=options.threads)
                self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise ToolchainFailed(
                f"ai-edge-litert {VERSION} refuses {file}: {' '.join(str(error).split())[:300]}",
                "Export the model again.",
            ) from error
        entries, exits = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        super().__init__(_checked(manifest["inputs"], entries, file), _checked(manifest["outputs"], exits, file))
        self._entries = {t.name: int(entry["index"]) for t, entry in zip(self.inputs, entries, strict=True)}
        self._exits = {t.name: int(leaving["index"]) for t, leaving in zip(self.outputs, exits, strict=True)}
        self._results: dict[str, Array] = {t.name: np.empty(t.shape, t.dtype) for t in self.outputs}
        partitions = _partitions(self._interpreter)
        self.facts: Mapping[str, str] = {
            "runtime": f"ai-edge-litert {VERSION}",
            "provider": "XNNPACK, CPU" if partitions else "TFLite's own kernels, CPU",
            "delegate_partitions": str(partitions),
            "threads": str(options.threads),
            "fp16_arithmetic": "off",
        }

    def close(self) -> None:
        """Release the interpreter."""
        del self._interpreter

    def put(self, feeds: Arrays) -> None:
        """Copy the inputs into the interpreter.

        Raises:
            UsageError: a name, shape or type is not the graph's.
        """
        self.check(feeds)
        for name, index in self._entries.items():
            # Views of the interpreter's memory must not outlive the statement: it refuses to run while one is held.
            np.copyto(self._interpreter.tensor(index)(), feeds[name])

    def run(self) -> None:
        """Run the graph; on the CPU it is done on return."""
        self._interpreter.invoke()

    def get(self) -> Arrays:
        """Copy the outputs into buffers that were made once; the next `get` overwrites them."""
        for name, buffer in self._results.items():
            np.copyto(buffer, self._interpreter.tensor(self._exits[name])())
        return self._results


def open_session(file: Path, manifest: Mapping[str, Any], options: SessionOptions) -> Session:
    """Load a TFLite file.

    Raises:
        ToolchainFailed: the runtime refuses the file, or its inputs and outputs are not the manifest's.
    """
    if options.profile:
        return ProfiledTflite(file, manifest, options)
    return TfliteSession(file, manifest, options)


@contextlib.contextmanager
def _quiet() -> Generator[None]:
    """Keep what native code says on stderr of every delegate it makes out of the terminal; errors are raised."""
    sys.stderr.flush()
    saved_stderr = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(saved_stderr, 2)
        os.close(saved_stderr)
        os.close(nowhere)


def _checked(entries: Any, details: Sequence[Any], file: Path) -> tuple[TensorSpec, ...]:
    """The manifest's tensors, in the file's order, compared with the file's own shapes and types.

    The names are the manifest's: converters name the tensors in a file as they like.
    """
    tensors = tensors_of(entries)
    expected = [(t.shape, t.dtype) for t in tensors]
    actual = [(tuple(int(side) for side in d["shape"]), np.dtype(d["dtype"]).name) for d in details]
    if expected != actual:
        raise ToolchainFailed(f"{file} has {actual}, its manifest says {expected}", "Export the model again.")
    return tensors


def _partitions(interpreter: Any) -> int:
    """How many parts of the graph were given to a delegate: its nodes stand among the others under their own name."""
    nodes: Any = getattr(interpreter, "_get_ops_details")()  # noqa: B009 - there is no public name for it
    return sum(node["op_name"] == "DELEGATE" for node in nodes)
