"""The rewrites of ``tflite-fp32`` keep the function to fp32 rounding, and parity refuses a near-miss of every one."""

import copy
from collections.abc import Callable

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="rewrites work on torch modules")

from torch import Tensor, nn

from vitdeploy.artifacts import parity
from vitdeploy.artifacts.manifest import Parity
from vitdeploy.catalog import registry
from vitdeploy.exporters.rewrites import table
from vitdeploy.exporters.rewrites import tflite_attention as rewrite_tflite_attention
from vitdeploy.exporters.rewrites import upsampling as rewrite_upsampling
from vitdeploy.exporters.rewrites.tflite_attention import ApartAttention, JointAttention, SoftmaxProducts
from vitdeploy.exporters.rewrites.tflite_masks import PixelUpscaling
from vitdeploy.exporters.rewrites.upsampling import cubic_matrix
from vitdeploy.models.create import create
from vitdeploy.models.efficientvit_blocks import MultiScaleAttention, ReluLinearAttention, Upsample
from vitdeploy.models.sam_decoder import Upscaling

ROUNDING = 1e-5
"""Largest error of a rewrite in deviations of the output: a few roundings of fp32 through forty layers."""

SEGMENTER = "efficientvit_seg_b0_cityscapes"
LARGE, SMALL = (384, 384), (64, 96)
"""At these, attention runs over maps of 576 and 24 pixels at most: both forms of it are met."""

WHERE = {"cubic-channels-last": "relu", "attention-apart": "relu", "softmax-as-products": "softmax"}
"""With which attention each rewrite has something to do in `SEGMENTER`."""

MASKS = "masks-by-place"
"""The rewrite of what only the segment-anything models have."""

TFLITE_REWRITES = registry.find_target("tflite-fp32").rewrites

Plant = Callable[[pytest.MonkeyPatch], None]


def images(count: int, size: tuple[int, int]) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).standard_normal((count, 3, *size), dtype=np.float32))


def model_of(name: str = SEGMENTER, attention: str = "relu") -> nn.Module:
    return create(registry.find_model(name), attention=attention)  # pyright: ignore[reportArgumentType]


def rewritten(model: nn.Module, names: list[str], image: Tensor) -> tuple[nn.Module, tuple[str, ...]]:
    return table.rewritten(model, names, image)


def subject(name: str, size: tuple[int, int]) -> tuple[nn.Module, Tensor]:
    """A model in which the rewrite has something to do, and what it is called on."""
    if name != MASKS:
        return model_of(attention=WHERE[name]), images(2, size)
    torch.manual_seed(0)
    return nn.Sequential(Upscaling()).eval(), torch.randn(2, 64 * 64, 256)


def error(model: nn.Module, made: nn.Module, image: Tensor) -> float:
    with torch.no_grad():
        expected, found = model(image), made(image)
    return float((expected - found).abs().max() / expected.std())


def test_the_target_table_names_them_all():
    assert set(TFLITE_REWRITES) <= set(table.REWRITES)
    assert {*WHERE, MASKS} == set(TFLITE_REWRITES)


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=str)
@pytest.mark.parametrize("name", TFLITE_REWRITES)
def test_a_rewrite_keeps_the_function_and_changes_the_model(name: str, size: tuple[int, int]):
    model, image = subject(name, size)
    made, applied = rewritten(model, [name], image)
    assert applied == (name,)
    assert error(model, made, image) < ROUNDING


@pytest.mark.parametrize("attention", ["relu", "softmax"])
@pytest.mark.parametrize("name", ["efficientvit_b1", "efficientvit_l1", "efficientvit_seg_l1_ade20k"])
def test_all_of_them_together_keep_the_function(name: str, attention: str):
    model, image = model_of(name, attention), images(1, SMALL)
    assert error(model, rewritten(model, list(TFLITE_REWRITES), image)[0], image) < ROUNDING


def test_the_form_of_attention_is_chosen_by_the_maps_size():
    made, _ = rewritten(model_of(), ["attention-apart"], torch.zeros(1, 3, *LARGE))
    kinds = [type(module) for module in made.modules()]
    assert (kinds.count(ApartAttention), kinds.count(JointAttention)) == (2, 2), "stage 3 and stage 4"
    assert MultiScaleAttention not in kinds


@pytest.mark.parametrize("form", [ApartAttention, JointAttention])
@pytest.mark.parametrize("shape", [(2, 64, 6, 5), (1, 32, 2, 3)], ids=str)
def test_both_forms_are_the_block(form: type[nn.Module], shape: tuple[int, ...]):
    torch.manual_seed(0)
    block = MultiScaleAttention(shape[1], dim=16, kernel=5, attention="relu").eval()
    image = torch.randn(shape)
    with torch.no_grad():
        torch.testing.assert_close(form(block, 16, 1e-15)(image), block(image), rtol=1e-4, atol=1e-5)


