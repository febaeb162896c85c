"""Convolutions of few channels, padded to the whole blocks that a runtime computes at a time."""

from torch import Tensor, nn
from torch.nn import functional

from vitdeploy.exporters.rewrites.modules import Shapes, convolution, folded, named_modules
from vitdeploy.models.efficientvit import BBackbone
from vitdeploy.models.efficientvit_blocks import ConvLayer

BLOCK = 16
"""Channels that ONNX Runtime's CPU convolutions compute at a time; fewer go through a copy and a slow path.

Source: ``MlasNchwcGetBlockSize`` of https://github.com/microsoft/onnxruntime, with AVX-512 (8 without).
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


def _layers(module: nn.Module) -> list[ConvLayer]:
    return [part for _, part in named_modules(module) if isinstance(part, ConvLayer)]
