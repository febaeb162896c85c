"""Resizes that onnx2tf gets wrong or TFLite does not have, as two products with constant matrices; a leaf over onnx.

A resize of a map is linear and separable: along each axis it is a product with a matrix, whose columns are what ONNX
Runtime makes of maps with a single one in them. So the sums are those of the graph, whatever its mode.
"""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false, reportMissingParameterType=false

from typing import Any, Final

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from vitdeploy.exporters.rewrites.constants import lift_constants

Shape = list[int]

HALF_PIXEL: Final = ("half_pixel", "pytorch_half_pixel")
RIGHT_BY_ONNX2TF: Final = {"linear": (*HALF_PIXEL, "asymmetric"), "nearest": ("asymmetric",)}
"""Mode → the coordinate modes that onnx2tf 1.28 converts rightly, where nothing else is asked for. With aligned corners
and a size it takes half-pixel centers: agreement 0.91 on photographs."""


def resizes_as_products(proto: Any) -> Any:
    """``proto`` with those resizes as matrix products; itself where there are none."""
    if not any(_is_wrong(node) for node in proto.graph.node):
        return proto
    proto = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    lift_constants(proto.graph)
    graph = proto.graph
    values = {value.name: value for value in (*graph.input, *graph.value_info, *graph.output)}
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    nodes: list[Any] = []
    for node in graph.node:
        products = _products(node, values, tensors, proto) if _is_wrong(node) else None
        nodes += [node] if products is None else products
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(tensor for tensor in tensors.values() if tensor.name.endswith(("_rows", "_columns")))
    return proto


def _is_wrong(node: Any) -> bool:
    if node.op_type != "Resize":
        return False
    mode = _text(node, "mode", "nearest")
    coordinates = _text(node, "coordinate_transformation_mode", "half_pixel")
    plain = not any(_number(node, name) for name in ("antialias", "exclude_outside"))
    if mode == "nearest" and coordinates == "asymmetric":
        return not plain or _text(node, "nearest_mode", "round_prefer_floor") != "floor"
    return not plain or coordinates not in RIGHT_BY_ONNX2TF.get(mode, ())


def _products(node: Any, values: Any, tensors: dict[str, Any], proto: Any) -> list[Any] | None:
    """The two products; None where the resize is not of heights and widths alone, or a shape is not known."""
    before, after = (_shape(values.get(name)) for name in (node.input[0], node.output[0]))
    if len(before) != 4 or len(after) != 4 or 0 in (*before, *after) or before[:2] != after[:2]:
        return None
    if _text(node, "coordinate_transformation_mode", "") == "tf_crop_and_resize":
        return None
    name, output = node.output[0], node.output[0]
    rows, columns = (_matrix(node, axis, before, after, tensors, proto) for axis in (2, 3))
    if rows is None or columns is None:
        return None
    for suffix, matrix in (("rows", rows), ("columns", np.ascontiguousarray(columns.T))):
        tensors[f"{name}_{suffix}"] = numpy_helper.from_array(matrix, f"{name}_{suffix}")
    return [
        helper.make_node("MatMul", [node.input[0], f"{name}_columns"], [f"{name}_wide"], name=f"{name}_wide"),
        helper.make_node("MatMul", [f"{name}_rows", f"{name}_wide"], [output], name=f"{name}_high"),
    ]


def _matrix(
    node: Any, axis: int, before: Shape, after: Shape, tensors: dict[str, Any], proto: Any
) -> NDArray[np.float32] | None:
    """``(after, before)`` along an axis: the resize of all maps with a single one in them."""
    length = before[axis]
    identity = np.eye(length, dtype=np.float32)[:, None, :, None]
    resize = onnx.NodeProto()
    resize.CopyFrom(node)
    del resize.input[:]
    initializers: list[Any] = []
    if len(node.input) > 2 and node.input[2]:
        scales = tensors.get(node.input[2])
        if scales is None:
            return None
        factors = numpy_helper.to_array(scales)
        factor = factors[axis] if len(factors) == 4 else factors[axis - 2]
        resize.input.extend(["maps", "", "scales"])
        initializers.append(numpy_helper.from_array(np.array([1, 1, factor, 1], np.float32), "scales"))
    else:
        resize.input.extend(["maps", "", "", "sizes"])
        initializers.append(numpy_helper.from_array(np.array([length, 1, after[axis], 1], np.int64), "sizes"))
    resize.output[:] = ["resized"]
    for attribute in [a for a in resize.attribute if a.name in ("axes", "keep_aspect_ratio_policy")]:
        resize.attribute.remove(attribute)
    graph = helper.make_graph(
        [resize],
        "axis",
        [helper.make_tensor_value_info("maps", onnx.TensorProto.FLOAT, identity.shape)],
        [helper.make_tensor_value_info("resized", onnx.TensorProto.FLOAT, None)],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=proto.opset_import, ir_version=proto.ir_version)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    resized: Any = session.run(None, {"maps": identity})[0]
    matrix = np.ascontiguousarray(resized[:, 0, :, 0].T)
    return matrix if matrix.shape == (after[axis], length) else None


def _shape(value: Any) -> Shape:
    return [] if value is None else [dim.dim_value for dim in value.type.tensor_type.shape.dim]


def _text(node: Any, name: str, default: str) -> str:
    return next((a.s.decode() for a in node.attribute if a.name == name), default)


def _number(node: Any, name: str) -> int:
    return next((a.i for a in node.attribute if a.name == name), 0)
