"""The TFLite rewrite benchmark takes turns fairly, times in a fresh process, and says when a file does not run."""

from pathlib import Path

import pytest

for package in ("torch", "ai_edge_litert"):
    pytest.importorskip(package, reason=f"TFLite files are timed with {package}")

from tests.doubles import artifacts
from vitdeploy.benchmarks.studies import tflite_speed
from vitdeploy.errors import ToolchainFailed


def test_each_file_begins_as_often_as_the_others_and_meets_the_same_drift(monkeypatch: pytest.MonkeyPatch):
    asked: list[str] = []

    def visit(file: Path, threads: int) -> float:
        asked.append(file.name)
        return float(2 ** len(asked))  # a machine that becomes twice as slow with every visit

    monkeypatch.setattr(tflite_speed, "visit", visit)
    files = {name: Path(name) for name in ("ours", "a", "b")}
    times = tflite_speed.in_turns(files, pairs=3, threads=1)
    assert [asked[first] for first in (0, 6, 12)] == ["ours", "a", "b"]
    assert times["a"] == pytest.approx(times["ours"])
    assert times["b"] == pytest.approx(times["ours"])


def test_a_visit_is_a_process_that_prints_its_median(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made = artifacts.conv_relu_tflite(tmp_path)
    assert 0 < tflite_speed.visit(made.file, threads=1) < 1e3
    made.file.write_bytes(b"no model")
    with pytest.raises(ToolchainFailed, match="does not run"):
        tflite_speed.visit(made.file, threads=1)


def test_the_plain_file_is_the_model_made_bilinear():
    import torch

    x = torch.arange(4.0).reshape(1, 1, 2, 2)
    assert tflite_speed.Bilinear(2)(x).shape == (1, 1, 4, 4)
    assert float(tflite_speed.Bilinear(2)(x).max()) == 3.0, "a cubic one overshoots"
