"""What explains a slowdown: operator times from a profile, the largest changes first, and the graph's own changes."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from tests.doubles import artifacts, make_run
from vitdeploy.artifacts.manifest import Artifact
from vitdeploy.benchmarks.profile import attribution
from vitdeploy.processes.local import LocalConnection
from vitdeploy.reports import as_github, as_markdown, explanations, report
from vitdeploy.results import record


def by_worker(side: Artifact) -> dict[str, int]:
    return attribution.by_worker(side, LocalConnection(), compute="cpu", threads=1)


def event(name: str, operator: str, microseconds: int) -> dict[str, object]:
    return {"cat": "Node", "name": f"{name}_kernel_time", "dur": microseconds, "args": {"op_name": operator}}


def test_a_profile_is_summed_by_operator_from_each_nodes_median():
    events = [event("a", "Conv", duration) for duration in (900, 10, 12)]
    events += [event("b", "Conv", 5), event("c", "Relu", 1)]
    events += [{"cat": "Session", "name": "model_run", "dur": 99}, {"cat": "Node", "name": "a_fence_before", "dur": 7}]
    on_ort = pytest.importorskip("vitdeploy.runtimes.on_ort", reason="ONNX Runtime is not installed")
    assert on_ort.total_ns_by_type(events) == {"Conv": 17_000, "Relu": 1_000}


def test_the_largest_changes_come_first_in_the_direction_of_the_whole():
    base = {"Conv": 10_000_000, "Relu": 1_000_000, "Add": 3_000_000}
    head = {"Conv": 12_000_000, "Add": 1_000_000, "Resize": 9_000_000, "Relu": 1_100_000, "Mul": 50_000}
    assert [share.name for share in attribution.largest(base, head)] == ["Resize", "Conv", "Relu"]
    assert [share.name for share in attribution.largest(head, base)] == ["Resize", "Conv", "Relu"]
    assert attribution.largest(base, base) == ()


def test_two_real_files_are_told_apart_by_their_operators(tmp_path: Path):
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    # 363 products a number: the reordering of channels that ONNX Runtime adds stays small beside them on a busy machine
    small, large = (artifacts.conv_relu(tmp_path / str(n), channels=n, kernel=11) for n in (8, 512))
    found = attribution.attribute(small, large, by_worker)
    assert found.said is None
    assert found.operators[0].name == "Conv"
    assert found.operators[0].head_ms > found.operators[0].base_ms


def test_two_tflite_files_are_told_apart_by_what_runs_inside_of_xnnpack(tmp_path: Path):
    pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed")
    small, large = (artifacts.conv_relu_tflite(tmp_path / str(n), channels=n) for n in (8, 512))
    found = attribution.attribute(small, large, by_worker)
    assert found.said is None
    assert found.operators[0].name.startswith("Convolution (NHWC, F32)")
    assert found.operators[0].head_ms > found.operators[0].base_ms


def test_what_a_profile_failed_at_is_said(tmp_path: Path):
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    side = artifacts.conv_relu(tmp_path / "a")
    side.file.write_bytes(b"no model")
    found = attribution.attribute(side, side, by_worker)
    assert found.operators == ()
    assert found.said is not None
    assert "the operators of onnx-fp32 could not be timed: ONNX Runtime" in found.said


def test_a_runtime_without_a_profiler_is_said(tmp_path: Path):
    pytest.importorskip("torch", reason="torch is not installed")
    side = artifacts.state_dict(tmp_path / "a")
    found = attribution.attribute(side, side, by_worker)
    assert (found.operators, found.said) == ((), "torch-fp32: no operator times")


def test_a_summary_tells_what_explains_it():
    a = msgspec.structs.replace(make_run.row("efficientvit_b1", "onnx-fp32", 7.0, seed=1, count=50), side="A")
    b = msgspec.structs.replace(make_run.row("efficientvit_b1", "onnx-fp32", 9.0, seed=2, count=50), side="B")
    pairs = [
        msgspec.structs.replace(
            side, trials=tuple(msgspec.structs.replace(t, pair=i) for i, t in enumerate(side.trials))
        )
        for side in (a, b)
    ]
    explained = record.Attribution(
        operators=(record.OperatorShare(name="Resize", base_ms=0.0, head_ms=2.0),), graph={"Resize": (0, 2)}, said=None
    )
    duel = record.Duel(
        names=("a", "b"),
        pairs=5,
        most_pairs=5,
        alpha=0.01,
        max_slowdown=0.02,
        stopped=None,
        attribution=explained,
    )
    run = msgspec.structs.replace(make_run.run(*pairs), duel=duel)
    for module in (as_github, as_markdown):
        text = module.render(report.build([run])).decode()
        assert "Resize: 0 → 2 ms an inference (+2); In the graph: Resize 0 → 2." in text


def test_the_graph_of_a_torch_file_is_unknown_and_not_empty(tmp_path: Path):
    """Its manifest lists no operators: a duel with it must not say that every operator was removed."""
    listed = artifacts.plain_file(tmp_path / "a")
    listed = replace(listed, manifest=msgspec.structs.replace(listed.manifest, operators={"Conv": 50}))
    torch = replace(listed, manifest=msgspec.structs.replace(listed.manifest, operators={}, target="torch-fp32"))
    for sides in ((listed, torch), (torch, torch)):
        explained = attribution.attribute(*sides, lambda side: {"Conv": 1})
        assert (explained.graph, explained.unlisted) == ({}, ("torch-fp32",))
        words = "; ".join(explanations.attribution(explained))
        assert "The graphs are not compared: files of torch-fp32 list no operators" in words
        assert "same operators" not in words


def test_it_runs_alone_as_on_a_device():
    done = subprocess.run(
        [sys.executable, "-m", "vitdeploy.benchmarks.profile.worker"],
        input='{"file": "none", "manifest": {}, "runtime": "tests.doubles.fakes", "threads": 1, "device": "cpu"}',
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout == '{"reply": {}}'
