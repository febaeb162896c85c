"""Linear attention in the layout of TFLite: one part of the XNNPACK delegate, and few copies of large maps.

As published, one map holds the queries, keys and values of every head in turn, and a row of ones is appended under
the values. Channels last, that is a transposition of the whole map, slices of the result, and a pad that the delegate
does not take, so that every block of attention splits the graph. Two forms do without, and which is faster is a
matter of the map's size:

- `ApartAttention` for large maps, where copies cost: a convolution for each role, queries that stay where they are,
  and the projection back multiplied into the small product of keys and values.
- `JointAttention` for small ones, where every operator costs: all roles made together, then one transposition.
"""

import functools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vitdeploy.exporters.rewrites.modules import convolution, folded, replacing
from vitdeploy.models.efficientvit_blocks import MultiScaleAttention, ReluLinearAttention, SoftmaxAttention

ROLES = 3
"""Queries, keys and values."""

LARGE_MAP_PIXELS = 512
"""From here on `ApartAttention` is the faster.

Source: XNNPACK of ai-edge-litert 2.3 on an AMD EPYC, blocks of B0 to B3: at 14x14 the joint form takes 0.32 against
0.37 ms with two threads (64 channels) and 7.4 against 8.1 ms (512), at 32x64 the other 2.5 against 3.4 ms (64).
"""


class ApartAttention(nn.Module):
    """`MultiScaleAttention` with `ReluLinearAttention`, a convolution for each role and scale.

    Queries are divided by their denominator before they are multiplied, so that nothing stands between the product
    of keys and values and the projection back: both are one small matrix for each scale.

    Attributes:
        dim: channels of one head.
        eps: added to the denominator.
        project: one 1x1 convolution a role.
        aggregate: one sequence a role, which makes the second scale of it.
        same_head: ``(c, heads)``, one where the channel belongs to the head.
        back: ``(heads, dim, c)`` a scale, the projection back.
        bias: ``(c,)``, its bias.
    """

    same_head: Tensor
    bias: Tensor

    def __init__(self, block: MultiScaleAttention, dim: int, eps: float) -> None:
        super().__init__()
        self.dim = dim
        self.eps = eps
        weight, bias = folded(block.qkv)
        wide, channels = weight.shape[:2]
        roles = [role_channels(wide, dim, role) for role in range(ROLES)]
        self.project = nn.ModuleList(convolution(weight[role], bias[role]) for role in roles)
        self.aggregate = nn.ModuleList(
            nn.ModuleList(_aggregation(scale, role, dim) for role in roles) for scale in block.aggreg
        )
        weight, bias = folded(block.proj)
        heads = channels // dim
        self.register_buffer("same_head", torch.eye(heads).repeat_interleave(dim, dim=0))
        # Parameters of their own: an index into one of them all would stand in the graph.
        self.back = nn.ParameterList(
            nn.Parameter(part.T.reshape(heads, dim, -1).float().contiguous(), requires_grad=False)
            for part in torch.split(weight.flatten(1), channels, dim=1)
        )
        self.register_buffer("bias", bias.float())

    def forward(self, x: Tensor) -> Tensor:
        """``(n, c, h, w)`` to the same shape."""
        n, _, h, w = x.shape
        first: list[Tensor] = [project(x) for project in self.project]
        scales = [first]
        for aggregate in self.aggregate:
            assert isinstance(aggregate, nn.ModuleList)
            scales.append([part(role) for part, role in zip(aggregate, first, strict=True)])
        shares = [self.attend(q, k, v, back) for (q, k, v), back in zip(scales, self.back, strict=True)]
        result = functools.reduce(torch.add, shares, self.bias)
        return result.reshape(n, h, w, -1).permute(0, 3, 1, 2)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, back: Tensor) -> Tensor:
        """One scale's share of the result, ``(n, h * w, c)``, from its maps ``(n, heads * dim, h, w)``.

        Source: https://arxiv.org/abs/2205.14756, equation 2; the order of the products is ours.
        """
        n, channels, h, w = q.shape
        heads, pixels = channels // self.dim, h * w
        queries = torch.relu(q).permute(0, 2, 3, 1).reshape(n, pixels, channels)
        keys = torch.relu(k).permute(0, 2, 3, 1).reshape(n, pixels, channels).permute(0, 2, 1)
        values = v.permute(0, 2, 3, 1).reshape(n, pixels, heads, self.dim).permute(0, 2, 1, 3)
        denominator = queries @ (keys.sum(dim=-1, keepdim=True) * self.same_head) + self.eps
        weighed = queries.reshape(n, pixels, heads, self.dim) / denominator.reshape(n, pixels, heads, 1)
        mixing = keys.reshape(n, heads, self.dim, pixels) @ values @ back
        return weighed.reshape(n, pixels, channels) @ mixing.reshape(n, channels, -1)


