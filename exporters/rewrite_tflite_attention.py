"""Linear attention in the layout of TFLite: queries, keys and values apart from the start, heads split channels last.

As published, one map holds the queries, keys and values of every head in turn. Channels first, a head is a slice
of that map; channels last, it takes a transposition of the whole map, slices of the result, and a row of ones
appended under the values, which the XNNPACK delegate does not take, so that every block of attention splits the
graph into two more partitions. The three projections made apart cost no more multiplications, and each is then a
small transposition away from the operands of a batched product.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vitdeploy.exporters.rewrite_modules import Shapes, convolution, folded, replace_modules
from vitdeploy.models.efficientvit_blocks import MultiScaleAttention, ReluLinearAttention

ROLES = 3
"""Queries, keys and values."""


class ApartProjections(nn.Module):
    """`MultiScaleAttention` with `ReluLinearAttention`, a convolution for each role and scale.

    Attributes:
        dim: channels of one head.
        eps: added to the denominator.
        project: one 1x1 convolution a role.
        aggregate: one sequence a role, which makes the second scale of it.
        proj: the projection back.
    """

    def __init__(self, block: MultiScaleAttention, dim: int, eps: float) -> None:
        super().__init__()
        self.dim = dim
        self.eps = eps
        weight, bias = folded(block.qkv)
        wide, channels = weight.shape[:2]
        roles = [role_channels(wide, dim, role) for role in range(ROLES)]
        self.project = nn.ModuleList(convolution(weight[role], bias[role]) for role in roles)
        self.aggregate = nn.ModuleList(
            nn.ModuleList(_aggregation(scale, role, channels, dim) for role in roles) for scale in block.aggreg
        )
        self.proj = block.proj

    def forward(self, x: Tensor) -> Tensor:
        """``(n, c, h, w)`` to the same shape."""
        first = [project(x) for project in self.project]
        scales = [first]
        for aggregate in self.aggregate:
            assert isinstance(aggregate, nn.ModuleList)
            scales.append([part(role) for part, role in zip(aggregate, first, strict=True)])
        # Joined channels last: joined channels first, each scale would be transposed for it and the result back.
        attended = torch.cat([attend(q, k, v, self.dim, self.eps) for q, k, v in scales], dim=3)
        return self.proj(attended.permute(0, 3, 1, 2))


def attend(q: Tensor, k: Tensor, v: Tensor, dim: int, eps: float) -> Tensor:
    """ReLU linear attention of maps ``(n, heads * dim, h, w)``; the result is ``(n, h, w, heads * dim)``.

    The keys are the one operand that is needed channels first: the product and the sum over the pixels then both
    run along what lies next to each other, and no product needs a transposed operand.

    Source: https://arxiv.org/abs/2205.14756, equation 2, numerator and denominator apart.
    """
    n, channels, h, w = q.shape
    heads, pixels = channels // dim, h * w

    def pixels_first(x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1).reshape(n, pixels, heads, dim).permute(0, 2, 1, 3)

    def channels_first(x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1).reshape(n, pixels, channels).permute(0, 2, 1).reshape(n, heads, dim, pixels)

    queries = pixels_first(torch.relu(q))
    keys = channels_first(torch.relu(k))
    numerator = queries @ (keys @ pixels_first(v))
    denominator = queries @ keys.sum(dim=-1, keepdim=True)
    return (numerator / (denominator + eps)).permute(0, 2, 1, 3).reshape(n, h, w, channels)


def attention_apart(model: nn.Module, shapes: Shapes) -> None:
    """Replace every `MultiScaleAttention` over `ReluLinearAttention`."""
    del shapes

    def make(name: str, module: nn.Module) -> nn.Module | None:
        del name
        if not isinstance(module, MultiScaleAttention) or not isinstance(module.attention, ReluLinearAttention):
            return None
        return ApartProjections(module, module.attention.dim, module.attention.eps)

    replace_modules(model, make)


def role_channels(wide: int, dim: int, role: int) -> list[int]:
    """Which of ``wide`` channels, ordered head by head and role by role within a head, belong to a role."""
    return [channel for channel in range(wide) if channel // dim % ROLES == role]


def _aggregation(scale: nn.Module, role: Sequence[int], channels: int, dim: int) -> nn.Module:
    """The part of a second scale's convolutions, depthwise and grouped by head and role, that belongs to a role."""
    assert isinstance(scale, nn.Sequential)
    parts: list[nn.Module] = []
    for part in scale:
        assert isinstance(part, nn.Conv2d)
        assert part.bias is None
        padding = (part.kernel_size[0] // 2, part.kernel_size[1] // 2)
        groups = channels if part.groups == part.out_channels else channels // dim
        parts.append(convolution(part.weight.detach()[list(role)], groups=groups, padding=padding))
    return nn.Sequential(*parts)
