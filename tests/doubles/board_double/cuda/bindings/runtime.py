"""TEST DOUBLE of ``cuda.bindings.runtime``: host memory plays the GPU's, queues run when they are waited for.

Whatever CUDA would answer with wrong numbers, a stall or a crash fails an assertion here: copies from or to pageable
memory, memory that was given back, an allocation while `STATE.frozen` is set or a stream is captured, a mark that was
not reached, work on a stream that is none.
"""

# ruff: noqa: N802, N801, N815

import ctypes
import enum
import functools
from collections.abc import Callable
from typing import Any


class cudaError_t(enum.IntEnum):
    cudaSuccess = 0
    cudaErrorMemoryAllocation = 2
    cudaErrorInsufficientDriver = 35
    cudaErrorNoDevice = 100


class cudaMemcpyKind(enum.IntEnum):
    cudaMemcpyHostToDevice = 1
    cudaMemcpyDeviceToHost = 2


class cudaStreamCaptureMode(enum.IntEnum):
    cudaStreamCaptureModeGlobal = 0
    cudaStreamCaptureModeThreadLocal = 1


OK = cudaError_t.cudaSuccess
COPY_NS_PER_BYTE = 0.1
"""The double's clock: a copy takes so long, an inference what the engine says."""


class State:
    """Everything that lives on the double's GPU."""

    def __init__(self) -> None:
        self.memory: dict[int, Any] = {}
        self.pages: dict[int, Any] = {}
        self.queues: dict[int, list[Callable[[], None]]] = {}
        self.marks: dict[int, int | None] = {}
        self.graphs: dict[int, list[Callable[[], None]]] = {}
        self.capturing: int | None = None
        self.capture: list[Callable[[], None]] = []
        self.now_ns = 0
        self.frozen = False
        """No allocation is allowed."""
        self.calls: list[str] = []
        self.no_gpu = False
        self._next = 1000

    def number(self) -> int:
        assert not self.frozen, "something was made inside the timed loop"
        assert self.capturing is None, "something was made while a graph is captured"
        self._next += 8
        return self._next


STATE = State()


def queue(stream: int, work: Callable[[], None]) -> None:
    """What the double of TensorRT queues its inference with."""
    assert stream in STATE.queues, f"{stream} is no stream"
    (STATE.capture if STATE.capturing == stream else STATE.queues[stream]).append(work)


def view(address: int, size_bytes: int) -> Any:
    """Bytes of the GPU's memory, which must be there."""
    _inside(STATE.memory, address, size_bytes, "memory of the GPU")
    return (ctypes.c_uint8 * size_bytes).from_address(address)


def _inside(where: dict[int, Any], address: int, size_bytes: int, what: str) -> None:
    for begin, block in where.items():
        if begin <= address and address + size_bytes <= begin + len(block):
            return
    raise AssertionError(f"{size_bytes} bytes at {address:#x} are no {what}")


def _noted(function: Callable[..., tuple[Any, ...]]) -> Callable[..., tuple[Any, ...]]:
    @functools.wraps(function)
    def noted(*given: Any) -> tuple[Any, ...]:
        STATE.calls.append(function.__name__)
        return function(*given)

    return noted


@_noted
def cudaSetDeviceFlags(flags: int) -> tuple[Any, ...]:
    return (cudaError_t.cudaErrorNoDevice if STATE.no_gpu else OK,)


@_noted
def cudaSetDevice(device: int) -> tuple[Any, ...]:
    assert device == 0
    return (OK,)


def cudaRuntimeGetVersion() -> tuple[Any, ...]:
    return OK, 12060


def cudaGetErrorString(code: Any) -> tuple[Any, ...]:
    return OK, cudaError_t(code).name.encode()


def _allocated(where: dict[int, Any], size_bytes: int) -> int:
    STATE.number()
    block = (ctypes.c_uint8 * size_bytes)(*([0xFF] * min(size_bytes, 64)))  # not zeros: what is unwritten shows
    where[ctypes.addressof(block)] = block
    return ctypes.addressof(block)


@_noted
def cudaHostAlloc(size_bytes: int, flags: int) -> tuple[Any, ...]:
    return OK, _allocated(STATE.pages, size_bytes)


