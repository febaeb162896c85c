"""EfficientNetV2: classification by inverted bottlenecks, the first stages with dense convolutions.

Attribute names are those of timm's ``tf_efficientnetv2_{s,m,l}``, the authors' weights as they circulate for PyTorch;
padding and the epsilon of the norms are TensorFlow's, as those weights want.

Source: https://arxiv.org/abs/2104.00298, https://github.com/google/automl/tree/master/efficientnetv2, and
https://github.com/huggingface/pytorch-image-models (the architecture; the code is ours).
"""

# pyright: reportUnknownMemberType=false

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from vitdeploy.errors import entry

NORM_EPS = 1e-3
"""Source: ``BN_EPS_TF_DEFAULT`` of timm, TensorFlow's default."""

SQUEEZE = 4
"""Channels of a block's input over those that its gate is squeezed to. Source: ``se0.25`` of timm's definitions."""

LAST_WIDTH = 1280

CLASSES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Blocks of one resolution; the first of them changes it."""

    kind: Literal["plain", "fused", "gated"]
    """One convolution; a dense bottleneck; a depthwise bottleneck with a gate on its channels."""
    depth: int
    stride: int
    expand: int
    width: int


def _stages(*rows: tuple[Literal["plain", "fused", "gated"], int, int, int, int]) -> tuple[Stage, ...]:
    return tuple(Stage(kind=k, depth=d, stride=s, expand=e, width=w) for k, d, s, e, w in rows)


VARIANTS = {
    "s": _stages(
        ("plain", 2, 1, 1, 24),
        ("fused", 4, 2, 4, 48),
        ("fused", 4, 2, 4, 64),
        ("gated", 6, 2, 4, 128),
        ("gated", 9, 1, 6, 160),
        ("gated", 15, 2, 6, 256),
    ),
    "m": _stages(
        ("plain", 3, 1, 1, 24),
        ("fused", 5, 2, 4, 48),
        ("fused", 5, 2, 4, 80),
        ("gated", 7, 2, 4, 160),
        ("gated", 14, 1, 6, 176),
        ("gated", 18, 2, 6, 304),
        ("gated", 5, 1, 6, 512),
    ),
    "l": _stages(
        ("plain", 4, 1, 1, 32),
        ("fused", 7, 2, 4, 64),
        ("fused", 7, 2, 4, 96),
        ("gated", 10, 2, 4, 192),
        ("gated", 19, 1, 6, 224),
        ("gated", 25, 2, 6, 384),
        ("gated", 7, 1, 6, 640),
    ),
}
"""Source: https://arxiv.org/abs/2104.00298, table 4, and ``effnetv2_configs.py`` of the official code."""


