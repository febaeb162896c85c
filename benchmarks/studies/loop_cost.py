"""Cost of the timed loop: its median against a bare loop around the same session on the same artifact.

    python -m vitdeploy.benchmarks.studies.loop_cost [ARTIFACT] [--pairs 150] [--processes 5]

Three comparisons, one table. *Empty session*: what is in a sample besides the session's work.
*One process*: blocks of both loops alternate (ABBA) on one loaded session. *Fresh processes*: worker
processes alternate with processes that hold nothing but a bare loop. Without ARTIFACT, EfficientViT-B1
at 224x224 is exported for ``onnx-fp32``. The aim is 1 %.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import cast

import msgspec
import numpy as np

from vitdeploy.artifacts import manifest as artifacts
from vitdeploy.artifacts.manifest import Artifact
from vitdeploy.benchmarks import bench
from vitdeploy.benchmarks.studies import command_line, paired_times, plain_records
from vitdeploy.benchmarks.studies.command_line import with_errors
from vitdeploy.benchmarks.trial import loop, worker_trial
from vitdeploy.benchmarks.trial.request import TrialRequest, TrialSlot
from vitdeploy.catalog import registry
from vitdeploy.catalog.spec import Boundary, TensorSpec
from vitdeploy.devices import inventory, probe_cpu
from vitdeploy.errors import DeviceError
from vitdeploy.images import inputs
from vitdeploy.results.record import Trial
from vitdeploy.runtimes.session import Arrays, Runtime, Session, SessionOptions

BLOCK_S = 0.1
"""Length of a block in one process: short, so that a disturbance of the machine meets both loops."""

TRIAL_S = 1.0
"""Sampling time of a fresh process."""


class EmptySession:
    """Does nothing, so that what is timed is the loop alone."""

    def __init__(self) -> None:
        self.inputs: tuple[TensorSpec, ...] = ()
        self.outputs: tuple[TensorSpec, ...] = ()
        self.facts: Mapping[str, str] = {}
        self._nothing: Arrays = {}

    def __enter__(self) -> "EmptySession":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def put(self, feeds: Arrays) -> None:
        """Nothing."""

    def run(self) -> None:
        """Nothing."""

    def wait(self) -> None:
        """Nothing."""

    def get(self) -> Arrays:
        """Nothing."""
        return self._nothing


def bare_loop(session: Session, pool: Sequence[Arrays], count: int) -> list[int]:
    """What one would write by hand: no boundaries, no streams, no preallocation."""
    samples: list[int] = []
    for index in range(count):
        feeds = pool[index % len(pool)]
        begin = time.perf_counter_ns()
        session.put(feeds)
        session.run()
        session.wait()
        session.get()
        samples.append(time.perf_counter_ns() - begin)
    return samples


def in_one_process(artifact: Artifact, pairs: int, threads: int) -> tuple[list[float], list[float]]:
    """Medians in ms of our blocks and of bare blocks, pair by pair."""
    with _open(artifact, threads) as session:
        pool = inputs.make_pool(session.inputs, seed=0)
        bare_loop(session, pool, 5)
        count = max(5, int(BLOCK_S * 1e9 / statistics.median(bare_loop(session, pool, 10))))
        return alternating_blocks(session, pool, pairs, count)


def alternating_blocks(
    session: Session, pool: Sequence[Arrays], pairs: int, count: int
) -> tuple[list[float], list[float]]:
    """Medians in ms of blocks of ``count`` inferences, ours and bare."""
    plan = loop.SamplingPlan(boundary="host-to-host", min_time_ns=0, min_count=count, warmup_limit_ns=0)
    streams = [loop.Stream(session=session, pool=pool)]
    return alternating(
        lambda _: float(np.median(loop.measure(streams, plan).samples_ns)) / 1e6,
        lambda _: float(np.median(bare_loop(session, pool, count))) / 1e6,
        pairs,
    )


def in_fresh_processes(artifact: Artifact, pairs: int, threads: int) -> tuple[list[float], list[float]]:
    """Medians in ms of our worker's trials and of processes with a bare loop, pair by pair."""
    argv = [sys.executable, "-m", "vitdeploy.benchmarks.studies.loop_cost", str(artifact.folder), "--bare"]
    argv += ["--threads", str(threads)]
    return alternating(
        lambda pair: worker_median_ms(artifact, pair, threads=threads, min_time_s=TRIAL_S),
        lambda _: float(subprocess.run(argv, capture_output=True, check=True).stdout),
        pairs,
    )


