"""Engines built and timed by ``trtexec``, where TensorRT has no Python package; the device file names its path.

A second measuring tool, with less in it: one block of queries a trial, random input, no look at outputs, no telemetry.
"""

import time
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from vitdeploy import binding, record
from vitdeploy.artifact import Artifact
from vitdeploy.benchmarks import trial, trtexec
from vitdeploy.benchmarks.steady import classify
from vitdeploy.benchmarks.trial import Lost, Turn
from vitdeploy.devices import child_reply
from vitdeploy.devices.connection import Connection, Result
from vitdeploy.errors import DeviceError, Impossible, ToolchainFailed
from vitdeploy.record import Case, Stages, Trial

BUILD_LIMIT_S = 3600.0
"""A builder that takes longer is killed. Source: a choice; the largest model's tactics take minutes on an Orin."""

UNPROVEN = "built and timed by trtexec, which shows no outputs of ours; its graph was proven"


def version(link: Connection, program: str) -> tuple[int, int, int]:
    """What its first line says, whatever it is asked.

    Raises:
        ToolchainFailed: it is not there, or says no version.
    """
    done = link.run([program, "--help"], timeout_s=60)
    found = trtexec.version_of(done.stdout)
    if found is None:
        raise ToolchainFailed(
            f"{program} tells no version: {child_reply.last_line(done.stderr)}", "Correct `trtexec` in the device file."
        )
    return found


def build(link: Connection, program: str, graph: str, engine: str, precision: str, *, log: Path) -> dict[str, Any]:
    """Build there; what `vitdeploy.exporters.build_engine` would answer, but for what lies in the file.

    Raises:
        Impossible: its version cannot build strongly typed networks.
        ToolchainFailed: it fails; its transcript is in the log.
    """
    number = version(link, program)
    if number < (10, 3, 0):
        raise Impossible(f"trtexec {'.'.join(map(str, number))} is older than 10.3", "Use JetPack 6.1 or later.")
    words = [program, f"--onnx={graph}", f"--saveEngine={engine}", "--skipInference"]
    words += ["--stronglyTyped"] if number < (11, 0, 0) else []
    words += ["--noTF32"] if precision == "fp32" else []
    began = time.perf_counter_ns()
    said = _run(link, words, BUILD_LIMIT_S, log, "build of the engine by trtexec")
    return {
        "package": "tensorrt",
        "version": ".".join(map(str, number)),
        "bound_to": binding.bound_to(
            package="tensorrt",
            version=".".join(map(str, number)),
            compute_capability=[said.compute_capability or "unknown"],
            gpu=said.device,
        ),
        "build_ns": time.perf_counter_ns() - began,
        "timing_cache_sha256": None,
    }


def take(
    turn: Turn,
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
        asked = trtexec.Asked(
            engine=engine,
            times=there,
            warmup_s=protocol.warmup_limit_s,
            duration_s=protocol.sustained_s or protocol.min_time_s,
            graph=case.graph,
            transfers=case.boundary == "host-to-host",
        )
        number = version(link, program)
        limit_s = trial.WORKER_LIMIT_S + 10 * asked.duration_s
        began = time.perf_counter_ns()
        said = _run(link, trtexec.command(asked, number, program), limit_s, log, f"{case.name}, {name}")
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


def _run(link: Connection, words: list[str], limit_s: float, log: Path, title: str) -> trtexec.Said:
    done = link.run(words, timeout_s=limit_s)
    said = trtexec.read(done.stdout)
    refused = trtexec.refusal(said)
    if refused is not None or done.exit_code:
        joined = Result(exit_code=done.exit_code, stdout="", stderr=f"{done.stdout}\n{done.stderr}")
        child_reply.keep_log(log, title, joined)
        raise refused or ToolchainFailed(f"trtexec ended with exit code {done.exit_code}", f"Read {log}.")
    return said
