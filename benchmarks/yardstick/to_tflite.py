"""Write the yardstick as a TFLite file: the same bytes wherever the same versions of flatbuffers and ai-edge-litert do.

Only operators that XNNPACK takes: the file is one partition of its delegate, as those of our models are.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false, reportAttributeAccessIssue=false

from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as tfl
from numpy.typing import NDArray

from vitdeploy.benchmarks.yardstick import network
from vitdeploy.benchmarks.yardstick.network import Activation, Floats

_VERSION = 3
"""Of the file format. Source: tensorflow/lite/schema/schema.fbs."""


class _TfliteWriter:
    """Tensors are known by their index; layout NHWC."""

    def __init__(self) -> None:
        self._buffers: list[Any] = [tfl.BufferT()]
        self._tensors: list[Any] = []
        self._nodes: list[Any] = []
        self._codes: dict[int, Any] = {}
        self._shapes: list[tuple[int, ...]] = []

    def _tensor(self, name: str, shape: Sequence[int], values: "NDArray[Any] | None" = None) -> int:
        tensor = tfl.TensorT()
        tensor.shape, tensor.name, tensor.buffer = list(shape), f"{name}_{len(self._shapes)}", 0
        tensor.type = (
            tfl.TensorType.INT32 if values is not None and values.dtype.kind == "i" else tfl.TensorType.FLOAT32
        )
        if values is not None:
            buffer = tfl.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
            tensor.buffer = len(self._buffers)
            self._buffers.append(buffer)
        self._tensors.append(tensor)
        self._shapes.append(tuple(shape))
        return len(self._shapes) - 1

    def _constant(self, values: NDArray[Any]) -> int:
        return self._tensor("constant", values.shape, values)

    def _node(self, kind: str, inputs: Sequence[int], shape: Sequence[int], options: Any = None) -> int:
        number = getattr(tfl.BuiltinOperator, kind)
        if number not in self._codes:
            code = tfl.OperatorCodeT()
            code.builtinCode = code.deprecatedBuiltinCode = number
            code.version = 1
            self._codes[number] = code
        node = tfl.OperatorT()
        output = self._tensor(kind.lower(), shape)
        node.inputs, node.outputs, node.opcodeIndex = list(inputs), [output], list(self._codes).index(number)
        if options is not None:
            name = type(options).__name__.removesuffix("T")
            node.builtinOptionsType, node.builtinOptions = getattr(tfl.BuiltinOptions, name), options
        self._nodes.append(node)
        return output

    def image(self, side: int) -> int:
        return self._tensor("image", (1, side, side, 3))

    def convolution(
        self, x: int, weight: Floats, bias: Floats, *, stride: int, depthwise: bool, activation: Activation
    ) -> int:
        _, height, width, _ = self._shapes[x]
        options = tfl.DepthwiseConv2DOptionsT() if depthwise else tfl.Conv2DOptionsT()
        options.padding = tfl.Padding.SAME
        options.strideH = options.strideW = stride
        options.dilationHFactor = options.dilationWFactor = 1
        if depthwise:
            options.depthMultiplier = 1
        fused = tfl.ActivationFunctionType
        options.fusedActivationFunction = fused.RELU if activation == "relu" else fused.NONE
        shape = (1, height // stride, width // stride, weight.shape[0])
        order = (1, 2, 3, 0) if depthwise else (0, 2, 3, 1)
        y = self._node(
            "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D",
            [x, self._constant(weight.transpose(order)), self._constant(bias)],
            shape,
            options,
        )
        return self._node("HARD_SWISH", [y], shape) if activation == "hard-swish" else y

    def sum(self, x: int, y: int) -> int:
        return self._node("ADD", [x, y], self._shapes[x], tfl.AddOptionsT())

    def linear_attention(self, query: int, key: int, value: int) -> int:
        _, height, width, channels = self._shapes[query]
        heads, dim, count = channels // network.HEAD_CHANNELS, network.HEAD_CHANNELS, height * width
        q, k, v = (self._heads(x, heads, dim, count) for x in (query, key, value))
        ones = self._constant(np.ones((1, heads, count, 1), np.float32))
        joined = tfl.ConcatenationOptionsT()
        joined.axis = 3
        extended = self._node("CONCATENATION", [v, ones], (1, heads, count, dim + 1), joined)
        turned = self._transposed(k, (0, 1, 3, 2))
        product = self._product(turned, extended, (1, heads, dim, dim + 1))
        attended = self._product(q, product, (1, heads, count, dim + 1))
        above, below = (
            self._node(
                "SLICE",
                [
                    attended,
                    *(self._constant(np.array(v, np.int32)) for v in ((0, 0, 0, begin), (1, heads, count, size))),
                ],
                (1, heads, count, size),
                tfl.SliceOptionsT(),
            )
            for begin, size in ((0, dim), (dim, 1))
        )
        epsilon = self._constant(np.array([network.EPSILON], np.float32))
        safe = self._node("ADD", [below, epsilon], (1, heads, count, 1), tfl.AddOptionsT())
        quotient = self._node("DIV", [above, safe], (1, heads, count, dim), tfl.DivOptionsT())
        return self._reshaped(self._transposed(quotient, (0, 2, 1, 3)), (1, height, width, channels))

    def _heads(self, x: int, heads: int, dim: int, count: int) -> int:
        """Tokens of each head, ``(1, heads, count, dim)``."""
        return self._transposed(self._reshaped(x, (1, count, heads, dim)), (0, 2, 1, 3))

    def _reshaped(self, x: int, shape: tuple[int, ...]) -> int:
        options = tfl.ReshapeOptionsT()
        options.newShape = list(shape)
        return self._node("RESHAPE", [x, self._constant(np.array(shape, np.int32))], shape, options)

    def _transposed(self, x: int, order: tuple[int, ...]) -> int:
        shape = [self._shapes[x][axis] for axis in order]
        return self._node("TRANSPOSE", [x, self._constant(np.array(order, np.int32))], shape, tfl.TransposeOptionsT())

    def _product(self, x: int, y: int, shape: tuple[int, ...]) -> int:
        return self._node("BATCH_MATMUL", [x, y], shape, tfl.BatchMatMulOptionsT())

    def classifier(self, x: int, weight: Floats, bias: Floats) -> int:
        mean = tfl.ReducerOptionsT()
        mean.keepDims = False
        axes = self._constant(np.array([1, 2], np.int32))
        pooled = self._node("MEAN", [x, axes], (1, self._shapes[x][3]), mean)
        inputs = [pooled, self._constant(weight), self._constant(bias)]
        return self._node("FULLY_CONNECTED", inputs, (1, weight.shape[0]), tfl.FullyConnectedOptionsT())

    def finish(self, logits: int) -> bytes:
        model, graph = tfl.ModelT(), tfl.SubGraphT()
        graph.tensors, graph.operators, graph.inputs, graph.outputs = self._tensors, self._nodes, [0], [logits]
        model.version, model.description, model.subgraphs = _VERSION, "vitdeploy yardstick", [graph]
        model.operatorCodes, model.buffers = list(self._codes.values()), self._buffers
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def content() -> bytes:
    """The file's bytes."""
    return network.write(_TfliteWriter())
