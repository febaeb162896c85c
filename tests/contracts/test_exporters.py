"""What every exporter promises: a proven file, a manifest that describes it, the same bytes every time."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

for package in ("torch", "onnx", "onnxscript", "onnxruntime", "skimage"):
    pytest.importorskip(package, reason=f"exports are made with {package}")

import onnx
import onnxruntime
import torch
from torch import nn

from vitdeploy.artifacts.manifest import (
    Artifact,
    open_artifact,
)
from vitdeploy.catalog import registry
from vitdeploy.devices import computer_facts
from vitdeploy.exporters import step, to_onnx
from vitdeploy.exporters.job import StepJob
from vitdeploy.exporters.rewrites import table
from vitdeploy.models.create import create
from vitdeploy.models.efficientvit import tanh_gelu
from vitdeploy.models.efficientvit_blocks import ReluLinearAttention

TARGETS = [name for name, target in registry.targets().items() if target.exporter and target.parent is None]
"""Engines, which are made from another target's graph, have tests of their own."""
MODELS = [name for name, spec in registry.models().items() if spec.builder.startswith("vitdeploy.models.efficientvit")]
SIZE = (64, 96)

UNWANTED = frozenset({"Shape", "Gather", "ConstantOfShape", "Pad", "Expand", "Range", "Where", "Resize", "Cast"})
"""What an exporter leaves behind when it does not know that shapes are constant, and the slow cubic Resize."""

MEASURED_ERROR = {"fp32": 1e-4, "fp16": 2e-2, "bf16": 2e-1}
"""Bound on the rounding of every tensor in deviations of the output, with random weights; tolerances are wider."""

SLOW = pytest.param("tflite-fp32", marks=pytest.mark.slow)
"""Its converters take half a minute."""

SEGMENTER = "efficientvit_seg_b0_cityscapes"
"""Its TFLite file is looked at in test_to_tflite.py in every run."""

Make = Callable[..., Artifact]


def needed(target: str) -> None:
    """Skip where a target's packages are not."""
    for name in registry.find_target(target).export_packages:
        pytest.importorskip(name, reason=f"{target} is made with {name}")


