"""Both TFLite converters behind one call: each in a process and a directory of its own, its log kept.

They print pages, may crash or kill their interpreter, and litert-torch wants packages that do not live beside
tensorflow; so neither is imported here. A leaf over onnx, which is partly untyped.
"""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import onnx
import torch
from onnx_ir.passes import common as common_passes
from onnxscript import ir, optimizer

from vitdeploy.catalog import import_graph
from vitdeploy.errors import ToolchainFailed
from vitdeploy.exporters import to_onnx
from vitdeploy.exporters.rewrites import constants
from vitdeploy.exporters.tflite import channels_last_norms, litert_torch_env, resize_products
from vitdeploy.exporters.tflite.onnx2tf_process import MAP_RANK
from vitdeploy.processes import child_reply, stages

SingleConverter = Literal["onnx2tf", "litert-torch"]
"""A converter, where `vitdeploy.catalog.spec.Converter` has ``best`` as well."""

CONVERTERS: Final[tuple[SingleConverter, ...]] = ("onnx2tf", "litert-torch")

LIMIT_S = 3000.0
"""A conversion that takes longer is killed. L3, the largest here, takes minutes on two busy cores."""

LARGEST_FOLDED = 2**24
"""Elements of a constant that is computed when the graph is made. The largest here are a mask decoder's positions
(2**20); what it keeps out is a stranger's constants of hundreds of megabytes."""

OFFLINE: Final = {"HTTP_PROXY": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": ""}
"""Whatever a converter would fetch unasked is refused at once (port 9 discards), with or without a network."""


def convert(
    model: torch.nn.Module,
    inputs: Mapping[str, torch.Tensor],
    outputs: Sequence[str],
    file: Path,
    converter: SingleConverter,
) -> None:
    """Write ``model``, called on ``inputs``, as a TFLite file whose maps have their channels last.

    Args:
        inputs: tensors shaped and typed as the graph's inputs, channels first, by name.
        outputs: names of the graph's outputs.

    Raises:
        ToolchainFailed: the converter failed; the message names its log.
        MissingPackage: the interpreter that is named for litert-torch is no program.
    """
    with tempfile.TemporaryDirectory(prefix="vitdeploy-tflite-") as place:
        folder = Path(place)
        if converter == "onnx2tf":
            graph = folder / "model.onnx"
            save_graph(suited(to_onnx.exported(model, inputs, outputs)), graph)
            run_onnx2tf(graph, file, folder)
        else:
            program = folder / "model.pt2"
            stages.begin("trace")
            with torch.no_grad():
                torch.export.save(torch.export.export(model.eval(), tuple(inputs.values())), program)
            script = import_graph.file_of("vitdeploy.exporters.tflite.litert_torch_process")
            command = [str(litert_torch_env.litert_torch()), "-I", str(script)]
            _run(converter, [*command, str(program), str(file)], folder, file)


def run_onnx2tf(graph: Path, file: Path, folder: Path, *, plain: bool = False) -> None:
    """Convert an ONNX graph by onnx2tf, in ``folder``; ``plain`` as in `vitdeploy.exporters.tflite.onnx2tf_process`.

    Raises:
        ToolchainFailed: it failed; the message names its log.
    """
    command = [sys.executable, "-m", "vitdeploy.exporters.tflite.onnx2tf_process"]
    _run("onnx2tf", command, folder, file, {"graph": graph, "file": file, "plain": plain})


def suited(proto: Any) -> Any:
    """A graph that onnx2tf gets right: nothing left to compute before the inputs are known, and maps turned in it.

    It guesses by inference on two sides which axis became which, and ends in an error where a value depends on no
    input. A map that leaves a layer norm it would leave channels first; one that the graph turns, it does not touch.
    """
    graph = ir.from_proto(resize_products.resizes_as_products(proto))
    channels_last_norms.norms_in_place(graph)
    optimizer.fold_constants(graph, input_size_limit=LARGEST_FOLDED, output_size_limit=LARGEST_FOLDED)
    optimizer.remove_unused_nodes(graph)
    for index, output in enumerate(graph.graph.outputs):
        if output.shape is not None and len(output.shape) == MAP_RANK:
            turn = ir.node(
                "Transpose", [output], {"perm": channels_last_norms.CHANNELS_LAST}, name=f"channels_last_{index}"
            )
            turned = turn.outputs[0]
            turned.name, output.name = output.name, f"{output.name}_channels_first"
            turned.shape, turned.type = (
                ir.Shape([output.shape[axis] for axis in channels_last_norms.CHANNELS_LAST]),
                output.type,
            )
            graph.graph.append(turn)
            graph.graph.outputs[index] = turned
    common_passes.ShapeInferencePass()(graph)
    return ir.to_proto(graph)


def save_graph(graph: Any, file: Path) -> None:
    """Write an ONNX graph, its tensors beside it where they do not fit into one protobuf message."""
    constants.lift_constants(graph.graph)  # onnx2tf 1.28 stumbles over those written as lists of numbers
    large = to_onnx.tensor_bytes(graph) >= to_onnx.LARGEST_SINGLE_FILE_BYTES
    onnx.save(graph, str(file), save_as_external_data=large)


def _run(converter: SingleConverter, command: Sequence[str], folder: Path, file: Path, job: Any = None) -> None:
    log = child_reply.log_file(converter)
    stages.begin("convert")
    result = child_reply.run_local(
        command,
        job,
        what=converter,
        timeout_s=LIMIT_S,
        log=log,
        own_group=False,  # in the group of this process, so that what kills this step kills the converter too
        folder=folder,
        environment=os.environ | OFFLINE | {"TMPDIR": str(folder), "PYTHONPATH": _import_path()},
    )
    if result.exit_code != 0 or not file.is_file():
        error = child_reply.failure(converter, result, log)
        if job is not None and (reply := child_reply.decode(result, type(None))):
            error = child_reply.error_of(reply, converter, result, log)
        raise ToolchainFailed(error.message, error.hint + " Try --converter litert-torch." * (converter == "onnx2tf"))


def _import_path() -> str:
    """The search path of this process, for a child that runs in another directory."""
    return os.pathsep.join(str(Path(entry).resolve()) for entry in sys.path)
