"""What EfficientViT is compared with, as files: proven in fp32 and in half precision, built by TensorRT, on a phone."""

from pathlib import Path
from typing import Any

import pytest

for package in ("torch", "onnx", "onnxscript", "onnxruntime", "skimage"):
    pytest.importorskip(package, reason=f"exports are made with {package}")

import torch

from tests.doubles.rtx_builder import refusal
from vitdeploy.artifacts.manifest import (
    Manifest,
    open_artifact,
)
from vitdeploy.catalog import packages, registry
from vitdeploy.exporters import step, to_onnx
from vitdeploy.exporters.half.graph import halved
from vitdeploy.exporters.job import StepJob
from vitdeploy.exporters.rewrites import table
from vitdeploy.models.create import create

SIZES = {
    "efficientvit_sr_x2": (24, 32),
    "bsrn_x4": (24, 32),
    "vapsr_x2": (24, 32),
    "vapsr_x4": (16, 24),
    "swinir_light_x2": (24, 32),
    "restormer": (24, 32),
    "segnext_t_cityscapes": (64, 96),
    # Not 64x64: there the factors are square, and onnx2tf takes one side for the other, which parity refuses.
    "segnext_b_ade20k": (64, 96),
    "efficientnetv2_s": (64, 96),
}
"""One of each kind of graph, at a size that takes seconds."""

ERROR = {"fp32": 1e-3, "fp16": 0.1}
"""Bound on the rounding of every tensor in deviations of the output, with random weights."""


def exported(folder: Path, model: str, target: str, size: tuple[int, int] | None = None) -> Manifest:
    step.run(
        StepJob(
            variant=registry.variant_of(registry.find_model(model), target, size=size or SIZES[model]),
            rewrites=registry.find_target(target).rewrites,
            folder=folder,
        )
    )
    return open_artifact(folder).manifest


def half_graph(model: str, size: tuple[int, int]) -> Any:
    image = torch.zeros(1, 3, *size)
    spec = registry.find_model(model)
    names = registry.find_target("trt-rtx-fp16").rewrites
    ready, _ = table.rewritten(create(spec), names, image)
    graph: Any = to_onnx.exported(ready, {"image": image}, [spec.output])
    return halved(graph, half_io=False)


@pytest.mark.parametrize(
    ("model", "target", "rewrite"),
    [
        ("bsrn_x4", "onnx-fp16", "scaled-contrast"),
        pytest.param("restormer", "onnx-fp16", "scaled-length", marks=pytest.mark.slow),
        pytest.param("segnext_t_cityscapes", "onnx-fp16", "scaled-factorization", marks=pytest.mark.slow),
    ],
)
def test_half_precision_is_proven_with_the_rewrite_that_it_needs(tmp_path, model, target, rewrite):
    manifest = exported(tmp_path, model, target)
    assert rewrite in manifest.rewrites
    assert manifest.parity is not None
    assert manifest.parity.passed, manifest.parity.reason
    assert (manifest.parity.error_std or 0.0) < ERROR["fp16"]
    assert manifest.note == registry.find_model(model).note


def test_a_group_norm_leaves_no_casts_to_its_own_type():
    """onnx2tf knows no ``CastLike``, and torch leaves two in every group norm."""
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 1), torch.nn.GroupNorm(2, 8))
    graph: Any = to_onnx.exported(model, {"image": torch.zeros(1, 3, 4, 4)}, ["logits"])
    kinds = [node.op_type for node in graph.graph.node]
    assert "InstanceNormalization" in kinds
    assert "CastLike" not in kinds


@pytest.mark.slow
@pytest.mark.parametrize("target", ["onnx-fp32", "onnx-fp16", "tflite-fp32"])
@pytest.mark.parametrize("model", SIZES)
def test_every_kind_of_graph_is_proven(tmp_path, model, target):
    spec = registry.find_model(model)
    if target in spec.refused:
        pytest.skip(f"{model} is no {target}: {spec.refused[target]}")
    for name in registry.find_target(target).export_packages:
        pytest.importorskip(name, reason=f"{target} is made with {name}")
    manifest = exported(tmp_path, model, target)
    assert manifest.parity is not None
    assert manifest.parity.passed, manifest.parity.reason
    assert (manifest.parity.error_std or 0.0) < ERROR[manifest.precision]
    assert manifest.outputs[0].name == spec.output
    assert manifest.note == spec.note


@pytest.mark.slow
@pytest.mark.skipif(bool(packages.missing(["tensorrt_rtx"])), reason="TensorRT for RTX is not installed")
@pytest.mark.parametrize("model", SIZES)
def test_nvidias_own_parser_and_builder_take_every_kind_of_graph(model):
    height, width = SIZES[model]
    assert refusal(half_graph(model, (2 * height, 2 * width))) is None


@pytest.mark.slow
def test_the_largest_picture_of_segnext_stays_right_in_half_precision(tmp_path):
    """1024x2048 is 32 768 pixels for the factorization: sums over them leave half precision as published."""
    spec = registry.find_model("segnext_t_cityscapes")
    assert spec.size == (1024, 2048)
    manifest = exported(tmp_path, spec.name, "onnx-fp16", spec.size)
    assert manifest.parity is not None
    assert manifest.parity.passed, manifest.parity.reason
