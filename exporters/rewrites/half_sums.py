"""Sums over all pixels that half precision holds: contrast, unit length and factorization, whatever their scale.

A sum of squares over a picture leaves half precision (65 504) early, and a small denominator sinks below what it can
tell apart. Each of these three functions is the same when its input is divided by a number first and, where it is
linear, multiplied by it afterwards: so each is computed on values of at most one.
"""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

import math

import torch
from torch import Tensor, nn

from vitdeploy.exporters.rewrites.half import SMALLEST_NORMAL, SUMMED
from vitdeploy.exporters.rewrites.modules import Shapes, replace_modules
from vitdeploy.models.bsrn import Contrast
from vitdeploy.models.restormer import UnitLength
from vitdeploy.models.segnext import Factorization

SMALLEST = 2.0**-24
"""Of half precision, below its normal numbers. Source: IEEE 754-2019, binary16."""


class ScaledContrast(nn.Module):
    """`Contrast` with deviations that are at most one before they are squared."""

    least: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("least", torch.tensor(SMALLEST_NORMAL))

    def forward(self, x: Tensor) -> Tensor:
        """``(n, c, h, w)`` to ``(n, c, 1, 1)``."""
        mean = x.mean(dim=(2, 3), keepdim=True)
        apart = x - mean
        largest = torch.maximum(apart.abs().amax(dim=(2, 3), keepdim=True), self.least)
        scaled = apart / largest
        return (scaled * scaled).mean(dim=(2, 3), keepdim=True).sqrt() * largest + mean


class ScaledLength(nn.Module):
    """`UnitLength` of vectors whose largest value is one."""

    least: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("least", torch.tensor(SMALLEST_NORMAL))

    def forward(self, x: Tensor) -> Tensor:
        """``(…, length)`` to the same shape."""
        scaled = x / torch.maximum(x.abs().amax(dim=-1, keepdim=True), self.least)
        return scaled / torch.maximum(torch.linalg.vector_norm(scaled, dim=-1, keepdim=True), self.least)


class ScaledFactorization(nn.Module):
    """`Factorization` of a map whose largest value is one, with averages over the pixels in the place of sums.

    An update is a ratio of two sums over the pixels for each part, so both may be divided by how much of the part
    there is: then neither the number of pixels nor the rareness of a part shows in their size.

    Attributes:
        bases: what it starts from.
        steps: how many updates.
        share: a power of two over the number of pixels, in the place of the sums.
    """

    bases: Tensor
    least: Tensor
    rarest: Tensor

    def __init__(self, published: Factorization, pixels: int) -> None:
        super().__init__()
        self.steps = published.steps
        self.share = min(1.0, SUMMED * 2.0 ** -math.ceil(math.log2(pixels)))
        self.register_buffer("bases", published.bases)
        self.register_buffer("least", torch.tensor(SMALLEST_NORMAL))
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


def scaled_contrast(model: nn.Module, shapes: Shapes) -> bool:
    """Replace every `Contrast`."""
    del shapes

    def make(name: str, module: nn.Module) -> nn.Module | None:
        del name
        return ScaledContrast() if isinstance(module, Contrast) else None

    return replace_modules(model, make)


def scaled_length(model: nn.Module, shapes: Shapes) -> bool:
    """Replace every `UnitLength`."""
    del shapes

    def make(name: str, module: nn.Module) -> nn.Module | None:
        del name
        return ScaledLength() if isinstance(module, UnitLength) else None

    return replace_modules(model, make)


def scaled_factorization(model: nn.Module, shapes: Shapes) -> bool:
    """Replace every `Factorization`."""

    def make(name: str, module: nn.Module) -> nn.Module | None:
        if not isinstance(module, Factorization):
            return None
        height, width = shapes[name][-2:]
        return ScaledFactorization(module, height * width)

    return replace_modules(model, make)
