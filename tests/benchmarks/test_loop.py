"""The loop on a clock we hold: what is inside a sample, when warm-up ends, how sampling ends, streams."""

import gc
import time

import pytest

from tests.doubles.fakes import FakeClock, FakeSession, arrays
from vitdeploy.benchmarks.trial import loop
from vitdeploy.benchmarks.trial.loop import SamplingPlan, Stream

MS = 1_000_000


def plan(**changes: object) -> SamplingPlan:
    settings: dict[str, object] = {
        "boundary": "host-to-host",
        "min_time_ns": 500 * MS,
        "min_count": 10,
        "warmup_limit_ns": 3000 * MS,
    }
    return SamplingPlan(**{**settings, **changes})  # pyright: ignore[reportArgumentType]


def lane(session: FakeSession, inputs: int = 3) -> Stream:
    return Stream(session=session, pool=[arrays(value) for value in range(inputs)])


def test_host_to_host_has_the_copies_inside():
    clock = FakeClock()
    sampled = loop.measure([lane(FakeSession(clock, lambda n: 5 * MS, put_ns=2 * MS, get_ns=1 * MS))], plan(), clock)
    assert set(sampled.samples_ns) == {8 * MS}


def test_compute_has_the_copies_outside():
    clock = FakeClock()
    session = FakeSession(clock, lambda n: 5 * MS, put_ns=2 * MS, get_ns=1 * MS)
    sampled = loop.measure([lane(session)], plan(boundary="compute"), clock)
    assert set(sampled.samples_ns) == {5 * MS}


def test_sampling_lasts_the_minimal_time():
    clock = FakeClock()
    sampled = loop.measure([lane(FakeSession(clock))], plan(), clock)
    assert len(sampled.samples_ns) == 500
    assert sampled.wall_ns == 500 * MS


def test_a_slow_session_is_sampled_the_minimal_count():
    clock = FakeClock()
    sampled = loop.measure([lane(FakeSession(clock, lambda n: 700 * MS))], plan(), clock)
    assert len(sampled.samples_ns) == 10


def test_warm_up_ends_with_the_evidence():
    clock = FakeClock()
    session = FakeSession(clock, lambda n: int(10 * MS * (1 + 0.8**n)))
    sampled = loop.measure([lane(session)], plan(), clock)
    assert 50 <= sampled.warmup_count <= 110  # the window with the slow start, and one more
    assert sampled.steady == "steady"
    assert max(sampled.samples_ns) < 10.2 * MS


def test_warm_up_that_never_settles_ends_at_its_limit_and_the_samples_say_so():
    clock = FakeClock()
    session = FakeSession(clock, lambda n: int(10 * MS * 1.02**n))
    sampled = loop.measure([lane(session)], plan(min_count=40), clock)
    assert sampled.warmup_ns >= 3000 * MS
    assert sampled.steady == "drifting"


def test_two_inferences_warm_up_even_where_one_takes_longer_than_the_limit():
    clock = FakeClock()
    assert loop.warm_up(lane(FakeSession(clock, lambda n: 5000 * MS)), plan(), clock) == (10_000 * MS, 2)


def test_no_warm_up_sample_is_among_the_samples():
    clock = FakeClock()
    session = FakeSession(clock)
    sampled = loop.measure([lane(session)], plan(), clock)
    assert len(session.fed) == sampled.warmup_count + len(sampled.samples_ns)


def test_inputs_are_rotated():
    clock = FakeClock()
    session = FakeSession(clock)
    loop.measure([lane(session, inputs=3)], plan(), clock)
    samples = session.fed[-6:]
    assert samples[0] is samples[3]
    assert len({id(feeds) for feeds in samples}) == 3


def test_every_sample_is_kept_spikes_too():
    clock = FakeClock()
    session = FakeSession(clock, lambda n: 90 * MS if n % 100 == 99 else MS)
    sampled = loop.measure([lane(session)], plan(min_count=400), clock)
    assert sum(sample == 90 * MS for sample in sampled.samples_ns) == len(sampled.samples_ns) // 100


def test_the_collector_is_off_while_sampling_and_on_afterwards():
    clock = FakeClock()
    seen: list[bool] = []

    def cost(n: int) -> int:
        seen.append(gc.isenabled())
        return MS

    assert gc.isenabled()
    loop.measure([lane(FakeSession(clock, cost))], plan(), clock)
    assert not any(seen)
    assert gc.isenabled()


def test_the_collector_is_on_again_after_a_failure():
    clock = FakeClock()
    with pytest.raises(RuntimeError, match="planted"):
        loop.measure([lane(FakeSession(clock, fail_at=30))], plan(), clock)
    assert gc.isenabled()


def test_looks_at_the_machine_are_between_samples_and_once_a_second():
    clock = FakeClock()
    looks: list[int] = []

    def look() -> None:
        looks.append(clock.now_ns)
        clock.advance(30 * MS)

    sampled = loop.measure([lane(FakeSession(clock))], plan(min_time_ns=5000 * MS), clock, observe=look)
    assert len(looks) == 4
    assert set(sampled.samples_ns) == {MS}


class SleepingSession(FakeSession):
    """Takes real time, as streams need real threads."""

    def run(self) -> None:
        super().run()
        time.sleep(0.002)


def test_streams_run_at_once_each_with_its_own_session_and_inputs():
    sessions = [SleepingSession(FakeClock()) for _ in range(3)]
    before: list[int] = []
    sampled = loop.measure(
        [lane(session) for session in sessions],
        plan(min_time_ns=100 * MS, warmup_limit_ns=20 * MS),
        before=lambda: before.append(1),
    )
    assert before == [1]
    assert len(sampled.samples_ns) == sum(len(session.fed) for session in sessions) - sampled.warmup_count
    # Three streams overlap: their samples add up to clearly more than the wall.
    assert sum(sampled.samples_ns) > 2 * sampled.wall_ns


def test_the_error_of_one_stream_ends_all_and_is_the_one_that_is_seen():
    sessions = [SleepingSession(FakeClock()), SleepingSession(FakeClock(), fail_at=1)]
    with pytest.raises(RuntimeError, match="planted"):
        loop.measure([lane(session) for session in sessions], plan(warmup_limit_ns=20 * MS))
