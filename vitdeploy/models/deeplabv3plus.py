"""DeepLabV3+ on MobileNetV2, as the papers' Cityscapes table times it: OpenMMLab's head on transformers' backbone.

transformers has the backbone, but only the smaller DeepLabV3 head; the published 15M parameters are those of
OpenMMLab's ``deeplabv3plus_m-v2-d8``. Keys: transformers' below ``mobilenet_v2``, OpenMMLab's below ``decode_head``.

Sources: https://arxiv.org/abs/1802.02611; mmsegmentation, ``sep_aspp_head.py`` and ``backbones/mobilenet_v2.py``.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import MobileNetV2Config, MobileNetV2Model

from vitdeploy.errors import entry
from vitdeploy.models.efficientvit_blocks import named

CLASSES = {"cityscapes": 19}
NORM_EPS = 1e-5
"""Of all batch norms, PyTorch's own; transformers' configuration has TensorFlow's 1e-3."""

WIDTH = 512
"""Channels of the head. Source: mmsegmentation, ``configs/_base_/models/deeplabv3plus_r50-d8.py``."""
FINE_WIDTH = 48
DILATIONS = (1, 12, 24, 36)

BLOCK_DILATIONS = {5: 2, 9: 2, 12: 4, 15: 4}
"""Block of the backbone → dilation of its depthwise convolution; 1 elsewhere. The first block of each of the last four
groups is dilated in place of a stride. Source: mmsegmentation, ``dilations=(1, 1, 1, 2, 2, 4, 4)``."""

FINE_BLOCK = 1
"""The last block at stride 4, with 24 channels, whose map the head adds as detail."""


class ConvNormAct(nn.Module):
    """Convolution, batch norm, ReLU. Attributes: ``conv``, ``bn``."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, *, dilation: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            inputs, outputs, kernel, padding=kernel // 2 * dilation, dilation=dilation, groups=groups, bias=False
        )
        self.bn = nn.BatchNorm2d(outputs, eps=NORM_EPS)
        self.activate = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """``(n, inputs, h, w)`` to ``(n, outputs, h, w)``."""
        return self.activate(self.bn(self.conv(x)))


def separable(inputs: int, outputs: int, *, dilation: int = 1) -> nn.Sequential:
    """A depthwise 3x3 and a pointwise convolution, each with norm and ReLU."""
    return named(
        depthwise_conv=ConvNormAct(inputs, inputs, 3, dilation=dilation, groups=inputs),
        pointwise_conv=ConvNormAct(inputs, outputs),
    )


class Head(nn.Module):
    """Atrous spatial pyramid pooling over the coarse map, refined with the fine one."""

    def __init__(self, coarse: int, fine: int, classes: int) -> None:
        super().__init__()
        self.image_pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), ConvNormAct(coarse, WIDTH))
        self.aspp_modules = nn.ModuleList(
            [ConvNormAct(coarse, WIDTH) if d == 1 else separable(coarse, WIDTH, dilation=d) for d in DILATIONS]
        )
        self.bottleneck = ConvNormAct((len(DILATIONS) + 1) * WIDTH, WIDTH, 3)
        self.c1_bottleneck = ConvNormAct(fine, FINE_WIDTH)
        self.sep_bottleneck = nn.Sequential(separable(WIDTH + FINE_WIDTH, WIDTH), separable(WIDTH, WIDTH))
        self.conv_seg = nn.Conv2d(WIDTH, classes, 1)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Maps at strides 8 and 4 to logits at stride 4."""
        # Enlarging one pixel bilinearly repeats it.
        pooled = self.image_pool(coarse).expand(-1, -1, *coarse.shape[2:])
        mixed = self.bottleneck(torch.cat([pooled, *(module(coarse) for module in self.aspp_modules)], dim=1))
        large = functional.interpolate(mixed, size=fine.shape[2:], mode="bilinear", align_corners=False)
        return self.conv_seg(self.sep_bottleneck(torch.cat([large, self.c1_bottleneck(fine)], dim=1)))


class DeepLabV3Plus(nn.Module):
    """``(n, 3, h, w)``, h and w multiples of 32, to logits ``(n, classes, h / 4, w / 4)``."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        config = MobileNetV2Config(output_stride=8, tf_padding=False, layer_norm_eps=NORM_EPS)
        self.mobilenet_v2: Any = MobileNetV2Model(config, add_pooling_layer=False)
        self.mobilenet_v2.conv_1x1 = nn.Identity()  # the widening to 1280 channels is the classifier's
        for index, block in enumerate(self.mobilenet_v2.layer):
            dilation = BLOCK_DILATIONS.get(index, 1)
            depthwise = block.conv_3x3.convolution
            depthwise.dilation = depthwise.padding = (dilation, dilation)
        self.decode_head = Head(320, 24, classes)

    def forward(self, image: Tensor) -> Tensor:
        """The logits."""
        x = self.mobilenet_v2.conv_stem(image)
        fine = x
        for index, block in enumerate(self.mobilenet_v2.layer):
            x = block(x)
            if index == FINE_BLOCK:
                fine = x
        return self.decode_head(x, fine)


def build(variant: str) -> nn.Module:
    """The model for the data set ``variant``, with initial weights of no meaning."""
    return DeepLabV3Plus(entry("DeepLabV3+ data set", variant, CLASSES, "vitdeploy models")).eval()
