"""Engines: deferred where no builder is, built ahead of time by TensorRT for RTX, refused with the reason elsewhere."""

import json
from pathlib import Path
from typing import Any

import pytest

from vitdeploy import api, artifact, packages
from vitdeploy.cli import main
from vitdeploy.errors import Impossible, MissingPackage, UsageError

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")

SMALL = ("--size", "64x64")
NO_BUILDER = pytest.mark.skipif(not packages.missing(["tensorrt"]), reason="TensorRT is installed here")


def manifest_below(folder: Path) -> dict[str, Any]:
    (path,) = folder.rglob(artifact.MANIFEST)
    return json.loads(path.read_text())


@NO_BUILDER
def test_an_engine_without_a_builder_is_a_checked_graph_that_the_device_has_to_build(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["export", "efficientvit_b0", "--target", "trt-fp16", *SMALL, "--out", str(tmp_path / "out")]) == 0
    found = manifest_below(tmp_path / "out")
    assert (found["state"], found["file"], found["parity"]["passed"]) == ("deferred", "model.onnx", True)
    assert "--stronglyTyped" in found["deferred"]
    assert found["bound_to"] == {}
    assert "the device has to build it" in capsys.readouterr().err
    folder = next((tmp_path / "out").rglob(artifact.MANIFEST)).parent
    assert main(["check", str(folder), "--trace"]) == 0
    assert "no node diverges" in capsys.readouterr().out
    assert main(["bench", str(folder), "--device", "local", "--out", str(tmp_path / "run.json")]) == 4


@NO_BUILDER
def test_a_named_machine_without_a_builder_is_told_what_is_missing(tmp_path: Path):
    with pytest.raises(MissingPackage, match="tensorrt"):
        api.export(["efficientvit_b0"], api.ExportOrder(target="trt-fp16", device="local", out=tmp_path))


def test_a_half_precision_graph_that_fails_its_proof_is_no_engine(tmp_path: Path):
    """Without the rewrite these random weights divide 0 by 0 on a photograph: nothing is built on that."""
    command = ["export", "efficientvit_b1", "--target", "trt-fp16", "--size", "224x224"]
    assert main([*command, "--without", "normalized-attention", "--out", str(tmp_path)]) == 6
    assert not list(tmp_path.rglob("model.engine"))


@pytest.mark.skipif(bool(packages.missing(["tensorrt_rtx"])), reason="TensorRT for RTX is not installed")
@pytest.mark.parametrize("model", ["efficientvit_b0", "efficientvit_l1"])
def test_an_engine_is_built_ahead_of_time_and_says_what_that_does_not_prove(tmp_path: Path, model: str):
    # Not smaller: on small maps the builder of 1.7.1 fails in a check of its own (docs/fp16.md).
    command = ["export", model, "--target", "trt-rtx-fp16", "--size", "224x224", "--compute-capability", "8.0,8.9"]
    assert main([*command, "--out", str(tmp_path)]) == 0
    found = manifest_below(tmp_path)
    assert found["bound_to"]["compute_capability"] == ["8.0", "8.9"]
    assert found["parity"] is None
    assert "not numbers or speed" in found["parity_skipped"]
    assert len(found["parents"]) == 1
    (engine,) = tmp_path.rglob("model.engine")
    assert engine.stat().st_size == found["size_bytes"] > 100_000


@pytest.mark.skipif(bool(packages.missing(["tensorrt_rtx"])), reason="TensorRT for RTX is not installed")
def test_an_orin_is_not_among_what_it_builds_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    command = ["export", "efficientvit_b0", "--target", "trt-rtx-fp16", *SMALL, "--compute-capability", "8.7"]
    assert main([*command, "--out", str(tmp_path)]) == 4
    assert "an Orin (8.7) needs trt-fp16" in capsys.readouterr().err


def test_a_compute_capability_is_a_number_of_a_target_that_has_one():
    with pytest.raises(UsageError, match="'sm80' is none"):
        api.export_plan(["efficientvit_b0"], api.ExportOrder(target="trt-rtx-fp16", compute_capability="sm80"))
    with pytest.raises(Impossible, match="onnx-fp32 is not built ahead of time"):
        api.export_plan(["efficientvit_b0"], api.ExportOrder(target="onnx-fp32", compute_capability="8.0"))


@pytest.mark.slow
@pytest.mark.skipif(bool(packages.missing(["tensorrt_rtx"])), reason="TensorRT for RTX is not installed")
@pytest.mark.parametrize("name", ["efficientvit_seg_b0_cityscapes", "efficientvit_seg_l1_ade20k", "efficientvit_l3"])
@pytest.mark.parametrize("attention", ["relu", "softmax"])
def test_nvidias_own_parser_and_builder_take_every_kind_of_graph(tmp_path: Path, name: str, attention: str):
    command = ["export", name, "--target", "trt-rtx-fp16", "--size", "256x512", "--attention", attention]
    assert main([*command, "--compute-capability", "8.0", "--out", str(tmp_path)]) == 0