def test_where_no_query_is_positive_the_result_is_zero_over_epsilon():
    torch.manual_seed(0)
    block = MultiScaleAttention(32, dim=16, kernel=5, attention="relu").eval()
    made = ApartAttention(block, 16, 1e-15)
    k, v = torch.randn(1, 32, 4, 4), torch.randn(1, 32, 4, 4)
    assert torch.equal(made.attend(-torch.ones(1, 32, 4, 4), k, v, next(iter(made.back))), torch.zeros(1, 16, 32))
    assert torch.isfinite(ReluLinearAttention(16)(torch.cat([-torch.ones(1, 16, 4, 4), k], dim=1))).all()


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_the_products_channels_last_are_the_frameworks_interpolation(factor: int):
    x = images(2, (5, 9))
    found = rewrite_upsampling.CubicChannelsLast(5, 9, factor)(x)
    torch.testing.assert_close(found, Upsample(factor)(x), rtol=0, atol=2e-6)


# Near-misses: each is a rewrite with one mistake that a person could make. `plant` puts it into the code.


def another_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        rewrite_upsampling, "cubic_matrix", lambda size, factor: cubic_matrix(size, factor, coefficient=-0.5)
    )


def rows_for_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewrite_upsampling, "cubic_matrix", lambda s, f: cubic_matrix(s, f).roll(1, dims=0))


def another_role(monkeypatch: pytest.MonkeyPatch) -> None:
    original = rewrite_tflite_attention.role_channels
    monkeypatch.setattr(
        rewrite_tflite_attention, "role_channels", lambda wide, dim, role: original(wide, dim, (role + 1) % 3)
    )


def roles_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    def blocks(wide: int, dim: int, role: int) -> list[int]:
        return list(range(role * wide // 3, (role + 1) * wide // 3))

    monkeypatch.setattr(rewrite_tflite_attention, "role_channels", blocks)


def a_denominator_of_all_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    original = ApartAttention.__init__

    def init(self: ApartAttention, block: MultiScaleAttention, dim: int, eps: float) -> None:
        original(self, block, dim, eps)
        self.same_head = torch.ones_like(self.same_head)

    monkeypatch.setattr(ApartAttention, "__init__", init)


def scales_swapped(monkeypatch: pytest.MonkeyPatch) -> None:
    original = ApartAttention.__init__

    def init(self: ApartAttention, block: MultiScaleAttention, dim: int, eps: float) -> None:
        original(self, block, dim, eps)
        self.back = nn.ParameterList(list(self.back)[::-1])

    monkeypatch.setattr(ApartAttention, "__init__", init)


def softmax_of_another_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    original = SoftmaxProducts.forward

    def forward(self: SoftmaxProducts, qkv: Tensor) -> Tensor:
        scale = torch.ones(1, qkv.shape[1], 1, 1)
        scale[:, rewrite_tflite_attention.role_channels(qkv.shape[1], self.dim, 0)] = self.dim**0.5
        return original(self, qkv * scale)

    monkeypatch.setattr(SoftmaxProducts, "forward", forward)


def rows_of_a_place_beside_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PixelUpscaling, "enlarge", lambda self, places, layer, width: self.squares(places, layer))


def columns_of_the_kernel_for_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    original = PixelUpscaling.__init__

    def init(self: PixelUpscaling, block: Upscaling) -> None:
        turned = copy.deepcopy(block)
        for layer in (turned[0], turned[3]):
            assert isinstance(layer, nn.ConvTranspose2d)
            layer.weight = nn.Parameter(layer.weight.transpose(2, 3).contiguous())
        original(self, turned)

    monkeypatch.setattr(PixelUpscaling, "__init__", init)


NEAR_MISSES: list[tuple[str, Plant]] = [
    ("cubic-channels-last", another_kernel),
    ("cubic-channels-last", rows_for_columns),
    ("attention-apart", another_role),
    ("attention-apart", roles_in_blocks),
    ("attention-apart", a_denominator_of_all_heads),
    ("attention-apart", scales_swapped),
    ("softmax-as-products", softmax_of_another_scale),
    (MASKS, rows_of_a_place_beside_each_other),
    (MASKS, columns_of_the_kernel_for_its_rows),
]


def judged(model: nn.Module, made: nn.Module, image: Tensor) -> Parity:
    with torch.no_grad():
        pair = (model(image).numpy(), made(image).numpy())
    return parity.judge("segmentation", [pair], registry.find_target("tflite-fp32").tolerance)


@pytest.mark.parametrize(("name", "plant"), NEAR_MISSES, ids=[plant.__name__ for _, plant in NEAR_MISSES])
def test_parity_refuses_a_near_miss(name: str, plant: Plant, monkeypatch: pytest.MonkeyPatch):
    model, image = subject(name, LARGE)
    assert judged(model, rewritten(model, [name], image)[0], image).passed
    plant(monkeypatch)
    refused = judged(model, rewritten(model, [name], image)[0], image)
    assert not refused.passed
    assert refused.reason


def test_every_rewrite_has_a_near_miss():
    assert {name for name, _ in NEAR_MISSES} == set(TFLITE_REWRITES)
