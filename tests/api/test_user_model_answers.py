"""What users' models answer, and when they cannot: bytes, labels, flags, one channel; sizes, branches, randomness."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

for package in ("torch", "onnx", "onnxscript", "onnxruntime", "skimage"):
    pytest.importorskip(package, reason="user models are built and exported with it")

import numpy as np
from onnxruntime import quantization

from tests.doubles.user_nets import job, onnx_file, step_of
from vitdeploy.artifacts.manifest import Parity, open_artifact
from vitdeploy.catalog import registry, user_models
from vitdeploy.errors import Impossible
from vitdeploy.exporters import step
from vitdeploy.exporters.pipeline import parity_error
from vitdeploy.images import postprocess
from vitdeploy.models import user

NETS = """
import torch
from torch import nn
from torch.nn import functional as F

class Base(nn.Module):
    def __init__(self, channels=5):
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 3, padding=1)
    def forward(self, x):
        return self.conv(x)

def one_channel():
    return Base(1)

class Random(Base):
    def forward(self, x):
        return (torch.sigmoid(self.conv(F.dropout(x, 0.5))) * 255).round().to(torch.uint8)

def random_bytes():
    return Random(3)

class Bytes(Base):
    def forward(self, x):
        return (torch.sigmoid(self.conv(x)) * 255).round().to(torch.uint8)

def bytes_of_an_image():
    return Bytes(3)

class InPlace(Base):
    def forward(self, x):
        x.sub_(0.5).div_(0.25)
        return self.conv(x)

def in_place():
    return InPlace()

class Labels(Base):
    def forward(self, x):
        return self.conv(x).argmax(1)

def labels():
    return Labels()

class Flags(Base):
    def forward(self, x):
        return self.conv(x).sigmoid() > 0.5

def flags():
    return Flags(1)

class Rows(Base):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(5 * 32 * 32, 4)
    def forward(self, x):
        return self.head(self.conv(x).reshape(-1, 5 * 32 * 32))

def rows():
    return Rows()

class Cast(Base):
    def __init__(self, kind):
        super().__init__()
        self.kind = kind
    def forward(self, x):
        return self.conv(x).to(self.kind)

def bfloat16():
    return Cast(torch.bfloat16)

def complex64():
    return Cast(torch.complex64)

class Branch(Base):
    def forward(self, x):
        if x.max() > 2.0:
            x = x / 255.0
        return self.conv(x)

def branch():
    return Branch()

class Grid(Base):
    def forward(self, x):
        return self.conv(x) + torch.linspace(-1, 1, x.shape[-1])

def grid():
    return Grid()

