"""Every rewrite keeps the function to fp32 rounding, and a near-miss of every one is refused by parity."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="rewrites work on torch modules")

from torch import Tensor, nn
from torch.nn import functional

from vitdeploy.artifacts import manifest, parity
from vitdeploy.artifacts.manifest import Artifact, Parity
from vitdeploy.catalog import registry
from vitdeploy.catalog.spec import Tolerance
from vitdeploy.errors import ParityFailed
from vitdeploy.exporters import pipeline, step
from vitdeploy.exporters.job import StepJob
from vitdeploy.exporters.rewrites import convolution as rewrite_convolution
from vitdeploy.exporters.rewrites import table, winograd
from vitdeploy.exporters.rewrites import upsampling as rewrite_upsampling
from vitdeploy.exporters.rewrites.attention import ApartDenominator
from vitdeploy.exporters.rewrites.modules import folded, input_shapes, sharing_copy
from vitdeploy.models.create import create
from vitdeploy.models.efficientvit_blocks import ConvLayer, ReluLinearAttention, Upsample

ROUNDING = 1e-5
"""Largest error of a rewrite in deviations of the output: a few roundings of fp32 through forty layers."""

SIZE = (64, 96)
ONNX_REWRITES = registry.find_target("onnx-fp32").rewrites
WHERE = {
    "cubic-as-products": "efficientvit_seg_b0_cityscapes",
    "denominator-apart": "efficientvit_b0",
    "padded-stem": "efficientvit_b0",
    "winograd-rows": "efficientvit_seg_l1_ade20k",
}
"""A small model in which each rewrite has something to do."""


def images(count: int = 2, size: tuple[int, int] = SIZE) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).standard_normal((count, 3, *size), dtype=np.float32))


def model_of(name: str, attention: str = "relu") -> nn.Module:
    return create(registry.find_model(name), attention=attention)  # pyright: ignore[reportArgumentType]


def rewritten(model: nn.Module, names: Sequence[str], image: tuple[int, ...]) -> nn.Module:
    return table.rewritten(model, names, torch.zeros(image))[0]


def error(model: nn.Module, made: nn.Module, image: Tensor) -> float:
    with torch.no_grad():
        expected, found = model(image), made(image)
    return float((expected - found).abs().max() / expected.std())


def test_every_rewrite_is_tried_here_and_is_in_the_target_table():
    assert set(WHERE) == set(ONNX_REWRITES)
    assert {name for target in registry.targets().values() for name in target.rewrites} == set(table.REWRITES)


@pytest.mark.parametrize("name", WHERE)
def test_a_rewrite_keeps_the_function_and_changes_the_model(name: str):
    model = model_of(WHERE[name])
    made, applied = table.rewritten(model, [name], torch.zeros(2, 3, *SIZE))
    assert applied == (name,)
    assert [type(m) for m in made.modules()] != [type(m) for m in model.modules()]
    assert error(model, made, images()) < ROUNDING


@pytest.mark.parametrize("attention", ["relu", "softmax"])
@pytest.mark.parametrize("name", ["efficientvit_seg_b0_cityscapes", "efficientvit_seg_l1_ade20k", "efficientvit_l1"])
def test_all_rewrites_together_keep_the_function(name: str, attention: str):
    model = model_of(name, attention)
    assert error(model, rewritten(model, ONNX_REWRITES, (2, 3, *SIZE)), images()) < ROUNDING


@pytest.mark.parametrize("size", [(32, 32), (32, 160), (224, 32), (96, 64)], ids=str)
def test_they_hold_at_any_multiple_of_32(size: tuple[int, int]):
    model = model_of("efficientvit_seg_b0_cityscapes")
    assert error(model, rewritten(model, ONNX_REWRITES, (1, 3, *size)), images(1, size)) < ROUNDING


def test_a_rewrite_that_finds_nothing_to_change_is_not_named():
    model = model_of("efficientvit_b1", "softmax")
    made, applied = table.rewritten(model, ONNX_REWRITES, torch.zeros(1, 3, *SIZE))
    assert applied == ()
    assert isinstance(made, nn.Module)


def test_without_rewrites_the_model_is_the_published_one():
    model = model_of("efficientvit_b0")
    assert torch.equal(rewritten(model, [], (1, 3, *SIZE))(images(1)), model(images(1)))


def test_a_rewrite_leaves_the_model_alone_and_copies_no_weights():
    model = model_of("efficientvit_seg_b0_cityscapes")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    kinds = [type(module) for module in model.modules()]
    rewritten(model, ONNX_REWRITES, (1, 3, *SIZE))
    assert [type(module) for module in model.modules()] == kinds
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    copied = dict(sharing_copy(model).named_parameters())
    assert all(copied[name] is parameter for name, parameter in model.named_parameters())


def test_shapes_are_found_without_computing_anything():
    shapes = input_shapes(model_of("efficientvit_seg_b0_cityscapes"), torch.zeros(1, 3, 512, 1024))
    assert shapes["head.input_ops.0.op_list.1"] == (1, 32, 16, 32)
    assert shapes["head.input_ops.1.op_list.1"] == (1, 32, 32, 64)


@pytest.mark.parametrize("factor", [2, 3, 4, 8])
def test_the_cubic_matrices_are_the_frameworks_interpolation(factor: int):
    x = images(1, (5, 9))
    expected = Upsample(factor)(x)
    torch.testing.assert_close(rewrite_upsampling.CubicProducts(5, 9, factor)(x), expected, rtol=0, atol=2e-6)
    rows = rewrite_upsampling.cubic_matrix(5, factor).sum(dim=1)
    torch.testing.assert_close(rows, torch.ones_like(rows))


def test_the_denominator_apart_is_zero_over_epsilon_where_all_queries_are_negative():
    qkv = images(1, (8, 8)).repeat(1, 16, 1, 1)
    qkv[:, :16, 0, 0] = -1.0
    made = ApartDenominator(16, 1e-15)(qkv)
    assert torch.equal(made[0, :, 0, 0], torch.zeros(16))
    torch.testing.assert_close(made, ReluLinearAttention(16)(qkv))


@pytest.mark.parametrize("tile", sorted(winograd.TILES))
def test_winograds_rows_are_the_convolution(tile: int):
    weight, bias = torch.randn(8, 6, 3, 3, dtype=torch.double), torch.randn(8, dtype=torch.double)
    x = torch.randn(2, 6, 12, 7)
    maps = winograd.WinogradRows(weight, bias, tile)(x)
    expected = functional.conv2d(x.double(), weight, bias, padding=1).float()
    assert len(maps) == tile
    for place, rows in enumerate(maps):
        torch.testing.assert_close(rows, expected[:, :, place::tile], rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("channels", "height", "tile"), [(48, 28, 4), (128, 14, 2), (128, 7, None), (32, 256, None), (47, 64, None)]
)
def test_each_layer_has_its_tile(channels: int, height: int, tile: int | None):
    """Few channels gain nothing, and a height that no tile divides keeps the direct convolution."""
    assert winograd.Layer(channels, 4 * channels, height, 32).tile() == tile


@pytest.mark.parametrize("name", ["efficientvit_l1", "efficientvit_sam_l0.encoder", "efficientnetv2_s"])
def test_winograds_rows_are_found_in_every_family_that_has_them(name: str):
    spec = registry.find_model(name)
    changed, applied = table.rewritten(create(spec), ["winograd-rows"], torch.zeros(1, 3, *spec.size))
    assert applied == ("winograd-rows",)
    tiles = {module.tile for module in changed.modules() if isinstance(module, winograd.WinogradRows)}
    assert 4 in tiles


def test_a_folded_norm_is_the_norm():
    layer = ConvLayer(4, 8, 3).eval()
    assert layer.norm is not None
    for buffer in (layer.norm.running_mean, layer.norm.running_var):
        assert buffer is not None
        buffer.uniform_(0.5, 2.0)
    weight, bias = folded(layer)
    x = torch.randn(1, 4, 6, 6)
    found = functional.conv2d(x, weight.float(), bias.float(), padding=1)
    torch.testing.assert_close(found, layer(x), rtol=1e-5, atol=1e-5)


# Near-misses: each is a rewrite with one mistake that a person could make. `plant` puts it into the code.
Plant = Callable[[pytest.MonkeyPatch], None]


def wrong_coefficient(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = rewrite_upsampling.cubic_kernel
    monkeypatch.setattr(rewrite_upsampling, "cubic_kernel", lambda distance, _: kernel(distance, -0.5))


def zeros_outside_the_border(monkeypatch: pytest.MonkeyPatch) -> None:
    original = rewrite_upsampling.cubic_matrix

    def matrix(size: int, factor: int) -> Tensor:
        return original(size + 4, factor)[2 * factor : -2 * factor, 2:-2]

    monkeypatch.setattr(rewrite_upsampling, "cubic_matrix", matrix)


def corners_aligned(monkeypatch: pytest.MonkeyPatch) -> None:
    class Aligned(nn.Module):
        def __init__(self, height: int, width: int, factor: int) -> None:
            super().__init__()
            self.size = (height * factor, width * factor)

        def forward(self, x: Tensor) -> Tensor:
            return functional.interpolate(x, size=self.size, mode="bicubic", align_corners=True)

    monkeypatch.setattr(rewrite_upsampling, "CubicProducts", Aligned)


def attention_with(change: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]) -> Plant:
    """The attention of the rewrite over changed queries, keys and values."""

    def plant(monkeypatch: pytest.MonkeyPatch) -> None:
        original = ApartDenominator.forward

        def forward(self: ApartDenominator, qkv: Tensor) -> Tensor:
            n, c, h, w = qkv.shape
            q, k, v = change(*torch.split(qkv.reshape(n, -1, 3 * self.dim, h * w), self.dim, dim=2))
            return original(self, torch.cat([q, k, v], dim=2).reshape(n, c, h, w))

        monkeypatch.setattr(ApartDenominator, "forward", forward)

    return plant


def no_denominator(monkeypatch: pytest.MonkeyPatch) -> None:
    def forward(self: ApartDenominator, qkv: Tensor) -> Tensor:
        n, _, h, w = qkv.shape
        q, k, v = torch.split(qkv.reshape(n, -1, 3 * self.dim, h * w), self.dim, dim=2)
        return (v @ k.relu().transpose(-1, -2) @ q.relu() / (h * w)).reshape(n, -1, h, w)

    monkeypatch.setattr(ApartDenominator, "forward", forward)


def channels_in_the_wrong_order(monkeypatch: pytest.MonkeyPatch) -> None:
    original = rewrite_convolution.PaddedConvolution.__init__

    def init(self: rewrite_convolution.PaddedConvolution, layer: ConvLayer, before: int, after: int) -> None:
        original(self, layer, before, after)
        if after > rewrite_convolution.BLOCK:
            self.conv.weight.data = self.conv.weight.data.roll(1, dims=1)

    monkeypatch.setattr(rewrite_convolution.PaddedConvolution, "__init__", init)


def padding_that_is_not_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    original = rewrite_convolution.PaddedConvolution.__init__

    def init(self: rewrite_convolution.PaddedConvolution, layer: ConvLayer, before: int, after: int) -> None:
        original(self, layer, before, after)
        extra = self.conv.weight[:, layer.conv.in_channels :]
        self.conv.weight.data[:, layer.conv.in_channels :] = torch.full_like(extra, 0.1)
        if self.conv.bias is not None:
            self.conv.bias.data[layer.conv.out_channels :] = 0.1

    monkeypatch.setattr(rewrite_convolution.PaddedConvolution, "__init__", init)


def a_wrong_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    tile = winograd.TILES[4]
    wrong = dataclasses.replace(tile, inputs=(*tile.inputs[:5], (0, 4, 0, 5, 0, 1)))
    monkeypatch.setattr(winograd, "TILES", {**winograd.TILES, 4: wrong})


def a_wrong_kernel_row(monkeypatch: pytest.MonkeyPatch) -> None:
    tile = winograd.TILES[4]
    wrong = dataclasses.replace(tile, kernels=(*tile.kernels[:3], (1 / 24, 1 / 12, 1 / 12), *tile.kernels[4:]))
    monkeypatch.setattr(winograd, "TILES", {**winograd.TILES, 4: wrong})


def rows_swapped(monkeypatch: pytest.MonkeyPatch) -> None:
    original = winograd.WinogradRows.forward

    def forward(self: winograd.WinogradRows, x: Tensor) -> tuple[Tensor, ...]:
        first, second, *others = original(self, x)
        return (second, first, *others)

    monkeypatch.setattr(winograd.WinogradRows, "forward", forward)


def a_bias_counted_in_even_rows_only(monkeypatch: pytest.MonkeyPatch) -> None:
    original = winograd.WinogradRows.forward

    def forward(self: winograd.WinogradRows, x: Tensor) -> tuple[Tensor, ...]:
        bias = self.products[1].bias
        assert isinstance(bias, Tensor)
        return tuple(rows - (place % 2) * bias.reshape(1, -1, 1, 1) for place, rows in enumerate(original(self, x)))

    monkeypatch.setattr(winograd.WinogradRows, "forward", forward)


NEAR_MISSES: list[tuple[str, Plant]] = [
    ("cubic-as-products", wrong_coefficient),
    ("cubic-as-products", zeros_outside_the_border),
    ("cubic-as-products", corners_aligned),
    ("denominator-apart", no_denominator),
    ("denominator-apart", attention_with(lambda q, k, v: (q, v, k))),
    ("denominator-apart", attention_with(lambda q, k, v: (q, k, v.roll(1, dims=1)))),
    ("padded-stem", channels_in_the_wrong_order),
    ("padded-stem", padding_that_is_not_zero),
    ("winograd-rows", a_wrong_sign),
    ("winograd-rows", a_wrong_kernel_row),
    ("winograd-rows", rows_swapped),
    ("winograd-rows", a_bias_counted_in_even_rows_only),
]


def judged(model: nn.Module, made: nn.Module, task: str, tolerance: Tolerance) -> Parity:
    with torch.no_grad():
        pairs = [(model(image).numpy(), made(image).numpy()) for image in (images(1), images(2)[1:])]
    return parity.judge(task, pairs, tolerance)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(("name", "plant"), NEAR_MISSES, ids=[f"{n}-{i}" for i, (n, _) in enumerate(NEAR_MISSES)])
def test_parity_refuses_a_near_miss(name: str, plant: Plant, monkeypatch: pytest.MonkeyPatch):
    spec, tolerance = registry.find_model(WHERE[name]), registry.find_target("onnx-fp32").tolerance
    model = model_of(spec.name)
    assert judged(model, rewritten(model, [name], (1, 3, *SIZE)), spec.task, tolerance).passed
    plant(monkeypatch)
    refused = judged(model, rewritten(model, [name], (1, 3, *SIZE)), spec.task, tolerance)
    assert not refused.passed
    assert refused.reason


def test_every_rewrite_has_a_near_miss():
    assert {name for name, _ in NEAR_MISSES} == set(ONNX_REWRITES)


def test_an_export_with_a_near_miss_ends_as_failed_parity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for package in ("onnx", "onnxscript", "onnxruntime", "skimage"):
        pytest.importorskip(package, reason="an ONNX export with its proof")
    wrong_coefficient(monkeypatch)
    step.run(
        StepJob(
            variant=registry.variant_of(
                registry.find_model("efficientvit_seg_b0_cityscapes"), "onnx-fp32", size=(64, 64)
            ),
            rewrites=("cubic-as-products",),
            folder=tmp_path,
        )
    )
    made: Artifact = manifest.open_artifact(tmp_path)
    assert made.manifest.parity is not None
    assert not made.manifest.parity.passed
    failed = pipeline.parity_error(made)
    assert isinstance(failed, ParityFailed)
    assert failed.exit_code == 6
