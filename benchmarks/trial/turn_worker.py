"""Turn worker: one loaded artifact in one fresh process, which samples in short turns when it is told to.

    python -m vitdeploy.benchmarks.trial.turn_worker

`turns` starts one for each side. The job is the first line of stdin; every further line is a command (`LOAD`, `TURN`,
`END`), and each has one line of JSON as its answer: ``{"reply": …}`` or ``{"error": …}``. Standard library and numpy
only, beside the runtime: this file also runs on devices.
"""

import contextlib
import importlib
import json
import os
import sys
import time
from array import array
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, cast

from vitdeploy.benchmarks.trial import loop, worker
from vitdeploy.benchmarks.trial.worker import TrialJob, Watch
from vitdeploy.devices import cooling, placement, priority
from vitdeploy.devices.probe import Probe
from vitdeploy.errors import ToolchainFailed, VitdeployError
from vitdeploy.processes import child_process
from vitdeploy.results.steady import classify
from vitdeploy.runtimes.session import DeviceSession, Runtime

LOAD, TURN, END = "load", "turn", "end"
"""Commands; a turn's length in nanoseconds follows its word, and the core on which it starts, if one is given."""

FEWEST_A_TURN = 2
"""Inferences of a turn that count, at least, beside its first one. Source: issue "Shared machines"; turns of 2 to 16
inferences were tried, and all work."""


@dataclass(slots=True, kw_only=True)
class TurnSamples:
    """What one side measured so far."""

    samples_ns: "array[int]" = field(default_factory=lambda: array("q"))
    stages_ns: "tuple[array[int], ...]" = field(default_factory=lambda: tuple(array("q") for _ in loop.STAGES))
    counts: list[int] = field(default_factory=list[int])
    first_ns: list[int] = field(default_factory=list[int])
    """The first inference of each turn finds the other side's caches, and does not count as a sample."""
    wall_ns: int = 0


def take_turn(
    stream: loop.Stream, timed: loop.Round, taken: TurnSamples, turn_ns: int, clock: loop.Clock = time.perf_counter_ns
) -> None:
    """Run one inference that does not count, then sample for ``turn_ns``, at least `FEWEST_A_TURN` times."""
    session, pool = stream.session, stream.pool
    look = session.stages_ns if isinstance(session, DeviceSession) else None
    place = len(taken.samples_ns) + len(taken.counts)
    begin, end = timed(session, pool[place % len(pool)], clock)
    taken.first_ns.append(end - begin)
    count, first = 0, end
    while count < FEWEST_A_TURN or end - first < turn_ns:
        place += 1
        begin, end = timed(session, pool[place % len(pool)], clock)
        taken.samples_ns.append(end - begin)
        if look is not None:
            for column, value in zip(taken.stages_ns, look(), strict=True):
                column.append(value)
        if count == 0:
            first = begin
        count += 1
    taken.counts.append(count)
    taken.wall_ns += end - first


def conversation(job: TrialJob, commands: Iterator[str], *, rests: bool = True) -> Generator[Any]:
    """What each command is answered with, in the order of the commands: loading, turns, and the trial at the end.

    Args:
        rests: as of `SessionOptions`; False: the driver stops this process between its turns.

    Raises:
        VitdeployError: as `worker.run_job`.
    """
    child_process.check_digests(job.digests)
    started_utc = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    begin = time.perf_counter_ns()
    runtime = cast("Runtime", child_process.import_runtime(job.runtime))
    import_ns = time.perf_counter_ns() - begin
    probe = cast("Probe", importlib.import_module(job.probe))
    cooled = cooling.wait_until_cool(probe, below_c=job.cool_c)
    taken = TurnSamples()
    timed = loop.ROUNDS[job.boundary]
    plan = loop.SamplingPlan(
        boundary=job.boundary, min_time_ns=0, min_count=0, warmup_limit_ns=int(1e9 * job.warmup_limit_s)
    )
    with contextlib.ExitStack() as stack, child_process.failures_of(job.runtime):
        streams, load_ns, loaded_bytes = worker.open_streams(job, runtime, probe, stack, rests=rests)
        (stream,) = streams
        probe.forget_peak()  # making inputs needs memory that running does not
        begin, end = loop.host_to_host(stream.session, stream.pool[0], time.perf_counter_ns)
        first_ns = end - begin
        stack.enter_context(loop.collector_off())
        warmup_ns, warmup_count = loop.warm_up(stream, plan, time.perf_counter_ns)
        own_ns = time.process_time_ns()
        watch = Watch(probe)
        peak_bytes = max(loaded_bytes, probe.peak_memory_bytes())
        yield {"peak_bytes": peak_bytes, "inference_ns": warmup_ns // warmup_count, "core": placement.core()}
        for command in commands:
            if command == END:
                break
            turn_ns, *cores = map(int, command.removeprefix(TURN).split())
            for core in cores:
                placement.start_on(core)
            with priority.realtime(job.realtime):  # of a turn, never of the driver
                take_turn(stream, timed, taken, turn_ns)
            yield {"samples": len(taken.samples_ns), "wall_ns": taken.wall_ns}
        watch.finish()
        worker.check_finite(stream.session, job.file)
        peak_bytes = max(loaded_bytes, probe.peak_memory_bytes() - worker.own_bytes(streams))
        facts = {**stream.session.facts, **watch.facts, **cooled}
    trial = {
        "started_utc": started_utc,
        "load_ns": load_ns,
        "first_ns": first_ns,
        "warmup_ns": warmup_ns,
        "warmup_count": warmup_count,
        "peak_memory_bytes": peak_bytes,
        "telemetry": watch.readings,
        "throttled": watch.throttled,
        "facts": {**facts, "import_ms": f"{import_ns / 1e6:.0f}", "inputs": f"{len(stream.pool)} distinct a stream"},
    }
    yield {"own_ns": time.process_time_ns() - own_ns, "trial": {**job.trial, **trial, **_sampled(job, taken)}}


def _sampled(job: TrialJob, taken: TurnSamples) -> dict[str, Any]:
    """The fields of a trial that its turns give."""
    has_stages = bool(taken.stages_ns[0])
    return {
        "artifact_sha256": job.digests[job.file],
        "sample_kind": "inference",
        "samples_ns": list(taken.samples_ns),
        "wall_ns": taken.wall_ns,
        "stages_ns": {name: list(taken.stages_ns[i]) for i, name in enumerate(loop.STAGES)} if has_stages else None,
        "steady": classify(list(taken.samples_ns)),
        "turns": {"counts": taken.counts, "first_ns": taken.first_ns},
    }


def main() -> int:
    """Answer commands until `END` or the end of stdin; returns the exit code."""
    # Frameworks print to file descriptor 1 from native code: it becomes stderr, the answers keep the real one.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    child_process.die_with_parent()
    commands = (line.strip() for line in sys.stdin)
    try:
        job = json.loads(next(commands))
        trial = child_process.job_of(TrialJob, job["side"])
        if next(commands, END) != LOAD:
            return 0
        for reply in conversation(trial, commands, rests=job["rests"]):
            answers.write(json.dumps({"reply": reply}) + "\n")
            answers.flush()
    except VitdeployError as error:
        answers.write(json.dumps({"error": child_process.described(error)}) + "\n")
        answers.flush()
        return error.exit_code
    except (MemoryError, ValueError, KeyError, StopIteration) as error:
        failed = ToolchainFailed(f"the turn worker failed: {type(error).__name__}: {error}", "Use --by trials.")
        answers.write(json.dumps({"error": child_process.described(failed)}) + "\n")
        answers.flush()
        return failed.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
