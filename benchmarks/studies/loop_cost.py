"""What our loop costs: its median against a bare loop around the same session on the same artifact.

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
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import cast

import msgspec
import numpy as np

from vitdeploy.artifacts import manifest as artifacts
from vitdeploy.artifacts.manifest import Artifact
from vitdeploy.benchmarks import bench
from vitdeploy.benchmarks.trial import loop, worker_trial
from vitdeploy.benchmarks.trial.request import TrialRequest, TrialSlot
from vitdeploy.catalog import registry
from vitdeploy.catalog.spec import TensorSpec
from vitdeploy.devices import inventory, probe_cpu
from vitdeploy.errors import DeviceError
from vitdeploy.images import inputs
from vitdeploy.results import stats
from vitdeploy.results.record import Case, Trial
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


def in_one_process(made: Artifact, pairs: int, threads: int) -> tuple[list[float], list[float]]:
    """Medians in ms of our blocks and of bare blocks, pair by pair."""
    with _open(made, threads) as session:
        pool = inputs.make_pool(session.inputs, seed=0)
        bare_loop(session, pool, 5)
        count = max(5, int(BLOCK_S * 1e9 / statistics.median(bare_loop(session, pool, 10))))
        return alternating(session, pool, pairs, count)


def alternating(session: Session, pool: Sequence[Arrays], pairs: int, count: int) -> tuple[list[float], list[float]]:
    """Medians in ms of blocks of ``count`` inferences, ours and bare, in the order ABBA."""
    plan = loop.SamplingPlan(boundary="host-to-host", min_time_ns=0, min_count=count, warmup_limit_ns=0)
    lanes = [loop.Stream(session=session, pool=pool)]
    ours: list[float] = []
    bare: list[float] = []
    for pair in range(pairs):
        for mine in (True, False) if pair % 2 == 0 else (False, True):
            if mine:
                ours.append(float(np.median(loop.measure(lanes, plan).samples_ns)) / 1e6)
            else:
                bare.append(float(np.median(bare_loop(session, pool, count))) / 1e6)
    return ours, bare


def in_fresh_processes(made: Artifact, pairs: int, threads: int) -> tuple[list[float], list[float]]:
    """Medians in ms of our worker's trials and of processes with a bare loop, pair by pair."""
    ours: list[float] = []
    bare: list[float] = []
    for pair in range(pairs):
        for mine in (True, False) if pair % 2 == 0 else (False, True):
            if mine:
                ours.append(_worker_median(made, pair, threads))
            else:
                command = [sys.executable, "-m", "vitdeploy.benchmarks.studies.loop_cost", str(made.folder), "--bare"]
                done = subprocess.run([*command, "--threads", str(threads)], capture_output=True, check=True)
                bare.append(float(done.stdout))
    return ours, bare


def row(name: str, ours: Sequence[float], bare: Sequence[float]) -> str:
    """One line of the table: both medians, their ratio, and its interval from the paired logarithms."""
    ratios = [a / b for a, b in zip(ours, bare, strict=True)]
    interval = stats.median_interval([[ratio] for ratio in ratios])
    between = f"{interval[0]:.4f} … {interval[1]:.4f}" if interval else "–"
    return (
        f"{name:18} {len(ratios):5d} {statistics.median(ours):10.5f} {statistics.median(bare):10.5f} "
        f"{stats.median_of_medians([[ratio] for ratio in ratios]):8.4f}  {between}"
    )


def main() -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m vitdeploy.benchmarks.studies.loop_cost")
    parser.add_argument("artifact", nargs="?", type=Path)
    parser.add_argument("--pairs", type=int, default=150)
    parser.add_argument("--processes", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--bare", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        made = artifacts.open_artifact(given.artifact) if given.artifact else _export(Path(folder))
        if given.bare:
            print(_bare_median(made, given.threads))
            return 0
        print(f"{made.manifest.model} {made.manifest.target} {made.manifest.size}, {given.threads} thread(s)")
        print(f"{'':18} {'pairs':>5} {'ours ms':>10} {'bare ms':>10} {'ratio':>8}  95 % interval")
        print(row("empty session", *alternating(EmptySession(), [{}, {}], 40, 10_000)))
        print(row("one process", *in_one_process(made, given.pairs, given.threads)), flush=True)
        print(row("fresh processes", *in_fresh_processes(made, given.processes, given.threads)))
    return 0


def _bare_median(made: Artifact, threads: int) -> float:
    with _open(made, threads) as session:
        pool = inputs.make_pool(session.inputs, seed=0)
        count = max(10, int(TRIAL_S * 1e9 / statistics.median(bare_loop(session, pool, 10))))
        bare_loop(session, pool, count // 2)
        return statistics.median(bare_loop(session, pool, count)) / 1e6


def _worker_median(made: Artifact, index: int, threads: int) -> float:
    manifest = made.manifest
    case = Case(
        model=manifest.model,
        part=manifest.part,
        attention=manifest.attention,
        target=manifest.target,
        size=manifest.size,
        batch=manifest.batch,
        device="local",
        threads=threads,
        boundary="host-to-host",
        streams=1,
        graph=False,
        io=manifest.io,
        head=manifest.head,
        prompts=None,
        weights="loop cost",
        power_mode=None,
        memory=None,
    )
    with inventory.connect(inventory.find("local")) as link, tempfile.TemporaryDirectory() as folder:
        request = TrialRequest(
            slot=TrialSlot(place=0, index=index, order=index, id=f"loop-cost/{index}"),
            case=case,
            artifact=made,
            compute="cpu",
            protocol=bench.make_protocol(trials=1, min_time_s=TRIAL_S),
            log=Path(folder) / "trial.log",
        )
        trial = worker_trial.run_trial(request, link, probe=probe_cpu.__name__)
    if not isinstance(trial, Trial):
        raise DeviceError(trial.message, trial.hint)
    return float(np.median(trial.samples_ns)) / 1e6


def _open(made: Artifact, threads: int) -> Session:
    name = registry.find_target(made.manifest.target).runtime
    assert name is not None, f"{made.manifest.target} has no runtime"
    runtime = cast("Runtime", registry.load(name))
    return runtime.open_session(made.file, msgspec.to_builtins(made.manifest), SessionOptions(threads=threads))


def _export(folder: Path) -> Artifact:
    from vitdeploy.api import export

    order = export.ExportRequest(target="onnx-fp32", size="224x224", out=folder)
    (made,) = export.export(["efficientvit_b1"], order)
    if made.artifact is None:
        raise made.error or RuntimeError("the export gave neither an artifact nor an error")
    return made.artifact


if __name__ == "__main__":
    sys.exit(main())
