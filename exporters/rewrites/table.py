"""The named rewrites: each keeps the function of the model, equal to fp32 rounding, and suits its graph to a runtime.

They work on a copy of the torch module before it becomes a graph. Which of them a target gets is a list in its row
of the target table, decided by measurement (``python -m vitdeploy.benchmarks.studies.export_speed``);
``--without NAME`` leaves one out. Each has a near-miss in ``tests/exporters/test_rewrites.py`` that parity must refuse;
those of TFLite in ``tests/exporters/test_rewrite_tflite.py``.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Final

import torch
from torch import nn

from vitdeploy.exporters.rewrites import (
    attention,
    convolution,
    half,
    tflite_attention,
    tflite_masks,
    upsampling,
    winograd,
)
from vitdeploy.exporters.rewrites.modules import Rewrite, input_shapes, sharing_copy

WINOGRAD: Final = "winograd-rows"
"""The rewrite that chooses for each layer. What it finds in graphs: `vitdeploy.exporters.rewrites.winograd_graph`."""

REWRITES: Final[Mapping[str, Rewrite]] = {
    "cubic-as-products": upsampling.cubic_as_products,
    "denominator-apart": attention.denominator_apart,
    # For ONNX Runtime on a CPU: whole blocks of channels, and up to half of the multiplications of a 3x3 convolution.
    "padded-stem": convolution.padded_stem,
    WINOGRAD: winograd.winograd_rows,
    # For half precision: no sum leaves it. The last is for bf16.
    "normalized-attention": attention.normalized_attention,
    "scaled-contrast": half.scaled_contrast,
    "scaled-length": half.scaled_length,
    "scaled-factorization": half.scaled_factorization,
    "hard-swish-apart": half.hard_swish_apart,
    # For TFLite: channels last and taken by the XNNPACK delegate, which runs a reshape for nothing and leaves whatever
    # it does not know to the interpreter, at the price of one more partition.
    "cubic-channels-last": upsampling.cubic_channels_last,
    "attention-apart": tflite_attention.attention_apart,
    "softmax-as-products": tflite_attention.softmax_as_products,
    "masks-by-place": tflite_masks.masks_by_place,
}
"""All rewrites, in the order in which they are applied."""


def rewritten(
    model: nn.Module, names: Sequence[str], *inputs: torch.Tensor, left_out: Sequence[str] = ()
) -> tuple[nn.Module, tuple[str, ...]]:
    """A copy of ``model`` with the named rewrites, and the names of those that found something to change.

    The copy shares the weights, and ``model`` stays as it is.

    Args:
        names: keys of `REWRITES`; their order does not matter.
        inputs: tensors shaped and typed as the inputs that the graph is made for.
        left_out: layers that `WINOGRAD` leaves as they are.
    """
    copy = sharing_copy(model)
    shapes = input_shapes(model, *inputs)
    rewrites = {**REWRITES, WINOGRAD: functools.partial(winograd.winograd_rows, left_out=left_out)}
    applied = tuple(name for name, rewrite in rewrites.items() if name in names and rewrite(copy, shapes))
    return copy.eval(), applied
