"""EfficientViT (MIT) segmentation: a light head that adds up three maps of the backbone.

The logits come at an eighth of the input's resolution, as published; enlarging them is the caller's.

Source: https://arxiv.org/abs/2205.14756, and ``seg.py`` of https://github.com/mit-han-lab/efficientvit.
"""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from vitdeploy.catalog.spec import Attention
from vitdeploy.errors import entry
from vitdeploy.models.efficientvit import ACTIVATIONS, NORM_EPS, BBackbone, LBackbone, build_backbone, set_norm_eps
from vitdeploy.models.efficientvit_blocks import (
    Activation,
    ConvLayer,
    Residual,
    Upsample,
    chain,
    fused_mbconv,
    mbconv,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SegHeadConfig:
    """A segmentation head."""

    width: int
    """Channels of the sum."""
    depth: int
    """Residual blocks after the sum."""
    block: Literal["mb", "fmb"]
    expand: int
    """Ratio of a block's inner width to ``width``."""
    final_expand: int | None
    """Ratio of the classifier's input width to ``width``; None: the classifier reads the blocks' output."""


CLASSES = {"cityscapes": 19, "ade20k": 150}

HEADS = {
    "b0-cityscapes": SegHeadConfig(width=32, depth=1, block="mb", expand=4, final_expand=4),
    "b1-cityscapes": SegHeadConfig(width=64, depth=3, block="mb", expand=4, final_expand=4),
    "b2-cityscapes": SegHeadConfig(width=96, depth=3, block="mb", expand=4, final_expand=4),
    "b3-cityscapes": SegHeadConfig(width=128, depth=3, block="mb", expand=4, final_expand=4),
    "l1-cityscapes": SegHeadConfig(width=256, depth=3, block="fmb", expand=1, final_expand=None),
    "l2-cityscapes": SegHeadConfig(width=256, depth=5, block="fmb", expand=1, final_expand=None),
    "b1-ade20k": SegHeadConfig(width=64, depth=3, block="mb", expand=4, final_expand=None),
    "b2-ade20k": SegHeadConfig(width=96, depth=3, block="mb", expand=4, final_expand=None),
    "b3-ade20k": SegHeadConfig(width=128, depth=3, block="mb", expand=4, final_expand=None),
    "l1-ade20k": SegHeadConfig(width=128, depth=3, block="fmb", expand=4, final_expand=8),
    "l2-ade20k": SegHeadConfig(width=128, depth=3, block="fmb", expand=4, final_expand=8),
}
"""The published models, ``backbone-dataset``."""


class SegHead(nn.Module):
    """Brings stages 4, 3 and 2 to one width and stride 8, adds them up, refines and classifies.

    Attributes:
        input_ops: one a stage, the coarsest first; all but the last end in an `Upsample`.
        middle: the residual blocks.
        output_ops: the classifier, alone in a list because the official head is one.
    """

    def __init__(self, config: SegHeadConfig, widths: tuple[int, ...], classes: int, *, act: Activation) -> None:
        super().__init__()
        width = config.width
        self.input_ops = nn.ModuleList(
            [
                chain(ConvLayer(widths[4], width), Upsample(4)),
                chain(ConvLayer(widths[3], width), Upsample(2)),
                ConvLayer(widths[2], width),
            ]
        )
        block = mbconv if config.block == "mb" else fused_mbconv
        self.middle = chain(
            *(Residual(block(width, width, expand=config.expand, act=act)) for _ in range(config.depth))
        )
        if config.final_expand is None:
            output = chain(_classifier(width, classes))
        else:
            wide = width * config.final_expand
            output = chain(ConvLayer(width, wide, act=act), _classifier(wide, classes))
        self.output_ops = nn.ModuleList([output])

    def forward(self, maps: tuple[Tensor, ...]) -> Tensor:
        """The backbone's maps to logits ``(n, classes, h / 8, w / 8)``."""
        coarse, middle, fine = (op(maps[stage]) for op, stage in zip(self.input_ops, (4, 3, 2), strict=True))
        return self.output_ops[0](self.middle(coarse + (middle + fine)))


class Segmenter(nn.Module):
    """A backbone and its segmentation head."""

    def __init__(self, backbone: BBackbone | LBackbone, head: SegHead) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        """``(n, 3, h, w)``, h and w multiples of 32, to logits ``(n, classes, h / 8, w / 8)``."""
        return self.head(self.backbone(x))


def build(variant: str, *, attention: Attention = "relu") -> nn.Module:
    """The segmentation model ``backbone-dataset``, with torch's own initial weights."""
    config = entry("EfficientViT segmentation variant", variant, HEADS, "vitdeploy models")
    name, _, dataset = variant.partition("-")
    backbone = build_backbone(name, attention=attention)
    head = SegHead(config, backbone.widths, CLASSES[dataset], act=ACTIVATIONS[name[0]])
    return set_norm_eps(Segmenter(backbone, head), NORM_EPS[name[0]])


def _classifier(in_channels: int, classes: int) -> ConvLayer:
    return ConvLayer(in_channels, classes, bias=True, norm=False)
