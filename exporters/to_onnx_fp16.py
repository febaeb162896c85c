"""``onnx-fp16`` and ``onnx-bf16``: the model's graph with every tensor in 16 bits, rewritten so that they hold it."""

# pyright: reportUnknownMemberType=false

import collections
from typing import Any

import onnx
import torch

from vitdeploy.catalog import graph_io
from vitdeploy.catalog.spec import ModelSpec
from vitdeploy.exporters import to_onnx
from vitdeploy.exporters.half.graph import halved
from vitdeploy.exporters.job import ExportedFile, StepJob
from vitdeploy.exporters.rewrites import table


def make(model: torch.nn.Module, spec: ModelSpec, job: StepJob) -> ExportedFile:
    """Export ``model`` in the target's precision with the job's rewrites into ``job.folder``.

    Raises:
        ToolchainFailed: the exporter or the checker refuses, or a weight does not fit into half precision.
    """
    precision = job.target.precision
    whole, applied = widened(model, spec, job)
    graph = halved(whole, half_border=job.variant.io == "fp16", precision=precision)
    to_onnx.strip(graph)
    beside = to_onnx.save(graph, job.folder)
    operators = collections.Counter(str(node.op_type) for node in graph.graph.node)
    norms = "; a layer norm is one operator with its statistics in fp32" if operators["LayerNormalization"] else ""
    onnx.checker.check_model(str(job.folder / to_onnx.FILE), full_check=True)
    return ExportedFile(
        file=to_onnx.FILE,
        inputs=tuple(to_onnx.tensor(value) for value in graph.graph.input),
        outputs=tuple(to_onnx.tensor(value) for value in graph.graph.output),
        recipe=f"torch.export, then torch.onnx at opset {to_onnx.OPSET}, after the rewrites named; all tensors in "
        f"{precision}, with one cast at each border that is fp32{norms}",
        operators=dict(sorted(operators.items())),
        rewrites=applied,
        beside=beside,
    )


def widened(model: torch.nn.Module, spec: ModelSpec, job: StepJob) -> tuple[Any, tuple[str, ...]]:
    """The rewritten graph before its tensors are halved, and the names of the rewrites that found something to change.

    Raises:
        ToolchainFailed: the exporter refuses.
    """
    inputs = to_onnx.zeros(spec, job)
    rewritten, applied = table.rewritten(model, job.rewrites, *inputs.values())
    return to_onnx.exported(rewritten, inputs, graph_io.outputs(spec, job.variant.head)), applied