class Vit(nn.Module):
    def __init__(self, height, width):
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 8, 8)
        self.place = nn.Parameter(torch.randn(1, (height // 8) * (width // 8), 8))
        self.qkv, self.head = nn.Linear(8, 24), nn.Linear(8, 10)
    def forward(self, x):
        t = self.patches(x).flatten(2).transpose(1, 2) + self.place
        q, k, v = self.qkv(t).chunk(3, -1)
        return self.head(F.scaled_dot_product_attention(q, k, v).mean(1))

def fixed():
    return Vit(96, 96)

def oddly_fixed():
    return Vit(40, 72)

def one_image():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(3, 5)
        def forward(self, x):
            return self.head(x.mean((2, 3)).view(1, 3))
    return Net()

def scripted():
    return torch.jit.script(Base())

def with_a_scripted_part():
    return nn.Sequential(torch.jit.script(Base()))
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with users' code; models are described in this process."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "answer_nets.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("answer_nets", None)
    user_models.forget()
    monkeypatch.setattr(user_models, "_described", user.describe)
    return tmp_path


def named(function: str) -> str:
    return f"module:answer_nets:{function}"


def parity_of(folder: Path, function: str) -> Parity:
    folder.mkdir()
    step.run(job(folder, named(function), size=(32, 32)))
    parity = open_artifact(folder).manifest.parity
    assert parity is not None
    return parity


@pytest.mark.parametrize(
    ("function", "task", "dtype", "shape"),
    [
        ("bytes_of_an_image", "super-resolution", "uint8", (1, 3, 32, 32)),
        ("labels", "segmentation", "int64", (1, 32, 32)),
        ("flags", "segmentation", "bool", (1, 1, 32, 32)),
        ("in_place", "segmentation", "float32", (1, 5, 32, 32)),
        ("grid", "segmentation", "float32", (1, 5, 32, 32)),
    ],
)
def test_every_kind_of_answer_goes_through(place: Path, function: str, task: str, dtype: str, shape: tuple[int, ...]):
    (place / "out").mkdir()
    step.run(job(place / "out", named(function), size=(32, 32)))
    manifest = open_artifact(place / "out").manifest
    assert manifest.parity is not None
    assert manifest.parity.passed, manifest.parity.reason
    assert (manifest.task, manifest.outputs[0].dtype, manifest.outputs[0].shape) == (task, dtype, shape)


def test_a_model_that_draws_random_numbers_fails_for_that(place: Path):
    parity = parity_of(place / "out", "random_bytes")
    assert not parity.passed
    assert "the reference itself gives two answers to one input" in (parity.reason or "")
    error = parity_error(open_artifact(place / "out"))
    assert error is not None
    assert "cannot be proven" in error.message
    assert "one answer to one input" in error.hint


def test_a_branch_on_values_is_refused_and_named(place: Path):
    with pytest.raises(Impossible, match=r"decides by the values of its input.*x\.max\(\) > 2\.0"):
        parity_of(place / "out", "branch")


class Noise(quantization.CalibrationDataReader):
    """Four images to calibrate with."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        self._feeds = iter([{"pixels": random.normal(0, 1, (1, 3, 32, 32)).astype(np.float32)} for _ in range(4)])

    def get_next(self) -> Any:
        """The next one."""
        return next(self._feeds, None)


def test_a_quantized_file_that_is_taken_as_it_is_passes(place: Path):
    quantization.quantize_static(onnx_file(place / "float.onnx"), place / "quantized.onnx", Noise())
    manifest = step_of(place / "out", f"onnx:{place / 'quantized.onnx'}")
    assert manifest.parity.error_std == 0
    assert manifest.parity.reference == "ONNX Runtime, the file as given"


@pytest.mark.parametrize(("function", "size"), [("fixed", None), ("fixed", (96, 96)), ("oddly_fixed", (40, 72))])
def test_the_only_size_of_a_model_is_found_or_taken_from_the_request(
    place: Path, function: str, size: tuple[int, int] | None
):
    spec = registry.find_model(named(function), size=size)
    assert spec.sizes == ((96, 96) if size is None else size,)
    assert step_of(place / "out", spec.name).parity is not None


def test_a_size_that_makes_several_answers_of_one_image_is_not_the_models():
    spec = registry.find_model(named("rows"))
    assert (spec.size, spec.sizes, spec.classes) == ((32, 32), ((32, 32),), 4)


def test_a_size_that_nobody_names_is_asked_for():
    with pytest.raises(Impossible) as caught:
        registry.find_model(named("oddly_fixed"))
    assert "--size HxW" in caught.value.hint
    with pytest.raises(Impossible, match="takes 96x96, not 64x64"):
        registry.check_size(registry.find_model(named("fixed"), size=(64, 64)), (64, 64))


def test_a_batch_that_the_model_cannot_take_is_refused_with_its_reason(place: Path):
    request = job(place / "out", named("one_image"), size=(32, 32))
    with pytest.raises(Impossible, match=r"does not take an image \(2, 3, 32, 32\): RuntimeError: shape"):
        step.run(replace(request, variant=replace(request.variant, batch=2)))


@pytest.mark.parametrize("kind", ["bfloat16", "complex64"])
def test_answers_of_elements_that_cannot_be_compared_are_refused_by_their_kind(kind: str):
    with pytest.raises(Impossible, match=f"answers with {kind} numbers"):
        registry.find_model(named(kind))


@pytest.mark.parametrize("function", ["scripted", "with_a_scripted_part"])
def test_torchscript_is_refused_with_what_to_do_instead(function: str):
    with pytest.raises(Impossible, match="TorchScript") as caught:
        registry.find_model(named(function))
    assert "onnx:FILE" in caught.value.hint


@pytest.mark.parametrize("function", ["one_channel", "labels", "flags"])
def test_one_channel_has_no_argmax(function: str):
    spec = registry.find_model(named(function))
    with pytest.raises(Impossible, match="no classes to choose from"):
        user_models.check(spec, "onnx-fp32", weights=False, head="labels", io="fp32")


def test_predicted_maps_of_one_channel_are_thresholded_and_labels_are_taken_as_they_are():
    logits = np.array([[[-3.0, 2.0], [0.5, -0.1]]], np.float32)
    expected = [[0, 1], [1, 0]]
    assert postprocess.label_map(logits, (2, 2)).tolist() == expected
    assert postprocess.threshold(logits) == 0
    probabilities = 1 / (1 + np.exp(-logits))
    assert postprocess.label_map(probabilities, (2, 2)).tolist() == expected
    assert postprocess.threshold(probabilities) == 0.5
    labels = np.array([[[0, 7], [300, 2]]])
    assert postprocess.label_map(labels, (2, 2)).tolist() == labels[0].tolist()
    assert postprocess.label_map(labels[0], (2, 2)).tolist() == labels[0].tolist()
    assert postprocess.label_map(logits > 0, (2, 2)).tolist() == expected


def test_an_image_of_bytes_is_shown_as_it_is():
    image = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)
    assert postprocess.to_photo(image).tolist() == np.moveaxis(image, 0, -1).tolist()
