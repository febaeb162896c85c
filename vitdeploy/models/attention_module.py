"""One attention module alone: projection to queries, keys and values, attention, projection back.

Linear and softmax attention differ in nothing but the kernel. A feature map comes from a picture of the map's size by
a pointwise convolution, so that every exporter and every device that takes a picture takes a module too; its share
of the arithmetic is 3 / (4 * width) or less.

Source: heads of 16 channels and a map of 128 are those of stage 3 of EfficientViT-B1,
https://github.com/mit-han-lab/efficientvit; the module is single-scale, so that what both kernels share is small.
"""

from torch import Tensor, nn

from vitdeploy.catalog.model_table import ATTENTION_HEAD_DIM
from vitdeploy.catalog.spec import Attention
from vitdeploy.models.efficientvit_blocks import ConvLayer, ReluLinearAttention, SoftmaxAttention


class AttentionModule(nn.Module):
    """The module.

    Attributes:
        stem: from the three channels of a picture to a feature map.
        qkv: the projection to queries, keys and values.
        attention: `ReluLinearAttention` or `SoftmaxAttention`.
        proj: the projection back.
    """

    def __init__(self, width: int, *, attention: Attention) -> None:
        super().__init__()
        dim = ATTENTION_HEAD_DIM
        self.stem = ConvLayer(3, width, norm=False)
        self.qkv = ConvLayer(width, 3 * width, norm=False)
        self.attention = ReluLinearAttention(dim) if attention == "relu" else SoftmaxAttention(dim)
        self.proj = ConvLayer(width, width, norm=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, 3, h, w)`` to ``(n, width, h, w)``."""
        return self.proj(self.attention(self.qkv(self.stem(x))))


def build(variant: str, *, attention: Attention = "relu") -> nn.Module:
    """The module of ``variant`` channels, with torch's own initial weights."""
    return AttentionModule(int(variant), attention=attention)
