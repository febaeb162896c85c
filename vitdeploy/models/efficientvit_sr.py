"""Super-resolution on EfficientViT's building block: vitdeploy's own design, since the authors never released theirs.

The paper gives results and two widths, and neither depths nor widths nor the upsampler. Here: one convolution in,
`DEPTH` of the paper's blocks at the input's resolution under one shortcut, one convolution and a pixel shuffle out.
`WIDTH` and `DEPTH` are chosen so that its multiply-accumulates are to those of SwinIR-light x2 what the published
latencies are, 3.2 to 9.7 ms for 160x240: 13.4 to 40.1 G. The second model has 0.75 times the width, as the paper's.

Source: https://arxiv.org/abs/2205.14756, section 4.3 and table 5, for the block and the figures; the rest is ours.
"""

from torch import Tensor, nn

from vitdeploy.catalog.spec import Attention
from vitdeploy.errors import entry
from vitdeploy.models.efficientvit import ACTIVATIONS, NORM_EPS, set_norm_eps
from vitdeploy.models.efficientvit_blocks import chain, transformer_block

DEPTH = 5

WIDTH = 64

HEAD_DIM = 16
"""Channels of one attention head. Source: backbones B0 and B1 of the official code."""

EXPAND = 4
"""Ratio of a block's inner width to its width. Source: series B of the official code."""

VARIANTS = {"x2": WIDTH, "w075-x2": WIDTH * 3 // 4}
"""Their widths."""

SCALE = 2


class SuperResolver(nn.Module):
    """The network.

    Attributes:
        head: from colors to features.
        body: the blocks.
        tail: from features to the pixels of the enlarged image.
    """

    def __init__(self, width: int, *, attention: Attention) -> None:
        super().__init__()
        act = ACTIVATIONS["b"]
        self.head = nn.Conv2d(3, width, 3, padding=1)
        self.body = chain(
            *(transformer_block(width, dim=HEAD_DIM, expand=EXPAND, act=act, attention=attention) for _ in range(DEPTH))
        )
        self.tail = nn.Sequential(nn.Conv2d(width, 3 * SCALE**2, 3, padding=1), nn.PixelShuffle(SCALE))

    def forward(self, x: Tensor) -> Tensor:
        """An RGB image ``(n, 3, h, w)`` on a 0–1 scale to one ``(n, 3, 2 * h, 2 * w)``."""
        shallow = self.head(x)
        return self.tail(shallow + self.body(shallow))


def build(variant: str, *, attention: Attention = "relu") -> nn.Module:
    """The model ``x2`` or ``w075-x2``, with torch's own initial weights."""
    width = entry("EfficientViT super-resolution variant", variant, VARIANTS, "vitdeploy models")
    return set_norm_eps(SuperResolver(width, attention=attention), NORM_EPS["b"])
