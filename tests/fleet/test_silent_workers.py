"""Workers that stop reporting are given up in time; those that report late, or whose clock differs, are not."""

from vitdeploy.fleet.silent_workers import LEAST_SILENCE_S, SilentWorkers


def test_a_worker_that_stops_reporting_is_silent_after_the_limit():
    now = [0.0]
    workers = SilentWorkers(40.0, clock=lambda: now[0])
    assert workers.look({"a": 1e9, "b": 5.0}) == []
    now[0] = 39.0
    assert workers.look({"a": 1e9, "b": 44.0}) == []
    now[0] = 41.0
    assert workers.look({"a": 1e9, "b": 44.0}) == ["a"]
    assert workers.look({"a": 1e9, "b": 44.0}) == ["a"]
    assert workers.look({"a": 1e9 + 1, "b": 44.0}) == []  # it is there again
    now[0] = 100.0
    assert workers.look({"c": 1.0}) == []  # a new one has just been heard of
    assert "has not reported for 40 s" in workers.words("tcp://10.0.0.2:1")


def test_a_short_wait_gives_no_loaded_worker_up():
    now = [0.0]
    workers = SilentWorkers(1.0, clock=lambda: now[0])
    workers.look({"a": 1.0})
    now[0] = LEAST_SILENCE_S - 1
    assert workers.look({"a": 1.0}) == []
