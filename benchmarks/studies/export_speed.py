"""Speed of the ONNX rewrites: our export against torch's plain export of the same module.

    python -m vitdeploy.benchmarks.studies.export_speed [--models NAME…] [--size HxW] [--pairs 10] [--threads N]
                                                       [--each] [--target onnx-fp16]

Both files are made here from the same random weights and run by ONNX Runtime on the CPU, as a user's session
does. A pair is plain, ours, ours, plain; the ratio of a pair is that of its geometric means, so a machine that
drifts meets both alike. The interval is Student's t over the logarithms of the pairs' ratios. With ``--each``
every rewrite is left out in turn: what it brings is how much slower the file is without it. With ``--target onnx-fp16``
it is the rewrites of half precision that are left out in turn; both graphs are computed in fp32, because a CPU computes
nothing else: what they cost in operations and memory shows, what a GPU makes of it does not. A line is printed as each
model is done; one that cannot be timed is left out with its reason.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false

import argparse
import gc
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch

from vitdeploy import units
from vitdeploy.benchmarks.studies import command_line, paired_times
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

TARGET = "onnx-fp32"
HALF_TARGET = "onnx-fp16"

PAUSE_S = 0.02
"""Rest before a visit: threads of the session that ran before have then stopped spinning and are asleep."""

VISIT_S = 0.1
"""Sampling time of one visit; at least one inference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Duel:
    """Two files of one model, timed in turns."""

    model: str
    size: Size
    what: str
    """What the second file is: ``all rewrites`` or ``NAME alone``."""
    times: PairedTimes


def duels(spec: ModelSpec, size: Size, attention: Attention, *, pairs: int, threads: int, each: bool) -> Iterator[Duel]:
    """Plain against ours; with ``each``, then ours without one rewrite against ours, for each that changes the file."""
    with tempfile.TemporaryDirectory(prefix="vitdeploy-export-speed-") as place:
        folder = Path(place)
        module = registry.load("vitdeploy.models.create:create")(spec, attention=attention)
        plain, ours = folder / "plain.onnx", folder / "ours.onnx"
        registry.load("vitdeploy.exporters.to_onnx:plain")(module, torch.zeros(1, 3, *size), plain)
        names = registry.find_target(TARGET).rewrites
        _export(module, spec, size, names, ours)
        yield _duel(plain, ours, spec, size, "all rewrites", pairs=pairs, threads=threads)
        for name in names if each else ():
            without = folder / "without.onnx"
            _export(module, spec, size, [other for other in names if other != name], without)
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
    """Both files' times for each pair; each is the geometric mean of two visits."""
    feed = np.random.default_rng(0).standard_normal((1, 3, *size), dtype=np.float32)
    sessions = [_session(file, threads) for file in (first, second)]
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(pairs):
        a, b, c, d = (_visit(sessions[turn], feed) for turn in (0, 1, 1, 0))
        times[0].append(math.sqrt(a * d))
        times[1].append(math.sqrt(b * c))
    del sessions
    gc.collect()
    return Duel(model=spec.name, size=size, what=what, times=paired_times.compare(*times))


def _export(module: torch.nn.Module, spec: ModelSpec, size: Size, names: Sequence[str], file: Path) -> None:
    job = _job(spec, TARGET, size, names, file.parent)
    (file.parent / registry.load("vitdeploy.exporters.to_onnx:make")(module, spec, job).file).replace(file)


def _widened(
    module: torch.nn.Module, spec: ModelSpec, size: Size, names: Sequence[str], folder: Path
) -> tuple[Path, tuple[str, ...]]:
    """The graph of `HALF_TARGET` before its tensors are halved, and the rewrites that found something to change."""
    to_onnx = registry.load("vitdeploy.exporters.to_onnx")
    job = _job(spec, HALF_TARGET, size, names, folder)
    graph, applied = registry.load("vitdeploy.exporters.to_onnx_fp16:widened")(module, spec, job)
    to_onnx.strip(graph)
    folder.mkdir()
    to_onnx.save(graph, folder)
    return folder / to_onnx.FILE, applied


def _job(spec: ModelSpec, target: str, size: Size, names: Sequence[str], folder: Path) -> Any:
    return registry.load("vitdeploy.exporters.job:StepJob")(
        variant=registry.variant_of(spec, target, size=size),
        rewrites=tuple(names),
        folder=folder,
    )


def _session(file: Path, threads: int) -> Any:
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 3
    # Two sessions live side by side here: the one that is not timed must not spin on the cores of the other.
    settings.add_session_config_entry("session.force_spinning_stop", "1")
    return ort.InferenceSession(str(file), settings, providers=["CPUExecutionProvider"])


def _visit(session: Any, feed: Any) -> float:
    """Median milliseconds of one inference, after one that warms the caches."""
    time.sleep(PAUSE_S)
    feeds = {session.get_inputs()[0].name: feed}  # the plain export calls its input after the module's argument
    session.run(None, feeds)
    samples: list[int] = []
    while not samples or sum(samples) < VISIT_S * 1e9:
        begin = time.perf_counter_ns()
        session.run(None, feeds)
        samples.append(time.perf_counter_ns() - begin)
    return statistics.median(samples) / 1e6


def _print(rows: Sequence[Duel], threads: int, pairs: int, attention: str) -> None:
    first = units.milliseconds([row.times.first_ms for row in rows])
    second = units.milliseconds([row.times.second_ms for row in rows])
    print_table(
        f"{attention} attention, batch 1, {threads} threads, {pairs} pairs, onnxruntime {ort.__version__}, "
        f"torch {torch.__version__}, random weights (seed 0)",
        ("model", "size", "compared", "without, ms", "with, ms", *paired_times.HEADS),
        (
            (row.model, size_words(row.size), row.what, before, after, *row.times.cells)
            for row, before, after in zip(rows, first, second, strict=True)
        ),
        left=("compared",),
    )


@with_errors
def main(arguments: Sequence[str] | None = None) -> int:
    """Time the models that are named, all by default, and print the table."""
    parser = command_line.parser(__file__, __doc__)
    parser.add_argument("--models", nargs="+", default=None, metavar="NAME")
    parser.add_argument("--size", default=None, metavar="HxW")
    parser.add_argument("--attention", default="relu", choices=("relu", "softmax"))
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--each", action="store_true", help="also the cost of leaving each rewrite out")
    parser.add_argument("--target", default=TARGET, choices=(TARGET, HALF_TARGET))
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