def alternating(
    ours: Callable[[int], float], bare: Callable[[int], float], pairs: int
) -> tuple[list[float], list[float]]:
    """Both measurements for each pair, in the order ABBA."""
    times: dict[Callable[[int], float], list[float]] = {ours: [], bare: []}
    for pair in range(pairs):
        for measure in (ours, bare) if pair % 2 == 0 else (bare, ours):
            times[measure].append(measure(pair))
    return times[ours], times[bare]


def row(name: str, ours: Sequence[float], bare: Sequence[float]) -> str:
    """One line of the table: both medians, their ratio, and its interval from the paired logarithms."""
    times = paired_times.compare(ours, bare)
    between = f"{times.interval[0]:.4f} … {times.interval[1]:.4f}" if times.interval else "–"
    return f"{name:18} {len(ours):5d} {times.first_ms:10.5f} {times.second_ms:10.5f} {times.ratio:8.4f}  {between}"


@with_errors
def main() -> int:
    """Measure and print the table."""
    parser = command_line.parser(__file__, __doc__)
    parser.add_argument("artifact", nargs="?", type=Path)
    parser.add_argument("--pairs", type=int, default=150)
    parser.add_argument("--processes", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--bare", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        artifact = artifacts.open_artifact(options.artifact) if options.artifact else _export(Path(folder))
        if options.bare:
            print(_bare_median(artifact, options.threads))
            return 0
        manifest = artifact.manifest
        print(f"{manifest.model} {manifest.target} {manifest.size}, {options.threads} thread(s)")
        print(f"{'':18} {'pairs':>5} {'ours ms':>10} {'bare ms':>10} {'ratio':>8}  95 % interval")
        print(row("empty session", *alternating_blocks(EmptySession(), [{}, {}], 40, 10_000)))
        print(row("one process", *in_one_process(artifact, options.pairs, options.threads)), flush=True)
        print(row("fresh processes", *in_fresh_processes(artifact, options.processes, options.threads)))
    return 0


def _bare_median(artifact: Artifact, threads: int) -> float:
    with _open(artifact, threads) as session:
        pool = inputs.make_pool(session.inputs, seed=0)
        count = max(10, int(TRIAL_S * 1e9 / statistics.median(bare_loop(session, pool, 10))))
        bare_loop(session, pool, count // 2)
        return statistics.median(bare_loop(session, pool, count)) / 1e6


def worker_median_ms(
    artifact: Artifact, index: int, *, threads: int, min_time_s: float, boundary: Boundary = "host-to-host"
) -> float:
    """Median of one of our trials in a fresh process.

    Raises:
        DeviceError: the trial failed.
    """
    with inventory.connect(inventory.find("local")) as link, tempfile.TemporaryDirectory() as folder:
        request = TrialRequest(
            slot=TrialSlot(place=0, index=index, order=index, id=f"loop-cost/{index}"),
            case=msgspec.structs.replace(
                plain_records.case(artifact.manifest.variant, threads=threads), boundary=boundary
            ),
            artifact=artifact,
            compute="cpu",
            protocol=bench.make_protocol(trials=1, min_time_s=min_time_s),
            log=Path(folder) / "trial.log",
        )
        trial = worker_trial.run_trial(request, link, probe=probe_cpu.__name__)
    if not isinstance(trial, Trial):
        raise DeviceError(trial.message, trial.hint)
    return float(np.median(trial.samples_ns)) / 1e6


def _open(artifact: Artifact, threads: int) -> Session:
    name = registry.find_target(artifact.manifest.target).runtime
    assert name is not None, f"{artifact.manifest.target} has no runtime"
    runtime = cast("Runtime", registry.load(name))
    return runtime.open_session(artifact.file, msgspec.to_builtins(artifact.manifest), SessionOptions(threads=threads))


def _export(folder: Path) -> Artifact:
    from vitdeploy.api import export
    from vitdeploy.api.export_request import ExportRequest

    request = ExportRequest(target="onnx-fp32", size="224x224", out=folder)
    (row,) = export.export(["efficientvit_b1"], request)
    if row.artifact is None:
        raise row.error or RuntimeError("the export gave neither an artifact nor an error")
    return row.artifact


if __name__ == "__main__":
    sys.exit(main())
