"""``onnx-fp32``: a static ONNX graph by way of torch.export; a leaf over onnx, which is partly untyped."""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import collections
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import TensorProto
from onnx_ir.passes import common as common_passes
from onnxscript import ir, optimizer, rewriter
from onnxscript.rewriter.rules import common

from vitdeploy.artifacts import manifest
from vitdeploy.artifacts.manifest import Beside, Tensor
from vitdeploy.catalog import graph_io
from vitdeploy.catalog.spec import Layout, ModelSpec
from vitdeploy.errors import Impossible, ToolchainFailed
from vitdeploy.exporters.job import ExportedFile, StepJob
from vitdeploy.exporters.rewrites import constants, opset, table, winograd, winograd_graph
from vitdeploy.exporters.rewrites.four_dimensions import FourDimensionalAttention
from vitdeploy.models.user_onnx import OnnxModule
from vitdeploy.processes import stages

FILE = "model.onnx"
DATA = "model.onnx.data"

OPSET = 20
"""The first with ``Gelu`` as one operator."""

BY_TORCH = "torch.export, then torch.onnx"

LARGEST_SINGLE_FILE_BYTES = 2**31 - 2**20
"""A protobuf message ends below 2 GiB; larger graphs keep their tensors in a file beside them."""

LARGEST_FOLDED = 2**24
"""Values of a constant that stands for its shape, 64 MiB. Source: a choice; a map of 64 channels at 512x512."""

FORBIDDEN = frozenset({"Shape", "ConstantOfShape", "NonZero", "Loop", "If", "Scan"})
"""What a static graph has no use for; other runtimes' parsers stumble over them."""

RULES = (
    common.fuse_batchnorm_into_conv_rule,
    common.fuse_batchnorm_into_gemm_rule,
    common.collapse_slice_rule,
    common.collapse_slice2_rule,
    common.no_op_expand_rule,
    common.no_op_transpose_rule,
    common.no_op_cast_rule,
    common.reshape_reshape_rule,
    common.transpose_transpose_rule,
    common.unsqueeze_unsqueeze_rule,
    common.materialize_reshape_shape_rule,
)
"""onnxscript's clean-up without its ``add_0_rule``.

That rule takes any constant below 1e-8 for zero and drops the addition, and with it the epsilon (1e-15)
that keeps linear attention's denominator from zero: torch's default export divides 0 by 0 and returns
NaN on photographs, where the module returns numbers. Measured in tests/contracts/test_exporters.py.
"""

_DTYPES = {
    TensorProto.FLOAT: "float32",
    TensorProto.FLOAT16: "float16",
    TensorProto.UINT8: "uint8",
    TensorProto.INT32: "int32",
    TensorProto.INT64: "int64",
    TensorProto.BOOL: "bool",
    TensorProto.INT8: "int8",
    TensorProto.INT16: "int16",
    TensorProto.UINT16: "uint16",
    TensorProto.UINT32: "uint32",
    TensorProto.UINT64: "uint64",
    TensorProto.DOUBLE: "float64",
}


def make(model: torch.nn.Module, spec: ModelSpec, job: StepJob) -> ExportedFile:
    """Export ``model`` with the job's rewrites into ``job.folder``.

    Raises:
        ToolchainFailed: the exporter or the checker refuses, or the graph is not static.
    """
    inputs = zeros(spec, job)
    stages.begin("rewrite")
    rewritten, applied = table.rewritten(model, job.rewrites, *inputs.values(), left_out=job.left_out)
    graph = exported(rewritten, inputs, graph_io.outputs(spec, job.variant.head))
    origin = "the nodes of the user's file" if isinstance(model, OnnxModule) else BY_TORCH
    tiles: dict[str, int] = {}
    if table.WINOGRAD in job.rewrites:
        graph, tiles = winograd_graph.winograd_convolutions(graph, job.left_out)
        tiles |= winograd.tiles_of(rewritten)
        _refuse_unknown_layers(job.left_out, tiles)
        if table.WINOGRAD not in applied and set(tiles.values()) - {1}:
            applied = (*applied, table.WINOGRAD)
    return replace(write(graph, job.folder, rewrites=applied, origin=origin), winograd_rows=tiles)


