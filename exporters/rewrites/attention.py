"""Linear attention whose denominator is a product of its own instead of one more row of everything.

As published, a row of ones under the values makes the denominator the last row of the result. In a graph that is
a copy of the values to append the row (Pad), and two copies of the result to cut it off again (Slice).
"""

import torch
from torch import Tensor, nn

from vitdeploy.exporters.rewrites.modules import Shapes, replace_modules
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


def denominator_apart(model: nn.Module, shapes: Shapes) -> bool:
    """Replace every `ReluLinearAttention`."""
    del shapes

    def make(name: str, module: nn.Module) -> nn.Module | None:
        del name
        return ApartDenominator(module.dim, module.eps) if isinstance(module, ReluLinearAttention) else None

    return replace_modules(model, make)
