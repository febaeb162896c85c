"""TEST DOUBLE of ``pycuda.driver``: the same queues and memory as the double of CUDA's runtime, and pycuda's own rules.

A thread may only work while a context is on its stack. A stack that is not empty when its thread or the process ends
aborts the process in pycuda; here `left` tells of it.
"""

import ctypes
import threading
from typing import Any

import numpy as np
from cuda.bindings import runtime  # pyright: ignore[reportMissingImports, reportMissingModuleSource]

STACKS: dict[int, int] = {}
"""Thread → contexts on its stack."""


class Error(Exception):
    """What pycuda raises."""


def left() -> int:
    """Contexts that are still on some thread's stack."""
    return sum(STACKS.values())


def working() -> None:
    """Fail where CUDA would say that no context is current."""
    assert STACKS.get(threading.get_ident(), 0) > 0, "no context is current in this thread"


class Context:
    def push(self) -> None:
        STACKS[threading.get_ident()] = STACKS.get(threading.get_ident(), 0) + 1

    @staticmethod
    def pop() -> None:
        working()
        STACKS[threading.get_ident()] -= 1


class Device:
    def __init__(self, number: int) -> None:
        assert number == 0

    def retain_primary_context(self) -> Context:
        return Context()


def init() -> None:
    if runtime.STATE.no_gpu:
        raise Error("cuInit failed: no CUDA-capable device is detected")


def pagelocked_empty(shape: Any, dtype: Any) -> Any:
    working()
    size_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    address = runtime.cudaHostAlloc(size_bytes, 0)[1]
    memory = (ctypes.c_uint8 * size_bytes).from_address(address)
    return np.frombuffer(memoryview(memory), np.dtype(dtype)).reshape(shape)


class Memory:
    def __init__(self, address: int) -> None:
        self._address = address

    def __int__(self) -> int:
        return self._address

    def free(self) -> None:
        working()
        runtime.cudaFree(self._address)


def mem_alloc(size_bytes: int) -> Memory:
    working()
    return Memory(runtime.cudaMalloc(size_bytes)[1])


class Stream:
    def __init__(self) -> None:
        working()
        self.handle = runtime.cudaStreamCreateWithFlags(1)[1]

    def synchronize(self) -> None:
        working()
        runtime.cudaStreamSynchronize(self.handle)


class Event:
    def __init__(self) -> None:
        working()
        self._mark = runtime.cudaEventCreateWithFlags(0)[1]

    def record(self, stream: Stream) -> None:
        working()
        runtime.cudaEventRecord(self._mark, stream.handle)

    def time_till(self, other: "Event") -> float:
        return float(runtime.cudaEventElapsedTime(self._mark, other._mark)[1])


def memcpy_htod_async(target: int, source: Any, stream: Stream) -> None:
    working()
    kind = runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
    runtime.cudaMemcpyAsync(target, source.ctypes.data, source.nbytes, kind, stream.handle)


def memcpy_dtoh_async(target: Any, source: int, stream: Stream) -> None:
    working()
    kind = runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
    runtime.cudaMemcpyAsync(target.ctypes.data, source, target.nbytes, kind, stream.handle)
