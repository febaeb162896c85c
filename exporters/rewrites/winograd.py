"""Dense 3x3 convolutions with fewer multiplications: Winograd's algorithm over the rows, chosen for each layer.

Each product is a 1x3 convolution at a fraction of the height, so a runtime's own convolutions do all the work and the
maps stay in its blocked layout. Sums are in another order, so the result is equal in real arithmetic only; the largest
error is in docs/numbers.md, and the proof of every file judges it.

Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", https://arxiv.org/abs/1509.09308.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from vitdeploy.exporters.rewrites.modules import (
    Shapes,
    convolution,
    folded,
    folded_pair,
    named_modules,
    replace_modules,
)
from vitdeploy.models.efficientnetv2 import FusedBlock
from vitdeploy.models.efficientvit_blocks import ConvLayer, Residual

FEWEST_CHANNELS = 48
"""Layers with fewer input channels keep the direct convolution: the transforms cost what the products save.

Source: ``python -m vitdeploy.benchmarks.studies.winograd_layers``, docs/measured.md.
"""

FEWEST_CHANNELS_STRIDE_2 = (32, 512)
"""The same of stride 2, in and out, in front of a pointwise convolution that narrows.

Source: ``python -m vitdeploy.benchmarks.studies.winograd_tiles --stride 2``, docs/measured.md.
"""


@dataclass(frozen=True, slots=True)
class Tile:
    """The matrices of F(m, 3): ``m`` output rows from ``m + 2`` products instead of ``3 m``."""

    inputs: Sequence[Sequence[float]]
    """How ``m + 2`` rows of the input become those that are multiplied: B transposed."""
    kernels: Sequence[Sequence[float]]
    """How the kernel's three rows become those that multiply: G."""


TILES: Final[Mapping[int, Tile]] = {
    2: Tile(
        inputs=((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1)),
        kernels=((1, 0, 0), (1 / 2, 1 / 2, 1 / 2), (1 / 2, -1 / 2, 1 / 2), (0, 0, -1)),
    ),
    4: Tile(
        inputs=(
            (4, 0, -5, 0, 1, 0),
            (0, -4, -4, 1, 1, 0),
            (0, 4, -4, -1, 1, 0),
            (0, -2, -1, 2, 1, 0),
            (0, 2, -1, -2, 1, 0),
            (0, 4, 0, -5, 0, 1),
        ),
        kernels=(
            (1 / 4, 0, 0),
            (-1 / 6, -1 / 6, -1 / 6),
            (-1 / 6, 1 / 6, -1 / 6),
            (1 / 24, 1 / 12, 1 / 6),
            (1 / 24, -1 / 12, 1 / 6),
            (0, 0, 1),
        ),
    ),
}
"""Source: Lavin and Gray, sections 4.1 and 4.3, over rows only; the last row of F(2, 3) has both signs turned."""


PHASES: Final = Tile(inputs=((1, -1, 0), (0, 1, 0), (0, -1, 1)), kernels=((1, 0), (1, 1), (0, 1)))
"""F(2, 2): two output rows of stride 2 from three odd input rows, on which the filter's first and last row fall.

With the even rows, on which its middle row falls, these are 5 products for 6. Source: as `TILES`, from the points 0, 1.
"""

PHASE_TILE = 2
"""Output rows at a time of stride 2. Four would take 9 products for 12, and are no faster (`winograd_tiles`)."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A dense 3x3 convolution with a pixel of padding, by what its speed depends on."""

    in_channels: int
    out_channels: int
    height: int
    """Of its input."""
    width: int
    stride: int = 1

    @property
    def name(self) -> str:
        """``64-256-56x56``: as manifests and ``--without winograd-rows:LAYER`` call it."""
        ending = "" if self.stride == 1 else f"-stride{self.stride}"
        return f"{self.in_channels}-{self.out_channels}-{self.height}x{self.width}{ending}"

    def tile(self, left_out: Collection[str] = ()) -> int | None:
        """Rows at a time; None: the direct convolution is faster, no tile divides the height, or it is left out.

        Args:
            left_out: ``LAYER``, or ``LAYER:TILE`` for one of its tiles.
        """
        fewest_in, fewest_out = (FEWEST_CHANNELS, 0) if self.stride == 1 else FEWEST_CHANNELS_STRIDE_2
        if self.in_channels < fewest_in or self.out_channels < fewest_out or self.name in left_out:
            return None
        possible = sorted(TILES, reverse=True) if self.stride == 1 else (PHASE_TILE,)
        tiles = (tile for tile in possible if self.height % (tile * self.stride) == 0)
        return next((tile for tile in tiles if f"{self.name}:{tile}" not in left_out), None)


class WinogradRows(nn.Module):
    """A dense 3x3 convolution of stride 1 whose output rows are computed ``tile`` at a time, each in its own map.

    Args:
        weight: ``(out, in, 3, 3)``.
        bias: ``(out,)``.
        tile: a key of `TILES`; the input's height is a multiple of it.
    """

    def __init__(self, weight: Tensor, bias: Tensor, tile: int) -> None:
        super().__init__()
        self.tile = tile
        out, channels = weight.shape[:2]
        self.inputs = nn.ModuleList(
            convolution(
                torch.tensor(taps, dtype=torch.float).reshape(1, 1, -1, 1).expand(channels, 1, -1, 1),
                groups=channels,
                stride=(tile, 1),
                padding=(1, 0),
            )
            for taps in TILES[tile].inputs
        )
        self.products = nn.ModuleList(
            convolution(kernel, bias if place == BIASED else None, padding=(0, 1))
            for place, kernel in enumerate(product_kernels(weight, tile))
        )
        # A subtraction or a product with a number would leave the blocked layout; a depthwise convolution does not.
        self.scales = nn.ModuleDict(
            {name: convolution(torch.full((out, 1, 1, 1), factor), groups=out) for name, factor in SCALES[tile].items()}
        )

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """``(n, in, h, w)`` to ``tile`` maps ``(n, out, h / tile, w)``: the rows 0, tile, … and so on."""
        products = [product(transform(x)) for transform, product in zip(self.inputs, self.products, strict=True)]
        return output_rows(products, lambda name, value: self.scales[name](value))


