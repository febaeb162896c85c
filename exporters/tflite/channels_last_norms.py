"""Layer norms over the channels of a map as sums that leave the map as it lies, in an ONNX graph.

torch writes such a norm as a transposition, a norm over the last axis and the transposition back. onnx2tf keeps track
of which axis became which, and where height, width and channels are equal, 48 of each in VapSR at 48x48, it takes one
for another. Without transpositions nothing is there to mistake, and the file has fewer operators.
"""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from onnxscript import ir

CHANNELS_LAST: Final = (0, 2, 3, 1)
CHANNELS_FIRST: Final = (0, 3, 1, 2)

EPSILON = 1e-5
"""Where a node names none. Source: ``LayerNormalization`` in the ONNX operator reference, opset 17."""


def norms_in_place(graph: Any) -> None:
    """Replace every norm between two such transpositions, in place; idle nodes are left behind.

    Args:
        graph: an ``onnx_ir`` model.
    """
    for node in [node for node in graph.graph if node.op_type == "LayerNormalization"]:
        turned = node.inputs[0].producer()
        back = [user for user, _ in node.outputs[0].uses()]
        if not back or not _turns(turned, CHANNELS_LAST) or not all(_turns(user, CHANNELS_FIRST) for user in back):
            continue
        if any(user.outputs[0].is_graph_output() for user in back):
            continue  # it is turned once more there, which cancels
        weights = [value.const_value for value in node.inputs[1:] if value is not None]
        if any(value is None for value in weights):
            continue
        sums = _Sums(turned.inputs[0], node.name or f"norm_{node.outputs[0].name}")
        normed = sums.norm(_epsilon(node), [value.numpy() for value in weights])
        for value in sums.constants:
            graph.graph.register_initializer(value)
        graph.graph.insert_before(node, sums.nodes)
        for user in back:
            ir.convenience.replace_all_uses_with(user.outputs[0], normed)


class _Sums:
    """The nodes of one norm."""

    def __init__(self, source: Any, name: str) -> None:
        self.source, self.name = source, name
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def norm(self, epsilon: float, weights: Sequence[Any]) -> Any:
        """Source: Ba et al., https://arxiv.org/abs/1607.06450, equation 3, over the channels of each pixel."""
        axes = self._constant("axes", np.array([1], np.int64))
        centered = self._node("Sub", self.source, self._mean(self.source, axes))
        variance = self._mean(self._node("Mul", centered, centered), axes)
        guarded = self._node("Add", variance, self._constant("epsilon", np.array(epsilon, np.float32)))
        result = self._node("Div", centered, self._node("Sqrt", guarded))
        for kind, weight in zip(("Mul", "Add"), weights, strict=False):  # a norm may have no bias
            result = self._node(kind, result, self._constant(kind, weight.reshape(1, -1, 1, 1)))
        return result

    def _mean(self, value: Any, axes: Any) -> Any:
        return self._node("ReduceMean", value, axes, keepdims=1)

    def _node(self, kind: str, *inputs: Any, **attributes: Any) -> Any:
        node = ir.node(kind, inputs, attributes, name=f"{self.name}_{len(self.nodes)}")
        (result,) = node.outputs
        result.name, result.type = f"{self.name}_{len(self.nodes)}_out", self.source.type
        self.nodes.append(node)
        return result

    def _constant(self, name: str, content: Any) -> Any:
        tensor = ir.tensor(content, name=f"{self.name}_{name}")
        value = ir.Value(
            name=tensor.name, const_value=tensor, type=ir.TensorType(tensor.dtype), shape=ir.Shape(content.shape)
        )
        self.constants.append(value)
        return value


def _turns(node: Any, order: tuple[int, ...]) -> bool:
    return node is not None and node.op_type == "Transpose" and tuple(node.attributes["perm"].as_ints()) == order


def _epsilon(node: Any) -> float:
    attribute = node.attributes.get("epsilon")
    return EPSILON if attribute is None else attribute.as_float()
