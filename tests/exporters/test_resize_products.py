"""Resizes that onnx2tf gets wrong become products with the same answer, and those that it gets right stay."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

for package in ("torch", "onnx", "onnxscript", "onnxruntime", "skimage"):
    pytest.importorskip(package, reason="graphs are made and run with it")

import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper

from vitdeploy.exporters.tflite import resize_products

BEFORE = (1, 5, 7, 12)


def resizing(sizes: tuple[int, int] | None, scales: tuple[float, float] | None, **attributes: Any) -> Any:
    tensors: list[Any] = []
    inputs = ["x", ""]
    if scales is not None:
        inputs.append("s")
        tensors.append(numpy_helper.from_array(np.array([1, 1, *scales], np.float32), "s"))
    else:
        inputs += ["", "z"]
        tensors.append(numpy_helper.from_array(np.array([*BEFORE[:2], *(sizes or ())], np.int64), "z"))
    graph = helper.make_graph(
        [helper.make_node("Resize", inputs, ["y"], **attributes)],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, BEFORE)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", "c", "h", "w"])],
        tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def answer(model: Any, image: Any) -> Any:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": image})[0]


@pytest.mark.parametrize(("sizes", "scales"), [((14, 24), None), ((9, 31), None), ((3, 5), None), (None, (2.0, 2.5))])
@pytest.mark.parametrize(
    "attributes",
    [
        {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
        {"mode": "cubic", "cubic_coeff_a": -0.75},
        {"mode": "cubic", "coordinate_transformation_mode": "align_corners"},
        {"mode": "linear", "antialias": 1},
        {"mode": "nearest", "coordinate_transformation_mode": "half_pixel", "nearest_mode": "round_prefer_ceil"},
    ],
    ids=lambda attributes: "-".join(str(value) for value in attributes.values()),
)
def test_products_answer_as_the_resize(sizes: Any, scales: Any, attributes: dict[str, Any]):
    model = resizing(sizes, scales, **attributes)
    products = resize_products.resizes_as_products(model)
    assert [node.op_type for node in products.graph.node] == ["MatMul", "MatMul"]
    onnx.checker.check_model(products)
    image = np.random.default_rng(0).random(BEFORE, np.float32)
    right = answer(model, image)
    assert np.abs(answer(products, image) - right).max() < 1e-5
    if "antialias" in attributes:
        return  # where a map is enlarged it is the plain one
    # A planted near miss: half-pixel centers in place of what was asked for.
    miss = answer(resizing((right.shape[2], right.shape[3]), None, mode="linear"), image)
    assert np.abs(miss - right).max() > 1e-3


@pytest.mark.parametrize(
    "attributes",
    [
        {"mode": "linear"},
        {"mode": "linear", "coordinate_transformation_mode": "pytorch_half_pixel"},
        {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
    ],
)
def test_right_ones_stay(attributes: dict[str, Any]):
    model = resizing((14, 24), None, **attributes)
    assert resize_products.resizes_as_products(model) is model


@pytest.mark.slow
@pytest.mark.parametrize("how", [{"scale_factor": 2}, {"size": (20, 33)}])
def test_aligned_corners_reach_tflite(tmp_path: Path, how: dict[str, Any]):
    pytest.importorskip("tensorflow", reason="onnx2tf converts with it")
    from ai_edge_litert.interpreter import Interpreter

    from vitdeploy.exporters.tflite import convert

    class Net(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.interpolate(image, **how, mode="bilinear", align_corners=True)

    image = torch.rand(1, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    convert.convert(Net(), {"image": image}, ["logits"], tmp_path / "net.tflite", "onnx2tf")
    interpreter: Any = Interpreter(str(tmp_path / "net.tflite"))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image.permute(0, 2, 3, 1).numpy())
    interpreter.invoke()
    found = interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).transpose(0, 3, 1, 2)
    assert np.abs(found - Net()(image).numpy()).max() < 1e-5
