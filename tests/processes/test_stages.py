"""Stages of a child process: told through a pipe of their own, with the seconds of each, whatever the process does."""

import os
import subprocess
import sys
import time

import pytest

from vitdeploy.processes import stages
from vitdeploy.processes.stages import Stage

CHILD = """
import sys, time
from vitdeploy.processes import stages
stages.write_to(int(sys.argv[1]))
for name in ("trace", "prove", "trace"):
    stages.begin(name)
    time.sleep(0.05)
"""


def child(body: str, descriptor: int) -> int:
    return subprocess.run([sys.executable, "-c", body, str(descriptor)], pass_fds=[descriptor], check=False).returncode


def test_the_stages_of_a_process_are_told_as_they_begin_and_added_by_name():
    told: list[str] = []
    with stages.watching("start", told.append) as watch:
        assert child(CHILD, watch.descriptor) == 0
    assert told == ["start", "trace", "prove", "trace"]
    assert [stage.name for stage in watch.stages] == ["start", "trace", "prove"]
    assert all(stage.seconds > 0 for stage in watch.stages)
    whole = sum(stage.seconds for stage in watch.stages)
    time.sleep(0.01)
    assert sum(stage.seconds for stage in watch.stages) == whole  # the clock stops with the process


def test_a_process_that_nobody_listens_to_says_nothing_and_works():
    body = "from vitdeploy.processes import stages; stages.write_to(None); stages.begin('trace')"
    assert subprocess.run([sys.executable, "-c", body], check=False).returncode == 0


def test_a_parent_that_is_gone_does_not_stop_its_child():
    reading, writing = os.pipe()
    os.close(reading)
    try:
        assert child(CHILD, writing) == 0
    finally:
        os.close(writing)


def test_an_error_of_who_listens_is_raised_when_the_process_has_ended():
    def refuse(name: str) -> None:
        if name != "start":
            raise ValueError(name)

    with pytest.raises(ValueError, match="trace"), stages.watching("start", refuse) as watch:
        assert child(CHILD, watch.descriptor) == 0


def test_words_leave_out_what_does_not_show():
    shown = (Stage(name="start", seconds=3.21), Stage(name="write", seconds=0.01), Stage(name="prove", seconds=1.0))
    assert stages.words(shown) == "start 3.2, prove 1.0"
