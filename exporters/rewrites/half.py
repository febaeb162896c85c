"""What 16 bits need: sums over all pixels that half precision holds, and hard-swish for bf16.

A sum of squares over a picture leaves half precision (65 504) early, and a small denominator sinks below what it can
tell apart. Contrast, unit length and factorization are the same when their input is divided by a number first and,
where they are linear, multiplied by it afterwards: so each is computed on values of at most one. bf16 reaches as far as
fp32 and needs none of that; but TensorRT's parser takes no HardSwish in bf16, so that is put together from others.
"""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

import math

import torch
from torch import Tensor, nn

from vitdeploy.exporters.rewrites.modules import replacing
from vitdeploy.models.bsrn import Contrast
from vitdeploy.models.restormer import UnitLength
from vitdeploy.models.segnext import Factorization

SMALLEST_NORMAL = 2.0**-14
"""Of half precision. Source: IEEE 754-2019, binary16."""

SMALLEST = 2.0**-24
"""Of half precision, below its normal numbers. Source: IEEE 754-2019, binary16."""

SUMMED = 2.0**8
"""What a sum over the pixels of keys that are at most one may reach: far from both ends of half precision, with room
for values of two hundred."""


def sum_scale(pixels: int) -> float:
    """The power of two that keeps a sum over so many pixels of values of at most one within `SUMMED`."""
    return min(1.0, SUMMED * 2.0 ** -math.ceil(math.log2(pixels)))


class Guarded(nn.Module):
    """A module that keeps its denominators at ``least``, the smallest normal number of half precision, or above."""

    least: Tensor

    def __init__(self) -> None:
        super().__init__()
        # A tensor, for torch.maximum: a clamp of one side comes out with a largest fp32 that half does not hold.
        self.register_buffer("least", torch.tensor(SMALLEST_NORMAL))


class ScaledContrast(Guarded):
    """`Contrast` with deviations that are at most one before they are squared."""

    def forward(self, x: Tensor) -> Tensor:
        """``(n, c, h, w)`` to ``(n, c, 1, 1)``."""
        mean = x.mean(dim=(2, 3), keepdim=True)
        apart = x - mean
        largest = torch.maximum(apart.abs().amax(dim=(2, 3), keepdim=True), self.least)
        scaled = apart / largest
        return (scaled * scaled).mean(dim=(2, 3), keepdim=True).sqrt() * largest + mean


class ScaledLength(Guarded):
    """`UnitLength` of vectors whose largest value is one."""

    def forward(self, x: Tensor) -> Tensor:
        """``(…, length)`` to the same shape."""
        scaled = x / torch.maximum(x.abs().amax(dim=-1, keepdim=True), self.least)
        return scaled / torch.maximum(torch.linalg.vector_norm(scaled, dim=-1, keepdim=True), self.least)


class ScaledFactorization(Guarded):
    """`Factorization` of a map whose largest value is one, with averages over the pixels in the place of sums.

    An update is a ratio of two sums over the pixels for each part, so both may be divided by how much of the part
    there is: then neither the number of pixels nor the rareness of a part shows in their size.

    Attributes:
        bases: what it starts from.
        steps: how many updates.
        share: a power of two over the number of pixels, in the place of the sums.
    """

    bases: Tensor
    rarest: Tensor

    def __init__(self, published: Factorization, pixels: int) -> None:
        super().__init__()
        self.steps = published.steps
        self.share = sum_scale(pixels)
        self.register_buffer("bases", published.bases)
        self.register_buffer("rarest", torch.tensor(SMALLEST))

    def forward(self, x: Tensor) -> Tensor:
        """``(n, channels, h, w)``, no value below zero, to the same shape."""
        n, channels, height, width = x.shape
        x = x.reshape(n, channels, height * width)
        largest = torch.maximum(x.amax(dim=(1, 2), keepdim=True), self.least)
        x = x / largest
        pixels = x.transpose(1, 2)
        bases = self.bases.expand(n, -1, -1)
        nearness = pixels @ bases
        # The softmax sees the map at its own scale; its largest logit is zero before that.
        shares = torch.softmax((nearness - nearness.amax(dim=-1, keepdim=True)) * largest, dim=-1)
        for _ in range(self.steps):
            shares = self.updated_shares(pixels, bases, shares)
            weights = shares / torch.maximum(shares.mean(dim=1, keepdim=True), self.rarest) * self.share
            denominator = bases @ (shares.transpose(1, 2) @ weights)
            bases = bases * ((x @ weights) / torch.maximum(denominator, self.least))
        shares = self.updated_shares(pixels, bases, shares)
        return (bases @ shares.transpose(1, 2) * largest).reshape(n, channels, height, width)

    def updated_shares(self, pixels: Tensor, bases: Tensor, shares: Tensor) -> Tensor:
        """One update of how much of each part a pixel holds, ``(n, h * w, parts)``."""
        denominator = shares @ (bases.transpose(1, 2) @ bases)
        return shares * ((pixels @ bases) / torch.maximum(denominator, self.least))


class HardSwishApart(nn.Module):
    """``nn.Hardswish`` as a bounded sum and a product, which every parser takes in every precision.

    Source: TensorRT for RTX 1.7, "Only FLOAT, HALF or INT8 input is supported for the HardSwish operator".
    """

    def forward(self, x: Tensor) -> Tensor:
        """``x`` to the same shape."""
        return x * (torch.clamp(x + 3.0, 0.0, 6.0) * (1.0 / 6.0))


scaled_contrast = replacing(Contrast, lambda _, __: ScaledContrast())
scaled_length = replacing(UnitLength, lambda _, __: ScaledLength())
scaled_factorization = replacing(
    Factorization, lambda module, shape: ScaledFactorization(module, shape[-2] * shape[-1])
)
hard_swish_apart = replacing(nn.Hardswish, lambda _, __: HardSwishApart())
