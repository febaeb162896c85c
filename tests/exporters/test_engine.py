"""An engine built on its device on first bench: a real OpenSSH server, and TEST DOUBLES of TensorRT, CUDA and driver.

The doubles (tests/board_double) say nothing of TensorRT's numbers or speed: what is shown is who does what where.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.doubles import make_run, ssh_server
from tests.doubles.orin import configure, graph, manifest_in, server
from tests.doubles.ssh_server import SshServer
from vitdeploy.artifacts import manifest
from vitdeploy.artifacts.store import Store
from vitdeploy.benchmarks import duel
from vitdeploy.catalog.fact_table import DeviceFacts
from vitdeploy.cli.main import main
from vitdeploy.devices import inventory
from vitdeploy.exporters.engines import remote_build
from vitdeploy.results import record, validity

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
pytest.importorskip("onnx", reason="onnx is not installed")
pytestmark = pytest.mark.skipif(not ssh_server.available(), reason="no OpenSSH server and client here")

__all__ = ["graph", "server"]

BENCH = ("--trials", "1", "--min-time", "0.1", "--device", "orin")


def test_the_first_bench_builds_the_engine_there_and_the_next_does_not(
    server: SshServer, graph: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run = tmp_path / "run.json"
    assert main(["bench", str(graph), *BENCH, "--out", str(run)]) in (0, 8)
    assert "orin builds efficientvit_b0 trt-fp16" in capsys.readouterr().err
    built = graph.with_name("trt-fp16@orin")
    found = manifest_in(built)
    assert (found["state"], found["file"]) == ("ready", "model.engine")
    assert found["bound_to"] == {"compute_capability": ["8.7"], "tensorrt": "10.3.0", "gpu": "Orin (test double)"}
    assert found["parents"][0] == manifest_in(graph)["sha256"]
    assert found["build_ns"] > 0
    assert found["timing_cache_sha256"]
    assert found["parity"]["passed"]
    assert "its graph model.onnx on this machine" in found["parity"]["reference"]
    (row,) = record.load(run).results
    assert row.artifact_sha256 == found["sha256"]
    assert row.case.memory == "pinned"
    assert row.trials[0].stages_ns is not None
    assert len(row.trials[0].stages_ns.compute) == len(row.trials[0].samples_ns)
    left = [path.name for path in (server.home / ".cache" / "vitdeploy").rglob("*") if path.is_file()]
    assert [name for name in left if name.endswith(".cache")], "the timings stay on the board"
    assert not [name for name in left if name.startswith(("model.engine.", "outputs.", "input"))]
    assert main(["bench", str(graph), *BENCH, "--out", str(tmp_path / "again.json")]) in (0, 8)
    assert "builds" not in capsys.readouterr().err


def test_an_engine_of_another_version_is_built_again_or_refused(server: SshServer, graph: Path, tmp_path: Path):
    assert main(["bench", str(graph), *BENCH, "--out", str(tmp_path / "run.json")]) in (0, 8)
    built = graph.with_name("trt-fp16@orin")
    configure(tmp_path, VITDEPLOY_DOUBLE="10.7.0")
    assert main(["bench", str(built), *BENCH, "--out", str(tmp_path / "other.json")]) == 4
    (row,) = record.load(tmp_path / "other.json").results
    assert "bound to tensorrt 10.3.0, and here is 10.7.0" in row.reasons[0].message


@pytest.mark.parametrize(
    ("planted", "code", "words"),
    [
        ("8.6.2", 4, "older than 10.3"),
        ("refuse", 5, "UNSUPPORTED_NODE"),
        ("fail", 5, "Could not find any implementation"),
        ("crash", 5, "no reply"),
        ("wrong", 6, "does not compute what its graph computes"),
    ],
)
def test_what_becomes_of_a_board_that_cannot_build(
    server: SshServer, graph: Path, tmp_path: Path, planted: str, code: int, words: str
):
    shutil.rmtree(graph.with_name("trt-fp16@orin"), ignore_errors=True)
    configure(tmp_path, VITDEPLOY_DOUBLE=planted)
    assert main(["bench", str(graph), *BENCH, "--out", str(tmp_path / "run.json")]) == code
    (row,) = record.load(tmp_path / "run.json").results
    assert row.status == "failed"
    assert words in row.reasons[0].message
    assert not list(graph.parent.glob(".trt*")), "nothing half-written is left"


@pytest.mark.slow
def test_export_with_a_device_builds_there(server: SshServer, tmp_path: Path):
    words = ["export", "efficientvit_b0", "--target", "trt-fp16", "--size", "64x64", "--device", "orin"]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    assert list((tmp_path / "out").rglob("trt-fp16@orin/model.engine"))


def test_a_device_without_a_gpu_is_exit_4(graph: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["bench", str(graph), "--device", "local", "--out", str(tmp_path / "run.json")]) == 4


TRTEXEC = r"""#!/bin/sh
# TEST DOUBLE of trtexec 10.3: it copies the graph for an engine and writes made-up times.
echo "&&&& RUNNING TensorRT.trtexec [TensorRT v100300] # $0 $*"
for word in "$@"; do
  case $word in
    --onnx=*) graph=${{word#--onnx=}};;
    --saveEngine=*) cp "$graph" "${{word#--saveEngine=}}";;
    --loadEngine=*) [ -e "${{word#--loadEngine=}}" ] || exit 1;;
    --exportTimes=*) cp {times} "${{word#--exportTimes=}}";;
  esac
