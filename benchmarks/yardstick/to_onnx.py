"""Write the yardstick as an ONNX file: the same bytes wherever the same version of onnx makes them."""

# pyright: reportUnknownMemberType=false

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from vitdeploy.benchmarks.yardstick import network
from vitdeploy.benchmarks.yardstick.network import Activation, Floats

OPSET, IR_VERSION = 17, 8
"""Old enough for every ONNX Runtime since 1.12. Source: onnxruntime.ai/docs/reference/compatibility.html."""


class _OnnxWriter:
    """Tensors are known by their names; layout NCHW."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._shapes: dict[str, tuple[int, ...]] = {}

    def _node(self, kind: str, inputs: Sequence[str], shape: tuple[int, ...], **attributes: Any) -> str:
        name = f"{kind.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        self._shapes[name] = shape
        return name

    def _constant(self, values: "NDArray[np.float32] | NDArray[np.int64]") -> str:
        name = f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def image(self, side: int) -> str:
        self._shapes["image"] = (1, 3, side, side)
        return "image"

    def convolution(
        self, x: str, weight: Floats, bias: Floats, *, stride: int, depthwise: bool, activation: Activation
    ) -> str:
        outputs, _, kernel, _ = weight.shape
        height, width = (side // stride for side in self._shapes[x][2:])
        # The padding of TFLite's SAME: of an even side with stride 2 all of it is behind.
        before = (kernel - 1) // 2 if stride == 1 else (kernel - stride) // 2
        behind = (kernel - 1) // 2 if stride == 1 else kernel - stride - before
        shape = (1, outputs, height, width)
        y = self._node(
            "Conv",
            [x, self._constant(weight), self._constant(bias)],
            shape,
            strides=[stride, stride],
            pads=[before, before, behind, behind],
            group=outputs if depthwise else 1,
        )
        operator = {"none": None, "relu": "Relu", "hard-swish": "HardSwish"}[activation]
        return y if operator is None else self._node(operator, [y], shape)

    def sum(self, x: str, y: str) -> str:
        return self._node("Add", [x, y], self._shapes[x])

    def linear_attention(self, query: str, key: str, value: str) -> str:
        _, channels, height, width = self._shapes[query]
        heads, dim, count = channels // network.HEAD_CHANNELS, network.HEAD_CHANNELS, height * width
        split = self._constant(np.array([heads, dim, count], np.int64))
        q, k, v = (self._node("Reshape", [x, split], (heads, dim, count)) for x in (query, key, value))
        ones = self._constant(np.ones((heads, 1, count), np.float32))
        extended = self._node("Concat", [v, ones], (heads, dim + 1, count), axis=1)
        turned = self._node("Transpose", [k], (heads, count, dim), perm=[0, 2, 1])
        product = self._node("MatMul", [extended, turned], (heads, dim + 1, dim))
        attended = self._node("MatMul", [product, q], (heads, dim + 1, count))
        above, below = (
            self._node("Slice", [attended, *self._bounds(begin, end)], (heads, end - begin, count))
            for begin, end in ((0, dim), (dim, dim + 1))
        )
        safe = self._node("Add", [below, self._constant(np.array(network.EPSILON, np.float32))], (heads, 1, count))
        quotient = self._node("Div", [above, safe], (heads, dim, count))
        whole = self._constant(np.array([1, channels, height, width], np.int64))
        return self._node("Reshape", [quotient, whole], (1, channels, height, width))

    def _bounds(self, begin: int, end: int) -> list[str]:
        """Inputs of a Slice along axis 1."""
        return [self._constant(np.array([value], np.int64)) for value in (begin, end, 1)]

    def classifier(self, x: str, weight: Floats, bias: Floats) -> str:
        channels = self._shapes[x][1]
        pooled = self._node("ReduceMean", [x], (1, channels), axes=[2, 3], keepdims=0)
        shape = (1, weight.shape[0])
        return self._node("Gemm", [pooled, self._constant(weight), self._constant(bias)], shape, transB=1)

    def finish(self, logits: str) -> bytes:
        last = self._node("Identity", [logits], self._shapes[logits])
        self._nodes[-1].output[0] = "logits"
        graph = helper.make_graph(
            self._nodes,
            "yardstick",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, self._shapes["image"])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, self._shapes[last])],
            self._constants,
        )
        imports = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION, producer_name="vitdeploy")
        return model.SerializeToString(deterministic=True)


def content() -> bytes:
    """The file's bytes."""
    return network.write(_OnnxWriter())
