"""Claims on the files that verbs write: two processes never write one run."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tests.doubles import make_run
from vitdeploy.api import interrupted, output_path
from vitdeploy.api.cases import Planned
from vitdeploy.errors import UnreadableFile, UsageError
from vitdeploy.results import record

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


def test_a_name_that_was_not_given_is_said_at_once(tmp_path: Path):
    said: list[str] = []
    with output_path.claimed(None, tmp_path / "local-1.json", progress=said.append) as out:
        assert said == [f"writing {out}"]
    with output_path.claimed(tmp_path / "given.json", tmp_path / "unused", progress=said.append):
        assert len(said) == 1


def test_a_file_is_replaced_when_the_new_one_is_whole_with_what_lies_beside_it(tmp_path: Path):
    path = tmp_path / "run.json"
    path.write_text("before")
    with pytest.raises(UsageError) as refused, output_path.claimed(path, path, force=False):
        pass
    assert "--force" in refused.value.hint
    with output_path.claimed(path, path, force=True) as work:
        work.write_text("after")
        work.with_suffix(".log").write_text("log")
        assert path.read_text() == "before"
    assert path.read_text() == "after"
    assert (tmp_path / "run.log").read_text() == "log"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["run.json", "run.log"]


def replace_by_half(path: Path) -> None:
    """Ctrl-C in the middle of a replacement."""
    with output_path.claimed(path, path, force=True) as work:
        work.write_text("half")
        raise KeyboardInterrupt


def test_an_interrupted_replacement_leaves_the_file_and_is_gone_on_with(tmp_path: Path):
    path = tmp_path / "run.json"
    path.write_text("before")
    with pytest.raises(KeyboardInterrupt):
        replace_by_half(path)
    assert path.read_text() == "before"
    with output_path.claimed(path, path, force=True, resume=True) as work:
        assert work.read_text() == "half"
        work.write_text("whole")
    assert path.read_text() == "whole"
    with pytest.raises(KeyboardInterrupt):
        replace_by_half(path)
    with output_path.claimed(path, path, force=True) as work:
        assert not work.exists()
        work.write_text("new")
    assert path.read_text() == "new"


def test_a_replacement_takes_folders_and_records_beside_it_along(tmp_path: Path):
    def beside(path: Path) -> Path:
        return path.with_suffix(".evals")

    path = tmp_path / "sweep.json"
    beside(path).mkdir()
    (beside(path) / "old").write_text("")
    with pytest.raises(UsageError, match=r"sweep\.evals exists"), output_path.claimed(path, path, beside=beside):
        pass
    for text in ("first", "second"):
        with output_path.claimed(path, path, force=True, beside=beside) as work:
            beside(work).mkdir()
            (beside(work) / text).write_text("")
            assert work != path
    assert [file.name for file in beside(path).iterdir()] == ["second"]
    assert [file.name for file in tmp_path.iterdir()] == ["sweep.evals"]


def test_what_is_gone_on_with_by_search_is_not_replaced(tmp_path: Path):
    path = tmp_path / "run-1.json"
    path.write_text("half")
    default = tmp_path / "run-20260131-235959.json"
    with output_path.claimed(None, default, resume=True, force=True, search=lambda folder, prefix: path) as work:
        assert work == path


def test_force_of_a_file_that_is_not_there_writes_it(tmp_path: Path):
    with output_path.claimed(tmp_path / "run.json", tmp_path, force=True) as work:
        assert work == tmp_path / "run.json"


def test_resume_without_a_name_finds_the_last_interrupted_run(tmp_path: Path):
    whole = make_run.run(make_run.row("efficientvit_b1", "onnx-fp32", 7.4, seed=1), name="whole")
    rows = [msgspec.structs.replace(row, trials=row.trials[:2]) for row in whole.results]
    half = msgspec.structs.replace(whole, results=tuple(rows))
    for number, (name, run) in enumerate((("local-1", half), ("local-2", half), ("local-3", whole), ("other-4", half))):
        record.save(run, tmp_path / f"{name}.json")
        os.utime(tmp_path / f"{name}.json", (number, number))
    (tmp_path / "local-5.json").write_text("no run")
    default = tmp_path / "local-20260131-235959.json"
    planned = [Planned(variant=row.case.variant, streams=1) for row in half.results]
    search = interrupted.of_workload(planned, half.protocol)
    with output_path.claimed(None, default, resume=True, search=search) as out:
        assert out.name == "local-2.json"
    other = interrupted.of_workload([*planned, *planned], half.protocol)
    with (
        pytest.raises(UsageError, match="no interrupted run of this workload"),
        output_path.claimed(None, default, resume=True, search=other),
    ):
        pass
