"""``Constant`` nodes of ONNX graphs, in whatever form a number is written; a leaf over onnx."""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from typing import Any, Final

import numpy as np
import onnx
from onnx import numpy_helper

_NUMBERS: Final = {
    "value_float": np.float32,
    "value_floats": np.float32,
    "value_int": np.int64,
    "value_ints": np.int64,
}
"""Attribute → element type. Source: onnx.ai/onnx/operators/onnx__Constant.html"""


def constant_tensor(node: Any) -> Any | None:
    """The value of a ``Constant`` as a tensor with the name of its output; None for text."""
    (attribute,) = node.attribute
    value = onnx.helper.get_attribute_value(attribute)
    if attribute.name in _NUMBERS:
        value = numpy_helper.from_array(np.asarray(value, _NUMBERS[attribute.name]))
    elif attribute.name == "sparse_value":
        value = numpy_helper.from_array(_dense(value))
    elif attribute.name != "value":
        return None
    tensor = onnx.TensorProto()
    tensor.CopyFrom(value)
    tensor.name = node.output[0]
    return tensor


def lift_constants(graph: Any) -> None:
    """Make initializers of the constants of a graph that are nodes, in place."""
    for node in [node for node in graph.node if node.op_type == "Constant"]:
        tensor = constant_tensor(node)
        if tensor is not None:
            graph.initializer.append(tensor)
            graph.node.remove(node)


def write_as_tensors(graph: Any) -> None:
    """Write every number of a graph's ``Constant`` nodes as a tensor, and sparse weights as dense ones, in place."""
    for sparse in graph.sparse_initializer:
        graph.initializer.append(numpy_helper.from_array(_dense(sparse), sparse.values.name))
    del graph.sparse_initializer[:]
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name != "value":
            tensor = constant_tensor(node)
            if tensor is not None:
                del node.attribute[:]
                tensor.name = ""
                node.attribute.append(onnx.helper.make_attribute("value", tensor))


def _dense(sparse: Any) -> Any:
    values, indices = numpy_helper.to_array(sparse.values), numpy_helper.to_array(sparse.indices)
    dense = np.zeros(tuple(sparse.dims), values.dtype)
    if indices.ndim == 1:  # of the flattened tensor
        dense.reshape(-1)[indices] = values
    else:
        dense[tuple(indices.T)] = values
    return dense