@_noted
def cudaFreeHost(address: int) -> tuple[Any, ...]:
    del STATE.pages[address]
    return (OK,)


@_noted
def cudaMalloc(size_bytes: int) -> tuple[Any, ...]:
    if size_bytes > 2**33:
        return cudaError_t.cudaErrorMemoryAllocation, None
    return OK, _allocated(STATE.memory, size_bytes)


@_noted
def cudaFree(address: int) -> tuple[Any, ...]:
    del STATE.memory[address]
    return (OK,)


@_noted
def cudaStreamCreateWithFlags(flags: int) -> tuple[Any, ...]:
    assert flags == 1, "a stream that waits for the default one"
    number = STATE.number()
    STATE.queues[number] = []
    return OK, number


@_noted
def cudaStreamDestroy(stream: int) -> tuple[Any, ...]:
    assert not STATE.queues.pop(stream), "work is left in the queue"
    return (OK,)


@_noted
def cudaEventCreateWithFlags(flags: int) -> tuple[Any, ...]:
    assert flags == 0, "an event without a time"
    number = STATE.number()
    STATE.marks[number] = None
    return OK, number


@_noted
def cudaEventDestroy(event: int) -> tuple[Any, ...]:
    del STATE.marks[event]
    return (OK,)


@_noted
def cudaEventRecord(event: int, stream: int) -> tuple[Any, ...]:
    assert event in STATE.marks

    def reach() -> None:
        STATE.marks[event] = STATE.now_ns

    STATE.marks[event] = None
    queue(stream, reach)
    return (OK,)


@_noted
def cudaEventElapsedTime(begin: int, end: int) -> tuple[Any, ...]:
    first, last = STATE.marks[begin], STATE.marks[end]
    assert first is not None, "a mark that was not reached"
    assert last is not None, "a mark that was not reached"
    assert last >= first, "marks out of order"
    return OK, (last - first) / 1e6


@_noted
def cudaMemcpyAsync(target: int, source: int, size_bytes: int, kind: Any, stream: int) -> tuple[Any, ...]:
    kind = kind.value  # as the package does: a plain number has none
    host, gpu = (source, target) if kind == 1 else (target, source)

    def copy() -> None:
        _inside(STATE.pages, host, size_bytes, "page-locked memory")
        _inside(STATE.memory, gpu, size_bytes, "memory of the GPU")
        ctypes.memmove(target, source, size_bytes)
        STATE.now_ns += round(COPY_NS_PER_BYTE * size_bytes)

    _inside(STATE.pages, host, size_bytes, "page-locked memory")
    queue(stream, copy)
    return (OK,)


@_noted
def cudaStreamSynchronize(stream: int) -> tuple[Any, ...]:
    assert STATE.capturing != stream, "a captured stream cannot be waited for"
    waiting = STATE.queues[stream]
    while waiting:
        waiting.pop(0)()
    return (OK,)


@_noted
def cudaStreamBeginCapture(stream: int, mode: Any) -> tuple[Any, ...]:
    assert mode is cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
    assert not STATE.queues[stream]
    STATE.capturing, STATE.capture = stream, []
    return (OK,)


@_noted
def cudaStreamEndCapture(stream: int) -> tuple[Any, ...]:
    assert STATE.capturing == stream
    STATE.capturing = None
    number = STATE.number()
    STATE.graphs[number] = STATE.capture
    return OK, number


@_noted
def cudaGraphInstantiateWithFlags(graph: int, flags: int) -> tuple[Any, ...]:
    number = STATE.number()
    STATE.graphs[number] = list(STATE.graphs[graph])
    return OK, number


@_noted
def cudaGraphLaunch(graph: int, stream: int) -> tuple[Any, ...]:
    for work in STATE.graphs[graph]:
        queue(stream, work)
    return (OK,)


@_noted
def cudaGraphDestroy(graph: int) -> tuple[Any, ...]:
    del STATE.graphs[graph]
    return (OK,)


@_noted
def cudaGraphExecDestroy(graph: int) -> tuple[Any, ...]:
    del STATE.graphs[graph]
    return (OK,)
