"""An ONNX graph in 16 bits (fp16 or bf16), and the same graph in fp32 with every tensor rounded after every node.

The second is how such a graph is proven on a CPU: ONNX Runtime's own half-precision path keeps whole
chains of nodes in fp32, so that agreement there says nothing of a GPU. Rounding after every node is what a GPU does
at worst: it computes each node in fp32 or wider and stores the result in 16 bits; fused nodes round less often.
A leaf over onnx, which is partly untyped.
"""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from vitdeploy.errors import Impossible
from vitdeploy.exporters.half import fp32_inputs
from vitdeploy.exporters.rewrites import constants

KINDS: Final[Mapping[str, int]] = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
"""A target's precision → the element type of its tensors."""

BF16_OPSET = 22
"""The first whose convolution takes bf16. Source: onnx.ai/onnx/operators/onnx__Conv.html"""

BF16_IR_VERSION = 10
"""The first that may hold that opset. Source: onnx/docs/Versioning.md"""

_SUFFIX = "_fp32"


def halved(graph: Any, *, half_io: bool, precision: str = "fp16") -> Any:
    """``graph`` with every fp32 tensor in 16 bits; strongly typed, so that no runtime chooses for itself.

    Args:
        graph: a ``ModelProto``; it is not changed.
        half_io: inputs and outputs in 16 bits too; else they stay fp32, with one cast each.
        precision: ``fp16`` or ``bf16``.

    Raises:
        Impossible: a weight does not fit into half precision.
    """
    kind = KINDS[precision]
    model = onnx.ModelProto()
    model.CopyFrom(graph)
    if kind == TensorProto.BFLOAT16:
        _raise_versions(model)
    inner = model.graph
    inner.ClearField("value_info")
    constants.write_as_tensors(inner)
    fp32 = fp32_inputs.keep_fp32_inputs(inner)
    readers = fp32_inputs.uses(inner)
    for tensor in inner.initializer:
        if tensor.name not in fp32:
            _halve(tensor, kind, readers.get(tensor.name, set()))
    for node in inner.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                _halve(attribute.t, kind, readers.get(node.output[0], set()))
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = kind
    fp32_inputs.finish_fp32_casts(inner)
    for values, entering in ((inner.input, True), (inner.output, False)):
        for value in values:
            if value.type.tensor_type.elem_type == TensorProto.FLOAT:
                if half_io:
                    value.type.tensor_type.elem_type = kind
                else:
                    _add_io_cast(inner, value.name, kind, entering=entering)
    return model


def rounded(graph: Any, *, rounding: bool = True) -> Any:
    """A 16-bit graph computed in fp32, every 16-bit tensor rounded after the node that makes it.

    Args:
        graph: a ``ModelProto`` from `halved`; it is not changed.
        rounding: False: the same graph without it, the reference that a divergence is told against.
    """
    inferred = onnx.shape_inference.infer_shapes(graph, strict_mode=True).graph
    halves = {v.name: _kind(v) for v in (*inferred.value_info, *inferred.input, *inferred.output) if is_half(v)}
    model = onnx.ModelProto()
    model.CopyFrom(graph)
    inner = model.graph
    inner.ClearField("value_info")
    for tensor in inner.initializer:
        _widen(tensor)
    nodes: list[Any] = []
    for value in inner.input:
        if is_half(value):
            _rename_uses(inner, value.name, value.name + _SUFFIX)
            nodes.append(helper.make_node("Cast", [value.name], [value.name + _SUFFIX], to=TensorProto.FLOAT))
    for node in inner.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                _widen(attribute.t)
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i in KINDS.values():
                attribute.i = TensorProto.FLOAT
        nodes.append(node)
        if rounding:
            nodes += [cast for name in node.output if name in halves for cast in _rounders(node, name, halves[name])]
    for value in inner.output:
        if is_half(value):  # it stays as it is: widened inside, narrowed before the output
            for node in nodes:
                _rename(node.output, value.name, value.name + _SUFFIX)
                _rename(node.input, value.name, value.name + _SUFFIX)
            nodes.append(helper.make_node("Cast", [value.name + _SUFFIX], [value.name], to=_kind(value)))
    inner.ClearField("node")
    inner.node.extend(nodes)
    return model


def is_half(value: Any) -> bool:
    """Whether a graph's tensor, as it describes it, has 16 bits."""
    return _kind(value) in KINDS.values()


def _kind(value: Any) -> int:
    return int(value.type.tensor_type.elem_type)


def _raise_versions(model: Any) -> None:
    """Say that the graph is of the first opset that knows bf16 everywhere; what it uses did not change in between."""
    for opset in model.opset_import:
        if not opset.domain:
            opset.version = max(opset.version, BF16_OPSET)
    model.ir_version = max(model.ir_version, BF16_IR_VERSION)


def _rounders(node: Any, output: str, kind: int) -> list[Any]:
    """Two casts after ``node`` that round its ``output``."""
    raw, half = f"{output}_raw", f"{output}_half"
    _rename(node.output, output, raw)
    return [
        helper.make_node("Cast", [raw], [half], to=kind),
        helper.make_node("Cast", [half], [output], to=TensorProto.FLOAT),
    ]


def _halve(tensor: Any, kind: int, readers: set[str]) -> None:
    if tensor.data_type != TensorProto.FLOAT:
        return
    values = numpy_helper.to_array(tensor)
    if kind == TensorProto.FLOAT16:
        fitting = fp32_inputs.in_range(values, readers)
        if fitting is None:
            largest = float(np.abs(values[np.isfinite(values)]).max())
            raise Impossible(
                f"{tensor.name or 'a constant'} holds {largest:g}, and half precision ends at {fp32_inputs.LARGEST:g}",
                "Use --target onnx-fp32 or trt-bf16.",
            )
        values = fitting
    narrow = values.astype(helper.tensor_dtype_to_np_dtype(kind))
    tensor.CopyFrom(numpy_helper.from_array(narrow, tensor.name))


def _widen(tensor: Any) -> None:
    if tensor.data_type in KINDS.values():
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))


def _add_io_cast(inner: Any, name: str, kind: int, *, entering: bool) -> None:
    """A cast behind an fp32 input, or before an fp32 output; the input or output keeps its name."""
    inside = f"{name}_half"
    if entering:
        _rename_uses(inner, name, inside)
        inner.node.insert(0, helper.make_node("Cast", [name], [inside], to=kind))
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
