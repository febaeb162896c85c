"""Attention of tensors with three dimensions or five, which torch's ONNX exporter does not take, by way of four."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

DIMENSIONS = 4
"""What the exporter takes. Source: aten_scaled_dot_product_attention of torch 2.13, onnx/_internal/exporter."""


class FourDimensionalAttention(TorchFunctionMode):
    """While it is entered, ``scaled_dot_product_attention`` sees ``(batch, heads, tokens, channels)`` only."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Add or join leading dimensions where the function is attention; everything else is passed on."""
        del types
        options = dict(kwargs or {})
        tensors = list(args[:3])
        whole = func is torch.nn.functional.scaled_dot_product_attention and len(tensors) == len(("q", "k", "v"))
        if not whole or all(tensor.ndim == DIMENSIONS for tensor in tensors):
            return func(*args, **options)
        leading = torch.broadcast_shapes(*(tensor.shape[:-2] for tensor in tensors))
        mask = args[3] if len(args) > len(tensors) else options.pop("attn_mask", None)
        if mask is not None and mask.ndim > 2:
            mask = mask.expand(*leading, *mask.shape[-2:]).reshape(1, math.prod(leading), *mask.shape[-2:])
        joined = [
            tensor.expand(*leading, *tensor.shape[-2:]).reshape(1, math.prod(leading), *tensor.shape[-2:])
            for tensor in tensors
        ]
        attended = func(*joined, mask, *args[4:], **options)
        return attended.reshape(*leading, *attended.shape[-2:])
