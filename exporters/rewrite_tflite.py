"""The named rewrites of ``tflite-fp32``: each keeps the function, and suits channels last and the XNNPACK delegate.

They work on a copy of the torch module, as those of `vitdeploy.exporters.rewrites` do, and are a table of their own
because what is cheap differs: XNNPACK runs a reshape for nothing and leaves whatever it does not know to the
interpreter, at the price of one more partition. ``--without NAME`` leaves one out. Each has a near-miss in
``tests/test_rewrite_tflite.py`` that parity must refuse.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import torch
from torch import nn

from vitdeploy.exporters.rewrite_modules import input_shapes, sharing_copy
from vitdeploy.exporters.rewrite_tflite_attention import attention_apart
from vitdeploy.exporters.rewrite_tflite_upsampling import cubic_channels_last
from vitdeploy.exporters.rewrites import Rewrite

TFLITE_REWRITES: Final[Mapping[str, Rewrite]] = {
    "cubic-channels-last": Rewrite(
        summary="bicubic enlargement as two products with constant matrices, channels last",
        apply=cubic_channels_last,
    ),
    "attention-apart": Rewrite(
        summary="linear attention with queries, keys, values and the denominator apart, channels last",
        apply=attention_apart,
    ),
}
"""All of them, in the order in which they are applied."""


def rewritten(
    model: nn.Module, names: Sequence[str], image: tuple[int, ...], dtype: torch.dtype = torch.float32
) -> nn.Module:
    """A copy of ``model`` with the named rewrites; it shares the weights, and ``model`` stays as it is.

    Args:
        names: keys of `TFLITE_REWRITES`.
        image: shape of the input ``(n, 3, h, w)`` that the graph is made for.
        dtype: element type of that input.
    """
    made = sharing_copy(model)
    shapes = input_shapes(model, image, dtype)
    for name, rewrite in TFLITE_REWRITES.items():
        if name in names:
            rewrite.apply(made, shapes)
    return made.eval()
