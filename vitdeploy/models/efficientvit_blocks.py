"""EfficientViT (MIT): the blocks that its backbones and heads are built from.

Every activation, norm, resampling and attention kernel is a module of its own, so that an export can
replace it by class. Attribute names are dictated by the official checkpoints: ``op_list`` of a chain,
``main`` of a block, ``context_module`` and ``local_module`` of a transformer block.

Source: https://arxiv.org/abs/2205.14756, and https://github.com/mit-han-lab/efficientvit (Apache-2.0).
"""

from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from vitdeploy.catalog.spec import Attention

Activation = Callable[[], nn.Module]
"""Makes the activation module of one layer."""

ATTENTION_EPS = 1e-15
"""Keeps the denominator of linear attention from zero. Source: ``LiteMLA`` of the official code."""


class ConvLayer(nn.Module):
    """Convolution ``conv`` with "same" padding, then batch norm ``norm`` or None, then activation ``act`` or None."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 1,
        *,
        stride: int = 1,
        groups: int = 1,
        bias: bool = False,
        norm: bool = True,
        act: Activation | None = None,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=bias
        )
        self.norm = nn.BatchNorm2d(out_channels) if norm else None
        self.act = act() if act else None

    def forward(self, x: Tensor) -> Tensor:
        """``(n, in, h, w)`` to ``(n, out, h / stride, w / stride)``."""
        x = self.conv(x)
        if self.norm is not None:
            x = self.norm(x)
        return x if self.act is None else self.act(x)


class Upsample(nn.Module):
    """Bicubic enlargement by a whole factor, always computed in float32.

    Attributes:
        factor: how many times higher and wider the output is.
    """

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor

    def factor_for(self, height: int) -> int:
        """By how much a map of that height is enlarged."""
        del height
        return self.factor

    def forward(self, x: Tensor) -> Tensor:
        """``(n, c, h, w)`` to ``(n, c, h * factor, w * factor)``, in the dtype of ``x``."""
        if _is_half(x):
            return self.forward(x.float()).to(x.dtype)
        size = (x.shape[-2] * self.factor, x.shape[-1] * self.factor)
        return functional.interpolate(x, size=size, mode="bicubic", align_corners=False)


class UpsampleTo(Upsample):
    """Bicubic enlargement of maps of any size to one size, always computed in float32.

    Attributes:
        side: height and width of the output, a multiple of the input's.
    """

    def __init__(self, side: int) -> None:
        super().__init__(1)
        self.side = side

    def factor_for(self, height: int) -> int:
        """By how much a map of that height is enlarged."""
        return self.side // height

    def forward(self, x: Tensor) -> Tensor:
        """``(n, c, h, w)`` to ``(n, c, side, side)``, in the dtype of ``x``."""
        if tuple(x.shape[-2:]) == (self.side, self.side):
            return x
        if _is_half(x):
            return self.forward(x.float()).to(x.dtype)
        return functional.interpolate(x, size=(self.side, self.side), mode="bicubic", align_corners=False)


class Residual(nn.Module):
    """Adds its input to the output of ``main``, unless the block changes resolution or width.

    Attributes:
        main: the block.
        shortcut: whether the input is added.
    """

    def __init__(self, main: nn.Module, *, shortcut: bool = True) -> None:
        super().__init__()
        self.main = main
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """``(n, c, h, w)`` to what ``main`` makes of it."""
        return x + self.main(x) if self.shortcut else self.main(x)


class ReluLinearAttention(nn.Module):
    """Attention with ReLU in the place of softmax, so that its cost is linear in the number of pixels.

    Attributes:
        dim: channels of one head.
        eps: added to the denominator.
        kernel: the activation of queries and keys.
    """

    def __init__(self, dim: int, eps: float = ATTENTION_EPS) -> None:
        super().__init__()
        self.dim = dim
        self.eps = eps
        self.kernel = nn.ReLU()

    def forward(self, qkv: Tensor) -> Tensor:
        """Projections ``(n, heads * 3 * dim, h, w)`` to ``(n, heads * dim, h, w)``."""
        if _is_half(qkv):
            # The denominator sums over all pixels and leaves the range of float16 at common resolutions.
            return self.forward(qkv.float()).to(qkv.dtype)
        n, _, h, w = qkv.shape
        q, k, v = _heads(qkv, self.dim)
        q, k = self.kernel(q), self.kernel(k)
        if h * w > self.dim:
            # A row of ones under v makes the denominator a further channel of the same product.
            out = functional.pad(v, (0, 0, 0, 1), value=1.0) @ k.transpose(-1, -2) @ q
            out = out[:, :, :-1] / (out[:, :, -1:] + self.eps)
        else:
            # Fewer pixels than channels: the product in the usual order is the cheaper one.
            weight = k.transpose(-1, -2) @ q
            out = v @ (weight / (weight.sum(dim=2, keepdim=True) + self.eps))
        return out.reshape(n, -1, h, w)


class SoftmaxAttention(nn.Module):
    """What linear attention is measured against: the same heads under scaled softmax attention.

    Attributes:
        dim: channels of one head.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, qkv: Tensor) -> Tensor:
        """Projections ``(n, heads * 3 * dim, h, w)`` to ``(n, heads * dim, h, w)``."""
        n, _, h, w = qkv.shape
        q, k, v = (part.transpose(-1, -2) for part in _heads(qkv, self.dim))
        return functional.scaled_dot_product_attention(q, k, v).transpose(-1, -2).reshape(n, -1, h, w)


