"""Named pipes and devices in the place of files: exit 9 at once, where a reader would wait for ever."""

import os
from pathlib import Path

import pytest

from tests.doubles import artifacts, eval_sets
from vitdeploy import documents
from vitdeploy.cli.main import main

LIMIT_S = 60
"""A reader that waits is killed by pytest's own time limit or the alarm below."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a named pipe that nobody writes into."""
    monkeypatch.chdir(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


@pytest.fixture(autouse=True)
def alarm() -> object:
    import signal

    def stop(*_: object) -> None:
        raise AssertionError("a reader waits for a pipe")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(LIMIT_S)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize(
    "words",
    [
        "report pipe",
        "report pipe --format csv",
        "report pipe --format history",
        "report /dev/zero",
        "compare pipe",
        "compare pipe pipe",
        "accept pipe --because x",
        "verify pipe",
        "sweep pipe",
        "bench onnx:pipe",
        "export onnx:pipe --target onnx-fp32",
        "export efficientvit_b0 --target onnx-fp32 --weights pipe",
        "predict seg pipe",
        "predict pipe sample:coffee",
        "check pipe",
        "eval seg --dataset cityscapes --root pipe",
        "eval seg --dataset cityscapes --root city --out out.json --resume",
        "eval seg --dataset coco --root city --annotations pipe",
    ],
)
def test_a_pipe_or_a_device_is_refused_at_once(words: str, folder: Path, capsys: pytest.CaptureFixture[str]):
    eval_sets.nearest_color(folder / "seg", "efficientvit_seg_b0_cityscapes", size=(64, 128), classes=19)
    truth = eval_sets.block_map(0, (64, 128), 19)
    eval_sets.cityscapes_set(folder / "city", {"aachen/p_000000": (truth, truth)})
    os.mkfifo(folder / "out.images.jsonl")
    code = main(words.split())
    shown = capsys.readouterr()
    assert code in (4, 9), shown.err
    assert len(shown.err.strip().splitlines()) == 2, shown.err


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("vitdeploy.toml", "doctor"),
        ("vitdeploy.toml", "bench --dry-run"),
        ("devices/attic.toml", "devices"),
        ("devices/attic.toml", "bench --dry-run --device attic"),
    ],
)
@pytest.mark.parametrize("kind", ["pipe", "large"])
def test_files_that_people_write_are_bounded(
    place: str, words: str, kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    file = folder / place
    file.parent.mkdir(exist_ok=True)
    if kind == "pipe":
        os.mkfifo(file)
    else:
        monkeypatch.setattr(documents, "LARGEST_TEXT_BYTES", 10)
        file.write_text('title = "more than ten bytes"')
    assert main(words.split()) == 9
    said = capsys.readouterr().err
    assert ("named pipe" if kind == "pipe" else "more than 10 bytes") in said


def test_a_plan_is_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(documents, "LARGEST_TEXT_BYTES", 10)
    (folder / "plan.toml").write_text('title = "more than ten bytes"')
    assert main(["sweep", "plan.toml"]) == 9
    assert "more than 10 bytes" in capsys.readouterr().err


def test_a_model_file_that_became_a_pipe_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]):
    made = artifacts.plain_file(folder / "made")
    made.file.unlink()
    os.mkfifo(made.file)
    assert main(["check", "made"]) == 9
    assert "named pipe" in capsys.readouterr().err


def test_a_file_that_is_no_picture_is_named_and_nothing_of_ours(folder: Path, capsys: pytest.CaptureFixture[str]):
    eval_sets.nearest_color(folder / "seg", "efficientvit_seg_b0_cityscapes", size=(64, 128), classes=19)
    (folder / "page.html").write_text("<html>")
    assert main(["predict", "seg", "page.html"]) == 9
    assert "page.html is not a readable image: its format is not known" in capsys.readouterr().err
