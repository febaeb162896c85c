"""CUDA through the functions of its runtime library, whoever calls them: `on_cudart` and `on_cuda_python` do."""

import ctypes
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from vitdeploy.runtimes.cuda import Address, Handle
from vitdeploy.runtimes.session import Array

TO_DEVICE, TO_HOST = 1, 2
"""``cudaMemcpyHostToDevice``, ``cudaMemcpyDeviceToHost``. Source: driver_types.h, as all numbers here."""
SPIN = 1
"""``cudaDeviceScheduleSpin``: a waiting thread polls; what it waits for is what is measured."""
NON_BLOCKING = 1
"""``cudaStreamNonBlocking``: the stream waits for no other."""
THREAD_LOCAL = 1
"""``cudaStreamCaptureModeThreadLocal``: other threads may allocate while this one captures."""


class Call(Protocol):
    """Calls a function of the library by name with its inputs; returns its output, if it has one, or raises."""

    def __call__(self, name: str, *given: Any) -> Any:
        """``call("cudaMalloc", 4096)`` → an address."""
        ...


class Cudart:
    """`vitdeploy.runtimes.cuda.Cuda` over ``call``."""

    graphs = True
    waits = "spin"

    def __init__(self, call: Call, name: str) -> None:
        self._call = call
        call("cudaSetDeviceFlags", SPIN)  # before anything makes the context
        call("cudaSetDevice", 0)
        version = int(call("cudaRuntimeGetVersion"))
        self.name = f"{name}, CUDA {version // 1000}.{version % 1000 // 10}"
        self._pages: dict[int, Address] = {}

    def enter(self) -> None:
        """Nothing to do: the runtime library takes GPU 0 in every thread."""

    def host(self, shape: tuple[int, ...], dtype: str) -> Array:
        """A page-locked array."""
        size_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        address = int(self._call("cudaHostAlloc", max(1, size_bytes), 0))
        memory = (ctypes.c_uint8 * size_bytes).from_address(address)
        array: Array = np.frombuffer(memoryview(memory), np.dtype(dtype)).reshape(shape)
        self._pages[array.ctypes.data] = address
        return array

    def free_host(self, array: Array) -> None:
        """Give back what `host` gave."""
        self._call("cudaFreeHost", self._pages.pop(array.ctypes.data))

    def device(self, size_bytes: int) -> Address:
        """Memory of the GPU."""
        return int(self._call("cudaMalloc", max(1, size_bytes)))

    def free_device(self, address: Address) -> None:
        """Give back what `device` gave."""
        self._call("cudaFree", address)

    def stream(self) -> Handle:
        """A queue that waits for no other."""
        return int(self._call("cudaStreamCreateWithFlags", NON_BLOCKING))

    def event(self) -> Handle:
        """A mark with its time."""
        return int(self._call("cudaEventCreateWithFlags", 0))

    def free(
        self, *, streams: Sequence[Handle] = (), events: Sequence[Handle] = (), graphs: Sequence[Any] = ()
    ) -> None:
        """Give back queues, marks and graphs."""
        for name, handles in (
            ("cudaGraphExecDestroy", graphs),
            ("cudaEventDestroy", events),
            ("cudaStreamDestroy", streams),
        ):
            for handle in handles:
                self._call(name, handle)

    def copy_in(self, target: Address, source: Array, stream: Handle) -> None:
        """Queue a copy to the GPU."""
        self._call("cudaMemcpyAsync", target, source.ctypes.data, source.nbytes, TO_DEVICE, stream)

    def copy_out(self, target: Array, source: Address, stream: Handle) -> None:
        """Queue a copy from the GPU."""
        self._call("cudaMemcpyAsync", target.ctypes.data, source, target.nbytes, TO_HOST, stream)

    def record(self, event: Handle, stream: Handle) -> None:
        """Queue the mark."""
        self._call("cudaEventRecord", event, stream)

    def elapsed_ns(self, begin: Handle, end: Handle) -> int:
        """Time between two marks that were reached."""
        return round(1e6 * float(self._call("cudaEventElapsedTime", begin, end)))

    def synchronize(self, stream: Handle) -> None:
        """Return when the queue is empty."""
        self._call("cudaStreamSynchronize", stream)

    def capture(self, stream: Handle, work: Callable[[], None]) -> Any:
        """An executable graph of what ``work`` queues."""
        self._call("cudaStreamBeginCapture", stream, THREAD_LOCAL)
        try:
            work()
        finally:
            graph = int(self._call("cudaStreamEndCapture", stream))
        try:
            return int(self._call("cudaGraphInstantiateWithFlags", graph, 0))
        finally:
            self._call("cudaGraphDestroy", graph)

    def launch(self, graph: Any, stream: Handle) -> None:
        """Queue a captured graph."""
        self._call("cudaGraphLaunch", graph, stream)
