"""What stays in fp32, or is brought into its range, in a 16-bit graph; a leaf over onnx."""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from vitdeploy.exporters.rewrites.constants import constant_tensor

LARGEST: Final = 65504.0
"""Of half precision. Source: IEEE 754-2019, binary16."""

MASKED: Final = -LARGEST / 2
"""What a mask adds where it hides: far below every logit, and two of them still fit into half precision."""

FP32_INPUTS: Final = {"Resize": (1, 2), "Upsample": (1,)}
"""Operator → the places of inputs that are fp32 whatever its map is: region and scales.

Source: onnx.ai/onnx/operators/onnx__Resize.html
"""

_KEPT_FP32 = "_in_fp32"

BOUNDS: Final = frozenset({"Clip", "Min", "Max"})
"""Where a number beyond the range is a bound that nothing reaches."""

MASKING: Final = frozenset(
    {"Add", "Mul", "Sum", "Where", "Expand", "Unsqueeze", "Reshape", "Concat", "Slice", "Gather", "Tile", "Cast"}
    | {"Identity", "Pad", "Transpose", "ScatterND", "ConstantOfShape", "Squeeze", "Flatten"}
)
"""Through which a large negative number goes to a softmax; parity decides whether it did."""


def keep_fp32_inputs(graph: Any) -> set[str]:
    """Give inputs that are fp32 in any case tensors of their own, in place; returns the names of those tensors.

    One that is computed gets a cast to fp32, which is right once the rest has 16 bits.
    """
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    tensors |= {node.output[0]: constant_tensor(node) for node in graph.node if node.op_type == "Constant"}
    fp32: set[str] = set()
    casts: dict[str, Any] = {}
    for node in graph.node:
        for place in FP32_INPUTS.get(node.op_type, ()):
            source = node.input[place] if place < len(node.input) else ""
            if not source:
                continue
            name = f"{source}{_KEPT_FP32}"
            node.input[place] = name
            if name in fp32 or name in casts:
                continue
            tensor = tensors.get(source)
            if tensor is None:
                casts[name] = helper.make_node("Cast", [source], [name], to=TensorProto.DOUBLE)
                continue
            copy = TensorProto()
            copy.CopyFrom(tensor)
            copy.name = name
            graph.initializer.append(copy)
            fp32.add(name)
    for cast in casts.values():
        _insert_after(graph, cast)
    _drop_unused(graph)
    return fp32


def finish_fp32_casts(graph: Any) -> None:
    """Let the casts of `keep_fp32_inputs` end in fp32: they are marked by another type while all else is halved."""
    for node in graph.node:
        if node.op_type == "Cast" and node.output[0].endswith(_KEPT_FP32):
            node.attribute[0].i = TensorProto.FLOAT


def uses(graph: Any) -> dict[str, set[str]]:
    """Name of a value → the operators that read it."""
    readers: dict[str, set[str]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, set()).add(node.op_type)
    return readers


def in_range(values: NDArray[np.float32], readers: set[str]) -> NDArray[np.float32] | None:
    """``values`` within half precision where that changes no answer: bounds and masks; None: they do not fit.

    Infinity is a number of half precision, and stays.
    """
    beyond = np.isfinite(values) & (np.abs(values) > LARGEST)
    if not beyond.any():
        return values
    if readers and readers <= BOUNDS:
        return np.where(beyond, np.clip(values, -LARGEST, LARGEST), values)
    if readers and readers <= MASKING and bool((values[beyond] < 0).all()):
        return np.where(beyond, np.float32(MASKED), values)
    return None


def _insert_after(graph: Any, cast: Any) -> None:
    """Put a cast behind the node that makes its input; first where that is an input of the graph."""
    makers = [place for place, node in enumerate(graph.node) if cast.input[0] in node.output]
    graph.node.insert(makers[0] + 1 if makers else 0, cast)


def _drop_unused(graph: Any) -> None:
    read = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in read]:
        graph.initializer.remove(tensor)
    for node in [node for node in graph.node if node.op_type == "Constant" and node.output[0] not in read]:
        graph.node.remove(node)
