"""SegNeXt: semantic segmentation by multi-scale convolutional attention (MSCAN) and a Hamburger head.

The head factorizes its map into few non-negative parts. The reference draws the parts it starts from at random in
every forward; here they are drawn once, from seed 0, so that a picture always gets the same answer.

Attribute names are dictated by the official checkpoints. The logits come at an eighth of the input's resolution.

Source: https://arxiv.org/abs/2209.08575, https://github.com/Visual-Attention-Network/SegNeXt, and for the head
https://arxiv.org/abs/2109.04553 and https://github.com/open-mmlab/mmsegmentation (the architecture; the code is ours).
"""

# pyright: reportUnknownMemberType=false

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vitdeploy.errors import unknown_name
from vitdeploy.models.efficientvit_blocks import named

CLASSES = {"cityscapes": 19, "ade20k": 150}

BASES_SEED = 0
"""Of the parts that the factorization starts from."""

NMF_STEPS = 7
"""Multiplicative updates in inference. Source: ``eval_steps`` of the official head."""

NMF_EPS = 1e-6
"""Keeps the denominators of the updates from zero. Source: the official head."""

GROUPS = 32
"""Of the head's group norms. Source: ``ham_norm_cfg`` of the official configurations."""

LAYER_NORM_EPS = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class SegNextConfig:
    """A backbone and the width of its head."""

    widths: tuple[int, int, int, int]
    depths: tuple[int, int, int, int]
    head: int
    """Channels of the head."""
    parts: int
    """Into how many parts the head factorizes its map."""


EXPANDS = (8, 8, 4, 4)
"""Ratio of a block's inner width to its width, stage by stage."""

CONFIGS = {
    "t": SegNextConfig(widths=(32, 64, 160, 256), depths=(3, 3, 5, 2), head=256, parts=16),
    "s": SegNextConfig(widths=(64, 128, 320, 512), depths=(2, 2, 4, 2), head=256, parts=16),
    "b": SegNextConfig(widths=(64, 128, 320, 512), depths=(3, 3, 12, 3), head=512, parts=64),
    "l": SegNextConfig(widths=(64, 128, 320, 512), depths=(3, 5, 27, 3), head=1024, parts=64),
}
"""Source: the official configurations ``segnext.{tiny,small,base,large}.*``."""


def official_keys(keys: Iterable[str]) -> dict[str, str]:
    """Map the keys of an authors' or of an OpenMMLab checkpoint to the authors'.

    OpenMMLab has the depthwise convolution of the MLP without the module around it.
    Source: mmseg/models/backbones/mscan.py of https://github.com/open-mmlab/mmsegmentation.
    """
    return {key: re.sub(r"\.mlp\.dwconv\.(weight|bias)$", r".mlp.dwconv.dwconv.\1", key) for key in keys}


class Gate(nn.Module):
    """Depthwise convolutions of four fields, 5x5 and strips of 7, 11 and 21, whose sum gates each pixel.

    Attributes:
        conv0: the 5x5 one, before the strips.
        conv3: mixes the channels of the sum.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv0 = nn.Conv2d(channels, channels, 5, padding=2, groups=channels)
        for index, length in enumerate((7, 11, 21)):
            half = length // 2
            across = nn.Conv2d(channels, channels, (1, length), padding=(0, half), groups=channels)
            down = nn.Conv2d(channels, channels, (length, 1), padding=(half, 0), groups=channels)
            self.add_module(f"conv{index}_1", across)
            self.add_module(f"conv{index}_2", down)
        self.conv3 = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, c, h, w)`` to the same shape."""
        near = self.conv0(x)
        total = near
        for index in range(3):
            total = total + self.get_submodule(f"conv{index}_2")(self.get_submodule(f"conv{index}_1")(near))
        return self.conv3(total) * x


