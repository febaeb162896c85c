"""Half precision under stress: the same function with larger queries and keys, plain against ours, one table.

    python -m vitdeploy.benchmarks.studies.fp16_stress WEIGHTS [--images FOLDER] [--size HxW] [--factors 1,2,4,8]

Queries and keys are multiplied by a factor that linear attention cancels, so fp32 computes the same for every row.
Every graph is run with every tensor rounded to half precision after every node. ``plain`` is the published attention in
half precision, where its epsilon is 0; ``plain with eps 1e-7`` is what common converters make of it; ``ours`` is what
``onnx-fp16`` is made with. Weights are an official checkpoint of the model, or ``random``.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

from vitdeploy.benchmarks.studies import command_line
from vitdeploy.benchmarks.studies.command_line import print_table, with_errors
from vitdeploy.catalog import registry
from vitdeploy.catalog.spec import Attention, ModelSpec, Size
from vitdeploy.errors import UsageError
from vitdeploy.images import photos
from vitdeploy.models.efficientvit_blocks import MultiScaleAttention, ReluLinearAttention

MODEL = "efficientvit_seg_b0_cityscapes"
TARGET = "onnx-fp16"

GRAPHS = ("plain", "plain with eps 1e-7", "ours")

RAISED_TO = 1e-7
"""Smaller constants become this. Source: min_positive_val in onnxconverter_common/float16.py."""

SMALLEST = 2.0**-24
"""Of half precision above zero: what is smaller may become 0. Source: IEEE 754-2019, binary16."""

CANCELS = 0.01
"""Of the outputs' root mean square: a sum over terms of both signs that is smaller may round to 0. What an overflow or
a lost epsilon zeroes is as large as its neighbours. Source: a choice; of a million outputs five, within 0.3 %, came
out as 0.
"""

Pictures = Mapping[str, NDArray[np.float32]]
"""Name of a picture → the model's input."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StressRow:
    """One graph at one factor."""

    factor: float
    graph: str
    largest: float
    """Largest divisor of the published attention in fp32; half precision ends at 65 504."""
    broken: float
    """Share of the attention's outputs that are NaN or Inf, or 0 where more than rounding makes them so."""
    agreement: Mapping[str, float | None]
    """Share of equal pixels for each picture; None: the output holds NaN or Inf."""


