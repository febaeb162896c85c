"""Winograd's rows in graphs: which convolutions, the same values behind them, and a wrong coefficient is refused."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

for package in ("torch", "onnx", "onnxscript", "onnxruntime", "skimage"):
    pytest.importorskip(package, reason="graphs are rewritten and run with it")

import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from vitdeploy.artifacts.manifest import open_artifact
from vitdeploy.catalog import registry, user_models
from vitdeploy.errors import Impossible
from vitdeploy.exporters import step
from vitdeploy.exporters.job import StepJob
from vitdeploy.exporters.rewrites import winograd, winograd_graph
from vitdeploy.models import user

RANDOM = np.random.default_rng(0)
LAYER = "48-64-24x20"
HALVING = "64-512-24x20-stride2"


@pytest.fixture(autouse=True)
def described_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(user_models, "_described", user.describe)
    user_models.forget()


def weights(*shape: int) -> Any:
    return (RANDOM.standard_normal(shape) / np.sqrt(np.prod(shape[1:]) if len(shape) > 1 else 1)).astype(np.float32)


def conv(source: str, weight: str, output: str, **attributes: Any) -> Any:
    return helper.make_node("Conv", [source, *weight.split()], [output], **attributes)


def graph_of(
    nodes: Sequence[Any], tensors: dict[str, Any], channels: int = 48, height: int = 24, width: int = 20
) -> Any:
    graph = helper.make_graph(
        list(nodes),
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, channels, height, width))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [f"d{axis}" for axis in range(4)])],
        [numpy_helper.from_array(value, name) for name, value in tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def outputs(model: Any) -> Any:
    entry = model.graph.input[0].type.tensor_type.shape.dim
    image = np.random.default_rng(1).standard_normal([dim.dim_value for dim in entry], dtype=np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["y"], {"x": image})[0]


def operators(model: Any) -> dict[str, int]:
    kinds = [node.op_type for node in model.graph.node]
    return {kind: kinds.count(kind) for kind in kinds}


def the_same(model: Any, changed: Any) -> None:
    onnx.checker.check_model(changed, full_check=True)
    before, after = outputs(model), outputs(changed)
    assert np.abs(before - after).max() < 1e-5 * before.std() * 5


DENSE = conv("x", "w b", "y", pads=[1, 1, 1, 1])
TENSORS = {"w": weights(64, 48, 3, 3), "b": weights(64)}
WIDE = {"w": weights(512, 32, 3, 3), "b": weights(512)}


@pytest.mark.parametrize(("height", "tile"), [(24, 4), (22, 2)])
@pytest.mark.parametrize("biased", [True, False])
def test_a_convolution_becomes_rows_and_gives_the_same(height: int, tile: int, biased: bool):
    node = DENSE if biased else conv("x", "w", "y", auto_pad="SAME_UPPER")
    model = graph_of([node], TENSORS, height=height)
    changed, tiles = winograd_graph.winograd_convolutions(model)
    assert tiles == {f"48-64-{height}x20": tile}
    assert operators(changed)["Concat"] == 1
    assert {tensor.name for tensor in changed.graph.initializer} & {"w"} == set(), "the old weights are gone"
    the_same(model, changed)


@pytest.mark.parametrize(
    ("changes", "tensors", "channels", "height"),
    [
        ({"strides": [2, 2]}, {}, 48, 24),
        ({"dilations": [2, 2], "pads": [2, 2, 2, 2]}, {}, 48, 24),
        ({"pads": [0, 0, 0, 0]}, {}, 48, 24),
        ({"pads": [1, 1, 0, 0]}, {}, 48, 24),
        ({"group": 2}, {"w": weights(64, 48, 3, 3)}, 96, 24),
        ({}, {"w": weights(64, 32, 3, 3)}, 32, 24),
        ({}, {"w": weights(32, 48, 3, 3), "b": weights(32)}, 48, 24),
        ({"pads": [2, 2, 2, 2]}, {"w": weights(64, 48, 5, 5)}, 48, 24),
        ({}, {}, 48, 23),
    ],
)
def test_what_is_no_dense_convolution_of_many_channels_stays(
    changes: dict[str, Any], tensors: dict[str, Any], channels: int, height: int
):
    node = conv("x", "w b", "y", **{"pads": [1, 1, 1, 1], **changes})
    model = graph_of([node], {**TENSORS, **tensors}, channels, height)
    changed, tiles = winograd_graph.winograd_convolutions(model)
    assert changed is model
    assert tiles == {}


def test_the_rows_stay_apart_through_activations_and_pointwise_convolutions_that_do_not_widen():
    nodes = [
        conv("x", "w b", "a", pads=[1, 1, 1, 1]),
        helper.make_node("Gelu", ["a"], ["g"]),
        conv("g", "narrow", "n"),
        helper.make_node("Add", ["n", "x"], ["y"]),
    ]
    model = graph_of(nodes, {**TENSORS, "narrow": weights(48, 64, 1, 1)})
    changed, _ = winograd_graph.winograd_convolutions(model)
    kinds = operators(changed)
    assert (kinds["Gelu"], kinds["Concat"], kinds["Reshape"]) == (4, 1, 1)
    the_same(model, changed)


@pytest.mark.parametrize("width", [20, 19])
@pytest.mark.parametrize("biased", [True, False])
def test_stride_2_becomes_two_maps_of_rows_where_they_meet_narrow(biased: bool, width: int):
    nodes = [
        conv("x", "w b" if biased else "w", "a", pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["a"], ["r"]),
        conv("r", "narrow", "y"),
    ]
    model = graph_of(nodes, {**WIDE, "narrow": weights(48, 512, 1, 1)}, 32, width=width)
    changed, tiles = winograd_graph.winograd_convolutions(model)
    assert tiles == {f"32-512-24x{width}-stride2": 2}
    kinds = operators(changed)
    assert (kinds["Relu"], kinds["Concat"], kinds["Conv"]) == (2, 1, 5 + 5 + 2)
    the_same(model, changed)


@pytest.mark.parametrize(
    ("changes", "height", "behind"),
    [
        ({}, 24, "nothing"),
        ({}, 24, "a convolution that keeps its channels"),
        ({}, 22, "narrow"),
        ({"pads": [0, 0, 0, 0], "auto_pad": "SAME_UPPER"}, 24, "narrow"),
        ({"strides": [2, 1]}, 24, "narrow"),
        ({"pads": [0, 0, 1, 1]}, 24, "narrow"),
    ],
)
def test_stride_2_stays_where_it_would_not_gain_or_not_be_the_same(changes: dict[str, Any], height: int, behind: str):
    words = {"pads": [1, 1, 1, 1], "strides": [2, 2], **changes}
    if "auto_pad" in words:
        del words["pads"]
    nodes = [conv("x", "w b", "y" if behind == "nothing" else "a", **words)]
    if behind != "nothing":
        nodes.append(conv("a", "point", "y"))
    point = {"point": weights(48 if behind == "narrow" else 512, 512, 1, 1)} if behind != "nothing" else {}
    model = graph_of(nodes, {**WIDE, **point}, 32, height)
    changed, tiles = winograd_graph.winograd_convolutions(model)
    assert (changed is model, tiles) == (True, {})


@pytest.mark.parametrize(("inner", "channels"), [(496, 32), (512, 16)])
def test_stride_2_of_few_channels_stays(inner: int, channels: int):
    nodes = [conv("x", "w", "a", pads=[1, 1, 1, 1], strides=[2, 2]), conv("a", "narrow", "y")]
    tensors = {"w": weights(inner, channels, 3, 3), "narrow": weights(48, inner, 1, 1)}
    model = graph_of(nodes, tensors, channels)
    assert winograd_graph.winograd_convolutions(model) == (model, {})


def test_a_layer_of_stride_2_can_be_left_out():
    layer = "32-512-24x20-stride2"
    nodes = [conv("x", "w b", "a", pads=[1, 1, 1, 1], strides=[2, 2]), conv("a", "narrow", "y")]
    model = graph_of(nodes, {**WIDE, "narrow": weights(48, 512, 1, 1)}, 32)
    for left_out in (layer, f"{layer}:2"):
        changed, tiles = winograd_graph.winograd_convolutions(model, (left_out,))
        assert (changed is model, tiles) == (True, {layer: 1})


@pytest.mark.parametrize("reader", ["another node", "the graph", "two places of one node"])
def test_a_value_that_others_read_is_whole(reader: str):
    first = conv("x", "w b", "a", pads=[1, 1, 1, 1])
    if reader == "another node":
        nodes = [first, helper.make_node("Relu", ["a"], ["r"]), helper.make_node("Add", ["a", "r"], ["y"])]
    elif reader == "the graph":
        nodes = [conv("x", "w b", "y", pads=[1, 1, 1, 1]), helper.make_node("Relu", ["y"], ["unread"])]
    else:
        nodes = [first, helper.make_node("Mul", ["a", "a"], ["y"])]
    model = graph_of(nodes, TENSORS)
    changed, tiles = winograd_graph.winograd_convolutions(model)
    assert set(tiles.values()) == {4}
    the_same(model, changed)


def test_layers_and_tiles_can_be_left_out():
    model = graph_of([DENSE], TENSORS)
    changed, tiles = winograd_graph.winograd_convolutions(model, (LAYER,))
    assert (changed is model, tiles) == (True, {LAYER: 1})
    changed, tiles = winograd_graph.winograd_convolutions(model, (f"{LAYER}:4",))
    assert tiles == {LAYER: 2}
    the_same(model, changed)
    assert winograd_graph.winograd_convolutions(model, (f"{LAYER}:4", f"{LAYER}:2"))[1] == {LAYER: 1}


# As a part of an export.


def user_file(folder: Path) -> str:
    """A network with a layer of stride 1 and, behind it, one of stride 2."""
    nodes = [
        conv("x", "first", "wide", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["wide"], ["r"]),
        conv("r", "w b", "a", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["s"]),
        conv("s", "halving", "h", pads=[1, 1, 1, 1], strides=[2, 2]),
        conv("h", "narrow", "y"),
    ]
    more = {"first": weights(48, 3, 3, 3), "halving": weights(512, 64, 3, 3), "narrow": weights(64, 512, 1, 1)}
    path = folder / "net.onnx"
    onnx.save(graph_of(nodes, {**TENSORS, **more}, channels=3), path)
    return f"onnx:{path}"


def exported(folder: Path, *, rewrites: tuple[str, ...] = ("winograd-rows",), left_out: tuple[str, ...] = ()) -> Any:
    variant = registry.variant_of(registry.find_model(user_file(folder)), "onnx-fp32")
    step.run(StepJob(variant=variant, rewrites=rewrites, left_out=left_out, folder=folder))
    return open_artifact(folder).manifest


def test_a_users_graph_has_it_and_its_proof_passes(tmp_path: Path):
    manifest = exported(tmp_path)
    assert manifest.rewrites == ("winograd-rows",)
    assert manifest.winograd_rows == {LAYER: 4, HALVING: 2}
    assert manifest.parity.passed


def test_it_can_be_left_out_whole_or_in_one_layer(tmp_path: Path):
    for name, options in (("whole", {"rewrites": ()}), ("layers", {"left_out": (LAYER, HALVING)})):
        folder = tmp_path / name
        folder.mkdir()
        manifest = exported(folder, **options)
        assert manifest.rewrites == ()
        assert manifest.operators == {"Conv": 4, "Relu": 2}
        assert manifest.winograd_rows == ({LAYER: 1, HALVING: 1} if name == "layers" else {})


def test_a_layer_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(Impossible) as caught:
        exported(tmp_path, left_out=("64-64-8x8",))
    assert LAYER in caught.value.hint


def a_wrong_transform(monkeypatch: pytest.MonkeyPatch) -> None:
    tile = winograd.TILES[4]
    wrong = dataclasses.replace(tile, inputs=(*tile.inputs[:5], (0, 4, 0, -5, 0, 2)))
    monkeypatch.setattr(winograd, "TILES", {**winograd.TILES, 4: wrong})


def a_wrong_kernel_row(monkeypatch: pytest.MonkeyPatch) -> None:
    tile = winograd.TILES[4]
    wrong = dataclasses.replace(tile, kernels=(*tile.kernels[:3], (1 / 24, 1 / 12, 1 / 8), *tile.kernels[4:]))
    monkeypatch.setattr(winograd, "TILES", {**winograd.TILES, 4: wrong})


def a_wrong_factor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(winograd, "SCALES", {**winograd.SCALES, 4: {**winograd.SCALES[4], "eightfold": 7.0}})


def a_wrong_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = dataclasses.replace(winograd.PHASES, inputs=((1, -1, 0), (0, 1, 0), (0, 1, 1)))
    monkeypatch.setattr(winograd, "PHASES", wrong)


@pytest.mark.parametrize("plant", [a_wrong_transform, a_wrong_kernel_row, a_wrong_factor, a_wrong_phase])
def test_the_proof_refuses_a_wrong_coefficient(tmp_path: Path, plant: Any, monkeypatch: pytest.MonkeyPatch):
    plant(monkeypatch)
    parity = exported(tmp_path).parity
    assert not parity.passed
    assert parity.reason
