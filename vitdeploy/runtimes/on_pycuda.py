"""CUDA through pycuda, which cannot capture graphs; a leaf over an untyped package, converted at its border."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingImports=false, reportMissingTypeStubs=false

import atexit
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pycuda

from vitdeploy.devices import gpu
from vitdeploy.errors import DeviceError, Impossible
from vitdeploy.runtimes.cuda import Address, Cuda, Handle, no_driver_error
from vitdeploy.runtimes.session import Array

try:
    from pycuda import driver
except ImportError as error:  # it is linked with the driver's library
    if gpu.DRIVER in str(error):
        raise no_driver_error() from error
    raise


class _Held:
    """The context on one thread's stack. A thread's locals end with it, and so does this.

    pycuda aborts the process when a thread or the process ends with a context on its stack.
    """

    def __init__(self, context: Any) -> None:
        context.push()
        self._context = context

    def __del__(self) -> None:
        self._context.pop()


class Pycuda(Cuda):
    """CUDA over ``pycuda.driver``, on the context that TensorRT uses too."""

    graphs = False
    waits = "as the driver chooses"

    def __init__(self) -> None:
        try:
            driver.init()
            self._context: Any = driver.Device(0).retain_primary_context()
        except driver.Error as error:
            raise DeviceError(
                f"no CUDA GPU answers: {error}", "Look at `nvidia-smi` and CUDA_VISIBLE_DEVICES."
            ) from error
        self.name = f"pycuda {pycuda.VERSION_TEXT}"
        self._entered = threading.local()
        self._streams: dict[Handle, Any] = {}
        self._events: dict[Handle, Any] = {}
        self._memory: dict[Address, Any] = {}
        self.enter()
        atexit.register(self.leave)

    def enter(self) -> None:
        """Make the context current in this thread, once, until the thread ends."""
        if not hasattr(self._entered, "held"):
            self._entered.held = _Held(self._context)

    def leave(self) -> None:
        """Take the context from this thread; idempotent."""
        self._entered.__dict__.pop("held", None)

    def host(self, shape: tuple[int, ...], dtype: str) -> Array:
        """A page-locked array; it is given back with its last reference."""
        array: Array = driver.pagelocked_empty(shape, np.dtype(dtype))
        return array

    def free_host(self, array: Array) -> None:
        """Nothing to do: the array owns its memory."""

    def device(self, size_bytes: int) -> Address:
        """Memory of the GPU."""
        memory = driver.mem_alloc(max(1, size_bytes))
        self._memory[int(memory)] = memory
        return int(memory)

    def free_device(self, address: Address) -> None:
        """Give back what `device` gave."""
        self._memory.pop(address).free()

    def stream(self) -> Handle:
        """A queue; pycuda's wait for the default one, which nothing here uses."""
        stream = driver.Stream()
        self._streams[int(stream.handle)] = stream
        return int(stream.handle)

    def event(self) -> Handle:
        """A mark; pycuda shows no number of it, so it gets one."""
        event = driver.Event()
        self._events[id(event)] = event
        return id(event)

    def free(
        self, *, streams: Sequence[Handle] = (), events: Sequence[Handle] = (), graphs: Sequence[Any] = ()
    ) -> None:
        """Give back queues and marks, which end with their last reference."""
        assert not graphs, "pycuda captured none"
        for event in events:
            del self._events[event]
        for stream in streams:
            del self._streams[stream]

    def copy_in(self, target: Address, source: Array, stream: Handle) -> None:
        """Queue a copy to the GPU."""
        driver.memcpy_htod_async(target, source, self._streams[stream])

    def copy_out(self, target: Array, source: Address, stream: Handle) -> None:
        """Queue a copy from the GPU."""
        driver.memcpy_dtoh_async(target, source, self._streams[stream])

    def record(self, event: Handle, stream: Handle) -> None:
        """Queue the mark."""
        self._events[event].record(self._streams[stream])

    def elapsed_ns(self, begin: Handle, end: Handle) -> int:
        """Time between two marks that were reached."""
        return round(1e6 * float(self._events[begin].time_till(self._events[end])))

    def synchronize(self, stream: Handle) -> None:
        """Return when the queue is empty."""
        self._streams[stream].synchronize()

    def capture(self, stream: Handle, work: Callable[[], None]) -> Any:
        """Refused."""
        del stream, work
        raise Impossible(f"{self.name} cannot capture a CUDA graph", "Install cuda-python, or use --graph off.")

    def launch(self, graph: Any, stream: Handle) -> None:
        """Refused."""
        del graph, stream
        raise Impossible(f"{self.name} cannot launch a CUDA graph", "Install cuda-python, or use --graph off.")


open_cuda = Pycuda
"""CUDA through pycuda; a `DeviceError` where it finds no GPU."""