done
echo "[11/23/2026-12:00:00] [I] Selected Device: Orin (test double)"
echo "[11/23/2026-12:00:00] [I] Compute Capability: 8.7"
echo "$*" >> {folder}/trtexec.log
{end}
"""


def trtexec_in(folder: Path, end: str) -> None:
    times = folder / "times.json"
    row = (Path(__file__).parents[1] / "data" / "trtexec" / "times-10.json").read_text()
    times.write_text(json.dumps(json.loads(row) * 100))
    tool = folder / "trtexec"
    tool.write_text(TRTEXEC.format(times=times, folder=folder, end=end))
    tool.chmod(0o755)
    path = folder / "devices" / "orin.toml"
    path.write_text(path.read_text().replace("[facts]", f'trtexec = "{tool}"\n[facts]'))


def test_trtexec_builds_and_times_where_the_device_file_names_it(server: SshServer, graph: Path, tmp_path: Path):
    shutil.rmtree(graph.with_name("trt-fp16@orin"), ignore_errors=True)
    trtexec_in(tmp_path, 'echo "&&&& PASSED TensorRT.trtexec [TensorRT v100300] # $0"')
    assert main(["bench", str(graph), *BENCH, "--out", str(tmp_path / "run.json")]) in (0, 8)
    (row,) = record.load(tmp_path / "run.json").results
    assert row.trials[0].facts["runtime"] == "trtexec 10.3.0"
    assert set(row.trials[0].samples_ns) == {2_500_000, 2_600_000}
    found = manifest_in(graph.with_name("trt-fp16@orin"))
    assert found["bound_to"] == {"compute_capability": ["8.7"], "tensorrt": "10.3.0", "gpu": "Orin (test double)"}
    assert (found["parity"], "returns no outputs" in found["parity_skipped"]) == (None, True)
    said = (tmp_path / "trtexec.log").read_text()
    assert "--stronglyTyped" in said
    assert "--exposeDMA" in said


def test_trtexec_that_fails_is_a_failed_row_with_its_words(server: SshServer, graph: Path, tmp_path: Path):
    shutil.rmtree(graph.with_name("trt-fp16@orin"), ignore_errors=True)
    trtexec_in(tmp_path, 'echo "[11/23/2026-12:00:00] [E] Got invalid engine!"; echo "&&&& FAILED"; exit 1')
    assert main(["bench", str(graph), *BENCH, "--out", str(tmp_path / "run.json")]) == 5
    (row,) = record.load(tmp_path / "run.json").results
    assert "Got invalid engine!" in row.reasons[0].message


@pytest.mark.slow  # half a minute; its parts are tested apart
def test_a_named_graph_is_built_timed_on_the_gpu_and_confirmed_from_the_store(
    server: SshServer, graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """A duel of a graph that is still to be built; then a planted suspicion about its engine, which is in the store."""
    monkeypatch.setattr(duel, "PAIRS", {"turns": 3, "trials": 3})
    monkeypatch.setattr(duel, "MIN_TIME_S", {"turns": 0.1, "trials": 0.1})
    monkeypatch.setattr(validity, "MOST_UNSTEADY", 1.0)  # whatever else this machine does meanwhile
    shutil.rmtree(graph.with_name("trt-fp16@orin"), ignore_errors=True)
    words = ["--device", "orin", "--min-time", "0.1", "--out", str(tmp_path / "duel.json")]
    assert main(["duel", str(graph), str(graph), *words]) == 0
    rows = record.load(tmp_path / "duel.json").results
    assert {row.case.memory for row in rows} == {"pinned"}
    assert all(taken.stages_ns is not None for row in rows for taken in row.trials)

    shutil.rmtree(graph.with_name("trt-fp16@orin"))
    paths: list[str] = []
    for name, median_ms in (("base", 7.4), ("head", 9.0)):
        planted = make_run.row("efficientvit_b0", "trt-fp16", median_ms, seed=len(paths) + 1, trials=8, count=100)
        planted = make_run.of_file(planted, rows[0].artifact_sha256 or "", case=rows[0].case)
        paths.append(str(tmp_path / f"{name}.json"))
        record.save(make_run.run(planted, name=name), Path(paths[-1]))
    capsys.readouterr()
    assert main(["compare", *paths, "--confirm"]) == 0
    shown = capsys.readouterr()
    assert "was decided by a duel of the stored files" in " ".join(shown.out.split())
    assert "builds" not in shown.err
    (path,) = Path("runs").glob("confirm-*.json")
    assert {row.artifact_sha256 for row in record.load(path).results} == {rows[0].artifact_sha256}


def test_an_engine_of_the_store_is_taken_only_where_it_is_bound_to(
    graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shutil.copytree(graph, tmp_path / "trt-fp16")
    made = manifest.open_artifact(tmp_path / "trt-fp16")
    place = remote_build.engine_folder(made, "orin")
    shutil.copytree(graph, place)
    bound = {"compute_capability": ["8.7"], "tensorrt": "10.3.0", "gpu": "Orin"}
    changes: dict[str, Any] = {"state": "ready", "deferred": None, "parents": (made.manifest.sha256,)}
    built = msgspec.structs.replace(made.manifest, bound_to=bound, **changes)
    built = manifest.write(place, built).manifest
    remote_build.store_engine(manifest.open_artifact(place), "orin")
    shutil.rmtree(place)

    facts = {"compute_capability": "8.7", "packages": {"tensorrt": "10.3.0"}}
    orin = msgspec.structs.replace(inventory.find("local"), name="orin")
    for other in ({"compute_capability": "8.6"}, {"packages": {"tensorrt": "10.7.0"}}):
        assert remote_build.stored_engine(made, orin, DeviceFacts({**facts, **other})) is None
    assert remote_build.stored_engine(made, msgspec.structs.replace(orin, name="orin-2"), DeviceFacts(facts)) is None
    kept = remote_build.stored_engine(made, orin, DeviceFacts(facts))
    assert kept is not None
    assert (kept.folder, kept.manifest) == (place, built)
    stored = Store().holding(built.sha256, "trt-fp16")
    assert stored is not None
    assert stored.manifest.state == "ready"
