"""Speed of the ONNX rewrites: our export against torch's plain export of the same module.

    python -m vitdeploy.benchmarks.studies.export_speed [--models NAME…] [--size HxW] [--pairs 6] [--threads N]
                                                       [--each [REWRITE…]] [--target onnx-fp16]

Both files are made here from the same random weights and run by ONNX Runtime on the CPU. They take turns as the
sides of `vitdeploy duel` do: fresh processes beside each other, of which the ratio is taken turn by turn. The interval
is Student's t over the logarithms of the pairs' ratios; memory is the largest that a process has held. The rewrites are
those for this machine's CPU. With ``--each`` every rewrite is left out in turn, or those that are named: what it brings
is how much slower the file is without it. With ``--target onnx-fp16`` it is the rewrites of half precision that are
left out in turn; both graphs are computed in fp32, because a CPU computes nothing else: what they cost in operations
and memory shows, what a GPU makes of it does not. A line is printed as each model is done; one that cannot be timed is
left out with its reason.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnxruntime as ort
import torch

from vitdeploy import units
from vitdeploy.benchmarks.studies import command_line, files_by_turns, onnx_files, paired_times
from vitdeploy.benchmarks.studies.command_line import (
    LeftOut,
    each_model,
    end,
    print_table,
    say,
    size_of,
    size_words,
    with_errors,
)
from vitdeploy.benchmarks.studies.paired_times import PairedTimes
from vitdeploy.catalog import registry
from vitdeploy.catalog.spec import Attention, ModelSpec, Size
from vitdeploy.errors import Impossible, UsageError
from vitdeploy.results import stats

HALF_TARGET = "onnx-fp16"


@dataclass(frozen=True, slots=True, kw_only=True)
class Duel:
    """Two files of one model, timed in turns."""

    model: str
    size: Size
    what: str
    """What the second file is: ``all rewrites`` or ``NAME alone``."""
    times: PairedTimes
    peak_bytes: tuple[int, int] | None = None
    """Largest memory of a process with each file; None: not looked at."""


def duels(
    spec: ModelSpec, size: Size, attention: Attention, *, pairs: int, threads: int, each: Sequence[str] | None
) -> Iterator[Duel]:
    """Plain against ours; then ours without one rewrite against ours, for each that changes the file.

    Args:
        each: the rewrites that are left out in turn; empty: all. None: none is.
    """
    with tempfile.TemporaryDirectory(prefix="vitdeploy-export-speed-") as place:
        folder = Path(place)
        module = registry.load("vitdeploy.models.create:create")(spec, attention=attention)
        plain = onnx_files.plain(module, size, folder / "plain")
        names = onnx_files.fitting_rewrites()
        ours = onnx_files.ours(module, spec, size, names, folder / "ours")
        if not each:
            yield _duel(plain, ours, spec, size, "all rewrites", pairs=pairs, threads=threads)
        for name in () if each is None else each or names:
            others = [other for other in names if other != name]
            without = onnx_files.ours(module, spec, size, others, folder / name)
            if without.read_bytes() != ours.read_bytes():
                yield _duel(without, ours, spec, size, f"{name} alone", pairs=pairs, threads=threads)


def half_duels(spec: ModelSpec, size: Size, attention: Attention, *, pairs: int, threads: int) -> Iterator[Duel]:
    """Half precision's graph without one rewrite against the whole one, both in fp32, for each that changes it."""
    names = registry.find_target(HALF_TARGET).rewrites
    with tempfile.TemporaryDirectory(prefix="vitdeploy-export-speed-") as place:
        module = registry.load("vitdeploy.models.create:create")(spec, attention=attention)
        ours, applied = _widened(module, spec, size, names, Path(place) / "ours")
        for name in applied:
            without, _ = _widened(module, spec, size, [other for other in names if other != name], Path(place) / name)
            yield _duel(without, ours, spec, size, f"{name} alone", pairs=pairs, threads=threads)


