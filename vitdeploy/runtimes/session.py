"""The protocol that every runtime speaks: one artifact, loaded, behind four verbs.

Standard library and numpy only: the worker carries it to devices that have no more. A runtime is a
module (``on_ort``, ``on_torch``, …) that satisfies `Runtime`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from vitdeploy.catalog.spec import Boundary, TensorSpec

Array = NDArray[Any]
Arrays = Mapping[str, Array]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOptions:
    """What a session may use of the machine."""

    threads: int
    graph: bool = False
    """Capture the launch sequence once and replay it (CUDA graph)."""
    boundary: Boundary = "host-to-host"
    """What will be timed. Where copies are apart from computing, all of a round trip is queued at once and waited for
    once; for ``compute`` alone they are waited for outside of `Session.run` and `Session.wait`."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where a runtime that knows both computes."""
    rests: bool = False
    """Another process uses the same cores between inferences: threads that wait sleep, and do not spin."""
    profile: bool = False
    """Record the time of each operator; never for a timed trial."""


class Session(Protocol):
    """One loaded artifact; a context manager; not thread-safe.

    With or without copies decides the number, so copying and running are apart: `put`, `run`,
    `wait`, `get` in this order are one round trip from host memory to host memory.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    facts: Mapping[str, str]
    """What ran it, in the runtime's own words: version, provider, threads."""

    def __enter__(self) -> "Session": ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def put(self, feeds: Arrays) -> None:
        """Make ``feeds`` (name → host array, shaped and typed as `inputs`) the next input.

        They must stay as they are until `wait` has returned.
        """
        ...

    def run(self) -> None:
        """Start one inference; may return before it is done."""
        ...

    def wait(self) -> None:
        """Return when everything started is done."""
        ...

    def get(self) -> Arrays:
        """Outputs of the last inference in host memory; the next `run` may reuse the buffers."""
        ...


@runtime_checkable
class ProfiledSession(Protocol):
    """What a session offers besides when it was opened with ``profile`` and its runtime can tell."""

    def operator_ns(self) -> Mapping[str, int]:
        """Nanoseconds of one inference by operator type, over the inferences so far; ends the profile."""
        ...


@runtime_checkable
class DeviceSession(Protocol):
    """What a session offers besides when its memory is not the host's: an accelerator behind copies."""

    def place(self, feeds: Arrays) -> Arrays:
        """The same inputs in memory from which `Session.put` copies without a detour; they live as the session does.

        For pools that are made before anything is timed.
        """
        ...

    def stages_ns(self) -> tuple[int, int, int]:
        """Host to device, compute, device to host of the last round trip, by the device's own clock.

        Copies outside of the boundary that is timed are 0.
        """
        ...


class Runtime(Protocol):
    """What a module in this folder offers (the module itself is the object)."""

    def open_session(self, file: Path, manifest: Mapping[str, Any], options: SessionOptions) -> Session:
        """Load ``file``, described by ``manifest`` (the artifact's manifest as plain JSON).

        Raises:
            vitdeploy.errors.ToolchainFailed: the runtime refuses the file.
        """
        ...


def infer(session: Session, feeds: Arrays) -> dict[str, Array]:
    """One round trip, with outputs that stay valid: for parity and prediction, never for timing."""
    session.put(feeds)
    session.run()
    session.wait()
    return {name: np.array(value) for name, value in session.get().items()}
