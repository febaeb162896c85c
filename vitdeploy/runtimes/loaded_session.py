"""Loaded session: what all sessions share, whatever the runtime: inputs, outputs, the check of feeds, the end.

Standard library and numpy only: the worker carries it.
"""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np

from vitdeploy.catalog.spec import TensorSpec
from vitdeploy.errors import ToolchainFailed, UsageError
from vitdeploy.runtimes.session import Arrays

LoadedT = TypeVar("LoadedT", bound="LoadedSession")


class LoadedSession:
    """A `Session` without its calls of the runtime. On a CPU an inference is done when `run` returns."""

    facts: Mapping[str, str]

    def __init__(self, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> None:
        self.inputs, self.outputs = inputs, outputs
        self._expected = {t.name: (t.shape, np.dtype(t.dtype)) for t in inputs}

    def __enter__(self: LoadedT) -> LoadedT:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release what the runtime holds."""

    def wait(self) -> None:
        """Nothing is under way after `run`."""

    def check(self, feeds: Arrays) -> None:
        """Compare inputs with the file's own: memory of another shape or type would be misread.

        Raises:
            UsageError: a name, shape or type differs.
        """
        if feeds.keys() != self._expected.keys():
            raise UsageError(f"inputs {sorted(feeds)} given, {sorted(self._expected)} expected", "Name all inputs.")
        for name, (shape, dtype) in self._expected.items():
            array = feeds[name]
            if array.shape != shape or array.dtype != dtype:
                raise UsageError(
                    f"input {name} is {array.dtype}{list(array.shape)}, it takes {dtype}{list(shape)}",
                    "Shape the input as the manifest says (TFLite files take their channels last).",
                )


def tensors_of(entries: Any) -> tuple[TensorSpec, ...]:
    """The inputs or outputs of a manifest that is plain JSON."""
    return tuple(
        TensorSpec(name=t["name"], shape=tuple(t["shape"]), dtype=t["dtype"], layout=t["layout"]) for t in entries
    )


def checked(entries: Any, actual: Mapping[str, tuple[tuple[int, ...], str]], file: Path) -> tuple[TensorSpec, ...]:
    """The tensors of a manifest, compared with the file's own: buffers are made from them.

    Args:
        entries: inputs or outputs, as plain JSON.
        actual: name → shape and type in the file.

    Raises:
        ToolchainFailed: they differ.
    """
    tensors = tensors_of(entries)
    expected = {t.name: (t.shape, t.dtype) for t in tensors}
    if expected != actual:
        raise ToolchainFailed(f"{file} has {actual}, its manifest says {expected}", "Export the model again.")
    return tensors