class JointAttention(nn.Module):
    """`MultiScaleAttention` with `ReluLinearAttention`, all roles and scales in one map, denominator apart.

    Attributes:
        dim: channels of one head.
        eps: added to the denominator.
        project: a 1x1 convolution that makes queries, keys and values, in this order.
        aggregate: one sequence for each further scale.
        proj: the projection back.
    """

    def __init__(self, block: MultiScaleAttention, dim: int, eps: float) -> None:
        super().__init__()
        self.dim = dim
        self.eps = eps
        weight, bias = folded(block.qkv)
        order = [c for role in range(ROLES) for c in role_channels(len(weight), dim, role)]
        self.project = convolution(weight[order], bias[order])
        self.aggregate = nn.ModuleList(_aggregation(scale, order, dim) for scale in block.aggreg)
        self.proj = block.proj

    def forward(self, x: Tensor) -> Tensor:
        """``(n, c, h, w)`` to the same shape."""
        n, channels, h, w = x.shape
        pixels = h * w
        first = self.project(x)
        scales = [first, *(aggregate(first) for aggregate in self.aggregate)]
        maps = torch.cat(scales, dim=1).permute(0, 2, 3, 1).reshape(n, pixels, len(scales), ROLES, channels)
        # One transposition puts each role's heads of all scales next to each other, pixels innermost.
        roles = maps.permute(3, 0, 2, 4, 1)
        # Slices of length one and not indices, which would become a Gather that the delegate does not take.
        queries, keys, values = (roles[role : role + 1].reshape(n, -1, self.dim, pixels) for role in range(ROLES))
        queries, keys = torch.relu(queries), torch.relu(keys)
        numerator = values @ keys.transpose(-1, -2) @ queries
        denominator = keys.sum(dim=-1).unsqueeze(-2) @ queries + self.eps
        attended = (numerator / denominator).reshape(n, -1, pixels).permute(0, 2, 1)
        return self.proj(attended.reshape(n, h, w, -1).permute(0, 3, 1, 2))


class SoftmaxProducts(nn.Module):
    """`SoftmaxAttention` as two products around a softmax, channels last; converters stumble over the fused operator.

    Attributes:
        dim: channels of one head.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, qkv: Tensor) -> Tensor:
        """Projections ``(n, heads * 3 * dim, h, w)`` to ``(n, heads * dim, h, w)``.

        Source: Vaswani et al., https://arxiv.org/abs/1706.03762, equation 1.
        """
        n, _, h, w = qkv.shape
        roles = qkv.permute(0, 2, 3, 1).reshape(n, h * w, -1, ROLES, self.dim).permute(3, 0, 2, 1, 4)
        queries, keys, values = (roles[role : role + 1].reshape(n, -1, h * w, self.dim) for role in range(ROLES))
        weights = torch.softmax(queries * self.dim**-0.5 @ keys.transpose(-1, -2), dim=-1)
        return (weights @ values).permute(0, 2, 1, 3).reshape(n, h, w, -1).permute(0, 3, 1, 2)


def role_channels(wide: int, dim: int, role: int) -> list[int]:
    """Which of ``wide`` channels, ordered head by head and role by role within a head, belong to a role."""
    return [channel for channel in range(wide) if channel // dim % ROLES == role]


def _aggregation(scale: nn.Module, order: Sequence[int], dim: int) -> nn.Module:
    """The channels ``order`` of a second scale's convolutions, depthwise and then grouped by head and role."""
    assert isinstance(scale, nn.Sequential)
    parts: list[nn.Module] = []
    for part in scale:
        assert isinstance(part, nn.Conv2d)
        assert part.bias is None
        padding = (part.kernel_size[0] // 2, part.kernel_size[1] // 2)
        groups = len(order) if part.groups == part.out_channels else len(order) // dim
        parts.append(convolution(part.weight.detach()[list(order)], groups=groups, padding=padding))
    return nn.Sequential(*parts)


def _attention_block(block: MultiScaleAttention, shape: tuple[int, ...]) -> nn.Module | None:
    if not isinstance(block.attention, ReluLinearAttention):
        return None
    form = ApartAttention if shape[-2] * shape[-1] >= LARGE_MAP_PIXELS else JointAttention
    return form(block, block.attention.dim, block.attention.eps)


attention_apart = replacing(MultiScaleAttention, _attention_block)
softmax_as_products = replacing(SoftmaxAttention, lambda module, _: SoftmaxProducts(module.dim))
