"""The timed loop: warm-up by evidence, sampling, boundaries, streams; knows no framework.

It takes sessions, pools of distinct inputs and a clock. Nothing is allocated for the samples while
sampling, the garbage collector is off, and every sample is the difference of two readings of the
clock with nothing between them but the session's own verbs. benchmarks/studies/loop_cost.py measures what
is left of the loop in a sample. numpy only: the worker carries it.
"""

import gc
import threading
import time
from array import array
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vitdeploy.catalog.spec import Boundary
from vitdeploy.results.steady import Steadiness, classify
from vitdeploy.runtimes.session import Arrays, DeviceSession, Session

Clock = Callable[[], int]
"""A monotonic clock in nanoseconds."""
Pool = Sequence[Arrays]
Round = Callable[[Session, Arrays, Clock], tuple[int, int]]
"""One timed inference: when it began and when it ended."""

WARMUP_WINDOW = 8
"""Inferences that are judged together during warm-up, at least. Source: two more than `steady.classify`
needs for an opinion; more would make slow models pay minutes for a decision that the samples repeat."""

WARMUP_WINDOW_NS = 500_000_000
"""A warm-up window lasts at least this long: clocks and caches settle in time, not in counts.

Source: half a second is the default warm-up of TFLite's benchmark_model. With a tenth of it, trials on a
shared virtual machine still became up to a quarter faster while they were sampled.
"""

FEWEST_WARMUPS = 2
"""Inferences before any sample, whatever the limit: the first allocates, the second shows its cost."""

MOST_SAMPLES = 2**20
"""Samples a stream can hold: their memory is written before the first one. 1 µs each fills a second."""

_COLUMN_BYTES = 8 * MOST_SAMPLES
"""Memory of one column of the loop's own numbers."""

