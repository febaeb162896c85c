"""A super-resolution artifact that doubles each pixel."""

from pathlib import Path

import numpy as np

from tests.doubles import artifacts
from vitdeploy.artifacts.manifest import Artifact, Tensor
from vitdeploy.catalog.preprocessing import IMAGENET_MEAN, IMAGENET_STD


def doubled(folder: Path, size: tuple[int, int]) -> Artifact:
    """``model.onnx`` that doubles each pixel and returns a 0–1 picture: what ImageNet's normalization hid is undone."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    constants = {
        "std": np.asarray(IMAGENET_STD, np.float32).reshape(1, 3, 1, 1),
        "mean": np.asarray(IMAGENET_MEAN, np.float32).reshape(1, 3, 1, 1),
        "scales": np.asarray([1, 1, 2, 2], np.float32),
    }
    nodes = [
        helper.make_node("Mul", ["image", "std"], ["scaled"]),
        helper.make_node("Add", ["scaled", "mean"], ["picture"]),
        helper.make_node("Resize", ["picture", "", "scales"], ["output"], mode="nearest"),
    ]
    shape = [1, 3, 2 * size[0], 2 * size[1]]
    graph = helper.make_graph(
        nodes,
        "doubled",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, *size])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    folder.mkdir(parents=True)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(made, str(folder / "model.onnx"))
    tensor = Tensor(name="output", shape=tuple(shape), dtype="float32", layout="NCHW")
    image = Tensor(name="image", shape=(1, 3, *size), dtype="float32", layout="NCHW")
    return artifacts._written(
        folder,
        "model.onnx",
        "efficientvit_b0",  # its normalization is undone in the graph
        "onnx-fp32",
        tensor,
        task="super-resolution",
        size=size,
        inputs=(image,),
    )
