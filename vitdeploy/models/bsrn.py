"""BSRN: super-resolution by blueprint separable convolutions with spatial and channel attention.

Attribute names are dictated by the official checkpoints.

Source: https://arxiv.org/abs/2205.05996, and https://github.com/xiaom233/BSRN (the architecture; the code is ours).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from vitdeploy.errors import entry
from vitdeploy.models.efficientvit_blocks import named

SCALES = {"x2": 2, "x4": 4}

WIDTH = 64
"""Channels of the trunk. Source: ``num_feat`` of the official options."""

BLOCKS = 8

COPIES = 4
"""How often the input is repeated before the first convolution. Source: the paper, section 3.1."""

SMALLEST_SIDE = 15
"""Below it the pooling of `SpatialAttention` has no window."""


def blueprint_conv(in_channels: int, out_channels: int, *, stride: int = 1, padding: int = 1) -> nn.Sequential:
    """Pointwise convolution without bias, then depthwise 3x3: ``(n, in, h, w)`` to ``(n, out, h', w')``."""
    return named(
        pw=nn.Conv2d(in_channels, out_channels, 1, bias=False),
        dw=nn.Conv2d(out_channels, out_channels, 3, stride=stride, padding=padding, groups=out_channels),
    )


class SpatialAttention(nn.Module):
    """Gates each place by what a coarse view of its surroundings holds (ESA)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow = channels // 4
        self.conv1 = nn.Conv2d(channels, narrow, 1)
        self.conv_f = nn.Conv2d(narrow, narrow, 1)
        self.conv_max = blueprint_conv(narrow, narrow)
        self.conv2 = blueprint_conv(narrow, narrow, stride=2, padding=0)
        self.conv3 = blueprint_conv(narrow, narrow)
        self.conv3_ = blueprint_conv(narrow, narrow)
        self.conv4 = nn.Conv2d(narrow, channels, 1)
        self.pool = nn.MaxPool2d(7, stride=3)
        self.act = nn.GELU()
        self.gate = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """``(n, c, h, w)``, h and w at least `SMALLEST_SIDE`, to the same shape."""
        narrow = self.conv1(x)
        coarse = self.act(self.conv_max(self.pool(self.conv2(narrow))))
        coarse = self.conv3_(self.act(self.conv3(coarse)))
        size = (x.shape[-2], x.shape[-1])
        context = functional.interpolate(coarse, size=size, mode="bilinear", align_corners=False)
        return x * self.gate(self.conv4(context + self.conv_f(narrow)))


class Contrast(nn.Module):
    """Mean plus standard deviation of each channel over the pixels."""

    def forward(self, x: Tensor) -> Tensor:
        """``(n, c, h, w)`` to ``(n, c, 1, 1)``."""
        mean = x.mean(dim=(2, 3), keepdim=True)
        return (x - mean).square().mean(dim=(2, 3), keepdim=True).sqrt() + mean


class ChannelAttention(nn.Module):
    """Gates each channel by its contrast (CCA)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.contrast = Contrast()
        self.conv_du = nn.Sequential(
            nn.Conv2d(channels, channels // 16, 1), nn.ReLU(), nn.Conv2d(channels // 16, channels, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(n, c, h, w)`` to the same shape."""
        return x * self.conv_du(self.contrast(x))


class DistillationBlock(nn.Module):
    """Three residual convolutions, each of which leaves half of its channels aside for the sum (ESDB)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.c1_d = nn.Conv2d(channels, half, 1)
        self.c1_r = blueprint_conv(channels, channels)
        self.c2_d = nn.Conv2d(channels, half, 1)
        self.c2_r = blueprint_conv(channels, channels)
        self.c3_d = nn.Conv2d(channels, half, 1)
        self.c3_r = blueprint_conv(channels, channels)
        self.c4 = blueprint_conv(channels, half)
        self.c5 = nn.Conv2d(4 * half, channels, 1)
        self.esa = SpatialAttention(channels)
        self.cca = ChannelAttention(channels)
        self.act = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        """``(n, c, h, w)`` to the same shape."""
        refined, aside = x, list[Tensor]()
        for distill, refine in ((self.c1_d, self.c1_r), (self.c2_d, self.c2_r), (self.c3_d, self.c3_r)):
            aside.append(self.act(distill(refined)))
            refined = self.act(refine(refined) + refined)
        aside.append(self.act(self.c4(refined)))
        return x + self.cca(self.esa(self.c5(torch.cat(aside, dim=1))))


class Bsrn(nn.Module):
    """The network."""

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.fea_conv = blueprint_conv(3 * COPIES, WIDTH)
        for index in range(1, BLOCKS + 1):
            self.add_module(f"B{index}", DistillationBlock(WIDTH))
        self.c1 = nn.Conv2d(BLOCKS * WIDTH, WIDTH, 1)
        self.c2 = blueprint_conv(WIDTH, WIDTH)
        enlarge = nn.Sequential(nn.Conv2d(WIDTH, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale))
        self.upsampler = named(upsampleOneStep=enlarge)
        self.act = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        """An RGB image ``(n, 3, h, w)`` on a 0–1 scale to one ``(n, 3, h * scale, w * scale)``."""
        shallow = self.fea_conv(torch.cat([x] * COPIES, dim=1))
        deep, maps = shallow, list[Tensor]()
        for index in range(1, BLOCKS + 1):
            deep = self.get_submodule(f"B{index}")(deep)
            maps.append(deep)
        return self.upsampler(self.c2(self.act(self.c1(torch.cat(maps, dim=1)))) + shallow)


def build(variant: str) -> nn.Module:
    """BSRN ``x2`` or ``x4``, with torch's own initial weights."""
    return Bsrn(entry("BSRN variant", variant, SCALES, "vitdeploy models"))
