"""What there is by name: models, targets and report formats; and the one function that imports a leaf.

A module is a plug-in and a row is its registration, in `model_table`, `target_table` or here. Other packages add rows
through the entry points ``vitdeploy.models`` and ``vitdeploy.targets`` (each names a `ModelSpec` or a `Target`).
"""

import importlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from importlib.metadata import entry_points
from typing import Any, Final, TypeVar

from vitdeploy.catalog.model_table import MODELS, attention_module
from vitdeploy.catalog.spec import Attention, ModelSpec, Size, Target, is_user_model
from vitdeploy.catalog.target_table import TARGETS
from vitdeploy.catalog.variant import RANDOM, Variant
from vitdeploy.errors import Impossible, UsageError, unknown_name

T = TypeVar("T")

FORMATS: Final[Mapping[str, str]] = {
    "html": "vitdeploy.reports.as_html",
    "markdown": "vitdeploy.reports.as_markdown",
    "github": "vitdeploy.reports.as_github",
    "json": "vitdeploy.reports.as_json",
    "csv": "vitdeploy.reports.as_csv",
    "junit": "vitdeploy.reports.as_junit",
    "benchmark-action": "vitdeploy.reports.as_benchmark_action",
    "bencher": "vitdeploy.reports.as_bencher",
    "history": "vitdeploy.reports.as_history",
}
"""Report format → the module whose ``render`` makes it: of a `Report`, and for ``history`` of a `History`."""

DEVICE_PROOF: Final = "vitdeploy.exporters.proof_on_device:runner"
"""What runs a file for its proof on another device."""


@cache
def models() -> Mapping[str, ModelSpec]:
    """All models, ours and those of installed plug-ins."""
    return {spec.name: spec for spec in (*MODELS, *_plugged("vitdeploy.models", ModelSpec))}


@cache
def targets() -> Mapping[str, Target]:
    """All targets, ours and those of installed plug-ins."""
    return {target.name: target for target in (*TARGETS, *_plugged("vitdeploy.targets", Target))}


@cache
def _parts() -> Mapping[str, ModelSpec]:
    """The rows of parts, by ``MODEL.PART``."""
    return {part.name: part for spec in models().values() for part in spec.parts}


def find_model(name: str, part: str | None = None, size: Size | None = None) -> ModelSpec:
    """The row of a model, or of a part: ``MODEL.PART``, or both apart as a manifest has them.

    Args:
        size: the one that is asked for, which a user model may be the only one to take.

    Raises:
        UsageError: an unknown name; the nearest ones are offered.
    """
    if is_user_model(name):
        from vitdeploy.catalog import user_models

        return user_models.find(name, size)
    full_name = f"{name}.{part}" if part else name
    if (module := attention_module(full_name)) is not None:
        return module
    spec = models().get(full_name) or _parts().get(full_name)
    if spec is None and full_name in targets():
        raise UsageError(f"{full_name} is a target, not a model", f"Give it as --target {full_name}.")
    if spec is None:
        raise unknown_name("model", full_name, (*models(), *_parts()), "vitdeploy models")
    return spec


def exported_models(name: str, size: Size | None = None) -> tuple[ModelSpec, ...]:
    """The rows that a name stands for where files are made: a model's parts, or itself.

    Raises:
        UsageError: an unknown name; the nearest ones are offered.
    """
    spec = find_model(name, size=size)
    return spec.parts or (spec,)


def notes(names: Iterable[str]) -> list[str]:
    """What has to be said wherever figures of these models stand, once: whose design it is, and the like."""
    by_note: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        spec = models().get(name)
        if spec is not None and spec.note is not None:
            by_note.setdefault(spec.note, []).append(name)
    return [f"{', '.join(named)}: {note}." for note, named in by_note.items()]


def find_target(name: str) -> Target:
    """The target's row; an unknown name is a `UsageError` with the nearest ones."""
    if name not in targets():
        raise unknown_name("target", name, targets(), "vitdeploy targets")
    return targets()[name]


def find_format(name: str) -> str:
    """The report format's module; an unknown name is a `UsageError` with the nearest ones."""
    if name not in FORMATS:
        raise unknown_name("report format", name, FORMATS, "vitdeploy report --help")
    return FORMATS[name]


