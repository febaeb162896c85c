"""Files from strangers and broken places, by the command line: the contract's exit code, two lines, nothing left."""

import errno
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tests.doubles import artifacts, eval_sets, make_run
from tests.doubles.messages import two_lines
from vitdeploy import documents
from vitdeploy.artifacts.manifest import open_artifact, write
from vitdeploy.cli import app
from vitdeploy.errors import UnreadableFile
from vitdeploy.results import record

torch = pytest.importorskip("torch", reason="checkpoints are torch files")

EXPORT = ("export", "efficientvit_b0", "--target", "torch-fp32", "--size", "32")


class Attack:
    """What a hostile checkpoint runs when it is unpickled carelessly."""

    def __reduce__(self):
        return os.system, ("touch attacked",)


def checkpoint(kind: str, path: Path) -> Path:
    match kind:
        case "empty":
            path.write_bytes(b"")
        case "noise":
            path.write_bytes(os.urandom(4096))
        case "text":
            path.write_text("<!doctype html><title>404</title>")
        case "truncated":
            torch.save({"weight": torch.zeros(64, 64)}, path)
            path.write_bytes(path.read_bytes()[:-2000])
        case "pickled code":
            path.write_bytes(pickle.dumps(Attack()))
        case "another model":
            torch.save({"state_dict": {"backbone.input_stem.op_list.0.conv.weight": torch.zeros(1, 2, 3)}}, path)
        case _:
            path.mkdir()
    return path


@pytest.mark.parametrize("kind", ["empty", "noise", "text", "truncated", "pickled code", "another model", "a folder"])
def test_a_bad_checkpoint_is_refused(say, tmp_path: Path, kind: str):
    weights = checkpoint(kind, tmp_path / "weights.pt")
    code, out, err = say(*EXPORT, "--weights", str(weights))
    assert (code, out) == (9, ""), err
    two_lines(err)
    assert "weights.pt" in err
    assert not (tmp_path / "attacked").exists()
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path != weights]


@pytest.mark.parametrize("verb", [("check",), ("predict",), ("bench",)])
@pytest.mark.parametrize("change", ["file", "manifest", "unknown field", "newer schema", "edited", "outside"])
def test_a_changed_artifact_is_refused(say, tmp_path: Path, verb: tuple[str], change: str):
    folder = tmp_path / "made"
    artifacts.plain_file(folder)
    manifest = folder / "manifest.json"
    match change:
        case "file":
            (folder / "model.onnx").write_bytes(b"other")
        case "manifest":
            manifest.write_text(manifest.read_text()[:-40])
        case "unknown field":
            manifest.write_text(manifest.read_text().replace("{", '{"surprise": 1,', 1))
        case "newer schema":
            manifest.write_text(manifest.read_text().replace('"schema": 1', '"schema": 99'))
        case "edited":
            manifest.write_text(manifest.read_text().replace('"made by hand"', '"made by a hand"'))
        case _:
            write(folder, msgspec.structs.replace(open_artifact(folder).manifest, file="../model.onnx"))
    arguments = (str(folder), "sample:coffee") if verb == ("predict",) else (str(folder),)
    code, out, err = say(*verb, *arguments)
    assert (code, out) == (9, ""), err
    two_lines(err)


