"""Claims on the files that verbs write: two processes never write one run."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from vitdeploy.api import output_path
from vitdeploy.errors import UnreadableFile, UsageError

HOLDS = """
import sys
from pathlib import Path
from vitdeploy.api.output_path import claimed
with claimed(Path(sys.argv[1]), Path("unused")) as out:
    print("claimed", flush=True)
    sys.stdin.readline()
    out.write_text("first")
"""


def holder(path: Path) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "claimed\n"
    return process


def test_a_second_process_is_refused_while_the_first_works_and_after_it(tmp_path: Path):
    path = tmp_path / "runs" / "same.json"
    first = holder(path)
    for resume in (False, True):
        with pytest.raises(UsageError, match="written by another"), output_path.claimed(path, path, resume=resume):
            pass
    first.communicate("go\n", timeout=30)
    with pytest.raises(UsageError, match="exists"), output_path.claimed(path, path):
        pass
    assert path.read_text() == "first"
    with output_path.claimed(path, path, resume=True) as out:
        assert out == path
    assert [file.name for file in path.parent.iterdir()] == ["same.json"]


def test_a_killed_process_leaves_a_claim_that_holds_nobody_up(tmp_path: Path):
    path = tmp_path / "same.json"
    first = holder(path)
    first.send_signal(signal.SIGKILL)
    first.wait()
    with output_path.claimed(path, path) as out:
        out.write_text("second")
    assert [file.name for file in tmp_path.iterdir()] == ["same.json"]


def test_default_names_of_one_second_are_different(tmp_path: Path):
    default = tmp_path / "runs" / "local-1.json"
    with output_path.claimed(None, default) as first, output_path.claimed(None, default) as second:
        first.write_text("1")
        second.write_text("2")
    with output_path.claimed(None, default) as third:
        third.write_text("3")
    assert sorted(path.name for path in default.parent.iterdir()) == [
        "local-1-2.json",
        "local-1-3.json",
        "local-1.json",
    ]


def test_what_fails_before_it_writes_leaves_no_folder(tmp_path: Path):
    path = tmp_path / "a" / "b" / "run.json"
    with pytest.raises(RuntimeError), output_path.claimed(path, path):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_places_that_cannot_hold_a_run_are_refused_before_the_work(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("")
    for path, resume, error in (
        (tmp_path, False, UsageError),
        (tmp_path / "pipe", False, UsageError),
        (tmp_path / "pipe", True, UsageError),
        (tmp_path / ("x" * 300), False, UnreadableFile),
        (tmp_path / "file" / "run.json", False, UnreadableFile),
    ):
        with pytest.raises(error), output_path.claimed(path, path, resume=resume):
            pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "pipe"]
