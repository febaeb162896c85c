"""From a row of the model table to a module ready to run; and how large and how costly it is."""

from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from vitdeploy.catalog import graph_io, registry
from vitdeploy.catalog.spec import Attention, ModelSpec, is_user_model
from vitdeploy.models.state_dicts import StateDictChoice
from vitdeploy.models.weights import fit_under_any_prefix, open_checkpoint, seeded


@runtime_checkable
class Counted(Protocol):
    """A module whose numbers are not PyTorch's, so that it counts itself."""

    def parameter_count(self) -> int:
        """As `count_parameters`."""
        ...

    def macs(self, shape: tuple[int, ...]) -> int | None:
        """As `count_macs`, for one image of ``shape``."""
        ...


def create(spec: ModelSpec, **options: Any) -> nn.Module:
    """The model of `create_with_choice`."""
    return create_with_choice(spec, **options)[0]


def create_with_choice(
    spec: ModelSpec,
    *,
    attention: Attention | None = None,
    weights: Path | str | None = None,
    weights_key: str | None = None,
    seed: int = 0,
) -> tuple[nn.Module, StateDictChoice | None]:
    """The model of ``spec`` in eval mode, in float32 on the CPU, without gradients; and what was taken of ``weights``.

    ``attention`` None is the first that the model has. ``weights`` is a checkpoint file; without one the weights are
    random, and depend on ``seed`` alone. ``weights_key`` names one of the state dicts in it; None: the averaged one,
    else the raw one.

    Raises:
        Impossible: the model has no such attention.
        UsageError: the checkpoint has no such state dict.
        UnreadableFile: the checkpoint is no good, or belongs to another model.
    """
    if is_user_model(spec.name):
        return _user_model(spec, weights, weights_key, seed)
    chosen = registry.attention_of(spec, attention)
    checkpoint = None if weights is None else open_checkpoint(weights, weights_key)
    if checkpoint is not None:
        spec = registry.row_of_weights(spec, checkpoint.tensors)
    # On the meta device nothing is allocated or initialized only to be overwritten.
    with torch.device("meta"):
        module: nn.Module = registry.module_of(spec, chosen)
    choice: StateDictChoice | None = None
    if weights is None or checkpoint is None:
        state = seeded(module, seed)
    else:
        choice = checkpoint.choice
        complete = fit_under_any_prefix(
            checkpoint.tensors,
            _whole_model(spec, module, chosen),
            tensors=registry.load(spec.weight_tensors) if spec.weight_tensors else None,
            rename=registry.load(spec.weight_names) if spec.weight_names else None,
            path=_chosen(weights, choice),
            model=spec.whole,
        )
        state = {key: complete[key] for key in module.state_dict()}
    module.load_state_dict(state, strict=True, assign=True)
    unset = [name for name, tensor in (*module.named_parameters(), *module.named_buffers()) if tensor.is_meta]
    if unset:
        msg = f"{spec.builder} makes tensors that no state dict fills: {', '.join(unset)}"
        raise RuntimeError(msg)
    return module.eval().requires_grad_(False), choice


def _whole_model(spec: ModelSpec, module: nn.Module, attention: Attention) -> nn.Module:
    """The model that a checkpoint must fit: of a part, all of it."""
    if spec.part is None:
        return module
    whole = registry.find_model(spec.whole)
    with torch.device("meta"):
        return registry.module_of(whole, attention)


def unfilled(spec: ModelSpec) -> tuple[nn.Module, tuple[tuple[int, ...], ...]]:
    """The model without numbers, and the shapes of its inputs at its published size: enough to count."""
    shapes = tuple(tensor.shape for tensor in graph_io.inputs(spec, size=spec.size, batch=1))
    if is_user_model(spec.name):
        module: nn.Module = registry.load(spec.builder)(spec.variant)
    else:
        with torch.device("meta"):
            module = registry.module_of(spec, registry.attention_of(spec, None))
    return module.eval(), shapes


def _user_model(
    spec: ModelSpec, weights: Path | str | None, weights_key: str | None, seed: int
) -> tuple[nn.Module, StateDictChoice | None]:
    """A user model: with its own weights, with those of a file, or seeded where it has none."""
    module: nn.Module = registry.load(spec.builder)(spec.variant)
    inner = getattr(module, "model", module)
    choice: StateDictChoice | None = None
    if weights is not None:
        checkpoint = open_checkpoint(weights, weights_key)
        choice = checkpoint.choice
        path = _chosen(weights, choice)
        inner.load_state_dict(fit_under_any_prefix(checkpoint.tensors, inner, path=path, model=spec.name))
    elif spec.user_weights is None:
        inner.load_state_dict(seeded(inner, seed))
    return module.eval().requires_grad_(False), choice


def _chosen(weights: Path | str, choice: StateDictChoice) -> str:
    """A checkpoint for messages: with the state dict that was taken of it, where there are several."""
    return f"{weights} ({choice.words})" if choice.words else str(weights)


def count_parameters(module: nn.Module) -> int:
    """How many numbers training would change; running statistics of norms are none of them."""
    if isinstance(module, Counted):
        return module.parameter_count()
    return sum(parameter.numel() for parameter in module.parameters())


def count_macs(module: nn.Module, *input_shapes: tuple[int, ...]) -> int | None:
    """Multiply-accumulates of one call on such inputs: convolutions, linear layers and the matmuls of attention.

    The call runs on meta tensors: nothing is computed. A module that makes tensors of its own, or looks at values, is
    run on zeros instead; None: it does not run on those either, and nobody knows.
    """
    if isinstance(module, Counted):
        return module.macs(input_shapes[0])
    state = {
        name: torch.empty_like(tensor, device="meta")
        for name, tensor in (*module.named_parameters(), *module.named_buffers())
    }
    try:
        return _flops_of(module, state, [torch.empty(shape, device="meta") for shape in input_shapes]) // 2
    except Exception:  # noqa: BLE001  # a stranger's code can raise anything at all; the figure is not worth an export
        try:
            return _flops_of(module, {}, [torch.zeros(shape) for shape in input_shapes]) // 2
        except Exception:  # noqa: BLE001
            return None


def _flops_of(module: nn.Module, state: dict[str, torch.Tensor], inputs: list[torch.Tensor]) -> int:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        functional_call(module, state, tuple(inputs))
    return counter.get_total_flops()
