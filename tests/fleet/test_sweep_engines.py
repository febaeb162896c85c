"""Engines in a sweep: exported by one worker, built by the device, timed there; TensorRT is a TEST DOUBLE."""

import shutil
from pathlib import Path

import msgspec
import pytest

from tests.doubles import ssh_server
from tests.doubles.orin import configure, graph, manifest_in, server
from tests.doubles.ssh_server import SshServer
from vitdeploy.cli.main import main
from vitdeploy.results import record

pytest.importorskip("distributed", reason="Dask (extra fleet) is not installed")
pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not ssh_server.available(), reason="no OpenSSH server and client here"),
]

__all__ = ["graph", "server"]

PLAN = """title = "Engines"
trials = 2
min_time_s = 0.05
[[rows]]
models = ["efficientvit_b0"]
targets = ["trt-fp16"]
sizes = ["64x64"]
devices = ["orin"]
"""


@pytest.fixture
def lab(server: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    del server
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "lab.toml").write_text(PLAN)
    return tmp_path


def test_a_device_builds_what_was_left_to_it_and_a_resumed_sweep_does_not_again(
    lab: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["sweep", "lab.toml", "--out", "run.json"]) in (0, 8)
    assert "orin built efficientvit_b0 trt-fp16" in capsys.readouterr().err
    built = next(lab.glob("artifacts/**/trt-fp16@orin"))
    (engine,) = record.load(lab / "run.json").results
    assert engine.artifact_sha256 == manifest_in(built)["sha256"]
    assert engine.case.memory == "pinned"
    assert len(engine.trials) == 2

    # As if the client had been killed before the last round.
    run = record.load(lab / "run.json")
    cut = [msgspec.structs.replace(row, trials=row.trials[:1]) for row in run.results]
    record.save(msgspec.structs.replace(run, results=tuple(cut)), lab / "run.json")
    assert main(["sweep", "lab.toml", "--out", "run.json", "--resume"]) in (0, 8)
    said = capsys.readouterr().err
    assert "built" not in said
    assert "made in" not in said
    again = record.load(lab / "run.json").results
    assert [row.artifact_sha256 for row in again] == [row.artifact_sha256 for row in run.results]
    assert [len(row.trials) for row in again] == [2]


def test_an_engine_that_computes_something_else_is_a_row_with_its_reason(lab: Path, graph: Path):
    configure(lab, VITDEPLOY_DOUBLE="wrong")
    shutil.copytree(graph, lab / "graph")
    rows = f'models = ["{lab / "graph"}"]\ndevices = ["orin"]\n'
    (lab / "lab.toml").write_text(f'title = "Engines"\ntrials = 1\nmin_time_s = 0.05\n[[rows]]\n{rows}')
    assert main(["sweep", "lab.toml", "--out", "run.json"]) == 6
    (engine,) = record.load(lab / "run.json").results
    assert engine.status == "failed"
    assert "does not compute what its graph computes" in engine.reasons[0].message