def _refuse_unknown_layers(left_out: Sequence[str], tiles: Mapping[str, int]) -> None:
    """Refuse to leave out a layer that the graph does not have.

    Raises:
        Impossible: there is none of that name.
    """
    for name in left_out:
        if name.partition(":")[0] not in tiles:
            layers = ", ".join(sorted(tiles)) or "none"
            raise Impossible(f"{table.WINOGRAD} has no layer {name} in this graph", f"Its layers: {layers}.")


def write(
    graph: Any, folder: Path, *, rewrites: tuple[str, ...], precision: str = "", origin: str = BY_TORCH
) -> ExportedFile:
    """Write a graph without notes of this machine, and check it.

    Args:
        precision: how its precision came about, for the recipe.
        origin: who wrote its nodes, for the recipe.

    Raises:
        ToolchainFailed: the graph is not static.
    """
    stages.begin("write")
    strip(graph)
    beside = save(graph, folder)
    onnx.checker.check_model(str(folder / FILE), full_check=True)
    return ExportedFile(
        file=FILE,
        inputs=tuple(tensor(value) for value in graph.graph.input),
        outputs=tuple(tensor(value) for value in graph.graph.output),
        recipe=f"{origin} at opset {opset.opset_of(graph)}, after the rewrites named{precision}",
        operators=dict(sorted(collections.Counter(node.op_type for node in graph.graph.node).items())),
        rewrites=rewrites,
        beside=beside,
    )


def zeros(spec: ModelSpec, job: StepJob) -> dict[str, torch.Tensor]:
    """Tensors shaped and typed as the inputs of the job's graph, by name."""
    entries = graph_io.inputs(spec, size=job.variant.size, batch=job.variant.batch, io=job.variant.io)
    return {entry.name: torch.zeros(entry.shape, dtype=getattr(torch, entry.dtype)) for entry in entries}


def exported(model: torch.nn.Module, inputs: Mapping[str, torch.Tensor], outputs: Sequence[str]) -> Any:
    """The ONNX graph of ``model`` as a ``ModelProto``.

    Args:
        model: called as ``model(*inputs.values())``; it returns one tensor, or as many as there are ``outputs``.
        inputs: tensors shaped and typed as the graph's inputs, by name.
        outputs: their names.
    """
    stages.begin("trace")
    if isinstance(model, OnnxModule):
        (image,) = inputs.values()
        answer = model(image)  # what the graph cannot take is refused by what it is, before anything is made of it
        graph = model.fixed(tuple(image.shape), outputs[0])
        constants.write_as_tensors(graph.graph)
        stages.begin("fold")
        graph = opset.at_opset(graph, OPSET, model.path.name)
        graph = folded(model.with_tensors(graph))
        if open_nodes := forbidden(graph):
            raise Impossible(
                f"{model.path.name} is not static at {list(image.shape)}: {', '.join(open_nodes)} stay in it",
                "Export it without control flow and with fixed sizes.",
            )
        (entry,) = graph.graph.output
        kind = entry.type.tensor_type.elem_type
        entry.CopyFrom(onnx.helper.make_tensor_value_info(entry.name, kind, list(answer.shape)))
        return graph
    with torch.no_grad(), FourDimensionalAttention():
        program = torch.onnx.export(
            model.eval(),
            tuple(inputs.values()),
            dynamo=True,
            input_names=list(inputs),
            output_names=list(outputs),
            opset_version=OPSET,
            verbose=False,
            optimize=False,
        )
    if program is None:
        raise ToolchainFailed("torch.onnx.export returned no program", "Read the step's log.")
    stages.begin("fold")
    clean(program.model)
    return program.model_proto


