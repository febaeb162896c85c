"""What the rewrites bring: our ONNX export against torch's plain export of the same module, one table.

    python -m vitdeploy.benchmarks.studies.export_speed [--models NAME…] [--size HxW] [--pairs 10] [--threads N]
                                                       [--each] [--target onnx-fp16]

Both files are made here from the same random weights and run by ONNX Runtime on the CPU, as a user's session
does. A pair is plain, ours, ours, plain; the ratio of a pair is that of its geometric means, so a machine that
drifts meets both alike. The interval is Student's t over the logarithms of the pairs' ratios. With ``--each``
every rewrite is left out in turn: what it brings is how much slower the file is without it. With ``--target onnx-fp16``
it is the rewrites of half precision that are left out in turn; both graphs are computed in fp32, because a CPU computes
nothing else: what they cost in operations and memory shows, what a GPU makes of it does not.
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
from rich.console import Console
from rich.table import Table

from vitdeploy import units
from vitdeploy.catalog import registry
from vitdeploy.catalog.spec import Attention, ModelSpec, Size
from vitdeploy.errors import UsageError
from vitdeploy.results import stats

TARGET = "onnx-fp32"
HALF_TARGET = "onnx-fp16"

PAUSE_S = 0.02
"""Rest before a visit: threads of the session that ran before have then stopped spinning and are asleep."""

VISIT_S = 0.1
"""Sampling time of one visit; at least one inference."""

SEGMENTATION_SIZE = (512, 1024)
"""Where nothing is asked: half the published height and width, and the size of the project's own goals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Duel:
    """Two files of one model, timed in turns."""

    model: str
    size: Size
    what: str
    """What the second file is: ``all rewrites`` or ``without NAME``."""
    first_ms: float
    second_ms: float
    ratio: float
    """First over second: above 1, the second is faster."""
    interval: tuple[float, float] | None


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
            without, _ = _widened(module, spec, size, [one for one in names if one != name], Path(place) / name)
            yield _duel(without, ours, spec, size, f"{name} alone", pairs=pairs, threads=threads)


def sessions_in_turns(files: tuple[Path, Path], feed: Any, *, pairs: int, threads: int) -> list[tuple[float, float]]:
    """Milliseconds of both files for each pair; each is the geometric mean of two visits."""
    first, second = (_session(file, threads) for file in files)
    times: list[tuple[float, float]] = []
    for _ in range(pairs):
        a, b, c, d = (_visit(session, feed) for session in (first, second, second, first))
        times.append((math.sqrt(a * d), math.sqrt(b * c)))
    return times


def _duel(first: Path, second: Path, spec: ModelSpec, size: Size, what: str, *, pairs: int, threads: int) -> Duel:
    feed = np.random.default_rng(0).standard_normal((1, 3, *size), dtype=np.float32)
    times = sessions_in_turns((first, second), feed, pairs=pairs, threads=threads)
    gc.collect()
    ratios = [[a / b] for a, b in times]
    return Duel(
        model=spec.name,
        size=size,
        what=what,
        first_ms=statistics.median(a for a, _ in times),
        second_ms=statistics.median(b for _, b in times),
        ratio=stats.median_of_medians(ratios),
        interval=stats.median_interval(ratios),
    )


def _export(module: torch.nn.Module, spec: ModelSpec, size: Size, names: Sequence[str], file: Path) -> None:
    made = registry.load("vitdeploy.exporters.to_onnx:make")(module, spec, _job(spec, TARGET, size, names, file.parent))
    (file.parent / made.file).replace(file)


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


def _table(rows: Sequence[Duel], threads: int, pairs: int, attention: str) -> Table:
    first = units.milliseconds([row.first_ms for row in rows])
    second = units.milliseconds([row.second_ms for row in rows])
    table = Table(
        title=f"{attention} attention, batch 1, {threads} threads, {pairs} pairs, onnxruntime {ort.__version__}, "
        f"torch {torch.__version__}, random weights (seed 0)"
    )
    for heading in ("model", "size", "compared", "without, ms", "with, ms", "faster", "95 % interval"):
        table.add_column(heading, justify="left" if heading in ("model", "compared") else "right", no_wrap=True)
    for row, before, after in zip(rows, first, second, strict=True):
        low, high = row.interval or (None, None)
        interval = units.interval(low, high, row.ratio)
        size = f"{row.size[0]}x{row.size[1]}"
        table.add_row(row.model, size, row.what, before, after, f"{row.ratio:.2f}x", interval)
    return table


def _size(spec: ModelSpec, text: str | None) -> Size:
    if text:
        size = registry.parse_size(text)
        registry.check_size(spec, size)
        return size
    return SEGMENTATION_SIZE if spec.task == "segmentation" else spec.size


def main(arguments: Sequence[str] | None = None) -> int:
    """Time the models that are named, all by default, and print the table after each of them."""
    parser = argparse.ArgumentParser(prog="export_speed", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--models", nargs="+", default=None, metavar="NAME")
    parser.add_argument("--size", default=None, metavar="HxW")
    parser.add_argument("--attention", default="relu", choices=("relu", "softmax"))
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--each", action="store_true", help="also the cost of leaving each rewrite out")
    parser.add_argument("--target", default=TARGET, choices=(TARGET, HALF_TARGET))
    given = parser.parse_args(arguments)
    if given.pairs < stats.FEWEST_FOR_INTERVAL:
        raise UsageError(f"--pairs {given.pairs} gives no interval", f"Use {stats.FEWEST_FOR_INTERVAL} or more.")
    specs = [registry.find_model(name) for name in given.models] if given.models else list(registry.models().values())
    rows: list[Duel] = []
    for spec in specs:
        size = _size(spec, given.size)
        how = {"pairs": given.pairs, "threads": given.threads}
        attention = registry.attention_of(spec, given.attention if "relu" in spec.attentions else None)
        made = duels(spec, size, attention, **how, each=given.each)
        for row in half_duels(spec, size, attention, **how) if given.target == HALF_TARGET else made:
            print(f"{row.model} {row.what}: {row.ratio:.2f}x", file=sys.stderr)
            rows.append(row)
    Console(width=160).print(_table(rows, given.threads, given.pairs, given.attention))
    return 0


if __name__ == "__main__":
    sys.exit(main())