class MultiScaleAttention(nn.Module):
    """Attention over two scales: the projections, and the projections averaged over a neighborhood.

    Attributes:
        qkv: the projection to queries, keys and values.
        aggreg: the convolutions that make the second scale, grouped so that heads and roles stay apart.
        attention: `ReluLinearAttention` or `SoftmaxAttention`, over the heads of both scales.
        proj: the projection back.
    """

    def __init__(self, channels: int, *, dim: int, kernel: int, attention: Attention) -> None:
        super().__init__()
        wide = 3 * channels
        self.qkv = ConvLayer(channels, wide, norm=False)
        self.aggreg = nn.ModuleList(
            [
                nn.Sequential(
                    nn.Conv2d(wide, wide, kernel, padding=kernel // 2, groups=wide, bias=False),
                    nn.Conv2d(wide, wide, 1, groups=wide // dim, bias=False),
                )
            ]
        )
        self.attention = ReluLinearAttention(dim) if attention == "relu" else SoftmaxAttention(dim)
        self.proj = ConvLayer(2 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, c, h, w)`` to the same shape."""
        qkv = self.qkv(x)
        scales = torch.cat([qkv, *(aggregate(qkv) for aggregate in self.aggreg)], dim=1)
        return self.proj(self.attention(scales))


def chain(*ops: nn.Module) -> nn.Sequential:
    """Modules one after the other, under the key ``op_list``."""
    return named(op_list=nn.Sequential(*ops))


def dsconv(channels: int, *, act: Activation) -> nn.Sequential:
    """Depthwise convolution, then pointwise: ``(n, c, h, w)`` to the same shape."""
    return named(
        depth_conv=ConvLayer(channels, channels, 3, groups=channels, act=act),
        point_conv=ConvLayer(channels, channels),
    )


def mbconv(
    in_channels: int, out_channels: int, *, expand: int, act: Activation, stride: int = 1, fewer_norm: bool = False
) -> nn.Sequential:
    """Inverted bottleneck: widen, depthwise convolution, narrow.

    With ``fewer_norm`` the first two have a bias in the place of a norm.
    """
    inner = in_channels * expand
    norm, bias = not fewer_norm, fewer_norm
    return named(
        inverted_conv=ConvLayer(in_channels, inner, norm=norm, bias=bias, act=act),
        depth_conv=ConvLayer(inner, inner, 3, stride=stride, groups=inner, norm=norm, bias=bias, act=act),
        point_conv=ConvLayer(inner, out_channels),
    )


def fused_mbconv(
    in_channels: int, out_channels: int, *, expand: int, act: Activation, stride: int = 1
) -> nn.Sequential:
    """Inverted bottleneck whose first two convolutions are one dense 3x3."""
    inner = in_channels * expand
    return named(
        spatial_conv=ConvLayer(in_channels, inner, 3, stride=stride, act=act),
        point_conv=ConvLayer(inner, out_channels),
    )


def resblock(channels: int, *, act: Activation) -> nn.Sequential:
    """Two dense 3x3 convolutions: ``(n, c, h, w)`` to the same shape."""
    return named(
        conv1=ConvLayer(channels, channels, 3, act=act),
        conv2=ConvLayer(channels, channels, 3),
    )


def transformer_block(
    channels: int, *, dim: int, expand: int, act: Activation, attention: Attention, kernel: int = 5
) -> nn.Sequential:
    """Global context by attention, then local detail by an inverted bottleneck, each one residual."""
    return named(
        context_module=Residual(MultiScaleAttention(channels, dim=dim, kernel=kernel, attention=attention)),
        local_module=Residual(mbconv(channels, channels, expand=expand, act=act, fewer_norm=True)),
    )


def named(**modules: nn.Module) -> nn.Sequential:
    """Modules one after the other, under the keys that are given."""
    return nn.Sequential(OrderedDict(modules))


def _heads(qkv: Tensor, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    """``(n, heads * 3 * dim, h, w)`` to queries, keys and values, each ``(n, heads, dim, h * w)``."""
    n, _, h, w = qkv.shape
    parts = qkv.reshape(n, -1, 3 * dim, h * w)
    return parts[:, :, :dim], parts[:, :, dim : 2 * dim], parts[:, :, 2 * dim :]


def _is_half(x: Tensor) -> bool:
    return x.dtype in (torch.float16, torch.bfloat16)
