"""What this machine can do, as two files that take turns with a model: a matrix product and a copy, in ONNX Runtime.

They give a roofline: which share of the machine's rate of multiplying, and of moving bytes, a model reaches.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from vitdeploy.artifacts.manifest import Artifact
from vitdeploy.benchmarks.studies import onnx_files
from vitdeploy.benchmarks.studies.files_by_turns import FilesRun
from vitdeploy.catalog.spec import ModelSpec, Size

PRODUCT, COPY = "matrix product", "copy"
"""Names of the files."""

SIDE = 1024
"""Of the square matrices: 2.1 GFLOP, 12 MiB."""

COPIED = 2**24
"""Values that are copied: 64 MiB, beyond the caches of a core."""

_OPSET, _IR_VERSION = 20, 9
_VALUE_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What one inference has to do at least."""

    macs: int
    """Multiply-accumulates of convolutions, linear layers and products."""
    layer_bytes: int
    """What its convolutions and linear layers read and write: inputs, weights and outputs, each once. All else counts
    as fused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Of this machine, in the run that the models are timed in."""

    macs_per_s: float
    bytes_per_s: float
    """Read and written together."""

    def shares(self, work: Work, time_ms: float) -> tuple[float, float]:
        """Which share of both rates ``work`` in ``time_ms`` is."""
        seconds = time_ms / 1e3
        return work.macs / seconds / self.macs_per_s, work.layer_bytes / seconds / self.bytes_per_s


def files(folder: Path, spec: ModelSpec, size: Size) -> dict[str, Artifact]:
    """Name → file; they pass for files of the model, so that they can take turns with it."""
    weight = np.random.default_rng(0).standard_normal((SIDE, SIDE), np.float32) / np.float32(SIDE)
    half = np.array([0.5], np.float32)  # a factor of 1 might be taken out
    graphs = {
        PRODUCT: _graph("MatMul", (SIDE, SIDE), weight),
        COPY: _graph("Mul", (1, COPIED), half),
    }
    artifacts: dict[str, Artifact] = {}
    for name, graph in graphs.items():
        place = folder / name.replace(" ", "-")
        place.mkdir(exist_ok=True)
        onnx.save(graph, str(place / "model.onnx"))
        artifacts[name] = onnx_files.artifact(place / "model.onnx", spec, size)
    return artifacts


def rates(run: FilesRun) -> Rates:
    """The rates of a run in which `files` took turns.

    Raises:
        NoValidMeasurement: one of them has no figure.
    """
    times = run.compared(PRODUCT, COPY)
    return Rates(
        macs_per_s=SIDE**3 / (times.first_ms / 1e3),
        bytes_per_s=2 * _VALUE_BYTES * COPIED / (times.second_ms / 1e3),
    )


def work_of(module: nn.Module, size: Size, macs: int) -> Work:
    """Count what a module's layers move, in one inference."""
    moved: list[int] = []

    def count(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        moved.append(sum(x.numel() for x in (*inputs, *layer.parameters(), output)))

    hooks: list[Any] = [
        layer.register_forward_hook(count) for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.Linear)
    ]
    with torch.inference_mode():
        module(torch.zeros(1, 3, *size))
    for hook in hooks:
        hook.remove()
    return Work(macs=macs, layer_bytes=_VALUE_BYTES * sum(moved))


def _graph(operator: str, shape: tuple[int, int], constant: np.ndarray[Any, np.dtype[np.float32]]) -> onnx.ModelProto:
    values: Mapping[str, Any] = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y")
    }
    graph = helper.make_graph(
        [helper.make_node(operator, ["x", "constant"], ["y"])],
        "rate",
        [values["x"]],
        [values["y"]],
        [numpy_helper.from_array(constant, "constant")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
