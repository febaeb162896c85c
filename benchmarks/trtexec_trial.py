"""Engines built and timed by ``trtexec``, where TensorRT has no Python package; the device file names its path.

A second measuring tool, with less in it: one block of queries a trial, random input, no look at outputs, no telemetry.
"""

import time
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from vitdeploy.artifacts.manifest import Artifact
from vitdeploy.benchmarks.trial import launch
from vitdeploy.benchmarks.trial.launch import Lost, TrialSlot
from vitdeploy.benchmarks.trial.steady import classify
from vitdeploy.devices import trtexec
from vitdeploy.errors import DeviceError, Impossible
from vitdeploy.exporters.engines.trtexec_build import run_trtexec, version
from vitdeploy.processes.connection import Connection
from vitdeploy.results import record
from vitdeploy.results.record import Case, Stages, Trial


def take(
    turn: TrialSlot,
    case: Case,
    made: Artifact,
    *,
    link: Connection,
    program: str,
    protocol: record.Protocol,
    log: Path,
) -> Trial | Lost:
    """One process of trtexec.

    Raises:
        Impossible: the case cannot be timed by it, or it is a version whose flags are not known.
        ToolchainFailed: it fails, or writes what cannot be read.
    """
    name = f"trial {turn.index + 1}"
    if case.streams > 1:
        raise Impossible("trtexec's queries overlap with several streams: they have no round trip", "Use --streams 1.")
    started = datetime.now(timezone.utc)
    try:
        engine = link.push(made.file, sha256=made.manifest.sha256)
        there = str(PurePosixPath(engine).parent / f"times-{turn.index}.json")
        asked = trtexec.TrtexecRequest(
            engine=engine,
            times=there,
            warmup_s=protocol.warmup_limit_s,
            duration_s=protocol.sustained_s or protocol.min_time_s,
            graph=case.graph,
            transfers=case.boundary == "host-to-host",
        )
        number = version(link, program)
        limit_s = launch.WORKER_LIMIT_S + 10 * asked.duration_s
        began = time.perf_counter_ns()
        said = run_trtexec(link, trtexec.command(asked, number, program), limit_s, log, f"{case.name}, {name}")
        took = time.perf_counter_ns() - began
        with TemporaryDirectory(prefix="vitdeploy-trtexec-") as place:
            link.pull(there, Path(place) / "times.json")
            found = trtexec.times((Path(place) / "times.json").read_text())
        link.run(["rm", "-f", there], timeout_s=60)
    except DeviceError as error:
        return Lost(message=f"{name} was lost: {error.message}", hint=error.hint)
    whole = case.boundary == "host-to-host"
    samples = found.round_trip_ns if whole else found.compute_ns
    nothing = (0,) * len(samples)
    return Trial(
        id=turn.id,
        started_utc=started.isoformat(timespec="milliseconds"),
        order=turn.order,
        pair=turn.pair,
        build=None,
        artifact_sha256=made.manifest.sha256,
        sample_kind="inference",
        samples_ns=samples,
        wall_ns=sum(samples),
        stages_ns=Stages(
            h2d=found.h2d_ns if whole else nothing, compute=found.compute_ns, d2h=found.d2h_ns if whole else nothing
        ),
        load_ns=max(0, took - sum(samples)),
        first_ns=samples[0],
        warmup_ns=round(1e9 * asked.warmup_s),
        warmup_count=0,
        peak_memory_bytes=0,
        steady=classify(samples),
        telemetry=(),
        throttled=False,
        facts={
            "runtime": f"trtexec {'.'.join(map(str, number))}",
            "provider": f"CUDA on {said.device}, compute capability {said.compute_capability}",
            "graph": "on" if case.graph else "off",
            "inputs": "random, the same throughout",
            "throttle": "not visible",
            "warnings": "; ".join(said.warnings) or "none",
        },
    )
