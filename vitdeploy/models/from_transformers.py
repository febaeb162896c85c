"""SegFormer, ConvNeXt and Swin, built from configurations of the package transformers: nothing is downloaded.

Keys are those of transformers. Each model takes one image and returns one tensor, as every model here does.

Sources: https://arxiv.org/abs/2105.15203 (SegFormer), https://arxiv.org/abs/2201.03545 (ConvNeXt),
https://arxiv.org/abs/2103.14030 (Swin).
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false, reportIncompatibleMethodOverride=false, reportPrivateUsage=false

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    ConvNextConfig,
    ConvNextForImageClassification,
    SegformerConfig,
    SegformerForSemanticSegmentation,
    SwinConfig,
    SwinForImageClassification,
)

from vitdeploy.errors import entry, unknown_name

CLASSES = {"cityscapes": 19, "ade20k": 150}

FUSED = "sdpa"
"""Attention by PyTorch's own operator: the fastest that runs everywhere, so that no rival is slowed down by us."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MixTransformer:
    """A SegFormer: four stages and the width of its head. Source: arXiv 2105.15203, table 6."""

    widths: tuple[int, int, int, int]
    depths: tuple[int, int, int, int]
    head: int


SEGFORMERS = {
    "b0": MixTransformer(widths=(32, 64, 160, 256), depths=(2, 2, 2, 2), head=256),
    "b1": MixTransformer(widths=(64, 128, 320, 512), depths=(2, 2, 2, 2), head=256),
    "b2": MixTransformer(widths=(64, 128, 320, 512), depths=(3, 4, 6, 3), head=768),
    "b3": MixTransformer(widths=(64, 128, 320, 512), depths=(3, 4, 18, 3), head=768),
    "b4": MixTransformer(widths=(64, 128, 320, 512), depths=(3, 8, 27, 3), head=768),
    "b5": MixTransformer(widths=(64, 128, 320, 512), depths=(3, 6, 40, 3), head=768),
}

CONVNEXTS = {
    "t": ((96, 192, 384, 768), (3, 3, 9, 3)),
    "s": ((96, 192, 384, 768), (3, 3, 27, 3)),
    "b": ((128, 256, 512, 1024), (3, 3, 27, 3)),
    "l": ((192, 384, 768, 1536), (3, 3, 27, 3)),
}
"""Widths and depths. Source: arXiv 2201.03545, section 3."""

SWINS = {"b": (128, (2, 2, 18, 2), (4, 8, 16, 32))}
"""Width, depths and heads. Source: arXiv 2103.14030, section 3.3."""


class SegFormer(SegformerForSemanticSegmentation):
    """``(n, 3, h, w)``, h and w multiples of 32, to logits ``(n, classes, h / 4, w / 4)``."""

    def forward(self, image: Tensor) -> Tensor:
        """The logits."""
        maps: list[Tensor] = []
        for stage in self.segformer.stages:
            image = stage(image)
            maps.append(image)
        return self.decode_head(maps)


class ConvNext(ConvNextForImageClassification):
    """``(n, 3, h, w)`` to logits ``(n, 1000)``."""

    def forward(self, image: Tensor) -> Tensor:
        """The logits."""
        output: Any = super().forward(pixel_values=image)
        return output.logits


class Swin(SwinForImageClassification):
    """``(n, 3, h, w)``, h and w multiples of 224, to logits ``(n, 1000)``."""

    def forward(self, image: Tensor) -> Tensor:
        """The logits."""
        output: Any = super().forward(pixel_values=image)
        return output.logits


def _configured(kind: Any, **values: Any) -> Any:
    """A configuration; what all models have in common is not among the parameters that its class declares."""
    return kind(**values)


def build_segformer(variant: str) -> nn.Module:
    """The SegFormer ``variant-dataset``, with initial weights of no meaning."""
    name, _, dataset = variant.partition("-")
    if name not in SEGFORMERS or dataset not in CLASSES:
        variants = [f"{key}-{data}" for key in SEGFORMERS for data in CLASSES]
        raise unknown_name("SegFormer variant", variant, variants, "vitdeploy models")
    shape = SEGFORMERS[name]
    config = _configured(
        SegformerConfig,
        hidden_sizes=shape.widths,
        depths=shape.depths,
        decoder_hidden_size=shape.head,
        num_labels=CLASSES[dataset],
        attn_implementation=FUSED,
    )
    return SegFormer(config).eval()


def build_convnext(variant: str) -> nn.Module:
    """The ConvNeXt ``variant`` for 1000 classes, with initial weights of no meaning."""
    widths, depths = entry("ConvNeXt variant", variant, CONVNEXTS, "vitdeploy models")
    return ConvNext(_configured(ConvNextConfig, hidden_sizes=widths, depths=depths, num_labels=1000)).eval()


def build_swin(variant: str) -> nn.Module:
    """The Swin ``variant`` for 1000 classes, with initial weights of no meaning."""
    width, depths, heads = entry("Swin variant", variant, SWINS, "vitdeploy models")
    config = _configured(
        SwinConfig, embed_dim=width, depths=depths, num_heads=heads, num_labels=1000, attn_implementation=FUSED
    )
    model = Swin(config).eval()
    for module in model.modules():
        if type(module).__name__ == "SwinRelativePositionBias":
            _tabulate(module)
    return model


def _tabulate(bias: Any) -> None:
    """Compute the table of relative positions for real: it is in no checkpoint, and the model may be on meta."""
    with torch.device("cpu"):
        bias.relative_position_index = bias._create_relative_position_index().view(-1)  # noqa: SLF001
