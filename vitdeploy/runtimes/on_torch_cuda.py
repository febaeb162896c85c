"""Run ``model.pt`` with eager PyTorch on an NVIDIA GPU, in the same loop and with the same marks as an engine.

Buffers, stream and events are made when the session is; a round trip queues copies and kernels on its own stream and
waits once. Eager PyTorch takes intermediate results from its caching allocator, which asks CUDA for nothing after the
first inference. Written without a GPU: tested on a double of ``torch.cuda``; it has not run on hardware.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Mapping
from typing import Any

import torch

from vitdeploy.catalog.spec import TensorSpec
from vitdeploy.errors import DeviceError
from vitdeploy.runtimes.loaded_session import LoadedSession
from vitdeploy.runtimes.session import Array, Arrays, SessionOptions

UNVERIFIED = "this runtime was made without a GPU and has not run on hardware"
"""Said in the facts of every trial."""

_WARM = 3
"""Inferences before a graph is captured. Source: pytorch.org/docs/stable/notes/cuda.html, "CUDA Graphs": a few."""


class CudaTorchSession(LoadedSession):
    """One module on the GPU, with a stream and page-locked buffers of its own."""

    def __init__(
        self,
        module: torch.nn.Module,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        options: SessionOptions,
        *,
        precision: str,
        device: str = "cuda",
    ) -> None:
        api: Any = torch.cuda
        if not api.is_available():
            raise DeviceError(
                f"torch {torch.__version__} finds no CUDA GPU", "Install a torch that was built for this GPU's CUDA."
            )
        torch.backends.cuda.matmul.allow_tf32 = False  # fp32 is fp32: TF32 keeps 10 bits of 23
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = True  # every shape is static: the fastest algorithm is found once
        super().__init__(inputs, outputs)
        self._api, self._whole = api, options.boundary == "host-to-host"
        self._dtype = torch.float16 if precision == "fp16" else torch.float32
        self._module = module.to(device=device, dtype=self._dtype)
        self._stream = api.Stream()
        self._events = tuple(api.Event(enable_timing=True) for _ in range(5))
        self._staging = {t.name: _pinned(t) for t in inputs}
        self._placed: dict[int, torch.Tensor] = {}
        self._device_inputs = {t.name: torch.zeros(t.shape, dtype=_type(t), device=device) for t in inputs}
        self._host_outputs = {t.name: _pinned(t) for t in outputs}
        self._results: tuple[torch.Tensor, ...] = ()
        self._fetched = True
        self._graph: Any = None
        if options.graph:
            self._capture()
        self.facts: Mapping[str, str] = {
            "runtime": f"torch {torch.__version__}",
            "provider": f"eager, CUDA {torch.version.cuda} on {api.get_device_name()}",
            "graph": "on" if options.graph else "off",
            "memory": "pinned",
            "tf32": "off",
            "cudnn_benchmark": "on",
            "unverified": UNVERIFIED,
        }

    def close(self) -> None:
        """Release the stream's work, the graph and the buffers."""
        self._stream.synchronize()
        self._results, self._graph, self._placed = (), None, {}

    def place(self, feeds: Arrays) -> Arrays:
        """The same inputs, page-locked."""
        self.check(feeds)
        placed: dict[str, Array] = {}
        for tensor in self.inputs:
            memory = _pinned(tensor)
            array: Array = memory.numpy()
            array[...] = feeds[tensor.name]
            self._placed[id(array)] = memory
            placed[tensor.name] = array
        return placed

    def put(self, feeds: Arrays) -> None:
        """Queue the copies to the GPU; what was not placed is copied into page-locked memory first.

        Raises:
            UsageError: a name, shape or type is not the module's.
        """
        self.check(feeds)
        with self._api.stream(self._stream):
            self._events[0].record(self._stream)
            for name in self._expected:
                source = self._placed.get(id(feeds[name]))
                if source is None:
                    self._stream.synchronize()  # the staging buffer may still be read
                    source = self._staging[name]
                    source.numpy()[...] = feeds[name]
                self._device_inputs[name].copy_(source, non_blocking=True)
            self._events[1].record(self._stream)
        if not self._whole:
            self._stream.synchronize()

    def run(self) -> None:
        """Queue one inference, and for a whole round trip the copies back behind it."""
        with self._api.stream(self._stream):
            self._events[2].record(self._stream)
            if self._graph is None:
                self._results = self._infer()
            else:
                self._graph.replay()
            self._events[3].record(self._stream)
            self._fetched = False
            if self._whole:
                self._fetch()

    def wait(self) -> None:
        """Return when everything queued is done."""
        self._stream.synchronize()

    def get(self) -> Arrays:
        """The page-locked outputs; the next `run` overwrites them."""
        if not self._fetched:
            with self._api.stream(self._stream):
                self._fetch()
            self._stream.synchronize()
        return {name: value.numpy() for name, value in self._host_outputs.items()}

    def stages_ns(self) -> tuple[int, int, int]:
        """H2D, compute and D2H of the last round trip, by events."""
        begun, copied, started, ended, fetched = self._events

        def between(first: Any, last: Any) -> int:
            return round(1e6 * first.elapsed_time(last))

        if not self._whole:
            return 0, between(started, ended), 0
        return between(begun, copied), between(started, ended), between(ended, fetched)

    def _infer(self) -> tuple[torch.Tensor, ...]:
        with torch.inference_mode():
            result: Any = self._module(*(value.to(self._dtype) for value in self._device_inputs.values()))
            outputs = (result,) if isinstance(result, torch.Tensor) else tuple(result)
            # The output's type is reached on the GPU, so that it belongs to computing as it does in an engine.
            return tuple(value.to(_type(tensor)) for value, tensor in zip(outputs, self.outputs, strict=True))

    def _capture(self) -> None:
        with self._api.stream(self._stream):
            for _ in range(_WARM):
                self._infer()
        self._stream.synchronize()
        self._graph = self._api.CUDAGraph()
        with self._api.graph(self._graph, stream=self._stream):
            self._results = self._infer()

    def _fetch(self) -> None:
        for tensor, value in zip(self.outputs, self._results, strict=True):
            self._host_outputs[tensor.name].copy_(value, non_blocking=True)
        self._events[4].record(self._stream)
        self._fetched = True


def _type(tensor: TensorSpec) -> torch.dtype:
    dtype: torch.dtype = getattr(torch, tensor.dtype)
    return dtype


def _pinned(tensor: TensorSpec) -> torch.Tensor:
    return torch.zeros(tensor.shape, dtype=_type(tensor), pin_memory=True)