@pytest.mark.parametrize("model", ["efficientvit_b0", "efficientvit_seg_b1_ade20k", "efficientvit_sr_x2"])
def test_a_file_whose_manifest_names_another_model_is_refused(say, tmp_path: Path, model: str):
    """Planted: a manifest without a digest, as older versions wrote it; its classes got another data set's names."""
    pytest.importorskip("onnxruntime", reason="the file is run by ONNX Runtime")
    folder = eval_sets.nearest_color(tmp_path / "a", "efficientvit_seg_b0_cityscapes", size=(32, 64), classes=19).folder
    manifest = folder / "manifest.json"
    fields = json.loads(manifest.read_text())
    del fields["manifest_sha256"]
    manifest.write_text(json.dumps(fields))
    assert say("predict", str(folder), "sample:coffee", "--out", "good.png")[0] == 0
    manifest.write_text(json.dumps(fields | {"model": model}))
    code, out, err = say("predict", str(folder), "sample:coffee", "--out", "x.png")
    assert (code, out) == (9, ""), err
    assert "names another model" in err
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize("kind", ["a device without an end", "a pipe"])
def test_a_document_that_is_no_plain_file_is_read_to_its_end_or_refused(tmp_path: Path, kind: str, monkeypatch):
    """Planted: /dev/zero has a size of 0, and was read until memory was full."""
    monkeypatch.setattr(documents, "LARGEST_BYTES", 2**23)
    if kind == "a device without an end":
        with pytest.raises(UnreadableFile, match="it is a device"):
            documents.read_bytes(Path("/dev/zero"), what="run")
        return
    reading, writing = os.pipe()
    os.write(writing, b"whole")
    os.close(writing)
    assert documents.read_bytes(Path(f"/dev/fd/{reading}"), what="run") == b"whole"
    os.close(reading)


@pytest.mark.parametrize("change", ["empty", "truncated", "newer", "unknown field", "no json"])
def test_a_bad_run_file_is_refused(say, tmp_path: Path, change: str):
    path = tmp_path / "run.json"
    record.save(make_run.everything(), path)
    text = path.read_text()
    changed = {
        "empty": "",
        "truncated": text[: len(text) // 2],
        "newer": text.replace('"schema": 1', '"schema": 2', 1),
        "unknown field": text.replace('"schema": 1', '"schema": 1, "surprise": 0', 1),
        "no json": "run",
    }
    path.write_text(changed[change])
    code, out, err = say("report", str(path), "--format", "html", "--out", "page.html")
    assert (code, out) == (9, ""), err
    two_lines(err)
    assert [p.name for p in tmp_path.iterdir()] == ["run.json"]


def test_a_report_into_a_place_that_cannot_be_written_is_refused(say, tmp_path: Path):
    record.save(make_run.everything(), tmp_path / "run.json")
    (tmp_path / "file").write_text("")
    code, _, err = say("report", "run.json", "--format", "csv", "--out", "file/report.csv")
    assert code == 9
    two_lines(err)


@pytest.mark.parametrize("out", ["file/deeper", "/proc/nowhere"])
def test_an_export_into_a_place_that_cannot_be_written_is_found_before_the_work(say, tmp_path: Path, out: str):
    (tmp_path / "file").write_text("")
    code, _, err = say(*EXPORT, "--out", out)
    assert code == 9, err
    two_lines(err)


def test_an_export_onto_a_full_disk_leaves_nothing(say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        code, _, err = say(*EXPORT, "--quiet", "--out", str(disk / "out"))
        assert code == 9, err
        two_lines(err)
        assert "No space left" in err
        assert not [path for path in disk.rglob("*") if path.is_file()]
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError("can't start new thread"), "no more processes or threads"),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), "no more processes or threads"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "out of memory"),
        (MemoryError(), "out of memory"),
        (ImportError("x.so: failed to map segment from shared object"), "out of memory"),
    ],
)
def test_what_the_system_has_no_more_of_is_no_bug_of_ours(
    say, error: Exception, words: str, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(app, "app", refuse)
    code, out, err = say("devices")
    assert (code, out) == (5, "")
    assert words in err
    two_lines(err)


def test_a_memory_limit_that_numpy_cannot_load_under_is_said_at_once():
    """Planted: OpenBLAS looked for memory for minutes under such a limit, or ended the process without a word."""
    line = f"ulimit -v 200000; exec '{sys.executable}' -m vitdeploy devices"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, env=environment, timeout=60, check=False
    )
    assert done.returncode == 5, done.stderr
    assert "limited to 195 MiB" in done.stderr
    two_lines(done.stderr)
