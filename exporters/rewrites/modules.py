"""Replace parts of a model in a copy that shares its weights, so that a rewrite costs no second set of them."""

import copy
from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.hooks import RemovableHandle

from vitdeploy.models.efficientvit_blocks import ConvLayer

Shapes = Mapping[str, tuple[int, ...]]
"""Name of a module in the model as published → shape of its input."""

Rewrite = Callable[[nn.Module, Shapes], bool]
"""Changes a model in place and returns whether there was anything to change; the shapes are those before any change."""

M = TypeVar("M", bound=nn.Module)


def sharing_copy(model: nn.Module) -> nn.Module:
    """A copy whose modules are its own and whose tensors are those of ``model``."""
    tensors = (*model.parameters(), *model.buffers())
    return copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})


def input_shapes(model: nn.Module, *inputs: Tensor) -> Shapes:
    """The input shape of every module when the model is called on tensors like these, or on meta tensors if it can."""
    shapes: dict[str, tuple[int, ...]] = {}

    def recorder(name: str) -> Callable[[nn.Module, tuple[object, ...]], None]:
        def record(module: nn.Module, inputs: tuple[object, ...]) -> None:
            del module
            if inputs and isinstance(inputs[0], Tensor):
                shapes[name] = tuple(inputs[0].shape)

        return record

    hooks: list[RemovableHandle] = [
        module.register_forward_pre_hook(recorder(name)) for name, module in named_modules(model)
    ]
    state = {
        name: torch.empty_like(tensor, device="meta")
        for name, tensor in (*model.named_parameters(), *model.named_buffers())
    }
    try:
        with torch.no_grad():
            try:
                functional_call(model, state, tuple(torch.empty_like(tensor, device="meta") for tensor in inputs))
            except Exception:  # noqa: BLE001  # a stranger's code may make tensors on the CPU, or look at values
                model(*(tensor.clone() for tensor in inputs))
    finally:
        for hook in hooks:
            hook.remove()
    return shapes


def named_modules(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """All modules with their names, outer ones first; the model itself has the empty name."""
    return list(model.named_modules())  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]


def replacing(kind: type[M], make: Callable[[M, tuple[int, ...]], nn.Module | None]) -> Rewrite:
    """The rewrite that replaces every module of one class.

    Args:
        make: the new module from the old one and its input shape (empty: it takes no tensor); None keeps the old one.
    """

    def rewrite(model: nn.Module, shapes: Shapes) -> bool:
        def replacement(name: str, module: nn.Module) -> nn.Module | None:
            return make(module, shapes.get(name, ())) if isinstance(module, kind) else None

        return replace_modules(model, replacement)

    return rewrite


def replace_modules(model: nn.Module, make: Callable[[str, nn.Module], nn.Module | None]) -> bool:
    """Replace modules below ``model``, outermost first; whether any was replaced.

    Args:
        make: the new module, of the old one and its name; None keeps it, and goes on with its parts.
    """
    replaced: list[str] = []
    for name, module in named_modules(model):
        if not name or any(name.startswith(f"{outer}.") for outer in replaced):
            continue
        new = make(name, module)
        if new is not None:
            model.set_submodule(name, new.eval())
            replaced.append(name)
    return bool(replaced)


def folded(layer: ConvLayer) -> tuple[Tensor, Tensor]:
    """Kernel and bias of the convolution that a layer's convolution and batch norm are together."""
    return folded_pair(layer.conv, layer.norm)


def folded_pair(conv: nn.Conv2d, norm: nn.BatchNorm2d | None) -> tuple[Tensor, Tensor]:
    """Kernel and bias of the convolution that a convolution and the batch norm after it are together.

    Source: Ioffe and Szegedy, https://arxiv.org/abs/1502.03167, section 3.1; computed in double precision.
    """
    weight = conv.weight.detach().double()
    bias = torch.zeros(weight.shape[0], dtype=torch.double)
    if conv.bias is not None:
        bias = conv.bias.detach().double()
    if norm is not None:
        mean, variance = norm.running_mean, norm.running_var
        if mean is None or variance is None:
            msg = "a batch norm without running statistics cannot be folded"
            raise ValueError(msg)
        scale = norm.weight.detach().double() / torch.sqrt(variance.double() + norm.eps)
        weight = weight * scale.reshape(-1, 1, 1, 1)
        bias = (bias - mean.double()) * scale + norm.bias.detach().double()
    return weight, bias


def convolution(
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    groups: int = 1,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
) -> nn.Conv2d:
    """A convolution with these constants in float32, ready to run."""
    out, per_group, height, width = weight.shape
    layer = nn.Conv2d(
        per_group * groups,
        out,
        (height, width),
        stride=stride,
        padding=padding,
        groups=groups,
        bias=bias is not None,
        device="meta",
    )
    layer.weight = nn.Parameter(weight.float().contiguous(), requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias.float().contiguous(), requires_grad=False)
    return layer.eval()