def _duel(first: Path, second: Path, spec: ModelSpec, size: Size, what: str, *, pairs: int, threads: int) -> Duel:
    """Both files by turns."""
    files = {"without": onnx_files.artifact(first, spec, size), "with": onnx_files.artifact(second, spec, size)}
    run = files_by_turns.timed(files, pairs=pairs, threads=threads)
    peaks = run.peak_bytes("without"), run.peak_bytes("with")
    return Duel(model=spec.name, size=size, what=what, times=run.compared("without", "with"), peak_bytes=peaks)


def _widened(
    module: torch.nn.Module, spec: ModelSpec, size: Size, names: Sequence[str], folder: Path
) -> tuple[Path, tuple[str, ...]]:
    """The graph of `HALF_TARGET` before its tensors are halved, and the rewrites that found something to change."""
    to_onnx = registry.load("vitdeploy.exporters.to_onnx")
    job = onnx_files.step_job(spec, HALF_TARGET, size, names, folder)
    graph, applied = registry.load("vitdeploy.exporters.to_onnx_fp16:widened")(module, spec, job)
    to_onnx.strip(graph)
    folder.mkdir()
    to_onnx.save(graph, folder)
    return folder / to_onnx.FILE, applied


def _print(rows: Sequence[Duel], threads: int, pairs: int, attention: str) -> None:
    first = units.milliseconds([row.times.first_ms for row in rows])
    second = units.milliseconds([row.times.second_ms for row in rows])
    print_table(
        f"{attention} attention, batch 1, {threads} threads, {pairs} pairs by turns, onnxruntime {ort.__version__}, "
        f"torch {torch.__version__}, random weights (seed 0)",
        ("model", "size", "compared", "without, ms", "with, ms", *paired_times.HEADS, "memory without", "with"),
        (
            (row.model, size_words(row.size), row.what, before, after, *row.times.cells, *_memory(row))
            for row, before, after in zip(rows, first, second, strict=True)
        ),
        left=("compared",),
    )


def _memory(row: Duel) -> tuple[str, str]:
    if row.peak_bytes is None:
        return units.MISSING, units.MISSING
    return units.size_bytes(row.peak_bytes[0]), units.size_bytes(row.peak_bytes[1])


@with_errors
def main(arguments: Sequence[str] | None = None) -> int:
    """Time the models that are named, all by default, and print the table."""
    parser = command_line.parser(__file__, __doc__)
    parser.add_argument("--models", nargs="+", default=None, metavar="NAME")
    parser.add_argument("--size", default=None, metavar="HxW")
    parser.add_argument("--attention", default="relu", choices=("relu", "softmax"))
    parser.add_argument("--pairs", type=int, default=files_by_turns.PAIRS)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--each",
        nargs="*",
        metavar="REWRITE",
        help="also the cost of leaving each rewrite out; only that, of those that are named",
    )
    parser.add_argument("--target", default=onnx_files.TARGET, choices=(onnx_files.TARGET, HALF_TARGET))
    options = parser.parse_args(arguments)
    if options.pairs < stats.FEWEST_FOR_INTERVAL:
        raise UsageError(f"--pairs {options.pairs} gives no interval", f"Use {stats.FEWEST_FOR_INTERVAL} or more.")
    names = options.models or [name for name, spec in registry.models().items() if spec.part is None]
    specs = [spec for name in names for spec in registry.exported_models(name)]
    rows: list[Duel] = []
    left_out: list[LeftOut] = []
    for spec in specs:
        with each_model(spec.name, left_out):
            for row in _timed(spec, options):
                say(f"{row.model} {row.what}: {row.times.ratio:.2f}x")
                rows.append(row)
    _print(rows, options.threads, options.pairs, options.attention)
    return end(left_out, len(rows))


def _timed(spec: ModelSpec, options: argparse.Namespace) -> Iterator[Duel]:
    if spec.part == "decoder":
        raise Impossible(f"{spec.name} takes no image", "Name a model that does.")
    size = size_of(spec, options.size)
    how = {"pairs": options.pairs, "threads": options.threads}
    attention = registry.attention_of(spec, options.attention if "relu" in spec.attentions else None)
    if options.target == HALF_TARGET:
        return half_duels(spec, size, attention, **how)
    return duels(spec, size, attention, **how, each=options.each)


if __name__ == "__main__":
    sys.exit(main())