def load(reference: str) -> Any:
    """Import ``module`` or ``module:attribute``: the only place where a leaf is imported by name."""
    module, _, attribute = reference.partition(":")
    loaded = importlib.import_module(module)
    return getattr(loaded, attribute) if attribute else loaded


def attention_of(spec: ModelSpec, attention: str | None) -> Attention:
    """The attention that was asked for; None: the model's first.

    Raises:
        Impossible: the model does not have it.
    """
    for offered in spec.attentions:
        if attention in (None, offered):
            return offered
    if spec.attentions == ("own",):
        raise Impossible(f"the attention of {spec.name} is its own, not {attention}", "Leave --attention out.")
    raise Impossible(f"{spec.name} has no {attention} attention", f"It can have {' or '.join(spec.attentions)}.")


def row_of_weights(spec: ModelSpec, keys: Iterable[str]) -> ModelSpec:
    """The row of a model as a checkpoint with these keys has it: of the variant that was released."""
    if spec.weight_variant is None:
        return spec
    return replace(spec, variant=load(spec.weight_variant)(spec.variant, keys))


def module_of(spec: ModelSpec, attention: str) -> Any:
    """What the builder of a model returns; only those of models with a choice take an attention."""
    options = {} if spec.attentions == ("own",) else {"attention": attention}
    return load(spec.builder)(spec.variant, **options)


def variant_of(
    spec: ModelSpec, target: str, *, size: Size | None = None, attention: str | None = None, **options: Any
) -> Variant:
    """The variant of a model at a target, without a checkpoint; None: the model's own size and first attention.

    Args:
        options: further fields of `Variant`.

    Raises:
        Impossible: the model does not have that attention.
    """
    return Variant(
        model=spec.whole,
        part=spec.part,
        target=target,
        size=size or spec.size,
        attention=attention_of(spec, attention),
        weights=f"sha256:{spec.user_weights}" if spec.user_weights else RANDOM,
        **options,
    )


LARGEST_SIDE = 16384
"""Longer sides are refused before any memory is asked for: one fp32 image of that size is 3 GiB."""


def parse_size(text: str) -> Size:
    """``HxW`` (or one number for a square) as a size.

    Raises:
        UsageError: not two positive whole numbers.
    """
    parts = text.lower().split("x")
    if len(parts) not in (1, 2) or not all(p.isascii() and p.isdigit() and int(p) > 0 for p in parts):
        raise UsageError(f"size {text!r} is not two positive whole numbers", "Write it as HxW, e.g. 512x1024.")
    return int(parts[0]), int(parts[-1])


def check_size(spec: ModelSpec, size: Size) -> None:
    """Raise `Impossible`, naming the nearest sizes, for a size the model cannot take."""
    step = spec.size_multiple
    if max(size) > LARGEST_SIDE:
        raise Impossible(f"size {size[0]}x{size[1]} is beyond {LARGEST_SIDE} pixels a side", "Choose a smaller size.")
    if min(size) < spec.least_side:
        least = -(-spec.least_side // step) * step
        raise Impossible(
            f"{spec.name} takes no side below {spec.least_side} pixels, and {size[0]}x{size[1]} has one",
            f"Use {'x'.join(str(max(least, -(-side // step) * step)) for side in size)}.",
        )
    if spec.sizes and size not in spec.sizes:
        near = sorted(spec.sizes, key=lambda other: (abs(other[0] - size[0]) + abs(other[1] - size[1]), other))[:2]
        raise Impossible(
            f"{spec.name} takes {' or '.join(f'{h}x{w}' for h, w in spec.sizes)}, not {size[0]}x{size[1]}",
            f"Use {' or '.join(f'{h}x{w}' for h, w in near)}.",
        )
    if all(side % step == 0 for side in size):
        return
    below = tuple(max(step, side // step * step) for side in size)
    above = tuple(-(-side // step) * step for side in size)
    nearest = " or ".join(dict.fromkeys(f"{h}x{w}" for h, w in (below, above)))
    raise Impossible(
        f"{spec.name} takes heights and widths that are multiples of {step}, not {size[0]}x{size[1]}", f"Use {nearest}."
    )


def _plugged(group: str, kind: type[T]) -> Iterator[T]:
    for point in entry_points(group=group):
        row = point.load()
        if not isinstance(row, kind):
            msg = f"entry point {point.name} of {group} is a {type(row).__name__}, not a {kind.__name__}"
            raise TypeError(msg)
        yield row
