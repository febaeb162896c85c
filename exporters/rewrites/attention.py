"""Linear attention rewritten: the denominator as a product of its own, and a form that half precision holds.

As published, a row of ones under the values makes the denominator the last row of the result. In a graph that is
a copy of the values to append the row (Pad), and two copies of the result to cut it off again (Slice).

In half precision, numerator and denominator are sums over all pixels: at 1024x2048 the real weights bring the
denominator to 42 056, half precision ends at 65 504, and where queries are small it sinks below what half can tell
apart. Their ratio does not change when the queries of a pixel, or the keys of a head, are divided by a number: so each
is divided by its largest, and the sums over the pixels are scaled by a power of two, which costs no precision.
"""

import torch
from torch import Tensor, nn

from vitdeploy.exporters.rewrites.half import Guarded, sum_scale
from vitdeploy.exporters.rewrites.modules import replacing
from vitdeploy.models.efficientvit_blocks import ReluLinearAttention


class ApartDenominator(nn.Module):
    """The attention of `ReluLinearAttention`, numerator and denominator apart.

    Attributes:
        dim: channels of one head.
        eps: added to the denominator.
    """

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.dim = dim
        self.eps = eps

    def forward(self, qkv: Tensor) -> Tensor:
        """Projections ``(n, heads * 3 * dim, h, w)`` to ``(n, heads * dim, h, w)``."""
        n, _, h, w = qkv.shape
        q, k, v = torch.split(qkv.reshape(n, -1, 3 * self.dim, h * w), self.dim, dim=2)
        q, k = torch.relu(q), torch.relu(k)
        numerator = v @ k.transpose(-1, -2) @ q
        denominator = k.sum(dim=-1).unsqueeze(-2) @ q
        return (numerator / (denominator + self.eps)).reshape(n, -1, h, w)


class NormalizedAttention(Guarded):
    """The attention of `ReluLinearAttention` with queries and keys that are at most one.

    Attributes:
        dim: channels of one head.
        scale: a power of two, on the sums over the pixels.
    """

    def __init__(self, dim: int, pixels: int) -> None:
        super().__init__()
        self.dim = dim
        self.scale = sum_scale(pixels)

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


denominator_apart = replacing(ReluLinearAttention, lambda module, _: ApartDenominator(module.dim, module.eps))

normalized_attention = replacing(
    ReluLinearAttention, lambda module, shape: NormalizedAttention(module.dim, shape[-2] * shape[-1])
)