class SameConv(nn.Conv2d):
    """A convolution without bias, padded as TensorFlow's "SAME": of what does not divide, more below and right."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, groups: int = 1) -> None:
        # Even sides at stride 2 have nothing to pad above and left.
        padding = kernel // 2 if stride == 1 else 0
        super().__init__(in_channels, out_channels, kernel, stride=stride, padding=padding, groups=groups, bias=False)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's own name
        """``(n, in, h, w)``, h and w even where the stride is 2, to ``(n, out, h / stride, w / stride)``."""
        return super().forward(functional.pad(input, (0, 1, 0, 1)) if self.stride[0] > 1 else input)


class PlainBlock(nn.Module):
    """One convolution, added to its input."""

    def __init__(self, in_channels: int, stage: Stage, stride: int) -> None:
        super().__init__()
        self.conv = SameConv(in_channels, stage.width, 3, stride=stride)
        self.bn1 = _norm(stage.width)
        self.act = nn.SiLU()
        self.shortcut = stride == 1 and in_channels == stage.width

    def forward(self, x: Tensor) -> Tensor:
        """``(n, in, h, w)`` to ``(n, width, h / stride, w / stride)``."""
        maps = self.act(self.bn1(self.conv(x)))
        return x + maps if self.shortcut else maps


class FusedBlock(nn.Module):
    """Widen by a dense convolution, narrow by a pointwise one."""

    def __init__(self, in_channels: int, stage: Stage, stride: int) -> None:
        super().__init__()
        inner = in_channels * stage.expand
        self.conv_exp = SameConv(in_channels, inner, 3, stride=stride)
        self.bn1 = _norm(inner)
        self.conv_pwl = SameConv(inner, stage.width, 1)
        self.bn2 = _norm(stage.width)
        self.act = nn.SiLU()
        self.shortcut = stride == 1 and in_channels == stage.width

    def forward(self, x: Tensor) -> Tensor:
        """``(n, in, h, w)`` to ``(n, width, h / stride, w / stride)``."""
        maps = self.bn2(self.conv_pwl(self.act(self.bn1(self.conv_exp(x)))))
        return x + maps if self.shortcut else maps


class ChannelGate(nn.Module):
    """Gates each channel by the means of all (squeeze and excitation)."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.conv_reduce = nn.Conv2d(channels, squeezed, 1)
        self.conv_expand = nn.Conv2d(squeezed, channels, 1)
        self.act = nn.SiLU()
        self.gate = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """``(n, c, h, w)`` to the same shape."""
        means = x.mean(dim=(2, 3), keepdim=True)
        return x * self.gate(self.conv_expand(self.act(self.conv_reduce(means))))


class GatedBlock(nn.Module):
    """Widen, depthwise convolution, gate, narrow."""

    def __init__(self, in_channels: int, stage: Stage, stride: int) -> None:
        super().__init__()
        inner = in_channels * stage.expand
        self.conv_pw = SameConv(in_channels, inner, 1)
        self.bn1 = _norm(inner)
        self.conv_dw = SameConv(inner, inner, 3, stride=stride, groups=inner)
        self.bn2 = _norm(inner)
        self.se = ChannelGate(inner, in_channels // SQUEEZE)
        self.conv_pwl = SameConv(inner, stage.width, 1)
        self.bn3 = _norm(stage.width)
        self.act = nn.SiLU()
        self.shortcut = stride == 1 and in_channels == stage.width

    def forward(self, x: Tensor) -> Tensor:
        """``(n, in, h, w)`` to ``(n, width, h / stride, w / stride)``."""
        maps = self.act(self.bn2(self.conv_dw(self.act(self.bn1(self.conv_pw(x))))))
        maps = self.bn3(self.conv_pwl(self.se(maps)))
        return x + maps if self.shortcut else maps


KINDS = {"plain": PlainBlock, "fused": FusedBlock, "gated": GatedBlock}


class EfficientNetV2(nn.Module):
    """The network."""

    def __init__(self, stages: tuple[Stage, ...]) -> None:
        super().__init__()
        before = stages[0].width
        self.conv_stem = SameConv(3, before, 3, stride=2)
        self.bn1 = _norm(before)
        self.blocks = nn.Sequential()
        for stage in stages:
            blocks: list[nn.Module] = []
            for index in range(stage.depth):
                blocks.append(KINDS[stage.kind](before, stage, 1 if index else stage.stride))
                before = stage.width
            self.blocks.append(nn.Sequential(*blocks))
        self.conv_head = SameConv(before, LAST_WIDTH, 1)
        self.bn2 = _norm(LAST_WIDTH)
        self.act = nn.SiLU()
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Linear(LAST_WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, 3, h, w)``, h and w multiples of 32, to logits ``(n, 1000)``."""
        x = self.blocks(self.act(self.bn1(self.conv_stem(x))))
        return self.classifier(self.pool(self.act(self.bn2(self.conv_head(x)))))


def build(variant: str) -> nn.Module:
    """EfficientNetV2 ``s``, ``m`` or ``l``, with torch's own initial weights."""
    return EfficientNetV2(entry("EfficientNetV2 variant", variant, VARIANTS, "vitdeploy models"))


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=NORM_EPS)
