"""User models are made anew whenever anything that they are made of has changed, and are never stale."""

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

for package in ("torch", "onnx", "onnxscript", "onnxruntime", "skimage"):
    pytest.importorskip(package, reason="user models are built and exported with it")

import onnx

from tests.doubles.user_nets import USERS_CODE, job, onnx_file, step_of
from vitdeploy.artifacts.manifest import as_json
from vitdeploy.catalog import registry, user_models
from vitdeploy.errors import UnreadableFile
from vitdeploy.exporters import planning, step
from vitdeploy.models import user
from vitdeploy.runtimes import on_torch
from vitdeploy.runtimes.session import SessionOptions


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with users' code, and a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    (tmp_path / "users_nets.py").write_text(USERS_CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("users_nets", None)
    user_models.forget()
    return tmp_path


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Describe here: a process each would import torch."""
    monkeypatch.setattr(user_models, "_described", user.describe)


def export_key(name: str, weights: Path | None = None) -> str:
    user_models.forget()
    variant = registry.variant_of(registry.find_model(name), "onnx-fp32", size=(32, 32))
    request = planning.ArtifactRequest(variant=variant, weights=weights, out=Path("out"))
    return planning.plans([request])[0].key


INGREDIENTS = """
import json
import os
from pathlib import Path

import torch
from torch import nn

import helper_of_nets

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.register_buffer("hidden", torch.ones(1), persistent=False)
        self.factor = json.loads(Path("factor.json").read_text())["factor"]
        self.more = float(os.environ.get("USERS_FACTOR", "1"))
        if Path("tensors.npy").exists():
            import numpy
            self.more *= float(numpy.load("tensors.npy").sum())
    def forward(self, x):
        return helper_of_nets.last(self.conv(x)) * self.factor * self.more * self.hidden

def net():
    return Net()
"""


def test_whatever_a_module_is_made_of_changes_the_key(place: Path, monkeypatch: pytest.MonkeyPatch):
    (place / "ingredient_nets.py").write_text(INGREDIENTS)
    (place / "helper_of_nets.py").write_text("import torch\ndef last(x):\n    return torch.relu(x)\n")
    (place / "factor.json").write_text('{"factor": 2.0}')
    (place / "other.py").write_text("")
    name = "module:ingredient_nets:net"
    keys = [export_key(name)]
    (place / "other.py").write_text("x = 1\n")
    assert export_key(name) == keys[0], "what it does not read is no part of it"
    (place / "helper_of_nets.py").write_text("import torch\ndef last(x):\n    return torch.tanh(x)\n")
    keys.append(export_key(name))
    (place / "factor.json").write_text('{"factor": 3.0}')
    keys.append(export_key(name))
    monkeypatch.setenv("USERS_FACTOR", "5")  # nothing that is a file
    keys.append(export_key(name))
    assert len(set(keys)) == len(keys)


def test_a_file_written_with_its_old_time_and_size_is_another_file(in_process: None, place: Path):
    path = onnx_file(place / "net.onnx")
    before, times = export_key(f"onnx:{path}"), path.stat()
    other = onnx.load(path)
    other.graph.initializer[0].raw_data = bytes(len(other.graph.initializer[0].raw_data))
    onnx.save(other, path)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert path.stat().st_size == times.st_size
    assert export_key(f"onnx:{path}") != before


def test_a_folder_of_transformers_is_all_of_its_files(in_process: None, place: Path):
    transformers: Any = pytest.importorskip("transformers", reason="hf: builds with it")
    config = transformers.ConvNextConfig(hidden_sizes=(8, 8, 8, 8), depths=(1, 1, 1, 1), num_labels=3, image_size=32)
    transformers.ConvNextForImageClassification(config).save_pretrained(place / "net")
    name = f"hf:{place / 'net'}"
    keys = [export_key(name)]
    text = (place / "net" / "config.json").read_text()
    (place / "net" / "config.json").write_text(text.replace('"gelu"', '"relu"'))
    keys.append(export_key(name))
    (place / "net" / "preprocessor_config.json").write_text('{"image_mean": [0, 0, 0], "image_std": [1, 1, 1]}')
    keys.append(export_key(name))
    assert len(set(keys)) == 3


def test_a_model_that_changes_while_it_is_exported_is_not_stored(in_process: None, place: Path):
    name = "module:users_nets:classifier"
    registry.find_model(name)
    with pytest.raises(UnreadableFile, match="was changed while it was exported"):
        step.run(replace(job(place / "out", name, size=(32, 32)), made_from="something else"))


def test_eager_torch_does_not_run_newer_code_under_an_older_proof(in_process: None, place: Path):
    made = step_of(place / "out", "module:users_nets:classifier", "torch-fp32")
    manifest = as_json(made) | {"made_from": "older code"}
    with pytest.raises(UnreadableFile, match="was changed since"):
        on_torch.open_session(place / "out" / "model.pt", manifest, SessionOptions(threads=1))
