"""Half precision of every model: whether NVIDIA's builder accepts it, and its largest error.

    python -m vitdeploy.benchmarks.studies.fp16_models [--models NAME…] [--attentions relu…]
                                                     [--out fp16.json] [--no-build]

A row is one model with one attention, seeded random weights, made in a process of its own. **Right**: the graph runs
with every tensor rounded to half precision after every node, on noise and on a photograph, and its largest error
against torch in fp32 is told in deviations of the output; ``plain`` is the model as published, ``eps 1e-7`` what common
converters make of it, ``ours`` what ``onnx-fp16`` is made with. This is at a small size. **Built**: TensorRT for RTX
parses and builds the graph of ``ours`` at the size of the published latency, for one compute capability; it runs
nothing. Finished rows are kept in ``--out``: the same command goes on, and tries again what failed.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import itertools
import logging
import multiprocessing
import resource
import sys
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, get_args

import msgspec

from vitdeploy import documents, units
from vitdeploy.artifacts import parity
from vitdeploy.benchmarks.studies import command_line, fp16_stress
from vitdeploy.benchmarks.studies.command_line import with_errors
from vitdeploy.catalog import packages, registry
from vitdeploy.catalog.spec import Attention, ModelSpec, Size

TARGET: Final = "onnx-fp16"

LARGEST_SIDE = 256
"""Numbers are looked at no larger than this, where the model may be smaller: their sizes grow with the pixels, which
`fp16_stress` looks at with real weights."""

SAMPLES = 2
"""Noise, and a photograph. Source: the order of `photographs.parity_batches`."""

COMPUTE_CAPABILITY = "8.0"
"""An A100's. Source: developer.nvidia.com/cuda-gpus"""


Graphs = Iterable[tuple[str, Any]]
"""Names of `fp16_stress.GRAPHS` and their graphs."""


