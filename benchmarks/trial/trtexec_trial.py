"""One trial by ``trtexec``, for engines where TensorRT has no Python package; the device file names its path.

A second measuring tool, with less in it: one block of queries a trial, random input, no look at outputs, no telemetry.
"""

import time
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from vitdeploy.benchmarks.trial.request import LostTrial, TrialRequest
from vitdeploy.benchmarks.trial.steady import classify
from vitdeploy.devices import trtexec
from vitdeploy.devices.trtexec import TrtexecOutput, TrtexecTimes
from vitdeploy.errors import DeviceError, Impossible
from vitdeploy.exporters.engines.trtexec_build import run_trtexec, version
from vitdeploy.processes.connection import Connection
from vitdeploy.results.record import Stages, Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    """What one process of trtexec measured and printed."""

    version: tuple[int, int, int]
    output: TrtexecOutput
    times: TrtexecTimes
    started_utc: str
    took_ns: int


def run_trial(request: TrialRequest, link: Connection, program: str) -> Trial | LostTrial:
    """One process of trtexec.

    Raises:
        Impossible: the case cannot be timed by it, or it is a version whose flags are not known.
        ToolchainFailed: it fails, or writes what cannot be read.
    """
    if request.case.streams > 1:
        raise Impossible(
            "with several streams trtexec's queries overlap, so no latency can be read", "Use --streams 1."
        )
    try:
        measured = _measure(request, link, program)
    except DeviceError as error:
        return request.slot.lost(error)
    return _trial(request, measured)


def _measure(request: TrialRequest, link: Connection, program: str) -> _Measured:
    case, protocol, artifact = request.case, request.protocol, request.artifact
    started_utc = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    engine = link.push(artifact.file, sha256=artifact.manifest.sha256)
    remote_times = str(PurePosixPath(engine).parent / f"times-{request.slot.index}.json")
    timing = trtexec.TrtexecRequest(
        engine=engine,
        times=remote_times,
        warmup_s=protocol.warmup_limit_s,
        duration_s=protocol.sustained_s or protocol.min_time_s,
        graph=case.graph,
        transfers=case.boundary == "host-to-host",
    )
    number = version(link, program)
    argv = trtexec.timing_command(timing, number, program)
    begin = time.perf_counter_ns()
    output = run_trtexec(link, argv, request.limit_s, request.log, f"{case.name}, {request.slot.name}")
    took_ns = time.perf_counter_ns() - begin
    with TemporaryDirectory(prefix="vitdeploy-trtexec-") as folder:
        local_times = Path(folder) / "times.json"
        link.pull(remote_times, local_times)
        times = trtexec.read_times(local_times.read_text())
    link.run(["rm", "-f", remote_times], timeout_s=60)
    return _Measured(version=number, output=output, times=times, started_utc=started_utc, took_ns=took_ns)


def _trial(request: TrialRequest, measured: _Measured) -> Trial:
    times, output = measured.times, measured.output
    with_copies = request.case.boundary == "host-to-host"
    samples = times.round_trip_ns if with_copies else times.compute_ns
    zeros = (0,) * len(samples)
    return Trial(
        **request.slot.recorded,
        started_utc=measured.started_utc,
        artifact_sha256=request.artifact.manifest.sha256,
        sample_kind="inference",
        samples_ns=samples,
        wall_ns=sum(samples),
        stages_ns=Stages(
            h2d=times.h2d_ns if with_copies else zeros,
            compute=times.compute_ns,
            d2h=times.d2h_ns if with_copies else zeros,
        ),
        load_ns=max(0, measured.took_ns - sum(samples)),
        first_ns=samples[0],
        warmup_ns=round(1e9 * request.protocol.warmup_limit_s),
        warmup_count=0,
        peak_memory_bytes=0,
        steady=classify(samples),
        telemetry=(),
        throttled=False,
        facts={
            "runtime": f"trtexec {'.'.join(map(str, measured.version))}",
            "provider": f"CUDA on {output.device}, compute capability {output.compute_capability}",
            "graph": "on" if request.case.graph else "off",
            "inputs": "random, the same throughout",
            "throttle": "not visible",
            "warnings": "; ".join(output.warnings) or "none",
        },
    )
