"""One trial by ``trtexec``, for engines where TensorRT has no Python package; the device file names its path.

A second measuring tool, with less in it: random input, no look at outputs, no telemetry. A long trial is several
processes, because the times of a long one are coarse.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from vitdeploy.benchmarks.trial.request import LostTrial, TrialRequest
from vitdeploy.devices import trtexec, trtexec_times
from vitdeploy.devices.trtexec import TrtexecOutput, TrtexecRequest
from vitdeploy.devices.trtexec_times import TrtexecTimes
from vitdeploy.errors import DeviceError, Impossible
from vitdeploy.exporters.engines.trtexec_build import run_trtexec, version
from vitdeploy.processes.connection import Connection
from vitdeploy.results.record import Stages, Trial
from vitdeploy.results.steady import classify

NEXT_WARMUP_S = 0.2
"""Of the processes that go on with a long trial: the GPU is warm. Source: trtexec's own default, 200 ms."""


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
    case, artifact = request.case, request.artifact
    with_copies = case.boundary == "host-to-host"
    started_utc = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    engine = link.push(artifact.file, sha256=artifact.manifest.sha256)
    number = version(link, program)
    blocks = _time_blocks(request, link, engine, lambda timing: trtexec.timing_command(timing, number, program))
    times, output = trtexec_times.joined([block.times for block in blocks]), blocks[0].output
    samples = times.round_trip_ns if with_copies else times.compute_ns
    zeros = (0,) * len(samples)
    first_samples = blocks[0].times.round_trip_ns if with_copies else blocks[0].times.compute_ns
    messages = {
        kind: dict.fromkeys(word for block in blocks for word in getattr(block.output, kind)) for kind in _KINDS
    }
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
        load_ns=max(0, blocks[0].took_ns - sum(first_samples) - round(1e9 * request.protocol.warmup_limit_s)),
        first_ns=samples[0],
        warmup_ns=round(1e9 * request.protocol.warmup_limit_s),
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
            "blocks": f"{len(blocks)}, a process each" if len(blocks) > 1 else "1",
            "gap_us": "not resolved" if times.gap_ns is None else f"{times.gap_ns / 1000:.1f}",
            **{kind: "; ".join(words) or "none" for kind, words in messages.items()},
        },
        resolution_ns=times.resolution_ns,
    )


_KINDS = ("warnings", "errors")


@dataclass(frozen=True, slots=True)
class _Block:
    """One process of trtexec."""

    times: TrtexecTimes
    output: TrtexecOutput
    took_ns: int


def _time_blocks(
    request: TrialRequest, link: Connection, engine: str, command: Callable[[TrtexecRequest], list[str]]
) -> list[_Block]:
    """Processes one after another until the time is sampled: a long one has times on a coarse grid."""
    case, protocol = request.case, request.protocol
    left_s = float(protocol.sustained_s or protocol.min_time_s)
    limit = time.monotonic() + request.limit_s
    warmup_s, run_s = protocol.warmup_limit_s, trtexec_times.FIRST_BLOCK_S
    blocks: list[_Block] = []
    while not blocks or left_s > 0:
        duration_s = min(left_s, max(1.0, float(int(run_s - warmup_s))))
        timing = TrtexecRequest(
            engine=engine,
            times=str(PurePosixPath(engine).parent / f"times-{request.slot.index}.json"),
            warmup_s=warmup_s,
            duration_s=duration_s,
            graph=case.graph,
            transfers=case.boundary == "host-to-host",
        )
        blocks.append(_time_block(request, link, command(timing), timing.times, max(1.0, limit - time.monotonic())))
        left_s -= duration_s
        samples = blocks[-1].times.round_trip_ns
        warmup_s, run_s = NEXT_WARMUP_S, trtexec_times.longest_run_s(sorted(samples)[len(samples) // 2])
    return blocks


def _time_block(request: TrialRequest, link: Connection, argv: list[str], remote: str, limit_s: float) -> _Block:
    begin = time.perf_counter_ns()
    output = run_trtexec(link, argv, limit_s, request.log, f"{request.case.name}, {request.slot.name}")
    took_ns = time.perf_counter_ns() - begin
    with TemporaryDirectory(prefix="vitdeploy-trtexec-") as folder:
        local = Path(folder) / "times.json"
        link.pull(remote, local)
        times = trtexec_times.read_times(local.read_text())
    link.run(["rm", "-f", remote], timeout_s=60)
    return _Block(times, output, took_ns)
