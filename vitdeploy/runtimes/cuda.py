"""CUDA behind a few calls (memory, copies, streams, events, graphs), and the choice of who answers them.

cuda-python, pycuda, or nothing but the CUDA runtime library itself through ctypes, which is all that a stock JetPack
has. Standard library and numpy only: the worker carries it. No machine with a GPU has run it yet (docs/jetson.md).
"""

import importlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from vitdeploy.errors import DeviceError, MissingPackage, ToolchainFailed
from vitdeploy.runtimes.session import Array

Address = int
Handle = int
"""Of a stream, an event or an executable graph, as the driver numbers it."""

BINDINGS = (
    "vitdeploy.runtimes.on_cuda_python",
    "vitdeploy.runtimes.on_cudart",
    "vitdeploy.runtimes.on_pycuda",
)
"""Who can answer, the first that is there counts; pycuda comes last because it cannot capture graphs."""

NO_GPU = frozenset({35, 46, 100, 101})
"""Errors that mean no usable GPU: driver missing or too old, all taken, no device, no such device.

Source: ``cudaError_t`` in driver_types.h.
"""


class Cuda(Protocol):
    """One GPU's memory and queues. Copies are asynchronous and take page-locked host memory only."""

    name: str
    """Who answers, with its version."""
    graphs: bool
    """Whether it can capture a CUDA graph."""
    waits: str
    """How `synchronize` waits: ``spin`` or what the driver chooses."""

    def enter(self) -> None:
        """Make the GPU current in this thread; cheap when it is."""
        ...

    def host(self, shape: tuple[int, ...], dtype: str) -> Array:
        """A page-locked array."""
        ...

    def free_host(self, array: Array) -> None:
        """Give back what `host` gave."""
        ...

    def device(self, size_bytes: int) -> Address:
        """Memory of the GPU."""
        ...

    def free_device(self, address: Address) -> None:
        """Give back what `device` gave."""
        ...

    def stream(self) -> Handle:
        """A queue that waits for no other."""
        ...

    def event(self) -> Handle:
        """A mark in a queue, with its time."""
        ...

    def free(
        self, *, streams: Sequence[Handle] = (), events: Sequence[Handle] = (), graphs: Sequence[Any] = ()
    ) -> None:
        """Give back queues, marks and graphs."""
        ...

    def copy_in(self, target: Address, source: Array, stream: Handle) -> None:
        """Queue a copy from page-locked memory to the GPU."""
        ...

    def copy_out(self, target: Array, source: Address, stream: Handle) -> None:
        """Queue a copy from the GPU to page-locked memory."""
        ...

    def record(self, event: Handle, stream: Handle) -> None:
        """Queue the mark."""
        ...

    def elapsed_ns(self, begin: Handle, end: Handle) -> int:
        """Time between two marks that were reached, to about half a microsecond."""
        ...

    def synchronize(self, stream: Handle) -> None:
        """Return when the queue is empty."""
        ...

    def capture(self, stream: Handle, work: Callable[[], None]) -> Any:
        """An executable graph of what ``work`` queues; it is not run."""
        ...

    def launch(self, graph: Any, stream: Handle) -> None:
        """Queue a captured graph."""
        ...


def open_cuda(*, graph: bool = False, ways: Sequence[str] = BINDINGS) -> Cuda:
    """The first of ``ways`` that is installed here; with ``graph`` the first that can capture one.

    Raises:
        MissingPackage: none of them is; the message says what each lacks.
        DeviceError: one is, and finds no GPU.
    """
    lacking: list[str] = []
    for way in ways:
        try:
            found: Cuda = importlib.import_module(way).open_cuda()
        except ImportError as error:
            lacking.append(f"{way.rpartition('_')[2]}: {error}")
            continue
        if graph and not found.graphs:
            lacking.append(f"{found.name} cannot capture graphs")
            continue
        return found
    raise MissingPackage(
        f"nothing here speaks CUDA ({'; '.join(lacking)})",
        "Install CUDA's runtime library (JetPack has it), or run `pip install cuda-python`.",
    )


def cuda_error(call: str, code: int, words: str) -> DeviceError | ToolchainFailed:
    """The error for a CUDA call that did not succeed."""
    if code in NO_GPU:
        return DeviceError(f"no CUDA GPU answers: {words}", "Run it where an NVIDIA GPU and its driver are.")
    return ToolchainFailed(f"{call} failed: {words} ({code})", "Read the worker's log beside the run file.")
