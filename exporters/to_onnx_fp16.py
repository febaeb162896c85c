"""``onnx-fp16`` and ``onnx-bf16``: the model's graph with every tensor in 16 bits, rewritten so that they hold it."""

# pyright: reportUnknownMemberType=false

from typing import Any

import torch

from vitdeploy.catalog import graph_io
from vitdeploy.catalog.spec import ModelSpec
from vitdeploy.exporters import to_onnx
from vitdeploy.exporters.half.graph import halved
from vitdeploy.exporters.job import ExportedFile, StepJob
from vitdeploy.exporters.rewrites import table
from vitdeploy.processes import stages


def make(model: torch.nn.Module, spec: ModelSpec, job: StepJob) -> ExportedFile:
    """Export ``model`` in the target's precision with the job's rewrites into ``job.folder``.

    Raises:
        ToolchainFailed: the exporter or the checker refuses, or a weight does not fit into half precision.
    """
    precision = job.target.precision
    whole, applied = widened(model, spec, job)
    stages.begin("round")
    graph = halved(whole, half_io=job.variant.io == "fp16", precision=precision)
    norms = any(node.op_type == "LayerNormalization" for node in graph.graph.node)
    words = f"; all tensors in {precision}, with one cast at each fp32 input and output"
    words += "; a layer norm is one operator with its statistics in fp32" * norms
    return to_onnx.write(graph, job.folder, rewrites=applied, precision=words)


def widened(model: torch.nn.Module, spec: ModelSpec, job: StepJob) -> tuple[Any, tuple[str, ...]]:
    """The rewritten graph before its tensors are halved, and the names of the rewrites that found something to change.

    Raises:
        ToolchainFailed: the exporter refuses.
    """
    inputs = to_onnx.zeros(spec, job)
    stages.begin("rewrite")
    rewritten, applied = table.rewritten(model, job.rewrites, *inputs.values())
    return to_onnx.exported(rewritten, inputs, graph_io.outputs(spec, job.variant.head)), applied
