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
from types import TracebackType
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from vitdeploy.catalog.spec import TensorSpec
from vitdeploy.errors import ToolchainFailed, UsageError
from vitdeploy.runtimes.profiled_tflite import ProfiledTflite
from vitdeploy.runtimes.session import Array, Arrays, Session, SessionOptions

VERSION = metadata.version("ai-edge-litert")


class TfliteSession:
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
        self.inputs: tuple[TensorSpec, ...] = _described(manifest["inputs"], entries, file)
        self.outputs: tuple[TensorSpec, ...] = _described(manifest["outputs"], exits, file)
        self._entries = {t.name: int(entry["index"]) for t, entry in zip(self.inputs, entries, strict=True)}
        self._exits = {t.name: int(leaving["index"]) for t, leaving in zip(self.outputs, exits, strict=True)}
        self._expected = {t.name: (t.shape, np.dtype(t.dtype)) for t in self.inputs}
        self._results: dict[str, Array] = {t.name: np.empty(t.shape, t.dtype) for t in self.outputs}
        partitions = _partitions(self._interpreter)
        self.facts: Mapping[str, str] = {
            "runtime": f"ai-edge-litert {VERSION}",
            "provider": "XNNPACK, CPU" if partitions else "TFLite's own kernels, CPU",
            "delegate_partitions": str(partitions),
            "threads": str(options.threads),
            "fp16_arithmetic": "off",
        }

    def __enter__(self) -> "TfliteSession":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del self._interpreter

    def put(self, feeds: Arrays) -> None:
        """Copy the inputs into the interpreter.

        Raises:
            UsageError: a name, shape or type is not the graph's.
        """
        if feeds.keys() != self._expected.keys():
            raise UsageError(f"inputs {sorted(feeds)} given, {sorted(self._expected)} expected", "Name all inputs.")
        for name, (shape, dtype) in self._expected.items():
            array = feeds[name]
            if array.shape != shape or array.dtype != dtype:
                raise UsageError(
                    f"input {name} is {array.dtype}{list(array.shape)}, the graph takes {dtype}{list(shape)}",
                    "Shape the input as the manifest says: TFLite files take their channels last.",
                )
            # Views of the interpreter's memory must not outlive the statement: it refuses to run while one is held.
            np.copyto(self._interpreter.tensor(self._entries[name])(), array)

    def run(self) -> None:
        """Run the graph; on the CPU it is done on return."""
        self._interpreter.invoke()

    def wait(self) -> None:
        """Nothing is under way after `run`."""

    def get(self) -> Arrays:
        """Copy the outputs into buffers that were made once; the next `get` overwrites them."""
        for name, buffer in self._results.items():
            np.copyto(buffer, self._interpreter.tensor(self._exits[name])())
        return self._results


def open_session(file: Path, manifest: Mapping[str, Any], options: SessionOptions) -> Session:
    """Load a TFLite file.

    Raises:
        ToolchainFailed: the runtime refuses the file, or its border is not what the manifest says.
    """
    if options.profile:
        return ProfiledTflite(file, manifest, options)
    return TfliteSession(file, manifest, options)


@contextlib.contextmanager
def _quiet() -> Generator[None]:
    """Keep what native code says on stderr of every delegate it makes out of the terminal; errors are raised."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _described(tensors: Any, details: Sequence[Any], file: Path) -> tuple[TensorSpec, ...]:
    """The manifest's tensors, in the file's order, after holding them against the file's own shapes and types.

    The names are the manifest's: converters name the tensors in a file as they like.
    """
    described = tuple(
        TensorSpec(name=t["name"], shape=tuple(t["shape"]), dtype=t["dtype"], layout=t["layout"]) for t in tensors
    )
    said = [(t.shape, t.dtype) for t in described]
    found = [(tuple(int(side) for side in d["shape"]), np.dtype(d["dtype"]).name) for d in details]
    if said != found:
        raise ToolchainFailed(f"{file} has {found}, its manifest says {said}", "Export the model again.")
    return described


def _partitions(interpreter: Any) -> int:
    """How many parts of the graph were given to a delegate: its nodes stand among the others under their own name."""
    nodes: Any = getattr(interpreter, "_get_ops_details")()  # noqa: B009 - there is no public name for it
    return sum(node["op_name"] == "DELEGATE" for node in nodes)
