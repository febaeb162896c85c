"""Time one artifact in one fresh process: one job in (JSON on stdin), one reply out (JSON on stdout).

    python -m vitdeploy.benchmarks.trial.worker < job.json

The reply is a `record.Trial`; how it travels is said in `child_process`. Standard library and numpy only, beside the
one runtime that the job names: this file also runs on devices where nothing else is installed.
"""

import contextlib
import importlib
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from vitdeploy.benchmarks.trial import loop
from vitdeploy.catalog.spec import Boundary
from vitdeploy.devices import cooling, disturbance, priority
from vitdeploy.devices.probe import Probe
from vitdeploy.errors import ParityFailed
from vitdeploy.images import inputs
from vitdeploy.processes import child_process
from vitdeploy.runtimes.session import Arrays, DeviceSession, Runtime, Session, SessionOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialJob:
    """The worker's job."""

    trial: Mapping[str, Any]
    """``id``, ``order``, ``pair`` and ``build``, returned as they are."""
    file: str
    digests: Mapping[str, str]
    """Path → SHA-256 of every file of the artifact, the model file among them."""
    manifest: Mapping[str, Any]
    runtime: str
    probe: str
    """Modules, by name."""
    threads: int
    """For all streams together."""
    streams: int
    graph: bool
    boundary: Boundary
    min_time_s: float
    min_count: int
    warmup_limit_s: float
    sustained_s: float | None
    seed: int
    device: Literal["cpu", "cuda"]
    """Where a runtime that knows both computes."""
    realtime: bool = False
    """Sample at real-time priority."""
    cool_c: float | None = None
    """A trial starts below this; None: the machine's own limits decide."""


