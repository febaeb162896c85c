"""Multiply-accumulates of models that can be counted: all of ours."""

from torch import nn

from vitdeploy.models import create


def count_macs(module: nn.Module, *input_shapes: tuple[int, ...]) -> int:
    """Multiply-accumulates of one call; a model whose count is not known fails the test."""
    counted = create.count_macs(module, *input_shapes)
    assert counted is not None, "the model could not be counted"
    return counted
