"""Which state dict of a training checkpoint is taken: averaged weights before raw ones, or the one that is named."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from torch import Tensor

from vitdeploy.errors import UnreadableFile, UsageError, unknown_name

Entries = Mapping[Any, Any]

WRAPPERS: Final = (
    "state_dict",
    "params",
    "model",
    "model_state_dict",
    "model_state",
    "net",
    "network",
    "module",
    "weights",
    "generator",
)
"""Keys under which training scripts store the raw state dict, the first that is there.

Source: the official EfficientViT checkpoints; BasicSR, https://github.com/XPixelGroup/BasicSR; MMEngine; SegNeXt; timm.
"""

AVERAGED: Final = re.compile(r"(^|[_.\-])(ema|swa|avg|averaged?|shadow)([_.\-]|\d|$)")
"""In the name of averaged weights. Source: timm (``state_dict_ema``), DeiT and ConvNeXt (``model_ema``), EfficientViT
(``ema: {decay: …}``), BasicSR (``params_ema``), MMEngine (``ema_state_dict``)."""

NO_WEIGHTS: Final = re.compile(
    r"^opt|optim|sched|scaler|hyper|callback|config|^args$|loss|criterion|metric|^amp$|grad|moment|exp_avg"
)
"""In the name of what else a training checkpoint holds."""

SWAPPED: Final = "ema_state_dict"
"""Where MMEngine keeps the raw weights: before it saves, it swaps the averaged ones into ``state_dict``, and leaves the
``steps`` and the prefix of its average. Source: ``EMAHook._swap_ema_state_dict``, mmengine/hooks/ema_hook.py."""

_STEPS: Final = "steps"
"""How many times MMEngine averaged: a buffer in `SWAPPED`."""

_DEEPEST: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class StateDictChoice:
    """One of the state dicts of a checkpoint, and the names of the others."""

    entries: Entries
    key: str | None
    """Its name: the keys to it, joined by dots; None: it is the whole file."""
    others: tuple[str, ...] = ()
    swapped: bool = False
    """It is MMEngine's, whose averaged weights are under the other name."""

    @property
    def words(self) -> str | None:
        """What was chosen and what was not; None where there was no choice."""
        if not self.others:
            return None
        averaged = AVERAGED.search((self.key or "").lower()) if not self.swapped else self.key != SWAPPED
        kind = "the averaged weights" if averaged else "the weights"
        return f"takes {kind}, {self.key}, not {' or '.join(self.others)}; --weights-key chooses"


def choose(content: Entries, key: str | None, path: str) -> StateDictChoice:
    """The state dict ``key`` of a checkpoint; None: the averaged one, else the raw one.

    Raises:
        UsageError: it has none of that name.
        UnreadableFile: several state dicts, of which none is the obvious one.
    """
    named = _state_dicts(content, "", 0)
    swapped = _is_swapped(named)
    if swapped:
        named[SWAPPED] = {name: tensor for name, tensor in named[SWAPPED].items() if name != _STEPS}
    if key is not None:
        if key not in named:
            if not any(named):
                raise UsageError(f"{path} is one state dict, so it has no key {key!r}", "Leave --weights-key out.")
            error = unknown_name("state dict", key, named, "")
            raise UsageError(f"{path} has no state dict {key!r}", _offer(error.hint, list(named)))
        return StateDictChoice(entries=named[key], key=key, others=_without(named, key), swapped=swapped)
    if not named:
        wrapped = [content[name] for name in WRAPPERS if isinstance(content.get(name), Mapping)]
        return StateDictChoice(entries=next(iter(wrapped), content), key=None)
    averaged = ["state_dict"] if swapped else [name for name in named if AVERAGED.search(name.lower())]
    raw = [name for name in named if name not in averaged]
    usual = [name for wrapper in WRAPPERS for name in raw if name.partition(".")[0] == wrapper]
    chosen = next(iter(averaged or usual or raw))
    if not averaged and not usual and len(raw) > 1:
        raise UnreadableFile(
            f"checkpoint {path} holds {len(raw)} state dicts ({', '.join(raw)})", "Name one with --weights-key."
        )
    others = (*_without(named, chosen), *_unnamed_averages(content, "", 0))
    return StateDictChoice(entries=named[chosen], key=chosen or None, others=others, swapped=swapped)


def _is_swapped(named: Mapping[str, Entries]) -> bool:
    """Whether it is a checkpoint of MMEngine, which has the averaged weights where others have the raw ones."""
    keys = named.get(SWAPPED, {}).keys()
    return "state_dict" in named and _STEPS in keys and all(str(key).startswith("module.") for key in keys - {_STEPS})


def _unnamed_averages(content: Entries, name: str, depth: int) -> tuple[str, ...]:
    """Averaged weights that are a list without names, which cannot be taken."""
    lists: list[str] = []
    for key, value in content.items():
        inner = f"{name}.{key}" if name else str(key)
        if isinstance(value, Mapping) and depth < _DEEPEST and not NO_WEIGHTS.search(str(key).lower()):
            lists += _unnamed_averages(cast("Entries", value), inner, depth + 1)
        elif isinstance(value, list | tuple) and AVERAGED.search(inner.lower()):
            tensors = cast("Sequence[Any]", value)
            if tensors and all(isinstance(tensor, Tensor) for tensor in tensors):
                lists.append(f"{inner} (a list without names, which cannot be taken)")
    return tuple(lists)


def _offer(hint: str, names: Sequence[str]) -> str:
    near = hint.partition("?")[0] + "? " if hint.startswith("Did you mean") else ""
    return f"{near}There are {', '.join(names)}."


def _without(named: Mapping[str, Entries], key: str) -> tuple[str, ...]:
    return tuple(name for name in named if name != key)


def _state_dicts(content: Entries, name: str, depth: int) -> dict[str, Entries]:
    """The state dicts in a mapping, by the keys to them joined by dots; the mapping itself is called ``name``."""
    nested: dict[str, Entries] = {}
    for key, value in content.items():
        if isinstance(value, Mapping) and depth < _DEEPEST and not NO_WEIGHTS.search(str(key).lower()):
            inner = f"{name}.{key}" if name else str(key)
            nested |= _state_dicts(cast("Entries", value), inner, depth + 1)
    tensors = sum(isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items())
    if tensors and tensors > max((len(entries) for entries in nested.values()), default=0):
        return _side_by_side(content) or {name: content}
    return nested


def _side_by_side(content: Entries) -> dict[str, Entries]:
    """The state dicts in one whose keys are ``model.…`` and ``ema_model.…``; empty: it is no such one."""
    groups: dict[str, dict[str, Any]] = {}
    for key, value in content.items():
        group, _, rest = str(key).partition(".")
        groups.setdefault(group, {})[rest] = value
    averaged = [group for group in groups if AVERAGED.search(group.lower())]
    copies = {group for name in averaged for group in groups if groups[group].keys() == groups[name].keys()}
    if not averaged or len(copies) < 2 or "" in next(iter(groups[name] for name in averaged)):
        return {}
    return {group: groups[group] for group in groups if group in copies}
