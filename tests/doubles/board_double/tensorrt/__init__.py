"""TEST DOUBLE of TensorRT's Python package: its "engine" is the ONNX file behind a header, run by ONNX Runtime.

It shows that ours calls the package as its interface asks, and what becomes of its refusals. It says nothing about
TensorRT's own numbers or speed. ``VITDEPLOY_DOUBLE`` in the environment plants a fault: ``8.6.2`` and the like is the
version it claims to be, ``refuse``, ``fail``, ``slow`` and ``crash`` are what parser
and builder do, ``wrong`` is an engine that mixes its channels up.
"""

import enum
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

_PLANTED = os.environ.get("VITDEPLOY_DOUBLE", "")
__version__ = _PLANTED if _PLANTED[:1].isdigit() else "10.3.0"
_HEADER = b"TEST DOUBLE OF AN ENGINE\n"
COMPUTE_NS = 1_500_000


LAYERS = ("node_conv2d_1 + node_relu_1", "node_conv2d_2 + node_relu_2", "__myl_Fc_myl0_3")
"""What its profiler reports, with 0.25, 0.5 and 0.75 ms."""


class _Severity(enum.IntEnum):
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


class ILogger:
    Severity = _Severity

    def log(self, severity: Any, text: str) -> None:
        raise NotImplementedError


class NetworkDefinitionCreationFlag(enum.IntEnum):
    STRONGLY_TYPED = 1


class MemoryPoolType(enum.IntEnum):
    WORKSPACE = 0


class BuilderFlag(enum.IntEnum):
    TF32 = 6


class TensorIOMode(enum.IntEnum):
    NONE, INPUT, OUTPUT = range(3)


def nptype(dtype: str) -> Any:
    return np.dtype({"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8"}[dtype])


class Builder:
    def __init__(self, logger: ILogger) -> None:
        self._logger = logger

    def create_network(self, flags: int) -> Any:
        assert flags == 1 << NetworkDefinitionCreationFlag.STRONGLY_TYPED
        return SimpleNamespace(graph=b"")

    def create_builder_config(self) -> Any:
        kept: list[Any] = []

        def set_timing_cache(cache: Any, *, ignore_mismatch: bool) -> bool:
            kept.append(cache)
            return True

        return SimpleNamespace(
            set_memory_pool_limit=lambda pool, size: None,
            clear_flag=lambda flag: None,
            create_timing_cache=lambda data: SimpleNamespace(serialize=lambda: data + b"timing"),
            set_timing_cache=set_timing_cache,
            get_timing_cache=lambda: kept[-1],
        )

    def build_serialized_network(self, network: Any, config: Any) -> Any:
        if _PLANTED == "fail":
            self._logger.log(_Severity.ERROR, "Error Code 10: Could not find any implementation for node {Planted}")
            return None
        if _PLANTED == "crash":
            os.abort()
        if _PLANTED == "slow":
            time.sleep(30.375)
        return memoryview(_HEADER + network.graph)


class OnnxParser:
    num_errors = 1

    def __init__(self, network: Any, logger: ILogger) -> None:
        self._network = network

    def parse_from_file(self, path: str) -> bool:
        self._network.graph = Path(path).read_bytes()
        return _PLANTED != "refuse"

    def get_error(self, place: int) -> str:
        return "In node 3 with name: Planted: UNSUPPORTED_NODE"


class Runtime:
    def __init__(self, logger: ILogger) -> None:
        self._logger = logger

    def deserialize_cuda_engine(self, data: bytes) -> Any:
        if not data.startswith(_HEADER):
            self._logger.log(_Severity.ERROR, "Error Code 1: Serialization (magic tag does not match)")
            return None
        return ICudaEngine(data[len(_HEADER) :])


class ICudaEngine:
    def __init__(self, graph: bytes) -> None:
        import onnxruntime

        self.session: Any = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        self.inputs = {node.name: node for node in self.session.get_inputs()}
        self.nodes = {**self.inputs, **{node.name: node for node in self.session.get_outputs()}}
        self.num_io_tensors = len(self.nodes)

    def get_tensor_name(self, place: int) -> str:
        return list(self.nodes)[place]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(self.nodes[name].shape)

    def get_tensor_dtype(self, name: str) -> str:
        return self.nodes[name].type

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name in self.inputs else TensorIOMode.OUTPUT

    def create_execution_context(self) -> Any:
        return IExecutionContext(self)


class IProfiler:
    def __init__(self) -> None:
        self.ready = True

    def report_layer_time(self, layer_name: str, ms: float) -> None:
        raise NotImplementedError


class IExecutionContext:
    profiler: Any = None

    def __init__(self, engine: ICudaEngine) -> None:
        self._engine = engine
        self._addresses: dict[str, int] = {}

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return name in self._engine.nodes

    def execute_async_v3(self, stream: int) -> bool:
        from cuda.bindings import runtime  # pyright: ignore[reportMissingImports]

        assert self._addresses.keys() == self._engine.nodes.keys(), "a tensor without an address"

        def mapped(name: str) -> Any:
            node = self._engine.nodes[name]
            size = int(np.prod(node.shape)) * nptype(node.type).itemsize
            return np.frombuffer(runtime.view(self._addresses[name], size), nptype(node.type)).reshape(node.shape)

        def infer() -> None:
            found = self._engine.session.run(None, {name: mapped(name) for name in self._engine.inputs})
            names = [name for name in self._engine.nodes if name not in self._engine.inputs]
            for name, value in zip(names, found, strict=True):
                mapped(name)[...] = value[:, ::-1] if _PLANTED == "wrong" else value
            runtime.STATE.now_ns += COMPUTE_NS
            if self.profiler is not None:
                assert self.profiler.ready, "TensorRT's base class was not made"
                for place, layer in enumerate(LAYERS, 1):
                    self.profiler.report_layer_time(layer, place * 0.25)

        runtime.queue(stream, infer)
        return True
