"""Restormer: restores an image at its own size by attention among channels, in four resolutions.

Attribute names are dictated by the official checkpoints. This is the default configuration of the official code, of
26,126,644 parameters, with a bias in its norms.

Source: https://arxiv.org/abs/2111.09881, and https://github.com/swz30/Restormer (the architecture; the code is ours).
"""

import torch
from torch import Tensor, nn

from vitdeploy.errors import unknown_name
from vitdeploy.models.efficientvit_blocks import named

WIDTH = 48
DEPTHS = (4, 6, 6, 8)
"""Blocks of each level, the finest first."""
REFINEMENT = 4
"""Blocks behind the last level."""
HEADS = (1, 2, 4, 8)
EXPAND = 2.66
NORM_EPS = 1e-5
LENGTH_EPS = 1e-12
"""Source: ``torch.nn.functional.normalize``."""

VARIANTS = ("default",)


class PixelNorm(nn.Module):
    """Layer norm over the channels of each pixel; ``body`` is the official key."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.LayerNorm(channels, eps=NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, c, h, w)`` to the same shape."""
        return self.body(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class UnitLength(nn.Module):
    """Scales vectors to length one."""

    def forward(self, x: Tensor) -> Tensor:
        """``(…, length)`` to the same shape."""
        # Not functional.normalize: its ONNX form asks for shapes at run time, and onnx2tf stumbles over its norm.
        return x / (x * x).sum(dim=-1, keepdim=True).sqrt().clamp_min(LENGTH_EPS)


class ChannelAttention(nn.Module):
    """Softmax attention among the channels of a head, each a unit vector over all pixels (MDTA).

    Attributes:
        heads: how many heads the channels are shared among.
        temperature: ``(heads, 1, 1)``, learned.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = nn.Conv2d(channels, 3 * channels, 1, bias=False)
        self.qkv_dwconv = nn.Conv2d(3 * channels, 3 * channels, 3, padding=1, groups=3 * channels, bias=False)
        self.project_out = nn.Conv2d(channels, channels, 1, bias=False)
        self.unit = UnitLength()
        self.softmax = nn.Softmax(dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, c, h, w)`` to the same shape."""
        n, channels, height, width = x.shape
        roles = torch.split(self.qkv_dwconv(self.qkv(x)), channels, dim=1)
        q, k, v = (role.reshape(n, self.heads, channels // self.heads, height * width) for role in roles)
        weight = self.softmax(self.unit(q) @ self.unit(k).transpose(-1, -2) * self.temperature)
        return self.project_out((weight @ v).reshape(n, channels, height, width))


class GatedFeedForward(nn.Module):
    """Widen to two halves, of which one gates the other, and narrow (GDFN)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner = int(channels * EXPAND)
        self.project_in = nn.Conv2d(channels, 2 * self.inner, 1, bias=False)
        self.dwconv = nn.Conv2d(2 * self.inner, 2 * self.inner, 3, padding=1, groups=2 * self.inner, bias=False)
        self.project_out = nn.Conv2d(self.inner, channels, 1, bias=False)
        self.act = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        """``(n, c, h, w)`` to the same shape."""
        gate, value = torch.split(self.dwconv(self.project_in(x)), self.inner, dim=1)
        return self.project_out(self.act(gate) * value)


class Block(nn.Module):
    """Attention, then a feed-forward part, each one residual and behind a norm."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.norm1 = PixelNorm(channels)
        self.attn = ChannelAttention(channels, heads)
        self.norm2 = PixelNorm(channels)
        self.ffn = GatedFeedForward(channels)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, c, h, w)`` to the same shape."""
        x = x + self.attn(self.norm1(x))
        return x + self.ffn(self.norm2(x))


class PixelsToChannels(nn.Module):
    """Squares of 2x2 pixels as four channels: ``nn.PixelUnshuffle``, whose ONNX form asks for shapes at run time."""

    def forward(self, x: Tensor) -> Tensor:
        """``(n, c, h, w)``, h and w even, to ``(n, 4 * c, h / 2, w / 2)``."""
        n, channels, height, width = x.shape
        squares = x.reshape(n, channels, height // 2, 2, width // 2, 2).permute(0, 1, 3, 5, 2, 4)
        return squares.reshape(n, 4 * channels, height // 2, width // 2)


class Restormer(nn.Module):
    """The network."""

    def __init__(self) -> None:
        super().__init__()
        fine, middle, coarse, latent = (WIDTH * 2**level for level in range(len(DEPTHS)))
        self.patch_embed = named(proj=nn.Conv2d(3, fine, 3, padding=1, bias=False))
        self.encoder_level1 = _blocks(0, fine)
        self.down1_2 = _halve(fine)
        self.encoder_level2 = _blocks(1, middle)
        self.down2_3 = _halve(middle)
        self.encoder_level3 = _blocks(2, coarse)
        self.down3_4 = _halve(coarse)
        self.latent = _blocks(3, latent)
        self.up4_3 = _double(latent)
        self.reduce_chan_level3 = nn.Conv2d(latent, coarse, 1, bias=False)
        self.decoder_level3 = _blocks(2, coarse)
        self.up3_2 = _double(coarse)
        self.reduce_chan_level2 = nn.Conv2d(coarse, middle, 1, bias=False)
        self.decoder_level2 = _blocks(1, middle)
        self.up2_1 = _double(middle)
        # Not reduced: the finest level goes on with twice its channels.
        self.decoder_level1 = _blocks(0, middle)
        self.refinement = nn.Sequential(*(Block(middle, HEADS[0]) for _ in range(REFINEMENT)))
        self.output = nn.Conv2d(middle, 3, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """An RGB image ``(n, 3, h, w)`` on a 0–1 scale, h and w multiples of 8, to one of the same size."""
        fine = self.encoder_level1(self.patch_embed(x))
        middle = self.encoder_level2(self.down1_2(fine))
        coarse = self.encoder_level3(self.down2_3(middle))
        deep = self.latent(self.down3_4(coarse))
        deep = self.decoder_level3(self.reduce_chan_level3(torch.cat([self.up4_3(deep), coarse], dim=1)))
        deep = self.decoder_level2(self.reduce_chan_level2(torch.cat([self.up3_2(deep), middle], dim=1)))
        deep = self.decoder_level1(torch.cat([self.up2_1(deep), fine], dim=1))
        return x + self.output(self.refinement(deep))


def build(variant: str) -> nn.Module:
    """Restormer as ``default``, with torch's own initial weights."""
    if variant not in VARIANTS:
        raise unknown_name("Restormer variant", variant, VARIANTS, "vitdeploy models")
    return Restormer()


def _blocks(level: int, channels: int) -> nn.Sequential:
    return nn.Sequential(*(Block(channels, HEADS[level]) for _ in range(DEPTHS[level])))


def _halve(channels: int) -> nn.Sequential:
    """To half the resolution and twice the channels."""
    return named(body=nn.Sequential(_dense(channels, channels // 2), PixelsToChannels()))


def _double(channels: int) -> nn.Sequential:
    """To twice the resolution and half the channels."""
    return named(body=nn.Sequential(_dense(channels, channels * 2), nn.PixelShuffle(2)))


def _dense(in_channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
