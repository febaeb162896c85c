"""Dense 3x3 convolutions with fewer multiplications: Winograd's algorithm over the rows, chosen for each layer.

Each product is a 1x3 convolution at a fraction of the height, so a runtime's own convolutions do all the work and the
maps stay in its blocked layout. Sums are in another order, so the result is equal in real arithmetic only; the largest
error is in docs/numbers.md, and the proof of every file judges it.

Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", https://arxiv.org/abs/1509.09308.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from vitdeploy.exporters.rewrites.modules import Shapes, convolution, folded, folded_pair, replace_modules
from vitdeploy.models.efficientnetv2 import FusedBlock
from vitdeploy.models.efficientvit_blocks import ConvLayer, Residual

FEWEST_CHANNELS = 48
"""Layers with fewer input channels keep the direct convolution: the transforms cost what the products save.

Source: ``python -m vitdeploy.benchmarks.studies.winograd_layers``, docs/measured.md.
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
        rows = [weight[:, :, row : row + 1].double() for row in range(3)]
        self.inputs = nn.ModuleList(
            convolution(
                torch.tensor(taps, dtype=torch.float).reshape(1, 1, -1, 1).expand(channels, 1, -1, 1),
                groups=channels,
                stride=(tile, 1),
                padding=(1, 0),
            )
            for taps in TILES[tile].inputs
        )
        # The bias goes into the product that counts once, with its sign, in every output row.
        self.products = nn.ModuleList(
            convolution(
                sum((share * row for share, row in zip(shares, rows, strict=True)), torch.zeros(())),
                bias if place == 1 else None,
                padding=(0, 1),
            )
            for place, shares in enumerate(TILES[tile].kernels)
        )
        # A subtraction or a product with a number would leave the blocked layout; a depthwise convolution does not.
        self.scales = nn.ModuleDict(
            {
                name: convolution(torch.full((out, 1, 1, 1), factor), groups=out)
                for name, factor in _SCALES[tile].items()
            }
        )

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """``(n, in, h, w)`` to ``tile`` maps ``(n, out, h / tile, w)``: the rows 0, tile, … and so on."""
        products = [product(transform(x)) for transform, product in zip(self.inputs, self.products, strict=True)]
        scale = self.scales
        if self.tile == 2:
            first, second, third, fourth = products
            return first + (second + third), fourth + (second + scale["negative"](third))
        first, second, third, fourth, fifth, sixth = products
        near, far = second + third, fourth + fifth
        odd, odd_far = second + scale["negative"](third), fourth + scale["negative_far"](fifth)
        return (
            first + (near + far),
            odd + scale["twofold"](odd_far),
            near + scale["fourfold"](far),
            sixth + (odd + scale["eightfold"](odd_far)),
        )


_SCALES: Final[Mapping[int, Mapping[str, float]]] = {
    2: {"negative": -1.0},
    4: {"negative": -1.0, "negative_far": -1.0, "twofold": 2.0, "fourfold": 4.0, "eightfold": 8.0},
}
"""The factors of the output transform, A transposed, other than 1."""


class WinogradBlock(nn.Module):
    """A 3x3 convolution that widens, an activation, and a pointwise convolution that narrows.

    The maps of output rows stay apart through both and meet where channels are few.
    """

    def __init__(
        self, spatial: tuple[Tensor, Tensor], act: nn.Module | None, point: tuple[Tensor, Tensor], tile: int
    ) -> None:
        super().__init__()
        self.spatial = WinogradRows(*spatial, tile)
        self.act = act
        self.point = convolution(*point)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, c, h, w)`` to the same height and width."""
        maps = [self.point(rows if self.act is None else self.act(rows)) for rows in self.spatial(x)]
        n, channels, height, width = maps[0].shape
        return torch.cat(maps, dim=3).reshape(n, channels, len(maps) * height, width)


def tile_of(in_channels: int, height: int) -> int | None:
    """The tile of a dense 3x3 convolution of stride 1; None: the direct convolution is faster or needs no even rows."""
    if in_channels < FEWEST_CHANNELS:
        return None
    return next((tile for tile in sorted(TILES, reverse=True) if height % tile == 0), None)


def winograd_rows(model: nn.Module, shapes: Shapes) -> bool:
    """Replace the fused inverted bottlenecks of stride 1 that gain by it, in any network that has them."""

    def replacement(name: str, module: nn.Module) -> nn.Module | None:
        shape = shapes.get(name, ())
        if isinstance(module, Residual):
            return _of_residual(module, shape)
        if isinstance(module, FusedBlock):
            return _of_fused_block(module, shape)
        return None

    return replace_modules(model, replacement)


def _of_residual(module: Residual, shape: tuple[int, ...]) -> nn.Module | None:
    parts = dict(module.main.named_children())
    spatial, point = parts.get("spatial_conv"), parts.get("point_conv")
    if not isinstance(spatial, ConvLayer) or not isinstance(point, ConvLayer) or point.act is not None:
        return None
    tile = _fitting_tile(spatial.conv, shape)
    if tile is None:
        return None
    return Residual(WinogradBlock(folded(spatial), spatial.act, folded(point), tile), shortcut=module.shortcut)


def _of_fused_block(module: FusedBlock, shape: tuple[int, ...]) -> nn.Module | None:
    tile = _fitting_tile(module.conv_exp, shape)
    if tile is None:
        return None
    spatial, point = folded_pair(module.conv_exp, module.bn1), folded_pair(module.conv_pwl, module.bn2)
    return Residual(WinogradBlock(spatial, module.act, point, tile), shortcut=module.shortcut)


def _fitting_tile(conv: nn.Conv2d, shape: tuple[int, ...]) -> int | None:
    """The tile of a convolution on an input of this shape; None: it is of another kind, or direct."""
    dense = conv.kernel_size == (3, 3) and conv.stride == (1, 1) and conv.dilation == (1, 1) and conv.groups == 1
    return tile_of(conv.in_channels, shape[-2]) if dense and len(shape) == 4 else None
