"""Convolutions in forms that take fewer steps: channels padded to whole blocks, and Winograd's over the rows."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from vitdeploy.exporters.rewrites.modules import Shapes, convolution, folded, named_modules, replacing
from vitdeploy.models.efficientvit import BBackbone
from vitdeploy.models.efficientvit_blocks import ConvLayer, Residual

BLOCK = 16
"""Channels that ONNX Runtime's CPU convolutions compute at a time; fewer go through a copy and a slow path.

Source: ``MlasNchwcGetBlockSize`` of https://github.com/microsoft/onnxruntime, with AVX-512 (8 without).
"""

TRANSFORM = ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1))
"""How four rows of the input become the four that are multiplied.

Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", https://arxiv.org/abs/1509.09308,
F(2, 3), matrix B transposed.
"""


class PaddedConvolution(nn.Module):
    """A `ConvLayer` with further channels that are always zero, as activations of zero are."""

    def __init__(self, layer: ConvLayer, in_channels: int, out_channels: int) -> None:
        super().__init__()
        weight, bias = folded(layer)
        out, per_group, *_ = weight.shape
        depthwise = layer.conv.groups > 1
        more_in = 0 if depthwise else in_channels - per_group
        weight = functional.pad(weight, (0, 0, 0, 0, 0, more_in, 0, out_channels - out))
        self.conv = convolution(
            weight,
            functional.pad(bias, (0, out_channels - out)),
            groups=out_channels if depthwise else 1,
            stride=(layer.conv.stride[0], layer.conv.stride[1]),
            padding=(layer.conv.kernel_size[0] // 2, layer.conv.kernel_size[1] // 2),
        )
        self.act = layer.act

    def forward(self, x: Tensor) -> Tensor:
        """``(n, in_channels, h, w)`` to ``(n, out_channels, h / stride, w / stride)``."""
        x = self.conv(x)
        return x if self.act is None else self.act(x)


def padded_stem(model: nn.Module, shapes: Shapes) -> bool:
    """Widen the stem of a series-B backbone to a whole block of channels where it is narrower.

    The stem runs at the highest resolution of all, so there the copies that a partial block costs are largest.
    """
    del shapes
    changed = False
    for _, backbone in named_modules(model):
        if not isinstance(backbone, BBackbone) or backbone.widths[0] >= BLOCK:
            continue
        stem = _layers(backbone.input_stem)
        following = _layers(backbone.stages[0])[0]
        replacements: dict[nn.Module, nn.Module] = {
            stem[0]: PaddedConvolution(stem[0], stem[0].conv.in_channels, BLOCK),
            **{layer: PaddedConvolution(layer, BLOCK, BLOCK) for layer in stem[1:]},
            following: PaddedConvolution(following, BLOCK, following.conv.out_channels),
        }
        for name, module in named_modules(backbone):
            if module in replacements:
                backbone.set_submodule(name, replacements[module])
        changed = True
    return changed


class WinogradRows(nn.Module):
    """A dense 3x3 convolution of stride 1 that multiplies two thirds as often, for its even and odd rows apart.

    Two neighboring output rows need four products of a row with a kernel's row instead of six. Each of the four
    is a 1x3 convolution at half the height, so a runtime's own convolutions do all the work.

    Source: Winograd's F(2, 3) as in Lavin and Gray, https://arxiv.org/abs/1509.09308, section 4.1, over rows only.
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        out, channels = weight.shape[:2]
        above, center, below = (weight[:, :, row : row + 1].double() for row in range(3))
        kernels = (above, (above + center + below) / 2, (above - center + below) / 2, -below)
        self.inputs = nn.ModuleList(
            convolution(
                torch.tensor(taps).reshape(1, 1, 4, 1).expand(channels, 1, 4, 1),
                groups=channels,
                stride=(2, 1),
                padding=(1, 0),
            )
            for taps in TRANSFORM
        )
        # The bias goes into the product that counts once, with its sign, in both output rows.
        self.products = nn.ModuleList(
            convolution(kernel, bias if index == 1 else None, padding=(0, 1)) for index, kernel in enumerate(kernels)
        )
        # A subtraction would leave the blocked layout; a depthwise convolution with an addition does not.
        self.negative = convolution(-torch.ones(out, 1, 1, 1), groups=out)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``(n, in, h, w)``, h even, to the even and the odd rows ``(n, out, h / 2, w)`` of the result."""
        first, second, third, fourth = (
            product(transform(x)) for transform, product in zip(self.inputs, self.products, strict=True)
        )
        return first + (second + third), fourth + (second + self.negative(third))


class WinogradBlock(nn.Module):
    """A fused inverted bottleneck whose 3x3 convolution is `WinogradRows`.

    Even and odd rows stay apart through activation and pointwise convolution, and meet where channels are few.
    """

    def __init__(self, spatial: ConvLayer, point: ConvLayer) -> None:
        super().__init__()
        self.spatial = WinogradRows(*folded(spatial))
        self.act = spatial.act
        self.point = convolution(*folded(point))

    def forward(self, x: Tensor) -> Tensor:
        """``(n, c, h, w)`` to the same height and width."""
        halves = [self.point(half if self.act is None else self.act(half)) for half in self.spatial(x)]
        n, channels, height, width = halves[0].shape
        return torch.cat(halves, dim=3).reshape(n, channels, 2 * height, width)


def _layers(module: nn.Module) -> list[ConvLayer]:
    return [part for _, part in named_modules(module) if isinstance(part, ConvLayer)]


def _winograd_block(module: Residual, shape: tuple[int, ...]) -> nn.Module | None:
    """The block for a fused inverted bottleneck of stride 1 and even height; None for any other."""
    parts = dict(module.main.named_children())
    spatial, point = parts.get("spatial_conv"), parts.get("point_conv")
    if not isinstance(spatial, ConvLayer) or not isinstance(point, ConvLayer) or point.act is not None:
        return None
    if spatial.conv.stride != (1, 1) or spatial.conv.kernel_size != (3, 3) or shape[-2] % 2:
        return None
    return Residual(WinogradBlock(spatial, point), shortcut=module.shortcut)


winograd_rows = replacing(Residual, _winograd_block)
