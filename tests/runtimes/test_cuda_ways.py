"""Three ways to speak CUDA, one behaviour: cuda-python, ctypes on libcudart, pycuda; on TEST DOUBLES.

No GPU has run them. The library of the ctypes way is played by C callbacks with the signatures of cuda_runtime_api.h,
so that addresses, sizes and the places of outputs go through the machine's own calling convention.
"""

import ctypes
import functools
import importlib
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.doubles import board
from tests.doubles.engine import engine_in, expected, opened
from vitdeploy.errors import DeviceError
from vitdeploy.images import inputs
from vitdeploy.runtimes import cuda
from vitdeploy.runtimes.session import infer

pytest.importorskip("onnxruntime", reason="ONNX Runtime plays the engine")
pytest.importorskip("onnx", reason="onnx makes the graph")

P, N, U, Z = ctypes.c_void_p, ctypes.c_int, ctypes.c_uint, ctypes.c_size_t
OUT_P, OUT_I, OUT_F = ctypes.POINTER(P), ctypes.POINTER(N), ctypes.POINTER(ctypes.c_float)
SIGNATURES: dict[str, tuple[Any, ...]] = {
    "cudaSetDeviceFlags": (U,),
    "cudaSetDevice": (N,),
    "cudaRuntimeGetVersion": (OUT_I,),
    "cudaHostAlloc": (OUT_P, Z, U),
    "cudaFreeHost": (P,),
    "cudaMalloc": (OUT_P, Z),
    "cudaFree": (P,),
    "cudaMemcpyAsync": (P, P, Z, N, P),
    "cudaStreamCreateWithFlags": (OUT_P, U),
    "cudaStreamDestroy": (P,),
    "cudaStreamSynchronize": (P,),
    "cudaStreamBeginCapture": (P, N),
    "cudaStreamEndCapture": (P, OUT_P),
    "cudaGraphInstantiateWithFlags": (OUT_P, P, ctypes.c_ulonglong),
    "cudaGraphLaunch": (P, P),
    "cudaGraphDestroy": (P,),
    "cudaGraphExecDestroy": (P,),
    "cudaEventCreateWithFlags": (OUT_P, U),
    "cudaEventDestroy": (P,),
    "cudaEventRecord": (P, P),
    "cudaEventElapsedTime": (OUT_F, P, P),
}
"""Source: cuda_runtime_api.h of CUDA 12, written down apart from the code that is tested."""
ENUMS = {"cudaMemcpyAsync": (3, "cudaMemcpyKind"), "cudaStreamBeginCapture": (1, "cudaStreamCaptureMode")}


def library(runtime: Any) -> Any:
    """A double of libcudart."""

    def words(code: int) -> bytes:  # no callback: ctypes would leak the bytes it returns
        return runtime.cudaError_t(code).name.encode()

    callbacks = {name: _callback(runtime, name, types) for name, types in SIGNATURES.items()}
    return SimpleNamespace(**callbacks, cudaGetErrorString=words)


def _callback(runtime: Any, name: str, types: tuple[Any, ...]) -> Callable[..., int]:
    def answer(*given: Any) -> int:
        outputs = [value for value, kind in zip(given, types, strict=True) if kind in (OUT_P, OUT_I, OUT_F)]
        plain = [value or 0 for value, kind in zip(given, types, strict=True) if kind not in (OUT_P, OUT_I, OUT_F)]
        if name in ENUMS:
            place, kind = ENUMS[name]
            plain[place] = getattr(runtime, kind)(plain[place])
        code, *found = getattr(runtime, name)(*plain)
        if outputs and found:
            outputs[0][0] = found[0]
        return int(code)

    return ctypes.CFUNCTYPE(N, *types)(answer)


@pytest.fixture(params=["on_cuda_python", "on_cudart", "on_pycuda"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The name of a way, its double in place, and what the double holds."""
    runtime = board.here(monkeypatch)
    name = f"vitdeploy.runtimes.{request.param}"
    monkeypatch.delitem(sys.modules, name, raising=False)  # it may be bound to a double; others' comes back at the end
    module = importlib.import_module(name)
    if request.param == "on_cudart":
        kept = library(runtime)
        monkeypatch.setattr(module, "load", lambda: kept)
    monkeypatch.setattr(cuda, "open_cuda", functools.partial(cuda.open_cuda, ways=(name,)))
    yield SimpleNamespace(name=request.param, runtime=runtime)
    for gone in (name, "pycuda.driver", "pycuda"):
        sys.modules.pop(gone, None)


def test_a_round_trip_returns_what_the_engine_computes(way: Any, tmp_path: Path):
    engine = engine_in(tmp_path / "artifact")
    with opened(engine) as session:
        first, second = inputs.make_pool(session.inputs, seed=3)[:2]
        for feeds in (first, session.place(second), first):  # pyright: ignore[reportAttributeAccessIssue]
            assert np.array_equal(infer(session, feeds)["logits"], expected(engine, feeds))
        h2d, compute, d2h = session.stages_ns()  # pyright: ignore[reportAttributeAccessIssue]
        assert (compute, h2d > 0, d2h > 0) == (1_500_000, True, True)
    if way.name != "on_pycuda":  # whose marks and pages end with their last reference
        state = way.runtime.STATE
        assert not any((state.memory, state.pages, state.queues, state.marks, state.graphs))


def test_a_graph_is_captured_by_those_that_can(way: Any, tmp_path: Path):
    if way.name == "on_pycuda":
        pytest.skip("pycuda cannot capture graphs; test_on_trt has its refusal")
    engine = engine_in(tmp_path / "artifact")
    with opened(engine, graph=True) as session:
        feeds = inputs.make_input(session.inputs, seed=0)
        assert np.array_equal(infer(session, feeds)["logits"], expected(engine, feeds))
        assert way.runtime.STATE.calls.count("cudaGraphLaunch") == 1


def test_a_machine_without_a_gpu_is_told(way: Any):
    way.runtime.STATE.no_gpu = True
    with pytest.raises(DeviceError, match="no CUDA GPU answers"):
        cuda.open_cuda()


def test_an_allocation_that_fails_is_told_in_the_librarys_words(way: Any):
    if way.name == "on_pycuda":
        pytest.skip("pycuda raises errors of its own")
    api = cuda.open_cuda()
    with pytest.raises(Exception, match="cudaErrorMemoryAllocation"):
        api.device(2**34)


def test_a_stream_has_its_thread_and_pycudas_context_does_not_outlive_it(way: Any):
    """pycuda aborts the process when a thread, or the process, ends with a context on its stack."""
    api = cuda.open_cuda()
    failed: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(3):
                api.enter()
                api.synchronize(stream)
        except BaseException as error:  # noqa: BLE001 (told by the main thread)
            failed.append(error)

    stream = api.stream()
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not failed
    if way.name == "on_pycuda":
        driver: Any = importlib.import_module("pycuda.driver")
        assert driver.left() == 1, "this thread's own"
        api.leave()  # pyright: ignore[reportAttributeAccessIssue]
        api.leave()  # pyright: ignore[reportAttributeAccessIssue]
        assert driver.left() == 0