def job_for(folder: Path, model: str, target: str = "onnx-fp32", **changes: Any) -> StepJob:
    size = (24, 32) if model.startswith("efficientvit_sr") else SIZE  # it keeps the size: softmax over all pixels
    rewrites = changes.pop("rewrites", registry.find_target(target).rewrites)
    variant = registry.variant_of(registry.find_model(model), target, **{"size": size, **changes})
    return StepJob(variant=variant, rewrites=rewrites, folder=folder)


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Export once for all tests that look at the same thing."""
    made: dict[str, Artifact] = {}

    def export(model: str, target: str = "onnx-fp32", **changes: Any) -> Artifact:
        key = repr((model, target, sorted(changes.items())))
        if key not in made:
            folder = tmp_path_factory.mktemp("export")
            step.run(job_for(folder, model, target, **changes))
            made[key] = open_artifact(folder)
        return made[key]

    return export


def graph_of(model: str, attention: str = "relu", size: tuple[int, int] = SIZE) -> Any:
    """The graph that `to_onnx` writes, without the proof."""
    module = create(registry.find_model(model), attention=attention)  # pyright: ignore[reportArgumentType]
    names = registry.find_target("onnx-fp32").rewrites
    made, _ = table.rewritten(module, names, torch.zeros(1, 3, *size))
    return to_onnx.exported(made, {"image": torch.zeros(1, 3, *size)}, ["logits"])


@pytest.mark.parametrize(
    ("model", "target"),
    [("efficientvit_b0", target) for target in TARGETS]
    + [pytest.param(SEGMENTER, name, marks=pytest.mark.slow if name == "tflite-fp32" else ()) for name in TARGETS],
)
def test_what_is_made_is_proven_and_described(make: Make, model: str, target: str):
    needed(target)
    manifest, spec = make(model, target).manifest, registry.find_model(model)
    assert (manifest.model, manifest.target, manifest.size, manifest.batch) == (model, target, SIZE, 1)
    assert manifest.file == registry.find_target(target).file
    assert manifest.parity is not None
    assert manifest.parity.passed
    assert manifest.parity.samples == 5, "noise and four photographs"
    assert (manifest.parity.error_std or 0.0) < MEASURED_ERROR[manifest.precision]
    assert (manifest.parity.metric.value or 0.0) >= {"fp32": 1.0, "fp16": 0.99, "bf16": 0.95}[manifest.precision]
    last = manifest.inputs[0].layout == "NHWC"
    assert (manifest.inputs[0].name, manifest.inputs[0].shape) == ("image", (1, *SIZE, 3) if last else (1, 3, *SIZE))
    assert manifest.outputs[0].name == spec.output
    stride = spec.output_stride
    height, width = (64 // stride, 96 // stride) if stride else (0, 0)
    maps = (1, height, width, 19) if last else (1, 19, height, width)
    assert manifest.outputs[0].shape == (maps if stride else (1, 1000))
    assert manifest.weights.source == "random"
    assert manifest.params > 0
    assert manifest.macs is not None
    assert manifest.macs > 0
    assert manifest.recipe
    assert manifest.build_ns > 0
    assert manifest.tools["torch"] == torch.__version__


@pytest.mark.parametrize("target", [SLOW if name == "tflite-fp32" else name for name in TARGETS])
def test_the_same_request_gives_the_same_bytes(make: Make, tmp_path: Path, target: str):
    needed(target)
    first = make("efficientvit_b0", target)
    step.run(job_for(tmp_path, "efficientvit_b0", target))
    assert open_artifact(tmp_path).manifest.sha256 == first.manifest.sha256


def test_an_onnx_file_says_nothing_of_the_machine_it_was_made_on(make: Make):
    content = make("efficientvit_b0").file.read_bytes()
    for words in (str(Path.home()), str(Path(torch.__file__).parent), str(Path(__file__).parents[2]), "stack_trace"):
        assert words.encode() not in content


@pytest.mark.parametrize("model", ["efficientvit_b0", "efficientvit_seg_b0_cityscapes"])
def test_an_onnx_graph_is_static_and_has_no_leftovers(make: Make, model: str):
    made = make(model)
    onnx.checker.check_model(str(made.file), full_check=True)
    graph = onnx.load(str(made.file))
    assert not {node.op_type for node in graph.graph.node} & UNWANTED
    assert {node.domain for node in graph.graph.node} <= {""}, "standard operators only"
    assert graph.opset_import[0].version >= 18
    for value in (*graph.graph.input, *graph.graph.output):
        assert all(dimension.dim_value > 0 for dimension in value.type.tensor_type.shape.dim)
    assert sum(made.manifest.operators.values()) == len(graph.graph.node)


@pytest.mark.slow
@pytest.mark.parametrize("attention", ["relu", "softmax"])
@pytest.mark.parametrize("model", MODELS)
def test_no_model_leaves_shape_arithmetic_behind(model: str, attention: str):
    left = {node.op_type for node in graph_of(model, attention).graph.node} & UNWANTED
    assert not left


@pytest.mark.slow
@pytest.mark.parametrize("target", ["onnx-fp32", "tflite-fp32"])
@pytest.mark.parametrize("attention", ["relu", "softmax"])
@pytest.mark.parametrize("model", MODELS)
def test_every_model_is_equal_to_rounding(tmp_path: Path, model: str, attention: str, target: str):
    needed(target)
    step.run(job_for(tmp_path, model, target, attention=attention))
    found = open_artifact(tmp_path).manifest.parity
    assert found is not None
    assert found.passed
    assert (found.error_std or 0.0) < MEASURED_ERROR["fp32"]


def test_the_activation_of_series_l_is_one_operator():
    graph = to_onnx.exported(tanh_gelu(), {"image": torch.zeros(1, 3, 8, 8)}, ["logits"])
    assert [node.op_type for node in graph.graph.node] == ["Gelu"]


def test_the_manifest_names_the_rewrites_that_had_something_to_change(make: Make):
    padded = ("padded-stem",) * (computer_facts.vector_instructions() == "avx512")
    assert make("efficientvit_b0").manifest.rewrites == ("denominator-apart", *padded)
    segmenter = make("efficientvit_seg_b0_cityscapes").manifest
    assert segmenter.rewrites == ("cubic-as-products", "denominator-apart", *padded)


def test_a_batch_is_computed_image_by_image(make: Make):
    manifest = make("efficientvit_seg_b0_cityscapes", batch=2).manifest
    assert manifest.inputs[0].shape[0] == manifest.outputs[0].shape[0] == 2
    assert manifest.parity is not None
    assert manifest.parity.passed
    assert manifest.parity.samples == 6, "noise and photographs in whole batches"
    assert manifest.macs == make("efficientvit_seg_b0_cityscapes").manifest.macs, "MACs are those of one image"


def test_labels_out_and_bytes_in(make: Make):
    made = make("efficientvit_seg_b0_cityscapes", head="labels", io="uint8")
    manifest = made.manifest
    assert (manifest.inputs[0].dtype, manifest.inputs[0].shape) == ("uint8", (1, 3, *SIZE))
    assert (manifest.outputs[0].name, manifest.outputs[0].shape) == ("labels", (1, *SIZE))
    assert manifest.parity is not None
    assert manifest.parity.passed
    frame = np.random.default_rng(0).integers(0, 256, (1, 3, *SIZE), dtype=np.uint8)
    (labels,) = _run(made.file.read_bytes(), torch.from_numpy(frame))  # pyright: ignore[reportUnknownMemberType]
    assert 0 <= labels.min() <= labels.max() < 19


def test_an_unchanged_graph_is_made_when_all_rewrites_are_left_out(make: Make):
    manifest = make("efficientvit_seg_b0_cityscapes", rewrites=()).manifest
    assert manifest.parity is not None
    assert manifest.parity.passed
    assert manifest.operators["Resize"] == 2


def test_the_epsilon_of_the_attention_survives(tmp_path: Path):
    # Where no query is positive the published module computes 0 / 1e-15; torch's default export 0 / 0.
    attention, qkv = ReluLinearAttention(16).eval(), torch.randn(1, 48, 8, 8)
    qkv[:, :16, :2] = -1.0
    expected = attention(qkv).numpy()
    assert np.isfinite(expected).all()
    for names in ((), registry.find_target("onnx-fp32").rewrites):
        made, _ = table.rewritten(nn.Sequential(attention), names, qkv)
        graph = to_onnx.exported(made, {"image": qkv}, ["logits"])
        (found,) = _run(graph.SerializeToString(), qkv)
        np.testing.assert_allclose(found, expected, atol=1e-5)
    to_onnx.plain(attention, qkv, tmp_path / "plain.onnx")
    if np.isfinite(_run((tmp_path / "plain.onnx").read_bytes(), qkv)[0]).all():
        pytest.skip("torch's default export keeps small constants in this version: the special rules can go")


def _run(content: bytes, image: torch.Tensor) -> Any:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: image.numpy()})
