"""Half precision's rewrites of sums over all pixels: equal in fp32, right at any scale in fp16, near-misses refused."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from vitdeploy.artifacts import parity
from vitdeploy.catalog.spec import Tolerance
from vitdeploy.exporters.rewrites import half
from vitdeploy.exporters.rewrites.modules import input_shapes, sharing_copy
from vitdeploy.models.bsrn import Contrast
from vitdeploy.models.restormer import UnitLength
from vitdeploy.models.segnext import Factorization

SHAPE = (1, 64, 48, 64)
EXACT = Tolerance(
    error=2e-3,
    image_error=2e-3,
    agreement=0.999,
    psnr_db=60.0,
    source="rounding of fp32, and of denominators near zero",
)
HALF = Tolerance(
    error=0.5,
    image_error=0.5,
    agreement=0.95,
    psnr_db=30.0,
    source="that of the target onnx-fp16, on values of order one",
)


class Flat(nn.Module):
    """A module over vectors that sees a map."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x.flatten(2)).reshape(x.shape)


class Whole(nn.Module):
    """A module alone in a model, since rewrites replace parts."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.part = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.part(x)


CASES = {
    "contrast": (Contrast, half.scaled_contrast),
    "length": (lambda: Flat(UnitLength()), half.scaled_length),
    "factorization": (lambda: Factorization(64, 16), half.scaled_factorization),
}


def picture(scale: float) -> torch.Tensor:
    """A map with few causes and some noise, without negative values."""
    random = np.random.default_rng(0)
    causes = random.random((SHAPE[1], 6)) ** 3 @ random.random((6, SHAPE[2] * SHAPE[3])) ** 4
    noisy = causes - causes.mean() + 0.1 * random.standard_normal(causes.shape)
    return torch.tensor(np.maximum(noisy, 0) * scale, dtype=torch.float32).reshape(SHAPE)


def pair(name: str) -> tuple[nn.Module, nn.Module]:
    make, rewrite = CASES[name]
    model = Whole(make()).eval()
    made = sharing_copy(model)
    assert rewrite(made, input_shapes(model, torch.zeros(SHAPE)))
    return model, made


def judged(expected: torch.Tensor, found: torch.Tensor, tolerance: Tolerance) -> parity.Parity:
    scale = float(expected.std())
    pairs = [(expected.numpy() / scale, found.float().numpy() / scale)]
    return parity.judge("super-resolution", pairs, tolerance)


@pytest.mark.parametrize("scale", [1 / 64, 1.0, 64.0])
@pytest.mark.parametrize("name", CASES)
def test_it_is_the_same_function_in_fp32(name: str, scale: float):
    model, made = pair(name)
    x = picture(scale)
    found = judged(model(x), made(x), EXACT)
    assert found.passed, found.reason


@pytest.mark.parametrize("scale", [1 / 64, 1.0, 64.0])
@pytest.mark.parametrize("name", CASES)
def test_half_precision_holds_it_at_any_scale(name: str, scale: float):
    model, made = pair(name)
    x = picture(scale)
    found = judged(model(x), made.half()(x.half()), HALF)
    assert found.passed, found.reason


@pytest.mark.parametrize("name", ["contrast", "factorization"])
def test_half_precision_does_not_hold_the_published_form_at_every_scale(name: str):
    model, _ = pair(name)
    x = picture(256.0)
    expected = model(x)
    assert not judged(expected, model.half()(x.half()), HALF).passed


@pytest.mark.parametrize("name", CASES)
def test_a_map_of_zeros_stays_finite_in_half_precision(name: str):
    _, made = pair(name)
    assert bool(made.half()(torch.zeros(SHAPE, dtype=torch.float16)).isfinite().all())


def test_half_precision_does_not_hold_the_published_length_of_a_channel_that_is_zero():
    model, _ = pair("length")
    zeros = torch.zeros(SHAPE, dtype=torch.float16)
    assert not bool(model.half()(zeros).isfinite().all()), "its epsilon, 1e-12, is zero in half precision"


class NotGivenBack(half.ScaledContrast):
    """The near-miss of a deviation that is not brought back to its scale."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = x.mean(dim=(2, 3), keepdim=True)
        return super().forward(x) + 0.01 * (super().forward(x) - mean)


class LengthOfLargest(half.ScaledLength):
    """The near-miss of vectors whose largest value is one, and not their length."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x / torch.maximum(x.abs().amax(dim=-1, keepdim=True), self.least)


class SoftmaxOfScaled(half.ScaledFactorization):
    """The near-miss of a softmax that sees the map at another scale."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x * 0.9) / 0.9


@pytest.mark.parametrize(
    ("name", "near_miss"),
    [
        ("contrast", NotGivenBack),
        ("length", LengthOfLargest),
        ("factorization", lambda: SoftmaxOfScaled(Factorization(64, 16), SHAPE[2] * SHAPE[3])),
    ],
)
def test_a_near_miss_is_refused(name: str, near_miss: Callable[[], nn.Module]):
    model, _ = pair(name)
    made = near_miss()
    wrong = Whole(Flat(made) if name == "length" else made)
    x = picture(8.0)
    assert not judged(model(x), wrong(x), EXACT).passed
