"""VapSR: super-resolution by pixel attention over a large field, made of depthwise convolutions.

Attribute names are dictated by the official checkpoints.

Source: https://arxiv.org/abs/2210.05960, and https://github.com/zhoumumu/VapSR (the architecture; the code is ours).
"""

import re
from collections.abc import Iterable

from torch import Tensor, nn

from vitdeploy.errors import entry

VARIANTS = {"x2": (2, 21), "x2-20": (2, 20), "x4": (4, 21)}
"""Variant → scale and number of blocks. Source: ``num_block`` of the official options, which is 20 for x2 and x3 and 21
for x4; ``x2`` has the blocks of x4, and the released x2 checkpoint is of ``x2-20``."""

WIDTH = 48
"""Channels of the trunk. Source: ``num_feat`` of the official options."""

ATTENTION_WIDTH = 64
"""Channels inside a block. Source: ``d_atten`` of the official options."""

SLOPE = 0.1
"""Of the leaky ReLU before the last convolution. Source: the official code."""


class PixelAttention(nn.Module):
    """Gates each pixel by a field of 17x17 around it: a 5x5 convolution, then one of dilation 3."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pointwise = nn.Conv2d(channels, channels, 1)
        self.depthwise = nn.Conv2d(channels, channels, 5, padding=2, groups=channels)
        self.depthwise_dilated = nn.Conv2d(channels, channels, 5, padding=6, groups=channels, dilation=3)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, c, h, w)`` to the same shape."""
        return x * self.depthwise_dilated(self.depthwise(self.pointwise(x)))


class AttentionBlock(nn.Module):
    """Widen, attend, narrow, add the input, normalize each pixel (VAB)."""

    def __init__(self) -> None:
        super().__init__()
        self.proj_1 = nn.Conv2d(WIDTH, ATTENTION_WIDTH, 1)
        self.atten_branch = PixelAttention(ATTENTION_WIDTH)
        self.proj_2 = nn.Conv2d(ATTENTION_WIDTH, WIDTH, 1)
        self.pixel_norm = nn.LayerNorm(WIDTH)
        self.act = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        """``(n, c, h, w)`` to the same shape."""
        x = x + self.proj_2(self.atten_branch(self.act(self.proj_1(x))))
        return self.pixel_norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Vapsr(nn.Module):
    """The network."""

    def __init__(self, scale: int, blocks: int) -> None:
        super().__init__()
        self.conv_first = nn.Conv2d(3, WIDTH, 3, padding=1)
        self.body = nn.Sequential(*(AttentionBlock() for _ in range(blocks)))
        self.conv_body = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        self.upsampler = _two_shuffles() if scale == 4 else _one_shuffle(scale)

    def forward(self, x: Tensor) -> Tensor:
        """An RGB image ``(n, 3, h, w)`` on a 0–1 scale to one ``(n, 3, h * scale, w * scale)``."""
        shallow = self.conv_first(x)
        return self.upsampler(shallow + self.conv_body(self.body(shallow)))


def build(variant: str) -> nn.Module:
    """VapSR ``x2``, ``x2-20`` or ``x4``, with torch's own initial weights."""
    return Vapsr(*entry("VapSR variant", variant, VARIANTS, "vitdeploy models"))


def released_variant(variant: str, keys: Iterable[str]) -> str:
    """The variant of a checkpoint: ``x2-20`` where a checkpoint of x2 has no 21st block."""
    twenty_first = any(re.search(r"(^|\.)body\.20\.", key) for key in keys)
    return "x2-20" if variant == "x2" and not twenty_first else variant


def _one_shuffle(scale: int) -> nn.Sequential:
    """One shuffle, behind a second convolution."""
    return nn.Sequential(
        nn.Conv2d(WIDTH, 56, 3, padding=1),
        nn.LeakyReLU(SLOPE),
        nn.Conv2d(56, 3 * scale**2, 3, padding=1),
        nn.PixelShuffle(scale),
    )


def _two_shuffles() -> nn.Sequential:
    """A shuffle behind each convolution."""
    return nn.Sequential(
        nn.Conv2d(WIDTH, 64, 3, padding=1),
        nn.PixelShuffle(2),
        nn.LeakyReLU(SLOPE),
        nn.Conv2d(16, 12, 3, padding=1),
        nn.PixelShuffle(2),
    )