def stretched(model: Any, factor: float) -> Any:
    """The same function, eps aside: queries and keys times ``factor``, in place."""
    for module in model.modules():
        if isinstance(module, MultiScaleAttention):
            conv = module.qkv.conv
            dim = getattr(module.attention, "dim", 0)
            rows = [row for row in range(conv.out_channels) if row // dim % 3 != 2]
            with torch.no_grad():
                conv.weight[rows] *= factor
                if conv.bias is not None:
                    conv.bias[rows] *= factor
    return model


def largest_divisor(model: Any, image: NDArray[np.float32]) -> float:
    """The largest sum that the published attention divides by, in fp32."""
    maxima = [0.0]

    def look(module: Any, inputs: tuple[Any, ...]) -> None:
        n, _, h, w = inputs[0].shape
        q, k, _ = torch.split(inputs[0].reshape(n, -1, 3 * module.dim, h * w), module.dim, dim=2)
        divisors = torch.relu(k).sum(dim=-1).unsqueeze(-2) @ torch.relu(q)
        maxima.append(float(divisors.max()))

    hooks = [m.register_forward_pre_hook(look) for m in model.modules() if isinstance(m, ReluLinearAttention)]
    with torch.inference_mode():
        model(torch.from_numpy(image))
    for hook in hooks:
        hook.remove()
    return max(maxima)


def graphs(
    model: Any, spec: ModelSpec, attention: Attention, size: Size, kinds: Sequence[str] = GRAPHS
) -> Iterator[tuple[str, Any]]:
    """The half-precision graphs of ``model`` as `GRAPHS` names them; only ours where nothing is rewritten for its sake.

    Raises:
        ToolchainFailed: the exporter refuses.
    """
    exporter = registry.load("vitdeploy.exporters.to_onnx_fp16")
    halved = registry.load("vitdeploy.exporters.half.graph:halved")
    ours = registry.find_target(TARGET).rewrites
    job = registry.load("vitdeploy.exporters.job:StepJob")(
        variant=registry.variant_of(spec, TARGET, size=size, attention=attention),
        rewrites=ours,
        folder=Path(),
    )
    whole, applied = exporter.widened(model, spec, job)
    if "ours" in kinds:
        yield "ours", halved(whole, half_io=False)
    if set(kinds) == {"ours"}:
        return
    # What fp32 is rewritten by, too, has nothing to do with half precision.
    shared = tuple(name for name in ours if name in registry.find_target("onnx-fp32").rewrites)
    if set(applied) <= set(shared):
        return
    whole, _ = exporter.widened(model, spec, replace(job, rewrites=shared))
    if "plain" in kinds:
        yield "plain", halved(whole, half_io=False)
    if GRAPHS[1] in kinds:
        _raise_constants(whole)
        yield GRAPHS[1], halved(whole, half_io=False)


def rows(weights: Path | None, pictures: Pictures, size: Size, factors: Sequence[float]) -> Iterator[StressRow]:
    """The table, a row at a time.

    Raises:
        UnreadableFile: the checkpoint is not one of `MODEL`.
    """
    spec, create = registry.find_model(MODEL), registry.load("vitdeploy.models.create:create")
    reference = create(spec, weights=weights)
    with torch.inference_mode():
        expected = {name: reference(torch.from_numpy(image)).numpy() for name, image in pictures.items()}
    for factor in factors:
        model = stretched(create(spec, weights=weights), factor)
        largest = max(largest_divisor(model, image) for image in pictures.values())
        by_kind = dict(graphs(model, spec, "relu", size))
        for kind in GRAPHS:
            agreement, broken = _judged(by_kind[kind], pictures, expected)
            yield StressRow(factor=factor, graph=kind, largest=largest, broken=broken, agreement=agreement)


def _judged(
    graph: Any, pictures: Pictures, expected: Mapping[str, NDArray[Any]]
) -> tuple[dict[str, float | None], float]:
    ratios = _attention_outputs(graph)
    sessions = [session(graph, ratios, rounding=rounding) for rounding in (True, False)]
    agreement: dict[str, float | None] = {}
    broken = values = 0
    for name, image in pictures.items():
        (logits, *rounded), (_, *wide) = (session.run(None, {"image": image}) for session in sessions)
        same = logits.argmax(axis=1) == expected[name].argmax(axis=1)
        agreement[name] = float(same.mean()) if np.isfinite(logits).all() else None
        for narrow, exact in zip(rounded, wide, strict=True):
            broken += count_broken(narrow, exact)
            values += narrow.size
    return agreement, broken / max(1, values)


def count_broken(narrow: NDArray[Any], exact: NDArray[Any]) -> int:
    """How many of ``narrow`` are NaN or Inf, or 0 where more than rounding makes them so; both of one shape."""
    size = float(np.sqrt(np.square(exact, dtype=np.float64).mean()))
    zeroed = (narrow == 0) & (np.abs(exact) > max(SMALLEST, CANCELS * size))
    return int(np.count_nonzero(zeroed | ~np.isfinite(narrow)))


def _attention_outputs(graph: Any) -> list[str]:
    """Of the divisions that end an attention: they are reshaped into maps again."""
    reshaped = {node.input[0] for node in graph.graph.node if node.op_type == "Reshape"}
    return [str(node.output[0]) for node in graph.graph.node if node.op_type == "Div" and node.output[0] in reshaped]


def session(graph: Any, more: Sequence[str] = (), *, rounding: bool = True) -> Any:
    """An ONNX Runtime session of a half-precision graph with every tensor rounded after its node.

    Args:
        more: tensors to return after the outputs.
        rounding: False: the same graph in fp32.
    """
    model = registry.load("vitdeploy.exporters.half.graph:rounded")(graph, rounding=rounding)
    model.graph.output.extend(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in more)
    return registry.load("vitdeploy.exporters.half.on_rounded:session")(model, os.cpu_count() or 1)


def _raise_constants(graph: Any) -> None:
    constants = [a.t for node in graph.graph.node for a in node.attribute if a.type == onnx.AttributeProto.TENSOR]
    for tensor in (*graph.graph.initializer, *constants):
        if tensor.data_type == onnx.TensorProto.FLOAT:
            values = numpy_helper.to_array(tensor)
            raised = np.where((values > 0) & (values < RAISED_TO), np.float32(RAISED_TO), values)
            tensor.CopyFrom(numpy_helper.from_array(raised.astype(np.float32), tensor.name))


def _pictures(size: Size, folder: Path | None) -> Pictures:
    spec = registry.find_model(MODEL)
    paths = photos.in_folder(folder) if folder else photos.bundled()[:1]
    pictures = {"noise": photos.noise(size, 1, seed=0)[0]}
    pictures |= {path.stem: photos.center_crop(photos.read(path), size) for path in paths}
    return {name: photos.normalized([photo], spec.preprocessing) for name, photo in pictures.items()}


def _words(share: float | None) -> str:
    return "NaN or Inf" if share is None else f"{share:.2%}"


@with_errors
def main() -> int:
    """Run the stress and print the table."""
    parser = command_line.parser(__file__, __doc__)
    parser.add_argument("weights", help=f"an official checkpoint of {MODEL}, or: random")
    parser.add_argument("--images", type=Path, help="folder of photographs; default: one that scikit-learn ships")
    parser.add_argument("--size", default="1024x2048")
    parser.add_argument("--factors", default="1,2,4,8")
    options = parser.parse_args()
    size = registry.parse_size(options.size)
    try:
        factors = [float(factor) for factor in options.factors.split(",")]
    except ValueError:
        raise UsageError(f"--factors {options.factors!r} are no numbers", "Write them as 1,2,4,8.") from None
    pictures = _pictures(size, options.images)
    weights = None if options.weights == "random" else Path(options.weights)
    cells: list[tuple[str, ...]] = []
    for row in rows(weights, pictures, size, factors):
        shares = (_words(row.agreement[name]) for name in pictures)
        cells.append((f"{row.factor:g}", row.graph, f"{row.largest:,.0f}", f"{row.broken:.2%}", *shares))
    heads = ("factor", "graph", "largest divisor", "broken", *pictures)
    print_table(f"{MODEL} {options.size}, pixel agreement with fp32", heads, cells, left=("graph",))
    return 0


if __name__ == "__main__":
    sys.exit(main())