class Watch:
    """The machine's state before, during and after the samples."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        self._started_ns = time.perf_counter_ns()
        self._own_ns = time.process_time_ns()
        self._busy_ns = probe.busy_ns()
        self._throttles = probe.throttle_count()
        self._counters = disturbance.read_counters()
        self.readings: list[dict[str, Any]] = []
        self.throttled = False
        self.facts: dict[str, str] = {}
        self.look()

    def look(self) -> None:
        """Take one reading."""
        self.readings.append(
            {
                "t_ns": time.perf_counter_ns() - self._started_ns,
                "clock_hz": self._probe.clock_hz(),
                "temp_c": self._probe.temperature_c(),
                "power_mw": self._probe.power_mw(),
            }
        )
        if self._throttles is not None and (self._probe.throttle_count() or 0) > self._throttles:
            self.facts.setdefault("throttled_after_s", f"{self.readings[-1]['t_ns'] / 1e9:.1f}")

    def finish(self) -> None:
        """Take the last reading and judge what happened in between."""
        self.facts |= disturbance.facts_between(self._counters, disturbance.read_counters())
        own_ns = time.process_time_ns() - self._own_ns
        wall_ns = time.perf_counter_ns() - self._started_ns
        foreign = self._probe.foreign_cores(self._busy_ns, self._probe.busy_ns(), own_ns, wall_ns)
        self.facts["foreign_cores"] = "not visible" if foreign is None else f"{foreign:.3f}"
        others = getattr(self._probe, "others", None)
        if others is not None:
            count = others()
            self.facts["foreign_gpu_processes"] = "not visible" if count is None else str(count)
        throttles = self._probe.throttle_count()
        if throttles is None or self._throttles is None:
            self.facts["throttle"] = "not visible"
        else:
            self.throttled = throttles > self._throttles
            self.facts["throttle"] = f"{throttles - self._throttles} events"
        self.look()


def run_job(job: TrialJob) -> dict[str, Any]:
    """Load, warm up, sample; returns a trial as plain JSON.

    Raises:
        UnreadableFile: the artifact's bytes are not what the manifest says.
        MissingPackage: the runtime is not installed here.
        ToolchainFailed: the runtime refuses the file, or fails while it runs.
        ParityFailed: the output holds NaN or Inf.
        DeviceError: the machine is too hot.
    """
    started_utc = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    child_process.check_digests(job.digests)
    begin = time.perf_counter_ns()
    runtime = cast("Runtime", child_process.import_runtime(job.runtime))
    import_ns = time.perf_counter_ns() - begin
    probe = cast("Probe", importlib.import_module(job.probe))
    cooled = cooling.wait_until_cool(probe, below_c=job.cool_c)
    with contextlib.ExitStack() as stack, child_process.failures_of(job.runtime):
        streams, load_ns, loaded_bytes = open_streams(job, runtime, probe, stack)
        probe.forget_peak()  # making inputs needs memory that running does not
        begin, end = loop.host_to_host(streams[0].session, streams[0].pool[0], time.perf_counter_ns)
        sampled, watch = _sample(job, streams, probe)
        for stream in streams:
            check_finite(stream.session, job.file)
        peak_bytes = max(loaded_bytes, probe.peak_memory_bytes() - own_bytes(streams))
        facts = {**streams[0].session.facts, **watch.facts, **cooled}
    return {
        **job.trial,
        "started_utc": started_utc,
        "artifact_sha256": job.digests[job.file],
        "sample_kind": "inference",
        "samples_ns": sampled.samples_ns,
        "wall_ns": sampled.wall_ns,
        "stages_ns": sampled.stages_ns,
        "load_ns": load_ns,
        "first_ns": end - begin,
        "warmup_ns": sampled.warmup_ns,
        "warmup_count": sampled.warmup_count,
        "peak_memory_bytes": peak_bytes,
        "steady": sampled.steady,
        "telemetry": watch.readings,
        "throttled": watch.throttled,
        "facts": {
            **facts,
            "import_ms": f"{import_ns / 1e6:.0f}",
            "inputs": f"{len(streams[0].pool)} distinct a stream",
        },
    }


def open_streams(
    job: TrialJob, runtime: Runtime, probe: Probe, stack: contextlib.ExitStack, *, rests: bool = False
) -> tuple[list[loop.Stream], int, int]:
    """All streams with their inputs; nanoseconds of the first session's load, and the peak memory after it.

    ``rests``: as of `SessionOptions`.
    """
    options = SessionOptions(
        threads=max(1, job.threads // job.streams),
        graph=job.graph,
        boundary=job.boundary,
        device=job.device,
        rests=rests,
    )
    begin = time.perf_counter_ns()
    sessions = [stack.enter_context(runtime.open_session(Path(job.file), job.manifest, options))]
    load_ns = time.perf_counter_ns() - begin
    loaded_bytes = probe.peak_memory_bytes()
    sessions += [
        stack.enter_context(runtime.open_session(Path(job.file), job.manifest, options)) for _ in range(job.streams - 1)
    ]
    streams = [
        loop.Stream(session=session, pool=placed(session, inputs.make_pool(session.inputs, job.seed + place)))
        for place, session in enumerate(sessions)
    ]
    return streams, load_ns, loaded_bytes


def own_bytes(streams: Sequence[loop.Stream]) -> int:
    """Spare inputs and the samples' places: the benchmark's own memory, not what a deployment needs."""
    return sum(
        (len(stream.pool) - 1) * inputs.input_bytes(stream.session.inputs) + loop.track_bytes(stream)
        for stream in streams
    )


def placed(session: Session, pool: list[dict[str, Any]]) -> Sequence[Arrays]:
    """A pool of inputs in memory from which the session copies without a detour, where it has such memory."""
    return [session.place(feeds) for feeds in pool] if isinstance(session, DeviceSession) else pool


def check_finite(session: Session, file: str) -> None:
    """Look at the last output: a figure of an artifact that returns NaN must not be quoted.

    Raises:
        ParityFailed: it holds NaN or Inf.
    """
    for name, value in session.get().items():
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise ParityFailed(
                f"output {name} of {file} holds NaN or Inf after the timed inferences",
                "Run `vitdeploy check --trace` on the artifact.",
            )


def _sample(job: TrialJob, streams: list[loop.Stream], probe: Probe) -> tuple[loop.Sampled, Watch]:
    watches: list[Watch] = []

    def look() -> None:
        watches[0].look()

    with priority.realtime(job.realtime):
        sampled = loop.measure(
            streams,
            loop.SamplingPlan(
                boundary=job.boundary,
                min_time_ns=int(1e9 * (job.sustained_s or job.min_time_s)),
                min_count=job.min_count,
                warmup_limit_ns=int(1e9 * job.warmup_limit_s),
            ),
            before=lambda: watches.append(Watch(probe)),
            observe=look if job.sustained_s else None,
        )
    watches[0].finish()
    return sampled, watches[0]


if __name__ == "__main__":
    sys.exit(child_process.answer(run_job, TrialJob))