def output_rows(products: Sequence[Any], scaled: Callable[[str, Any], Any]) -> tuple[Any, ...]:
    """A transposed, applied to the products: the maps of output rows.

    Args:
        products: of a tile, ``tile + 2``; whatever can be added.
        scaled: a product of a value with the factor of this name in `SCALES`.
    """
    if len(products) == 4:
        first, second, third, fourth = products
        return first + (second + third), fourth + (second + scaled("negative", third))
    first, second, third, fourth, fifth, sixth = products
    near, far = second + third, fourth + fifth
    odd, odd_far = second + scaled("negative", third), fourth + scaled("negative_far", fifth)
    return (
        first + (near + far),
        odd + scaled("twofold", odd_far),
        near + scaled("fourfold", far),
        sixth + (odd + scaled("eightfold", odd_far)),
    )


def product_kernels(weight: Tensor, tile: int) -> list[Tensor]:
    """``(out, in, 3, 3)`` to the kernels ``(out, in, 1, 3)`` of each product, in double precision."""
    rows = [weight[:, :, row : row + 1].double() for row in range(3)]
    return [
        sum((share * row for share, row in zip(shares, rows, strict=True)), torch.zeros(()))
        for shares in TILES[tile].kernels
    ]


BIASED = 1
"""The product that counts once, with its sign, in every output row: the bias is added to it."""


SCALES: Final[Mapping[int, Mapping[str, float]]] = {
    2: {"negative": -1.0},
    4: {"negative": -1.0, "negative_far": -1.0, "twofold": 2.0, "fourfold": 4.0, "eightfold": 8.0},
}
"""The factors of the output transform, A transposed, other than 1."""


class WinogradBlock(nn.Module):
    """A 3x3 convolution that widens, an activation, and a pointwise convolution that narrows.

    The maps of output rows stay apart through both and meet where channels are few.

    Attributes:
        layer: the 3x3 convolution; None: it is of no matter.
    """

    def __init__(
        self,
        spatial: tuple[Tensor, Tensor],
        act: nn.Module | None,
        point: tuple[Tensor, Tensor],
        tile: int,
        layer: Layer | None = None,
    ) -> None:
        super().__init__()
        self.spatial = WinogradRows(*spatial, tile)
        self.act = act
        self.point = convolution(*point)
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """``(n, c, h, w)`` to the same height and width."""
        maps = [self.point(rows if self.act is None else self.act(rows)) for rows in self.spatial(x)]
        n, channels, height, width = maps[0].shape
        return torch.cat(maps, dim=3).reshape(n, channels, len(maps) * height, width)


def winograd_rows(model: nn.Module, shapes: Shapes, left_out: Collection[str] = ()) -> bool:
    """Replace the fused inverted bottlenecks of stride 1 that gain by it, in any network that has them.

    Other convolutions are replaced in the graph: `vitdeploy.exporters.rewrites.winograd_graph`.

    Args:
        left_out: layers that stay, as `Layer.tile` has them.
    """

    def replacement(name: str, module: nn.Module) -> nn.Module | None:
        shape = shapes.get(name, ())
        if isinstance(module, Residual):
            return _of_residual(module, shape, left_out)
        if isinstance(module, FusedBlock):
            return _of_fused_block(module, shape, left_out)
        return None

    return replace_modules(model, replacement)


def tiles_of(model: nn.Module) -> dict[str, int]:
    """Layer → rows at a time, of a rewritten model."""
    blocks = (module for _, module in named_modules(model) if isinstance(module, WinogradBlock))
    return {block.layer.name: block.spatial.tile for block in blocks if block.layer is not None}


def _of_residual(module: Residual, shape: tuple[int, ...], left_out: Collection[str]) -> nn.Module | None:
    parts = dict(module.main.named_children())
    spatial, point = parts.get("spatial_conv"), parts.get("point_conv")
    if not isinstance(spatial, ConvLayer) or not isinstance(point, ConvLayer) or point.act is not None:
        return None
    layer = _layer(spatial.conv, shape)
    tile = layer and layer.tile(left_out)
    if tile is None:
        return None
    return Residual(WinogradBlock(folded(spatial), spatial.act, folded(point), tile, layer), shortcut=module.shortcut)


def _of_fused_block(module: FusedBlock, shape: tuple[int, ...], left_out: Collection[str]) -> nn.Module | None:
    layer = _layer(module.conv_exp, shape)
    tile = layer and layer.tile(left_out)
    if tile is None:
        return None
    spatial, point = folded_pair(module.conv_exp, module.bn1), folded_pair(module.conv_pwl, module.bn2)
    return Residual(WinogradBlock(spatial, module.act, point, tile, layer), shortcut=module.shortcut)


def _layer(conv: nn.Conv2d, shape: tuple[int, ...]) -> Layer | None:
    """A convolution on an input of this shape; None: it is of another kind."""
    dense = conv.kernel_size == (3, 3) and conv.stride == (1, 1) and conv.dilation == (1, 1) and conv.groups == 1
    return Layer(conv.in_channels, conv.out_channels, shape[-2], shape[-1]) if dense and len(shape) == 4 else None