class SpatialAttention(nn.Module):
    """A gate between two pointwise convolutions, under a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj_1 = nn.Conv2d(channels, channels, 1)
        self.spatial_gating_unit = Gate(channels)
        self.proj_2 = nn.Conv2d(channels, channels, 1)
        self.act = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        """``(n, c, h, w)`` to the same shape."""
        return x + self.proj_2(self.spatial_gating_unit(self.act(self.proj_1(x))))


def mlp(channels: int, expand: int) -> nn.Sequential:
    """Widen, look at the neighbors, narrow: ``(n, c, h, w)`` to the same shape."""
    inner = channels * expand
    return named(
        fc1=nn.Conv2d(channels, inner, 1),
        dwconv=named(dwconv=nn.Conv2d(inner, inner, 3, padding=1, groups=inner)),
        act=nn.GELU(),
        fc2=nn.Conv2d(inner, channels, 1),
    )


class Block(nn.Module):
    """Attention, then an MLP, each one residual, normalized and scaled channel by channel."""

    def __init__(self, channels: int, expand: int) -> None:
        super().__init__()
        self.layer_scale_1 = nn.Parameter(torch.ones(channels))
        self.layer_scale_2 = nn.Parameter(torch.ones(channels))
        self.norm1 = nn.BatchNorm2d(channels)
        self.attn = SpatialAttention(channels)
        self.norm2 = nn.BatchNorm2d(channels)
        self.mlp = mlp(channels, expand)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, c, h, w)`` to the same shape."""
        x = x + self.layer_scale_1[:, None, None] * self.attn(self.norm1(x))
        return x + self.layer_scale_2[:, None, None] * self.mlp(self.norm2(x))


def stem(channels: int) -> nn.Sequential:
    """From colors to a quarter of the resolution: ``(n, 3, h, w)`` to ``(n, channels, h / 4, w / 4)``."""
    half = channels // 2
    return named(
        proj=nn.Sequential(
            nn.Conv2d(3, half, 3, stride=2, padding=1),
            nn.BatchNorm2d(half),
            nn.GELU(),
            nn.Conv2d(half, channels, 3, stride=2, padding=1),
            nn.BatchNorm2d(channels),
        )
    )


def downsample(in_channels: int, out_channels: int) -> nn.Sequential:
    """To half the resolution: ``(n, in, h, w)`` to ``(n, out, h / 2, w / 2)``."""
    return named(proj=nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1), norm=nn.BatchNorm2d(out_channels))


