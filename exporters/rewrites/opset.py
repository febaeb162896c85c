"""Opsets of users' graphs: brought to ours where that is right, kept where it is not; a leaf over onnx."""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from typing import Any, Final

import numpy as np
import onnx
import onnx.version_converter
from onnx import helper, numpy_helper

from vitdeploy.errors import Impossible
from vitdeploy.models.user_onnx import nodes_of

KEPT_FROM: Final = 11
"""Operators of older graphs changed their meaning, so they cannot stay. Source: onnx/docs/Changelog.md."""

_BEFORE_COORDINATES: Final = 10
"""The last opset whose ``Resize`` has no ``coordinate_transformation_mode``: it is asymmetric."""


def at_opset(proto: Any, opset: int, name: str) -> Any:
    """The graph at ``opset``; one of a later opset, or one that the converter refuses, stays as it is.

    The converter has no way down for many operators, and takes ``Resize`` of opset 10 for half-pixel: its meaning is
    written down before.

    Raises:
        Impossible: the graph is older than opset 11 and cannot be converted.
    """
    own = opset_of(proto)
    if own >= opset:
        return proto
    try:
        if own < _BEFORE_COORDINATES:
            proto = onnx.version_converter.convert_version(proto, _BEFORE_COORDINATES)
        if own <= _BEFORE_COORDINATES:
            _write_coordinates(proto.graph)
        return onnx.version_converter.convert_version(proto, opset)
    except Exception as error:  # its own errors are of many classes
        if own >= KEPT_FROM:
            return proto
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise Impossible(
            f"{name} is of opset {own}, and its operators cannot be brought to opset {opset}: {reason}",
            f"Export it with opset {opset}.",
        ) from error


def opset_of(proto: Any) -> int:
    """The opset of ONNX's own operators in a graph."""
    return max((entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")), default=1)


def _write_coordinates(graph: Any) -> None:
    """Say of every ``Resize`` of opset 10 what it means: asymmetric, and the nearest pixel is the one below.

    Where a map becomes smaller ONNX Runtime takes the one above. Source: its ``upsamplebase.h``, ``SIMPLE``.
    """
    scales = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    scales |= {
        node.output[0]: numpy_helper.to_array(attribute.t)
        for node in nodes_of(graph)
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value"
    }
    for node in nodes_of(graph):
        if node.op_type != "Resize" or any(a.name == "coordinate_transformation_mode" for a in node.attribute):
            continue
        factors = scales.get(node.input[1], np.ones(1)) if len(node.input) > 1 else np.ones(1)
        nearest = "ceil" if (factors < 1).any() else "floor"
        node.attribute.extend(
            [
                helper.make_attribute("coordinate_transformation_mode", "asymmetric"),
                helper.make_attribute("nearest_mode", nearest),
            ]
        )
