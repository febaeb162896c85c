"""The mask decoder's enlargement in the layout of TFLite: products over places, channels last.

A transposed convolution whose stride is its kernel's width makes each place into a small square of its own. Channels
last that is one product, and an exchange of rows and columns that moves whole runs of channels. onnx2tf confuses the
axes of a map that comes out of tokens; here none does until all is computed.
"""

from typing import cast

from torch import Tensor, nn
from torch.nn import functional

from vitdeploy.exporters.rewrites.modules import replacing
from vitdeploy.models.sam_decoder import HEIGHT_WIDTH, LayerNorm2d, Upscaling

SCALE = 2
"""Rows and columns that each of the two enlargements makes of one."""


class PixelUpscaling(nn.Module):
    """`Upscaling` as two products over places.

    Attributes:
        weights: ``(c, 4 * out)`` each, the kernel's rows outside its columns outside its outputs.
        biases: ``(4 * out,)`` each.
        norm: over the channels between them.
    """

    def __init__(self, block: Upscaling) -> None:
        super().__init__()
        layers = [cast("nn.ConvTranspose2d", block[0]), cast("nn.ConvTranspose2d", block[3])]
        self.weights = nn.ParameterList(_constant(layer.weight.permute(0, 2, 3, 1).flatten(1)) for layer in layers)
        self.biases = nn.ParameterList(_constant(cast("Tensor", layer.bias).repeat(SCALE * SCALE)) for layer in layers)
        self.norm = cast("LayerNorm2d", block[1])

    def forward(self, places: Tensor) -> Tensor:
        """``(n, 4096, 256)`` to ``(n, 32, 256, 256)``."""
        n, (height, width) = places.shape[0], HEIGHT_WIDTH
        pixels = self.enlarge(places, 0, width)
        pixels = functional.layer_norm(
            pixels, self.norm.normalized_shape, self.norm.weight, self.norm.bias, self.norm.eps
        )
        pixels = functional.gelu(self.enlarge(functional.gelu(pixels), 1, SCALE * width))
        return pixels.reshape(n, SCALE**2 * height, SCALE**2 * width, -1).permute(0, 3, 1, 2)

    def enlarge(self, places: Tensor, layer: int, width: int) -> Tensor:
        """``(n, h * w, c)`` to ``(n, 2 h * 2 w, out)``."""
        squares = self.squares(places, layer)
        # Rows of a square stand beside each other; they have to stand below each other.
        runs = squares.reshape(-1, width, SCALE, SCALE * squares.shape[-1])
        return runs.permute(0, 2, 1, 3).reshape(squares.shape)

    def squares(self, places: Tensor, layer: int) -> Tensor:
        """``(n, h * w, c)`` to ``(n, h * w * 4, out)``, the four pixels of a place in a row."""
        pixels = places @ self.weights[layer] + self.biases[layer]
        return pixels.reshape(places.shape[0], places.shape[1] * SCALE**2, -1)


def _constant(value: Tensor) -> nn.Parameter:
    return nn.Parameter(value.detach().contiguous(), requires_grad=False)


masks_by_place = replacing(Upscaling, lambda module, _: PixelUpscaling(module))
