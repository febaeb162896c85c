"""The named rewrites: each keeps the function of the model, equal to fp32 rounding, and makes its graph cheaper.

They work on a copy of the torch module before it becomes a graph. Which of them a target gets is a list in its row
of the target table, decided by measurement (``python -m vitdeploy.benchmarks.studies.export_speed``);
``--without NAME`` leaves one out. Each has a near-miss in ``tests/exporters/test_rewrites.py`` that parity must refuse.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import nn

from vitdeploy.exporters.rewrites.attention import denominator_apart
from vitdeploy.exporters.rewrites.convolution import padded_stem, winograd_rows
from vitdeploy.exporters.rewrites.modules import Shapes, input_shapes, sharing_copy
from vitdeploy.exporters.rewrites.upsampling import cubic_as_products


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewrite:
    """One rewrite."""

    summary: str
    """What it does to the graph, in one line."""
    apply: Callable[[nn.Module, Shapes], bool]
    """Changes a model in place and says whether there was anything to change.

    The shapes are those of the model as published.
    """


REWRITES: Final[Mapping[str, Rewrite]] = {
    "cubic-as-products": Rewrite(
        summary="bicubic enlargement as two products with constant matrices",
        apply=cubic_as_products,
    ),
    "denominator-apart": Rewrite(
        summary="the denominator of linear attention as its own product, without a padded row",
        apply=denominator_apart,
    ),
    "padded-stem": Rewrite(
        summary="a stem of fewer than 16 channels widened to a whole block with zeros",
        apply=padded_stem,
    ),
    "winograd-rows": Rewrite(
        summary="dense 3x3 convolutions with a third fewer multiplications",
        apply=winograd_rows,
    ),
}
"""All rewrites, in the order in which they are applied."""


def rewritten(
    model: nn.Module,
    names: Sequence[str],
    *inputs: torch.Tensor,
    table: Mapping[str, Rewrite] = REWRITES,
) -> tuple[nn.Module, tuple[str, ...]]:
    """A copy of ``model`` with the named rewrites, and the names of those that found something to change.

    The copy shares the weights, and ``model`` stays as it is.

    Args:
        names: keys of ``table``.
        inputs: tensors shaped and typed as the inputs that the graph is made for.
        table: the rewrites there are, in the order in which they are applied.
    """
    made = sharing_copy(model)
    shapes = input_shapes(model, *inputs)
    applied = tuple(name for name, rewrite in table.items() if name in names and rewrite.apply(made, shapes))
    return made.eval(), applied