def clean(graph: Any) -> None:
    """Fold constants and drop what does nothing, in place."""
    for _ in range(2):  # folding makes constants that rules match, and rules make constants to fold
        optimizer.fold_constants(graph)
        rewriter.rewrite(graph, RULES)
    _drop_idle_casts(graph)
    if any(node.op_type in FORBIDDEN for node in graph.graph):  # of shapes that the exporter did not note down
        optimizer.fold_constants(graph, onnx_shape_inference=True)
    if any(node.op_type == "ConstantOfShape" for node in graph.graph):  # users' graphs have them
        optimizer.fold_constants(
            graph, onnx_shape_inference=True, should_fold=_is_filled, output_size_limit=LARGEST_FOLDED
        )
    optimizer.remove_unused_nodes(graph)


def _is_filled(node: Any) -> bool | None:
    """Whether a node is a tensor of one value, which onnxscript leaves alone for the sake of the file's size."""
    return True if node.op_type == "ConstantOfShape" else None


def folded(proto: Any) -> Any:
    """A stranger's graph, cleaned like ours."""
    graph = ir.from_proto(proto)
    clean(graph)
    return ir.to_proto(graph)


def _drop_idle_casts(graph: Any) -> None:
    """Take out ``CastLike`` nodes between equal types, which torch leaves in group norms and onnx2tf does not know."""
    casts = [node for node in graph.graph if node.op_type == "CastLike"]
    if casts:
        common_passes.ShapeInferencePass()(graph)
    for node in casts:
        source, like = node.inputs
        if source.dtype is not None and source.dtype == like.dtype:
            ir.convenience.replace_all_uses_with(node.outputs[0], source)
            graph.graph.remove(node)


def plain(model: torch.nn.Module, image: torch.Tensor, path: Path) -> None:
    """What everybody gets: torch's default export of the module as it is, without any rewrite."""
    with torch.no_grad():
        torch.onnx.export(model.eval(), (image,), str(path), dynamo=True, verbose=False, external_data=False)


def save(graph: Any, folder: Path) -> tuple[Beside, ...]:
    """Write the graph; beyond 2 GiB its tensors go into a file beside it, and ``graph`` is left without them."""
    if tensor_bytes(graph) < LARGEST_SINGLE_FILE_BYTES:
        onnx.save(graph, str(folder / FILE))
        return ()
    onnx.save(graph, str(folder / FILE), save_as_external_data=True, all_tensors_to_one_file=True, location=DATA)
    data = folder / DATA
    return (Beside(file=DATA, sha256=manifest.digest_of(data), size_bytes=data.stat().st_size),)


def tensor_bytes(graph: Any) -> int:
    """Bytes of a graph's weights. ``ByteSize`` of the whole raises beyond 2 GiB, which is what one wants to know."""
    return sum(len(tensor.raw_data) for tensor in graph.graph.initializer)


def strip(graph: Any) -> None:
    """Drop notes of the machine it was made on (paths, stack traces), so that the same model gives the same bytes."""
    graph.ClearField("metadata_props")
    graph.ClearField("doc_string")
    graph.producer_version = ""
    inner = graph.graph
    inner.ClearField("doc_string")
    inner.ClearField("value_info")
    for item in (inner, *inner.node, *inner.input, *inner.output, *inner.initializer):
        item.ClearField("metadata_props")
        item.ClearField("doc_string")
    if open_nodes := forbidden(graph):
        raise ToolchainFailed(
            f"the graph is not static, it still has {', '.join(open_nodes)}", "Report it with the model's name."
        )


def forbidden(graph: Any) -> list[str]:
    """The operators of a graph that no static one has."""
    return sorted({node.op_type for node in graph.graph.node} & FORBIDDEN)


def tensor(value: Any) -> Tensor:
    """A graph's input or output as the manifest describes it."""
    kind = value.type.tensor_type
    shape = tuple(dimension.dim_value for dimension in kind.shape.dim)
    layouts: dict[int, Layout] = {4: "NCHW", 2: "NC"}
    return Tensor(name=value.name, shape=shape, dtype=_DTYPES[kind.elem_type], layout=layouts.get(len(shape), "other"))