class Mscan(nn.Module):
    """The backbone."""

    def __init__(self, config: SegNextConfig) -> None:
        super().__init__()
        self.stages = len(config.widths)
        before = 3
        for stage, (width, depth, expand) in enumerate(zip(config.widths, config.depths, EXPANDS, strict=True), 1):
            self.add_module(f"patch_embed{stage}", stem(width) if stage == 1 else downsample(before, width))
            self.add_module(f"block{stage}", nn.Sequential(*(Block(width, expand) for _ in range(depth))))
            self.add_module(f"norm{stage}", nn.LayerNorm(width, eps=LAYER_NORM_EPS))
            before = width

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """``(n, 3, h, w)`` to maps at strides 4, 8, 16 and 32."""
        maps: list[Tensor] = []
        for stage in range(1, self.stages + 1):
            x = self.get_submodule(f"block{stage}")(self.get_submodule(f"patch_embed{stage}")(x))
            x = self.get_submodule(f"norm{stage}")(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            maps.append(x)
        return tuple(maps)


class Factorization(nn.Module):
    """The non-negative matrix factorization of a map, put together again: what few parts can say of it (NMF2D).

    Attributes:
        bases: ``(channels, parts)``, non-negative columns of length one: what it starts from.
        steps: how many updates.
    """

    bases: Tensor

    def __init__(self, channels: int, parts: int) -> None:
        super().__init__()
        self.steps = NMF_STEPS
        self.register_buffer("bases", starting_bases(channels, parts), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, channels, h, w)``, no value below zero, to the same shape."""
        n, channels, height, width = x.shape
        x = x.reshape(n, channels, height * width)
        pixels = x.transpose(1, 2)
        bases = self.bases.expand(n, -1, -1)
        shares = torch.softmax(pixels @ bases, dim=-1)
        for _ in range(self.steps):
            shares = _updated_shares(pixels, bases, shares)
            bases = bases * (x @ shares) / (bases @ (shares.transpose(1, 2) @ shares) + NMF_EPS)
        shares = _updated_shares(pixels, bases, shares)
        return (bases @ shares.transpose(1, 2)).reshape(n, channels, height, width)


class ConvNormAct(nn.Module):
    """A pointwise convolution, a group norm where there is one, and the activation.

    Attributes:
        conv: the convolution.
        gn: the norm; the convolution has a bias where there is none.
    """

    def __init__(self, in_channels: int, out_channels: int, *, norm: bool = True, act: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 1, bias=not norm)
        self.gn = nn.GroupNorm(GROUPS, out_channels) if norm else None
        self.act = nn.ReLU() if act else None

    def forward(self, x: Tensor) -> Tensor:
        """``(n, in, h, w)`` to ``(n, out, h, w)``."""
        x = self.conv(x)
        if self.gn is not None:
            x = self.gn(x)
        return x if self.act is None else self.act(x)


class Hamburger(nn.Module):
    """A factorization between two pointwise convolutions, under a shortcut."""

    def __init__(self, channels: int, parts: int) -> None:
        super().__init__()
        self.ham_in = ConvNormAct(channels, channels, norm=False)
        self.ham = Factorization(channels, parts)
        self.ham_out = ConvNormAct(channels, channels, act=False)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """``(n, c, h, w)`` to the same shape."""
        return self.act(x + self.ham_out(self.ham(self.ham_in(x))))


class LightHamHead(nn.Module):
    """Brings the last three maps to stride 8, factorizes their mix and classifies."""

    def __init__(self, config: SegNextConfig, classes: int) -> None:
        super().__init__()
        width = config.head
        self.conv_seg = nn.Conv2d(width, classes, 1)
        self.squeeze = ConvNormAct(sum(config.widths[1:]), width)
        self.hamburger = Hamburger(width, config.parts)
        self.align = ConvNormAct(width, width)

    def forward(self, maps: tuple[Tensor, ...]) -> Tensor:
        """The backbone's maps to logits ``(n, classes, h / 8, w / 8)``."""
        size = (maps[1].shape[-2], maps[1].shape[-1])
        alike = [maps[1]]
        alike += [functional.interpolate(level, size=size, mode="bilinear", align_corners=False) for level in maps[2:]]
        return self.conv_seg(self.align(self.hamburger(self.squeeze(torch.cat(alike, dim=1)))))


class SegNext(nn.Module):
    """A backbone and its head."""

    def __init__(self, config: SegNextConfig, classes: int) -> None:
        super().__init__()
        self.backbone = Mscan(config)
        self.decode_head = LightHamHead(config, classes)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, 3, h, w)``, h and w multiples of 32, to logits ``(n, classes, h / 8, w / 8)``."""
        return self.decode_head(self.backbone(x))


def build(variant: str) -> nn.Module:
    """The model ``size-dataset``, as ``t-cityscapes``, with torch's own initial weights."""
    size, _, dataset = variant.partition("-")
    if size not in CONFIGS or dataset not in CLASSES:
        variants = [f"{key}-{other}" for key in CONFIGS for other in CLASSES]
        raise unknown_name("SegNeXt variant", variant, variants, "vitdeploy models")
    return SegNext(CONFIGS[size], CLASSES[dataset])


def starting_bases(channels: int, parts: int) -> Tensor:
    """``(channels, parts)``: uniform between zero and one, columns scaled to length one; the same on every machine.

    Source: NEP 19 for the generator, https://numpy.org/neps/nep-0019-rng-policy.html: its numbers are frozen.
    """
    drawn = np.random.RandomState(BASES_SEED).random_sample((channels, parts)).astype(np.float32)
    return torch.from_numpy(drawn / np.linalg.norm(drawn, axis=0, keepdims=True))


def _updated_shares(pixels: Tensor, bases: Tensor, shares: Tensor) -> Tensor:
    """One multiplicative update of how much of each part a pixel holds, ``(n, h * w, parts)``."""
    return shares * (pixels @ bases) / (shares @ (bases.transpose(1, 2) @ bases) + NMF_EPS)
