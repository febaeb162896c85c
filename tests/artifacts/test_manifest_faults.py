"""What a manifest cannot be: values that are no amount, name or number are refused with the field."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.doubles import artifacts
from vitdeploy.artifacts import parity
from vitdeploy.artifacts.manifest import MANIFEST, open_artifact
from vitdeploy.artifacts.parity import Evidence
from vitdeploy.catalog import registry
from vitdeploy.errors import UnreadableFile
from vitdeploy.results import validity

Edit = Callable[[dict[str, Any]], Any]

PREPROCESSING = {"mean": [0, 0, 0], "std": [1, 1, 1], "scale": 1 / 255, "channel_order": "rgb", "source": "known"}

REFUSED: dict[str, tuple[Edit, str]] = {
    "batch -1": (lambda made: made.update(batch=-1), "$.batch"),
    "size 0": (lambda made: made.update(size=[0, 32]), "$.size"),
    "-5 bytes": (lambda made: made.update(size_bytes=-5), "$.size_bytes"),
    "-1 parameters": (lambda made: made.update(params=-1), "$.params"),
    "built before it began": (lambda made: made.update(build_ns=-1), "$.build_ns"),
    "a dimension of -1": (lambda made: made["outputs"][0].update(shape=[-1]), "$.outputs"),
    "a file outside": (lambda made: made.update(file="../model.onnx"), "$.file"),
    "NUL in a name": (lambda made: made.update(file="a\0b.onnx"), "$.file"),
    "a name of 300": (lambda made: made.update(file="a" * 300 + ".onnx"), "$.file"),
    "a checkpoint without a digest": (lambda made: made["weights"].update(source="file"), "$.weights.sha256"),
    "no deviation": (lambda made: made.update(preprocessing=PREPROCESSING | {"std": [0, 1, 1]}), "$.preprocessing.std"),
    "a scale of 1e308": (lambda made: made.update(preprocessing=PREPROCESSING | {"scale": 1e308}), "scale"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_true_is_refused_with_its_field(name: str, tmp_path: Path):
    edit, field = REFUSED[name]
    made = artifacts.conv_relu(tmp_path)
    open_artifact(made.folder)
    document = json.loads((tmp_path / MANIFEST).read_text())
    edit(document)
    (tmp_path / MANIFEST).write_text(json.dumps(document))
    with pytest.raises(UnreadableFile) as refusal:
        open_artifact(tmp_path)
    assert field in refusal.value.message


def test_a_map_that_may_differ_in_one_pixel_passes_again_where_its_record_is_read():
    reference = np.arange(64).reshape(1, 8, 8) % 2
    output = reference.copy()
    output[0, 0, 0] = 1
    evidence = Evidence("segmentation")
    evidence.add(reference, output)
    recorded = parity.verdict(evidence, registry.targets()["onnx-fp32"].tolerance, "torch fp32")
    assert recorded.passed
    assert recorded.metric.value == 63 / 64
    assert validity.judged_parity(recorded) == recorded
