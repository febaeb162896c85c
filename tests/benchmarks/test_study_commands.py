"""The studies of our own exports as commands: a model that fails is a row, and what is missing is said."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

if any(importlib.util.find_spec(name) is None for name in ("torch", "onnxruntime")):
    pytest.skip("torch or onnxruntime is not installed", allow_module_level=True)

from vitdeploy.benchmarks.studies import export_speed, paired_times, tflite_speed
from vitdeploy.benchmarks.studies.export_speed import Duel
from vitdeploy.catalog import packages
from vitdeploy.errors import MissingPackage

TIMES = paired_times.compare([2.0, 2.1, 2.0], [1.0, 1.0, 1.1])


@pytest.fixture
def no_timing(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    tried: list[str] = []

    def duels(spec: Any, size: Any, *_: Any, **__: Any) -> Iterator[Duel]:
        tried.append(spec.name)
        if spec.name == "bsrn_x4":
            raise RuntimeError("torch cannot export it")
        yield Duel(model=spec.name, size=size, what="all rewrites", times=TIMES)

    monkeypatch.setattr(export_speed, "duels", duels)
    return tried


def test_export_speed_of_every_model_ends_with_a_table(no_timing: list[str], capsys: pytest.CaptureFixture[str]):
    """Bare: parts stand in the place of a model that has them; what takes no image is left out."""
    assert export_speed.main([]) == 0
    out, err = capsys.readouterr()
    assert "efficientvit_sam_l0.encoder" in no_timing
    assert no_timing[-1] != "bsrn_x4", "the others are timed"
    for text in (out, err):
        assert "bsrn_x4: left out, RuntimeError: torch cannot export it" in text
    assert "efficientvit_sam_l0.decoder: left out, efficientvit_sam_l0.decoder takes no image" in out
    assert err.index("efficientvit_b0 all rewrites: ") < err.index("bsrn_x4: left out")


def test_a_size_that_a_model_cannot_have_is_a_row(no_timing: list[str], capsys: pytest.CaptureFixture[str]):
    assert export_speed.main(["--models", "sam_vit_b.encoder", "efficientvit_b0", "--size", "256x256"]) == 0
    assert no_timing == ["efficientvit_b0"]
    assert "sam_vit_b.encoder: left out, " in capsys.readouterr().out
    assert export_speed.main(["--models", "sam_vit_b.encoder", "--size", "256x256"]) == 8, "nothing was timed"


def test_tflite_speed_without_litert_torch_leaves_its_files_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def missing() -> None:
        raise MissingPackage("missing here: litert_torch", "Install it.")

    asked: list[Any] = []

    def rows(*_: Any, plain_by: Any, **__: Any) -> Iterator[Any]:
        asked.append(plain_by)
        raise RuntimeError("nothing is converted in this test")
        yield

    monkeypatch.setattr(tflite_speed.registry, "load", lambda name: missing)  # pyright: ignore[reportUnknownLambdaType]
    monkeypatch.setattr(packages, "require", lambda names: None)  # pyright: ignore[reportUnknownLambdaType]
    monkeypatch.setattr(tflite_speed, "rows", rows)
    assert tflite_speed.main(["--models", "efficientvit_b0", "--files", str(tmp_path)]) == 8
    assert asked == [("onnx2tf",)]
    assert "without litert-torch's files: missing here: litert_torch" in capsys.readouterr().err
    assert tflite_speed.main(["--models", "efficientvit_b0", "--converter", "litert-torch"]) == 3