OBSERVATION_NS = 1_000_000_000
"""Between two samples, at most this often, a sustained trial looks at the machine's state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingPlan:
    """How one trial is sampled."""

    boundary: Boundary
    min_time_ns: int
    min_count: int
    """Samples each stream takes at least, however long they last."""
    warmup_limit_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """One stream: a session of its own and inputs of its own."""

    session: Session
    pool: Pool


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """What one trial measured."""

    samples_ns: tuple[int, ...]
    """Every inference, in the order in which they ended."""
    wall_ns: int
    """From the first sample's start to the last one's end."""
    warmup_ns: int
    warmup_count: int
    steady: Steadiness
    stages_ns: Mapping[str, tuple[int, ...]] | None = None
    """Where the time of each sample went, by the device's clock, in the samples' order; None: it has none."""


STAGES = ("h2d", "compute", "d2h")


def track_bytes(stream: "Stream") -> int:
    """Memory of the loop itself for a stream: times and ends, and the stages where the session tells them."""
    return _COLUMN_BYTES * (2 + (len(STAGES) if isinstance(stream.session, DeviceSession) else 0))


@dataclass(slots=True, kw_only=True)
class _Track:
    """Where one stream writes what it measures."""

    samples: "array[int]"
    ends: "array[int]"
    stages: "tuple[array[int], ...]"
    """One array for each of `STAGES`; empty: the session has no clock of its own."""
    count: int = 0
    begin_ns: int = 0
    warmup_ns: int = 0
    warmup_count: int = 0
    error: BaseException | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Race:
    """What all streams of a trial share."""

    plan: SamplingPlan
    clock: Clock
    start: threading.Barrier


def host_to_host(session: Session, feeds: Arrays, clock: Clock) -> tuple[int, int]:
    """Input in host memory to output in host memory."""
    begin = clock()
    session.put(feeds)
    session.run()
    session.wait()
    session.get()
    return begin, clock()


def compute(session: Session, feeds: Arrays, clock: Clock) -> tuple[int, int]:
    """The inference alone; its input was put there before."""
    session.put(feeds)
    begin = clock()
    session.run()
    session.wait()
    return begin, clock()


ROUNDS: dict[Boundary, Round] = {"host-to-host": host_to_host, "compute": compute}


def measure(
    streams: Sequence[Stream],
    plan: SamplingPlan,
    clock: Clock = time.perf_counter_ns,
    *,
    before: Callable[[], None] | None = None,
    observe: Callable[[], None] | None = None,
) -> Sampled:
    """Warm up, then sample every stream at once; one stream runs in this thread, several get a thread each.

    ``before`` is called once, between the warm-up and the first sample; ``observe`` between samples of
    the first stream, at most once a second and never inside a sample.
    """
    tracks = [
        _Track(
            samples=_zeros(MOST_SAMPLES),
            ends=_zeros(MOST_SAMPLES),
            stages=tuple(_zeros(MOST_SAMPLES) for _ in STAGES) if isinstance(stream.session, DeviceSession) else (),
        )
        for stream in streams
    ]
    race = _Race(plan=plan, clock=clock, start=threading.Barrier(len(streams), action=before))
    with collector_off():
        if len(streams) == 1:
            _drive(streams[0], tracks[0], race, observe)
        else:
            _drive_all(streams, tracks, race, observe)
    order = np.argsort(np.concatenate([np.array(track.ends[: track.count]) for track in tracks]), kind="stable")
    samples = _by_end_time([track.samples for track in tracks], tracks, order)
    stages = {
        name: _by_end_time([track.stages[place] for track in tracks], tracks, order)
        for place, name in enumerate(STAGES)
        if all(track.stages for track in tracks)
    }
    return Sampled(
        samples_ns=samples,
        wall_ns=max(track.ends[track.count - 1] for track in tracks) - min(track.begin_ns for track in tracks),
        warmup_ns=max(track.warmup_ns for track in tracks),
        warmup_count=sum(track.warmup_count for track in tracks),
        steady=classify(samples),
        stages_ns=stages or None,
    )


def warm_up(stream: Stream, plan: SamplingPlan, clock: Clock) -> tuple[int, int]:
    """Run until a window of inferences is steady, or the limit is reached; returns nanoseconds and count.

    Windows do not overlap: the cold start stays in the first one. A limit that was reached is no
    failure here, since the samples are classified by the same test.
    """
    timed = ROUNDS[plan.boundary]
    start = clock()
    count = 0
    window: list[int] = []
    while True:
        begin, end = timed(stream.session, stream.pool[count % len(stream.pool)], clock)
        count += 1
        window.append(end - begin)
        if count >= FEWEST_WARMUPS and end - start >= plan.warmup_limit_ns:
            return end - start, count
        if len(window) >= WARMUP_WINDOW and sum(window) >= WARMUP_WINDOW_NS:
            if classify(window) == "steady":
                return end - start, count
            window = []


@contextmanager
def collector_off() -> Generator[None]:
    """No garbage collection inside, and nothing that exists already is looked at again afterwards."""
    was_on = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if was_on:
            gc.enable()


def _drive_all(
    streams: Sequence[Stream], tracks: Sequence[_Track], race: _Race, observe: Callable[[], None] | None
) -> None:
    """One thread a stream; the first error of any of them is raised here."""

    def guarded(stream: Stream, track: _Track, observe: Callable[[], None] | None) -> None:
        try:
            _drive(stream, track, race, observe)
        except BaseException as error:  # noqa: BLE001 (carried to the caller's thread)
            track.error = error
            race.start.abort()

    threads = [
        threading.Thread(target=guarded, args=(stream, track, observe if stream is streams[0] else None), daemon=True)
        for stream, track in zip(streams, tracks, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # A broken barrier is the echo of another stream's error, not the cause.
    errors = sorted((t.error for t in tracks if t.error), key=lambda e: isinstance(e, threading.BrokenBarrierError))
    if errors:
        raise errors[0]


def _drive(stream: Stream, track: _Track, race: _Race, observe: Callable[[], None] | None) -> None:
    """Warm one stream up, wait for the others, and fill its track."""
    plan, clock = race.plan, race.clock
    track.warmup_ns, track.warmup_count = warm_up(stream, plan, clock)
    race.start.wait()
    session, pool, timed = stream.session, stream.pool, ROUNDS[plan.boundary]
    samples, ends, stages = track.samples, track.ends, track.stages
    look = session.stages_ns if stages and isinstance(session, DeviceSession) else None
    count, distinct = 0, len(pool)
    first = observed = end = clock()
    while (end - first < plan.min_time_ns or count < plan.min_count) and count < MOST_SAMPLES:
        begin, end = timed(session, pool[count % distinct], clock)
        samples[count] = end - begin
        ends[count] = end
        if look is not None:  # what was measured is read between two samples
            stages[0][count], stages[1][count], stages[2][count] = look()
        if count == 0:
            first = begin
        count += 1
        if observe is not None and end - observed >= OBSERVATION_NS:
            observe()
            observed = clock()
    track.count, track.begin_ns = count, first


def _by_end_time(
    columns: "Sequence[array[int]]", tracks: Sequence[_Track], order: "NDArray[np.intp]"
) -> tuple[int, ...]:
    """A column of all streams by the time at which the samples ended."""
    filled = np.concatenate([np.array(column[: t.count]) for column, t in zip(columns, tracks, strict=True)])
    return tuple(filled[order].tolist())


def _zeros(count: int) -> "array[int]":
    """``count`` 64-bit integers whose pages are already written."""
    return array("q", [0]) * count
