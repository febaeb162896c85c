"""Real-time priority: taken for a block and given back, or refused with the reason."""

import os

import pytest

from vitdeploy.benchmarks import bench
from vitdeploy.devices import priority
from vitdeploy.errors import Impossible, UsageError


def test_it_is_taken_for_the_block_only(monkeypatch: pytest.MonkeyPatch):
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "sched_setscheduler", lambda thread, policy, level: asked.append((thread, policy)))
    with priority.realtime(True):
        assert {policy for _, policy in asked} == {os.SCHED_FIFO}
    threads = {thread for thread, _ in asked}
    assert asked[len(asked) // 2 :] == [(thread, os.SCHED_OTHER) for thread, _ in asked[: len(asked) // 2]]
    assert os.getpid() in threads


def test_it_is_left_alone_where_nobody_wants_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "sched_setscheduler", lambda *_: pytest.fail("not wanted"))
    with priority.realtime(False):
        pass


def test_what_the_system_refuses_is_said(monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    with pytest.raises(Impossible, match="Operation not permitted"), priority.realtime(True):
        pytest.fail("the block must not run")


def test_another_word_is_refused():
    with pytest.raises(UsageError, match="'idle'"):
        bench.make_protocol(priority="idle")
    assert bench.make_protocol(priority="realtime").priority == "realtime"
