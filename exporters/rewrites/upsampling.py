"""Bicubic enlargement as two products with constant matrices, one for the rows and one for the columns.

A cubic ``Resize`` weighs sixteen pixels for each output one by one, on one thread. The weights depend on the
place alone and are separable, so the same sums are two matrix products, which every runtime computes well.

TFLite has no cubic resize among its own operators: a plain conversion keeps TensorFlow's, which a TFLite runtime does
not load. In its layout, channels last, the columns are the rows of one small product for each row of the map, and the
rows of the map are one product for all.
"""

import math

import torch
from torch import Tensor, nn

from vitdeploy.evaluation import cubic
from vitdeploy.exporters.rewrites.modules import replacing
from vitdeploy.models.efficientvit_blocks import Upsample


def cubic_kernel(distance: float, coefficient: float = cubic.A) -> float:
    """Weight of a pixel at this distance.

    Source: Keys, "Cubic Convolution Interpolation for Digital Image Processing", 1981, equation 4.
    """
    x, a = abs(distance), coefficient
    if x <= 1:
        return ((a + 2) * x - (a + 3)) * x * x + 1
    if x < 2:
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return 0.0


def cubic_matrix(size: int, factor: int, coefficient: float = cubic.A) -> Tensor:
    """``(size * factor, size)``: row i holds the weights of the pixels that make up output i.

    Pixel centers are at halves (``align_corners=False``) and the border pixel is repeated outside.
    """
    matrix = torch.zeros(size * factor, size, dtype=torch.double)
    for place in range(size * factor):
        center = (place + 0.5) / factor - 0.5
        first = math.floor(center) - 1
        for pixel in range(first, first + 4):
            matrix[place, min(max(pixel, 0), size - 1)] += cubic_kernel(center - pixel, coefficient)
    return matrix


class CubicProducts(nn.Module):
    """Bicubic enlargement of maps of one size.

    Attributes:
        rows: ``(h * factor, h)``.
        columns: ``(w, w * factor)``.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, height: int, width: int, factor: int) -> None:
        super().__init__()
        self.register_buffer("rows", cubic_matrix(height, factor).float())
        self.register_buffer("columns", cubic_matrix(width, factor).T.float().contiguous())

    def forward(self, x: Tensor) -> Tensor:
        """``(n, c, h, w)`` to ``(n, c, h * factor, w * factor)``."""
        # Columns first: the left operand of the other product is then the smaller one.
        return self.rows @ (x @ self.columns)


class CubicChannelsLast(CubicProducts):
    """`CubicProducts` in the layout of TFLite.

    Attributes:
        columns: ``(w * factor, w)``.
    """

    def __init__(self, height: int, width: int, factor: int) -> None:
        super().__init__(height, width, factor)
        self.columns = self.columns.T.contiguous()

    def forward(self, x: Tensor) -> Tensor:
        """``(n, c, h, w)`` to ``(n, c, h * factor, w * factor)``."""
        n, channels, height, _ = x.shape
        high, wide = self.rows.shape[0], self.columns.shape[0]
        # Columns first: they are the smaller of the two products while the map is still low.
        x = torch.matmul(self.columns, x.permute(0, 2, 3, 1))
        x = torch.matmul(self.rows, x.reshape(n, height, wide * channels))
        return x.reshape(n, high, wide, channels).permute(0, 3, 1, 2)


def _upsampling(products: type[CubicProducts], module: Upsample, shape: tuple[int, ...]) -> nn.Module:
    height, width = shape[-2:]
    factor = module.factor_for(height)
    return nn.Identity() if factor == 1 else products(height, width, factor)


cubic_as_products = replacing(Upsample, lambda module, shape: _upsampling(CubicProducts, module, shape))
cubic_channels_last = replacing(Upsample, lambda module, shape: _upsampling(CubicChannelsLast, module, shape))