class ModelRow(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one model with one attention."""

    model: str
    attention: str
    size: Size | None = None
    """At which its numbers were looked at."""
    errors: dict[str, float | None] = {}
    """Graph (`fp16_stress.GRAPHS`) → largest error in deviations; None: NaN or Inf. What nothing is rewritten in has
    one graph, ours."""
    built_at: Size | None = None
    build_ns: int | None = None
    """Parsing and building; None: not built."""
    engine_bytes: int | None = None
    failed: str | None = None
    """What was said against it."""
    peak_bytes: int = 0


def cases(names: Sequence[str], attentions: Sequence[str] = get_args(Attention)) -> list[tuple[ModelSpec, Attention]]:
    """Every model, a segment-anything model's parts in its place, with each of the attentions that it can have."""
    return [
        (spec, attention)
        for name in names
        for spec in registry.exported_models(name)
        for attention in spec.attentions
        if attention in attentions
        # A decoder has no such attention; softmax over all pixels of a picture at its own resolution needs 38 400
        # squared numbers for one head.
        and (attention != "softmax" or (spec.task != "super-resolution" and spec.part != "decoder"))
    ]


def small(spec: ModelSpec) -> Size:
    """The size at which a model's numbers are looked at."""
    if spec.sizes:
        return min(spec.sizes)
    step = spec.size_multiple
    height, width = (max(step, min(side, LARGEST_SIDE) // step * step) for side in spec.size)
    return (height, width)


def errors(model: Any, spec: ModelSpec, attention: Attention, size: Size, graphs: Graphs) -> dict[str, float | None]:
    """The largest error of each graph in deviations of the output of ``model``; None: NaN or Inf.

    Raises:
        ToolchainFailed: the exporter or ONNX Runtime refuses a graph.
    """
    reference = registry.load("vitdeploy.exporters.on_torch_fp32")
    job = registry.load("vitdeploy.exporters.job:StepJob")(
        variant=registry.variant_of(spec, "onnx-fp16", size=size, attention=attention), rewrites=(), folder=Path()
    )
    feeds = list(itertools.islice(reference.samples(job), SAMPLES))
    expected = [reference.outputs(model, feed) for feed in feeds]
    by_graph: dict[str, float | None] = {}
    for kind, graph in graphs:
        session = fp16_stress.session(graph)
        evidence = parity.Evidence(spec.task)
        for feed, outputs in zip(feeds, expected, strict=True):
            for exact, actual in zip(outputs, session.run(list(spec.outputs), feed), strict=True):
                evidence.add_further(exact, actual)
        by_graph[kind] = evidence.error_std if evidence.finite else None
    return by_graph


def built(graph: Any) -> tuple[int, int]:
    """Nanoseconds of parsing and building a half-precision graph, and the engine's bytes.

    Raises:
        ToolchainFailed: the parser or the builder refuses the graph.
    """
    builder = registry.load("vitdeploy.exporters.engines.build")
    with tempfile.TemporaryDirectory(prefix="vitdeploy-fp16-") as place:
        registry.load("vitdeploy.exporters.to_onnx:save")(graph, Path(place))
        engine = builder.build(
            builder.BuildRequest(
                graph=str(Path(place) / "model.onnx"),
                engine=str(Path(place) / "model.engine"),
                precision="fp16",
                package="tensorrt_rtx",
                compute_capability=[COMPUTE_CAPABILITY],
            )
        )
    return engine.build_ns, engine.size_bytes


def row(spec: ModelSpec, attention: Attention, *, build: bool) -> ModelRow:
    """One row; what refuses it is in the row."""
    size = small(spec)
    by_graph: dict[str, float | None] = {}
    engine: tuple[int | None, int | None] = (None, None)
    failed = None
    model = registry.load("vitdeploy.models.create:create")(spec, attention=attention)
    try:
        graphs = dict(fp16_stress.graphs(model, spec, attention, size))
        by_graph = errors(model, spec, attention, size, graphs.items())
        if build and size == spec.size:
            engine = built(graphs["ours"])
        elif build:
            del graphs
            engine = built(dict(fp16_stress.graphs(model, spec, attention, spec.size, kinds=("ours",)))["ours"])
    except Exception as error:  # noqa: BLE001 (torch's exporter has errors of its own)
        failed = command_line.why_failed(error)
    return ModelRow(
        model=spec.name,
        attention=attention,
        size=size,
        errors=by_graph,
        built_at=spec.size if build else None,
        build_ns=engine[0],
        engine_bytes=engine[1],
        failed=failed,
        peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    )


def _answer(pipe: Connection, name: str, attention: Attention, build: bool) -> None:
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    pipe.send_bytes(msgspec.json.encode(row(registry.find_model(name), attention, build=build)))


def alone(spec: ModelSpec, attention: Attention, *, build: bool) -> ModelRow:
    """`row` in a process of its own, which may crash."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(theirs, spec.name, attention, build))
    process.start()
    theirs.close()
    try:
        return msgspec.json.decode(ours.recv_bytes(), type=ModelRow)
    except EOFError:
        process.join()
        return ModelRow(model=spec.name, attention=attention, failed=f"its process ended with {process.exitcode}")
    finally:
        process.join()


def run(todo: Sequence[tuple[ModelSpec, Attention]], out: Path | None, *, build: bool) -> Iterator[ModelRow]:
    """A row for each of `cases`, those of ``out`` that did not fail as they are; it is rewritten after each."""
    earlier = msgspec.json.decode(out.read_bytes(), type=list[ModelRow]) if out is not None and out.is_file() else []
    by_case = {(row.model, row.attention): row for row in earlier}
    for spec, attention in todo:
        row = by_case.get((spec.name, attention))
        if row is None or row.failed or (build and row.built_at is None):
            row = alone(spec, attention, build=build)
            by_case[spec.name, attention] = row
            if out is not None:
                documents.write(out, list(by_case.values()))
        yield row


def table(rows: Sequence[ModelRow]) -> str:
    """The rows in Markdown, and below it what failed."""
    figures = ("plain", "eps 1e-7", "ours", "in", "engine")
    cells = (
        (
            row.model,
            row.attention,
            _size(row.size),
            *(_error(row.errors, kind) for kind in fp16_stress.GRAPHS),
            _size(row.built_at) if row.build_ns is not None else "**no**" if row.built_at else "–",
            f"{row.build_ns / 1e9:.1f} s" if row.build_ns is not None else "–",
            units.size_bytes(row.engine_bytes) if row.engine_bytes is not None else "–",
        )
        for row in rows
    )
    heads = ("model", "attention", "at", "plain", "eps 1e-7", "ours", "built at", "in", "engine")
    lines = command_line.markdown(heads, cells, dict.fromkeys(figures, "--:"))
    return "\n".join([*lines, "", *(f"- {row.model} {row.attention}: {row.failed}" for row in rows if row.failed), ""])


def _error(by_graph: dict[str, float | None], kind: str) -> str:
    if kind not in by_graph:
        return "the same" if by_graph and kind != "ours" else "–"
    error = by_graph[kind]
    return "NaN or Inf" if error is None else f"{error:.4f}"


def _size(size: Size | None) -> str:
    return f"{size[0]}×{size[1]}" if size else "–"


def right(row: ModelRow) -> bool:
    """Whether ours is finite and within the target's tolerance, and nothing refused it."""
    error = row.errors.get("ours")
    limit = registry.find_target(TARGET).tolerance.error_of(registry.find_model(row.model).task)
    return row.failed is None and error is not None and error <= limit


@with_errors
def main() -> int:
    """Make the rows that are missing and print the table; 1 when a model is not right or not built."""
    parser = command_line.parser(__file__, __doc__)
    parser.add_argument("--models", nargs="+", help="default: all")
    parser.add_argument("--attentions", nargs="+", choices=get_args(Attention), default=get_args(Attention))
    parser.add_argument("--out", type=Path, help="JSON with the finished rows, which are not made again")
    parser.add_argument("--no-build", action="store_true", help="look at the numbers only")
    options = parser.parse_args()
    build = not options.no_build and not packages.missing(["tensorrt_rtx"])
    rows: list[ModelRow] = []
    for row in run(cases(options.models or list(registry.models()), options.attentions), options.out, build=build):
        rows.append(row)
        print(table([row]).splitlines()[2], row.failed or "", file=sys.stderr, flush=True)
    print(table(rows))
    return int(not all(map(right, rows)))


if __name__ == "__main__":
    sys.exit(main())
