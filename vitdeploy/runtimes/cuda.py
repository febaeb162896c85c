"""CUDA behind a few calls (memory, copies, streams, events, graphs), and the choice of who answers them.

cuda-python, pycuda, or nothing but the CUDA runtime library itself through ctypes, which is all that a stock JetPack
has. Standard library and numpy only: the worker carries it. No machine with a GPU has run it yet (docs/jetson.md).
"""

import ctypes
import importlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from vitdeploy.devices import gpu
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

INSUFFICIENT_DRIVER, NO_DEVICE = 35, 100
"""``cudaErrorInsufficientDriver``, said of a driver that is missing too, and ``cudaErrorNoDevice``."""

NO_GPU = frozenset({34, INSUFFICIENT_DRIVER, 46, NO_DEVICE, 101, 802, 803, 804})
"""Errors that mean no usable GPU: a driver that is only the toolkit's stub, missing, too old; all GPUs taken, none, not
that one; the system is not ready, or driver and CUDA's own parts of it do not fit (in containers).

Source: ``cudaError_t`` in driver_types.h.
"""

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

    def __call__(self, name: str, *arguments: Any) -> Any:
        """``call("cudaMalloc", 4096)`` → an address."""
        ...


class Cuda:
    """One GPU's memory and queues. Copies are asynchronous and take page-locked host memory only.

    Here over the functions of CUDA's runtime library; `on_pycuda` puts calls of its own in their place.
    """

    name: str
    """Who answers, with its version."""
    graphs = True
    """Whether it can capture a CUDA graph."""
    waits = "spin"
    """How `synchronize` waits: ``spin`` or what the driver chooses."""

    def __init__(self, call: Call, name: str) -> None:
        self._call = call
        call("cudaSetDeviceFlags", SPIN)  # before anything makes the context
        call("cudaSetDevice", 0)
        version = int(call("cudaRuntimeGetVersion"))
        self.name = f"{name}, CUDA {version // 1000}.{version % 1000 // 10}"
        self._pages: dict[int, Address] = {}

    def enter(self) -> None:
        """Make the GPU current in this thread: nothing to do, the runtime library takes GPU 0 in every one."""

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
        """A mark in a queue, with its time."""
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
        """Queue a copy from page-locked memory to the GPU."""
        self._call("cudaMemcpyAsync", target, source.ctypes.data, source.nbytes, TO_DEVICE, stream)

    def copy_out(self, target: Array, source: Address, stream: Handle) -> None:
        """Queue a copy from the GPU to page-locked memory."""
        self._call("cudaMemcpyAsync", target.ctypes.data, source, target.nbytes, TO_HOST, stream)

    def record(self, event: Handle, stream: Handle) -> None:
        """Queue the mark."""
        self._call("cudaEventRecord", event, stream)

    def elapsed_ns(self, begin: Handle, end: Handle) -> int:
        """Time between two marks that were reached, to about half a microsecond."""
        return round(1e6 * float(self._call("cudaEventElapsedTime", begin, end)))

    def synchronize(self, stream: Handle) -> None:
        """Return when the queue is empty."""
        self._call("cudaStreamSynchronize", stream)

    def capture(self, stream: Handle, work: Callable[[], None]) -> Any:
        """An executable graph of what ``work`` queues; it is not run."""
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


def open_cuda(*, graph: bool = False, ways: Sequence[str] = BINDINGS) -> Cuda:
    """The first of ``ways`` that is installed here; with ``graph`` the first that can capture one.

    Raises:
        MissingPackage: none of them is; the message says what each lacks.
        DeviceError: one is, and finds no GPU.
    """
    lacking: list[str] = []
    for way in ways:
        try:
            api: Cuda = importlib.import_module(way).open_cuda()
        except ImportError as error:
            lacking.append(f"{way.rpartition('.on_')[2]}: {error}")
            continue
        if graph and not api.graphs:
            lacking.append(f"{api.name} cannot capture graphs")
            continue
        return api
    raise MissingPackage(
        f"nothing here speaks CUDA ({'; '.join(lacking)})",
        "Install CUDA's runtime library (JetPack has it), or run `pip install cuda-python`.",
    )


def cuda_error(call: str, code: int, words: str) -> DeviceError | ToolchainFailed:
    """The error for a CUDA call that did not succeed."""
    if code == INSUFFICIENT_DRIVER:
        return _driver_error(words)
    if code == NO_DEVICE:
        return DeviceError(
            f"no CUDA GPU answers: NVIDIA's driver is here and shows no GPU ({words}, {code})",
            "Look at `nvidia-smi` and CUDA_VISIBLE_DEVICES.",
        )
    if code in NO_GPU:
        return DeviceError(f"no CUDA GPU answers: {words} ({code})", "Run it where an NVIDIA GPU and its driver are.")
    return ToolchainFailed(f"{call} failed: {words} ({code})", "Read the worker's log beside the run file.")


def no_driver_error() -> DeviceError:
    """The error where no NVIDIA driver is."""
    return DeviceError(
        f"no CUDA GPU answers: no NVIDIA driver is installed here ({gpu.DRIVER} does not load)",
        "Install NVIDIA's driver; in a container: `docker run --gpus all`, on a Jetson `docker run --runtime nvidia`.",
    )


def _driver_error(words: str) -> DeviceError:
    """CUDA says the same of a missing driver and of one that is too old."""
    driver = gpu.driver_version()
    if driver is None:
        return no_driver_error()
    return DeviceError(
        f"no CUDA GPU answers: NVIDIA's driver is too old, it supports CUDA {driver[0]}.{driver[1]} "
        f"({words}, {INSUFFICIENT_DRIVER})",
        f"Update the driver, or install a runtime library of CUDA {driver[0]}.",
    )
