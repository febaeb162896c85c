"""What a TFLite file holds and who runs it: operators with counts, and the share of the XNNPACK delegate.

A leaf over ai-edge-litert, which is untyped.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportAttributeAccessIssue=false

import collections
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from vitdeploy.artifacts.manifest import Delegation, Tensor
from vitdeploy.errors import ToolchainFailed

DELEGATE = "XNNPACK"
TRANSPOSE = "TRANSPOSE"

IDENTIFIER = b"TFL3"
"""Source: ``file_identifier`` of TensorFlow's ``schema.fbs``; it stands behind the first offset."""


def operators(file: Path) -> dict[str, int]:
    """Operator → count, from the file alone; a custom or TensorFlow operator has its own name, ``FlexResizeBicubic``.

    Raises:
        ToolchainFailed: the file is not TFLite.
    """
    content = file.read_bytes()
    if content[4:8] != IDENTIFIER:
        raise ToolchainFailed(f"{file} is not a TFLite file", "Export the model again.")
    try:
        model: Any = schema.Model.GetRootAs(content, 0)
        codes = [_name(model.OperatorCodes(index)) for index in range(model.OperatorCodesLength())]
        counts: collections.Counter[str] = collections.Counter()
        for index in range(model.SubgraphsLength()):
            graph = model.Subgraphs(index)
            counts.update(codes[graph.Operators(i).OpcodeIndex()] for i in range(graph.OperatorsLength()))
    except (struct.error, ValueError, TypeError, IndexError, AttributeError) as error:
        raise ToolchainFailed(f"{file} is not a TFLite file: {error}", "Export the model again.") from error
    return dict(sorted(counts.items()))


def tensors(file: Path) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """The inputs and outputs of a file that nobody described, as a manifest has them.

    Raises:
        ToolchainFailed: the runtime refuses the file.
    """
    interpreter = _loaded(file)
    inputs, outputs = (
        tuple(
            Tensor(
                name=str(entry["name"]),
                shape=tuple(int(side) for side in entry["shape"]),
                dtype=np.dtype(entry["dtype"]).name,
                layout="NHWC" if len(entry["shape"]) == 4 else "other",
            )
            for entry in entries
        )
        for entries in (interpreter.get_input_details(), interpreter.get_output_details())
    )
    return inputs, outputs


def foreign(counts: Mapping[str, int]) -> list[str]:
    """Names of the operators that a runtime with TFLite's own operators does not have."""
    return sorted(name for name in counts if name not in _BUILTIN.values())


def refuse_foreign(file: Path) -> None:
    """See that a file needs nothing but TFLite's own operators.

    Raises:
        ToolchainFailed: it needs others; the message names them.
    """
    names = foreign(operators(file))
    if names:
        raise ToolchainFailed(
            f"the file needs {', '.join(names)}, which TFLite does not have", "Leave all rewrites in."
        )


def delegation(file: Path) -> Delegation:
    """Load the file as `vitdeploy.runtimes.on_tflite` does and see which nodes the delegate took.

    A node that it took is one from which a delegate's output is computed, without passing a delegate's input.

    Raises:
        ToolchainFailed: the runtime refuses the file.
    """
    nodes: Sequence[Any] = getattr(_loaded(file), "_get_ops_details")()  # noqa: B009 - no public name for it
    parts = [node for node in nodes if node["op_name"] == "DELEGATE"]
    originals = {int(node["index"]): node for node in nodes if node["op_name"] != "DELEGATE"}
    maker = {int(tensor): index for index, node in originals.items() for tensor in node["outputs"]}
    taken: set[int] = set()
    for part in parts:
        inputs = {int(tensor) for tensor in part["inputs"]}
        waiting = [int(tensor) for tensor in part["outputs"]]
        while waiting:
            index = maker.get(waiting.pop())
            if index is None or index in taken:
                continue
            taken.add(index)
            waiting += [int(t) for t in originals[index]["inputs"] if int(t) not in inputs]
    names = {index: str(node["op_name"]) for index, node in originals.items()}
    return Delegation(
        delegate=DELEGATE,
        nodes=len(taken),
        partitions=len(parts),
        left=_counts(name for index, name in names.items() if index not in taken),
        taken=_counts(names[index] for index in taken),
        transposes=sum(name == TRANSPOSE for name in names.values()),
    )


def _loaded(file: Path) -> Any:
    try:
        interpreter: Any = Interpreter(model_path=str(file), num_threads=1)
        interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        raise ToolchainFailed(f"ai-edge-litert refuses {file}: {error}", "Export the model again.") from error
    return interpreter


def _counts(names: Any) -> dict[str, int]:
    return dict(sorted(collections.Counter(names).items()))


def _name(code: Any) -> str:
    # Files from before the 128th operator have the number in the older field alone.
    number = max(int(code.BuiltinCode()), int(code.DeprecatedBuiltinCode()))
    if number == schema.BuiltinOperator.CUSTOM:
        return bytes(code.CustomCode()).decode()
    return _BUILTIN.get(number, f"operator {number}")


_BUILTIN: dict[int, str] = {
    number: name
    for name, number in vars(schema.BuiltinOperator).items()
    if isinstance(number, int) and name != "CUSTOM"
}
