"""Multiply-accumulates of an ONNX graph: convolutions, linear layers, matmuls and einsums, or None where unknown."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime

Shape = Sequence[int]

CONVOLUTIONS: Final = frozenset({"Conv", "ConvInteger", "QLinearConv", "FusedConv"})
PRODUCTS: Final = frozenset({"MatMul", "MatMulInteger", "QLinearMatMul", "Gemm", "FusedMatMul", "FusedGemm"})
WEIGHT_PLACE: Final = {"QLinearConv": 3, "QLinearMatMul": 3}
"""Which input holds the second factor, where it is not the second."""

UNCOUNTED: Final = frozenset(
    "Attention MultiHeadAttention GroupQueryAttention QAttention PackedAttention LSTM GRU RNN QGemm MatMulNBits "
    "DeformConv If Loop Scan".split()
)
"""Operators that multiply, or hold graphs that may, and are not counted here: the sum is unknown then."""

_CounterShapes = Mapping[str, Shape]


def macs(proto: Any, feeds: Mapping[str, Any], *, complete: Callable[[Any], Any]) -> int | None:
    """The sum over the graph; None: it holds an operator that cannot be counted, or shapes that nobody knows.

    Args:
        proto: its large tensors may lie elsewhere.
        feeds: an input as it runs, by name.
        complete: puts those tensors in, where the graph has to be run for its shapes.
    """
    graph = proto.graph
    own = {function.name for function in proto.functions}
    if any(node.op_type in UNCOUNTED or node.op_type in own for node in graph.node):
        return None
    counted = [node for node in graph.node if node.op_type in CONVOLUTIONS | PRODUCTS | {"ConvTranspose", "Einsum"}]
    shapes = _static_shapes(graph)
    names = {name for node in counted for name in (*node.input, node.output[0]) if name}
    if unknown := sorted(name for name in names if 0 in shapes.get(name, (0,))):
        measured = _measured_shapes(complete(proto), unknown, feeds)
        if measured is None:
            return None
        shapes |= measured
    each = [_of_node(node, shapes) for node in counted]
    return None if None in each else sum(value for value in each if value is not None)


def _of_node(node: Any, shapes: _CounterShapes) -> int | None:
    elements = math.prod(shapes[node.output[0]])
    first = shapes[node.input[0]]
    if node.op_type == "Einsum":
        return _of_einsum(node, [shapes[name] for name in node.input])
    second = shapes[node.input[WEIGHT_PLACE.get(node.op_type, 1)]]
    if node.op_type in CONVOLUTIONS:
        return elements * math.prod(second[1:])
    if node.op_type == "ConvTranspose":
        return math.prod(first) * math.prod(second[1:])
    turned = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    return elements * (first[-2] if turned and len(first) > 1 else first[-1])


def _of_einsum(node: Any, shapes: Sequence[Shape]) -> int | None:
    """One product for every combination of indices; of three factors and more the order is not known."""
    equation = next(attribute.s.decode() for attribute in node.attribute if attribute.name == "equation")
    factors = equation.replace(" ", "").partition("->")[0].split(",")
    if len(factors) > 2 or "." in equation:
        return None
    if len(factors) == 1:
        return 0
    lengths = {
        letter: length
        for factor, shape in zip(factors, shapes, strict=True)
        for letter, length in zip(factor, shape, strict=True)
    }
    return math.prod(lengths.values())


def _static_shapes(graph: Any) -> dict[str, Shape]:
    shapes: dict[str, Shape] = {
        value.name: [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]
        for value in (*graph.value_info, *graph.input, *graph.output)
        if value.type.tensor_type.HasField("shape")
    }
    return shapes | {tensor.name: list(tensor.dims) for tensor in graph.initializer}


def _measured_shapes(proto: Any, names: Sequence[str], feeds: Mapping[str, Any]) -> dict[str, Shape] | None:
    """Shapes of tensors as one inference has them; None: it cannot be run."""
    probe: Any = onnx.ModelProto()
    probe.CopyFrom(proto)
    probe.graph.ClearField("output")
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(probe.SerializeToString(), options, providers=["CPUExecutionProvider"])
        values: Any = session.run(list(names), dict(feeds))
    except Exception:  # noqa: BLE001  # ONNX Runtime's errors share no public base; the figure is not worth an export
        return None
    return {name: np.shape(value) for name, value in zip(names, values, strict=True)}
