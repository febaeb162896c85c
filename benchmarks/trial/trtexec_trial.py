"""One trial by ``trtexec``, for engines where TensorRT has no Python package; the device file names its path.

A second measuring tool, with less in it: one block of queries a trial, random input, no look at outputs, no telemetry.
"""

import time
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from vitdeploy.benchmarks.trial.request import LostTrial, TrialRequest
from vitdeploy.benchmarks.trial.steady import classify
from vitdeploy.devices import trtexec
from vitdeploy.errors import DeviceError, Impossible
from vitdeploy.exporters.engines.trtexec_build import run_trtexec, version
from vitdeploy.processes.connection import Connection
from vitdeploy.results.record import Stages, Trial


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
        return _measure(request, link, program)
    except DeviceError as error:
        return request.slot.lost(error)


def _measure(request: TrialRequest, link: Connection, program: str) -> Trial:
    case, protocol, artifact = request.case, request.protocol, request.artifact
    with_copies = case.boundary == "host-to-host"
    started_utc = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    engine = link.push(artifact.file, sha256=artifact.manifest.sha256)
    remote_times = str(PurePosixPath(engine).parent / f"times-{request.slot.index}.json")
    timing = trtexec.TrtexecRequest(
        engine=engine,
        times=remote_times,
        warmup_s=protocol.warmup_limit_s,
        duration_s=protocol.sustained_s or protocol.min_time_s,
        graph=case.graph,
        transfers=with_copies,
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
    samples = times.round_trip_ns if with_copies else times.compute_ns
    zeros = (0,) * len(samples)
    return Trial(
        **request.slot.recorded,
        started_utc=started_utc,
        artifact_sha256=artifact.manifest.sha256,
        sample_kind="inference",
        samples_ns=samples,
        wall_ns=sum(samples),
        stages_ns=Stages(
            h2d=times.h2d_ns if with_copies else zeros,
            compute=times.compute_ns,
            d2h=times.d2h_ns if with_copies else zeros,
        ),
        load_ns=max(0, took_ns - sum(samples)),
        first_ns=samples[0],
        warmup_ns=round(1e9 * protocol.warmup_limit_s),
        warmup_count=0,
        peak_memory_bytes=0,
        steady=classify(samples),
        telemetry=(),
        throttled=False,
        facts={
            "runtime": f"trtexec {'.'.join(map(str, number))}",
            "provider": f"CUDA on {output.device}, compute capability {output.compute_capability}",
            "graph": "on" if case.graph else "off",
            "inputs": "random, the same throughout",
            "throttle": "not visible",
            "warnings": "; ".join(output.warnings) or "none",
        },
    )
