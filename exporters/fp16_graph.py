"""An ONNX graph in half precision, and the same graph in fp32 with every tensor rounded to half after every node.

The second is how a half-precision graph is proven on a CPU: ONNX Runtime's own half-precision path keeps whole
chains of nodes in fp32, so that agreement there says nothing of a GPU. Rounding after every node is what a GPU does
at worst: it computes each node in fp32 or wider and stores the result in half; fused nodes round less often.
A leaf over onnx, untyped at its border.
"""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from vitdeploy.errors import ToolchainFailed

LARGEST = 65504.0
"""Of half precision. Source: IEEE 754-2019, binary16."""

_SUFFIX = "_fp32"


def halved(graph: Any, *, half_border: bool) -> Any:
    """``graph`` with every fp32 tensor in half precision; strongly typed, so that no runtime chooses for itself.

    Args:
        graph: a ``ModelProto``; it is not changed.
        half_border: inputs and outputs in half too; else they stay fp32, with one cast each.

    Raises:
        ToolchainFailed: a weight does not fit into half precision.
    """
    made = onnx.ModelProto()
    made.CopyFrom(graph)
    inner = made.graph
    inner.ClearField("value_info")
    for tensor in inner.initializer:
        _halve(tensor)
    for node in inner.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                _halve(attribute.t)
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.FLOAT16
    for border, entering in ((inner.input, True), (inner.output, False)):
        for value in border:
            if value.type.tensor_type.elem_type == TensorProto.FLOAT:
                if half_border:
                    value.type.tensor_type.elem_type = TensorProto.FLOAT16
                else:
                    _cast_at_border(inner, value.name, entering=entering)
    return made


def rounded(graph: Any, *, rounding: bool = True) -> Any:
    """A half-precision graph computed in fp32, every half tensor rounded after the node that makes it.

    Args:
        graph: a ``ModelProto`` from `halved`; it is not changed.
        rounding: False: the same graph without it, the reference that a divergence is told against.
    """
    known = onnx.shape_inference.infer_shapes(graph, strict_mode=True).graph
    halves = {v.name for v in (*known.value_info, *known.input, *known.output) if _is_half(v)}
    made = onnx.ModelProto()
    made.CopyFrom(graph)
    inner = made.graph
    inner.ClearField("value_info")
    for tensor in inner.initializer:
        _widen(tensor)
    nodes: list[Any] = []
    for value in inner.input:
        if _is_half(value):
            _rename_uses(inner, value.name, value.name + _SUFFIX)
            nodes.append(helper.make_node("Cast", [value.name], [value.name + _SUFFIX], to=TensorProto.FLOAT))
    for node in inner.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                _widen(attribute.t)
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT16:
                attribute.i = TensorProto.FLOAT
        nodes.append(node)
        if rounding:
            nodes += [rounder for output in node.output if output in halves for rounder in _rounders(node, output)]
    for value in inner.output:
        if _is_half(value):  # it stays half: widened inside, narrowed at the border
            for node in nodes:
                _rename(node.output, value.name, value.name + _SUFFIX)
                _rename(node.input, value.name, value.name + _SUFFIX)
            nodes.append(helper.make_node("Cast", [value.name + _SUFFIX], [value.name], to=TensorProto.FLOAT16))
    inner.ClearField("node")
    inner.node.extend(nodes)
    return made


def _rounders(node: Any, output: str) -> list[Any]:
    """Two casts after ``node`` that round its ``output``."""
    raw, half = f"{output}_raw", f"{output}_half"
    _rename(node.output, output, raw)
    return [
        helper.make_node("Cast", [raw], [half], to=TensorProto.FLOAT16),
        helper.make_node("Cast", [half], [output], to=TensorProto.FLOAT),
    ]


def _halve(tensor: Any) -> None:
    if tensor.data_type != TensorProto.FLOAT:
        return
    values = numpy_helper.to_array(tensor)
    if values.size and float(np.abs(values).max()) > LARGEST:
        raise ToolchainFailed(
            f"{tensor.name or 'a constant'} holds {float(np.abs(values).max()):g}, and half precision ends at "
            f"{LARGEST:g}",
            "Use --target onnx-fp32 or trt-bf16.",
        )
    tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), tensor.name))


def _widen(tensor: Any) -> None:
    if tensor.data_type == TensorProto.FLOAT16:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))


def _cast_at_border(inner: Any, name: str, *, entering: bool) -> None:
    """A cast behind an fp32 input, or before an fp32 output; the name at the border stays."""
    inside = f"{name}_fp16"
    if entering:
        _rename_uses(inner, name, inside)
        inner.node.insert(0, helper.make_node("Cast", [name], [inside], to=TensorProto.FLOAT16))
        return
    for node in inner.node:
        _rename(node.output, name, inside)
        _rename(node.input, name, inside)
    inner.node.append(helper.make_node("Cast", [inside], [name], to=TensorProto.FLOAT))


def _rename_uses(inner: Any, old: str, new: str) -> None:
    for node in inner.node:
        _rename(node.input, old, new)


def _rename(names: Any, old: str, new: str) -> None:
    for place, name in enumerate(names):
        if name == old:
            names[place] = new


def _is_half(value: Any) -> bool:
    return bool(value.type.tensor_type.elem_type == TensorProto.FLOAT16)
