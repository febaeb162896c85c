"""Multiply-accumulates of users' models: counted where they can be, unknown where not, and never a reason to stop."""

from typing import Any

import pytest

for package in ("torch", "onnx", "onnxruntime"):
    pytest.importorskip(package, reason="what is counted is built with it")

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper
from torch import nn

from vitdeploy.models import onnx_macs
from vitdeploy.models.create import count_macs


class Grid(nn.Module):
    """Makes a tensor of its own, which is not on the meta device."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """A product with it."""
        return image[:, 0] @ torch.linspace(-1, 1, 8)[:, None]


class Branch(nn.Module):
    """Looks at values."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """A convolution."""
        return self.conv(image / 255 if image.max() > 2 else image)


class Refusing(nn.Module):
    """Runs on nothing that counting offers."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Nothing."""
        raise RuntimeError(str(image.shape))


@pytest.mark.parametrize(("module", "expected"), [(Grid(), 64), (Branch(), 3 * 4 * 64), (Refusing(), None)])
def test_a_module_that_does_not_run_on_meta_tensors_is_counted_on_real_ones(module: nn.Module, expected: int | None):
    assert count_macs(module.eval(), (1, 3, 8, 8)) == expected


def graph_of(nodes: list[Any], shape: tuple[Any, ...] = (1, 4, 6, 8), **weights: np.ndarray[Any, Any]) -> Any:
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    tensors = [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "net", [image], [output], tensors)
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)], ir_version=8
    )
    return onnx.shape_inference.infer_shapes(model)


def counted(model: Any) -> int | None:
    feeds = {"image": np.zeros((1, 4, 6, 8), np.float32)}
    return onnx_macs.macs(model, feeds, complete=lambda proto: proto)


def test_every_operator_that_multiplies_is_counted_or_makes_the_sum_unknown():
    kernel, matrix = np.zeros((5, 4, 3, 3), np.float32), np.zeros((8, 7), np.float32)
    convolution = helper.make_node("Conv", ["image", "w"], ["y"])
    assert counted(graph_of([convolution], w=kernel)) == 5 * 4 * 6 * 4 * 9
    assert counted(graph_of([helper.make_node("MatMul", ["image", "w"], ["y"])], w=matrix)) == 4 * 6 * 7 * 8
    einsum = helper.make_node("Einsum", ["image", "w"], ["y"], equation="nchw,wk->nckh")
    assert counted(graph_of([einsum], w=matrix)) == 4 * 6 * 8 * 7
    assert (
        counted(graph_of([helper.make_node("Einsum", ["image", "w"], ["y"], equation="...w,wk->...k")], w=matrix))
        is None
    )
    foreign = helper.make_node("Attention", ["image", "w"], ["y"], domain="com.microsoft")
    assert counted(graph_of([foreign], w=matrix)) is None


def test_shapes_that_are_open_are_measured():
    nodes = [
        helper.make_node("Shape", ["image"], ["shape"]),
        helper.make_node("Reshape", ["image", "shape"], ["same"]),
        helper.make_node("MatMul", ["same", "w"], ["y"]),
    ]
    model = graph_of(nodes, (1, 4, "h", "w"), w=np.zeros((8, 7), np.float32))
    assert counted(model) == 4 * 6 * 7 * 8
