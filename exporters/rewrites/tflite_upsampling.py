"""Bicubic enlargement in the layout of TFLite: products with constant matrices, channels last.

TFLite has no cubic resize among its own operators: a plain conversion keeps TensorFlow's, which a TFLite runtime
does not load. The weights are separable, so the same sums are two matrix products; channels last, the columns
are the rows of one small product for each row of the map, and the rows of the map are one product for all.
"""

import torch
from torch import Tensor, nn

from vitdeploy.exporters.rewrites.modules import Shapes, replace_modules
from vitdeploy.exporters.rewrites.upsampling import cubic_matrix
from vitdeploy.models.efficientvit_blocks import Upsample


class CubicChannelsLast(nn.Module):
    """Bicubic enlargement of maps of one size.

    Attributes:
        rows: ``(h * factor, h)``.
        columns: ``(w * factor, w)``.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, height: int, width: int, factor: int) -> None:
        super().__init__()
        self.register_buffer("rows", cubic_matrix(height, factor).float())
        self.register_buffer("columns", cubic_matrix(width, factor).float())

    def forward(self, x: Tensor) -> Tensor:
        """``(n, c, h, w)`` to ``(n, c, h * factor, w * factor)``."""
        n, channels, height, _ = x.shape
        high, wide = self.rows.shape[0], self.columns.shape[0]
        # Columns first: they are the smaller of the two products while the map is still low.
        x = torch.matmul(self.columns, x.permute(0, 2, 3, 1))
        x = torch.matmul(self.rows, x.reshape(n, height, wide * channels))
        return x.reshape(n, high, wide, channels).permute(0, 3, 1, 2)


def cubic_channels_last(model: nn.Module, shapes: Shapes) -> bool:
    """Replace every `Upsample`."""

    def make(name: str, module: nn.Module) -> nn.Module | None:
        if not isinstance(module, Upsample):
            return None
        height, width = shapes[name][-2:]
        factor = module.factor_for(height)
        return nn.Identity() if factor == 1 else CubicChannelsLast(height, width, factor)

    return replace_modules(model, make)
