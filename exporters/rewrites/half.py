"""What 16 bits ask for: linear attention whatever the scale of its queries and keys, and an operator bf16 lacks.

As published, numerator and denominator are sums over all pixels: at 1024x2048 the real weights bring the denominator
to 42 056, half precision ends at 65 504, and where queries are small it sinks below what half can tell apart. Their
ratio does not change when the queries of a pixel, or the keys of a head, are divided by a number: so each is divided
by its largest, and the sums over the pixels are scaled by a power of two, which costs no precision. bf16 reaches as far
as fp32 and needs none of that; but TensorRT's parser takes no HardSwish in bf16, so that is put together from others.
"""

import math

import torch
from torch import Tensor, nn

from vitdeploy.exporters.rewrites.modules import Shapes, replace_modules
from vitdeploy.models.efficientvit_blocks import ReluLinearAttention

SMALLEST_NORMAL = 2.0**-14
"""Of half precision. Source: IEEE 754-2019, binary16."""

SUMMED = 2.0**8
"""What a sum over the pixels of keys that are at most one may reach: far from both ends of half precision, with room
for values of two hundred."""


class NormalizedAttention(nn.Module):
    """The attention of `ReluLinearAttention` with queries and keys that are at most one.

    Attributes:
        dim: channels of one head.
        scale: a power of two, on the sums over the pixels.
    """

    least: Tensor

    def __init__(self, dim: int, pixels: int) -> None:
        super().__init__()
        self.dim = dim
        # A tensor, for torch.maximum: a clamp of one side comes out with a largest fp32 that half does not hold.
        self.register_buffer("least", torch.tensor(SMALLEST_NORMAL))
        self.scale = min(1.0, SUMMED * 2.0 ** -math.ceil(math.log2(pixels)))

    def forward(self, qkv: Tensor) -> Tensor:
        """Projections ``(n, heads * 3 * dim, h, w)`` to ``(n, heads * dim, h, w)``."""
        n, _, h, w = qkv.shape
        q, k, v = torch.split(qkv.reshape(n, -1, 3 * self.dim, h * w), self.dim, dim=2)
        q, k = torch.relu(q), torch.relu(k)
        q = q / torch.maximum(q.amax(dim=2, keepdim=True), self.least)
        k = k / torch.maximum(k.amax(dim=(2, 3), keepdim=True), self.least) * self.scale
        if h * w <= self.dim:
            # The cheaper order on a map this small, and TensorRT's builder fails when it has to find it itself.
            scores = k.transpose(-1, -2) @ q
            numerator, denominator = v @ scores, scores.sum(dim=-2, keepdim=True)
        else:
            numerator = v @ k.transpose(-1, -2) @ q
            denominator = k.sum(dim=-1).unsqueeze(-2) @ q
        # Not an addition: an epsilon that half precision can hold would change every small denominator.
        return (numerator / torch.maximum(denominator, self.least)).reshape(n, -1, h, w)


def normalized_attention(model: nn.Module, shapes: Shapes) -> bool:
    """Replace every `ReluLinearAttention`."""

    def make(name: str, module: nn.Module) -> nn.Module | None:
        if not isinstance(module, ReluLinearAttention):
            return None
        height, width = shapes[name][-2:]
        return NormalizedAttention(module.dim, height * width)

    return replace_modules(model, make)


class HardSwishApart(nn.Module):
    """``nn.Hardswish`` as a bounded sum and a product, which every parser takes in every precision.

    Source: TensorRT for RTX 1.7, "Only FLOAT, HALF or INT8 input is supported for the HardSwish operator".
    """

    def forward(self, x: Tensor) -> Tensor:
        """``x`` to the same shape."""
        return x * (torch.clamp(x + 3.0, 0.0, 6.0) * (1.0 / 6.0))


def hard_swish_apart(model: nn.Module, shapes: Shapes) -> bool:
    """Replace every hard-swish."""
    del shapes

    def make(name: str, module: nn.Module) -> nn.Module | None:
        del name
        return HardSwishApart() if isinstance(module, nn.Hardswish) else None

    return replace_modules(model, make)
