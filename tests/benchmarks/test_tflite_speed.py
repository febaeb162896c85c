"""The TFLite rewrite benchmark times any file by turns, and says when one does not run."""

from pathlib import Path

import pytest

for package in ("torch", "ai_edge_litert"):
    pytest.importorskip(package, reason=f"TFLite files are timed with {package}")

from tests.doubles import artifacts
from vitdeploy.benchmarks.studies import files_by_turns, tflite_files
from vitdeploy.catalog import registry
from vitdeploy.errors import NoValidMeasurement
from vitdeploy.exporters.tflite import inspect_file
from vitdeploy.processes.local import LocalConnection
from vitdeploy.studies import paired_rounds


@pytest.mark.slow  # converts by both converters
def test_files_that_no_export_described_take_turns(tmp_path: Path):
    """Any TFLite file is timed: what goes in and out is read from it."""
    made = artifacts.conv_relu_tflite(tmp_path / "made")
    bare = tmp_path / "bare" / "model.tflite"
    bare.parent.mkdir()
    bare.write_bytes(made.file.read_bytes())
    inputs, outputs = inspect_file.tensors(bare)
    assert [(t.shape, t.dtype) for t in inputs] == [(t.shape, t.dtype) for t in made.manifest.inputs]
    spec = registry.find_model("efficientvit_b0")
    artifact = files_by_turns.artifact_of(bare, made.manifest.variant, spec, inputs=inputs, outputs=outputs)
    connection = LocalConnection(lock_folder=tmp_path)
    timed = files_by_turns.timed(
        {"made": made, "bare": artifact}, pairs=3, threads=1, min_time_s=0.02, connection=connection
    )
    assert paired_rounds.way(timed.run, timed.run.results) == "turns"
    times = timed.compared("made", "bare")
    assert times.interval is not None
    assert 0.1 < times.ratio < 10
    bare.write_bytes(b"no model")
    broken = files_by_turns.artifact_of(bare, made.manifest.variant, spec, inputs=inputs, outputs=outputs)
    timed = files_by_turns.timed(
        {"made": made, "bare": broken}, pairs=3, threads=1, min_time_s=0.02, connection=connection
    )
    with pytest.raises(NoValidMeasurement, match=r"bare has no figure: .*refuses"):
        timed.compared("made", "bare")


def test_the_plain_file_is_the_model_made_bilinear():
    import torch

    x = torch.arange(4.0).reshape(1, 1, 2, 2)
    assert tflite_files.Bilinear(2)(x).shape == (1, 1, 4, 4)
    assert float(tflite_files.Bilinear(2)(x).max()) == 3.0, "a cubic one overshoots"
