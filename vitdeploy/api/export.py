"""`export`: models become files that are checked against the fp32 torch reference."""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from vitdeploy.api.devices import reachable
from vitdeploy.artifacts.manifest import Artifact
from vitdeploy.catalog import registry
from vitdeploy.catalog.spec import Attention, Converter, Head, Io
from vitdeploy.catalog.variant import Variant
from vitdeploy.errors import Impossible, UsageError, VitdeployError
from vitdeploy.processes.progress import Progress, silent

if TYPE_CHECKING:
    import torch

    from vitdeploy.exporters.planning import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """What `export` is asked for, beside the models; texts are checked when it is planned."""

    target: str
    size: str | None = None
    batch: int = 1
    weights: Path | None = None
    weights_sha256: str | None = None
    """Digest of ``weights``, where the caller has read them already."""
    attention: str | None = None
    """None: the first that each model has."""
    head: str = "logits"
    io: str = "fp32"
    converter: str | None = None
    without: tuple[str, ...] = ()
    compute_capability: str | None = None
    device: str | None = None
    out: Path = Path("artifacts")
    force: bool = False

    @classmethod
    def of(cls, variant: Variant, **options: Any) -> "ExportRequest":
        """The order for a variant of the model `Variant.full_model`, under its default weights."""
        return cls(
            target=variant.target,
            size=variant.size_words,
            batch=variant.batch,
            attention=variant.attention,
            head=variant.head,
            io=variant.io,
            **options,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportResult:
    """What became of one model: an artifact, an error, or both (a file that failed parity)."""

    model: str
    target: str
    artifact: Artifact | None
    error: VitdeployError | None
    reused: bool
    seconds: float


def create_model(
    name: str, *, attention: Attention = "relu", weights: Path | str | None = None, seed: int = 0
) -> "torch.nn.Module":
    """The model as published, in eval mode, with official state-dict keys.

    Args:
        weights: an official or timm checkpoint; None: deterministic random weights from ``seed``.

    Raises:
        UsageError: no such model.
        UnreadableFile: the checkpoint is broken or does not fit.
    """
    spec = registry.find_model(name)
    asked = None if attention == "relu" else attention  # the default, which means its own to a model that has no other
    return registry.load("vitdeploy.models.create:create")(spec, attention=asked, weights=weights, seed=seed)


def export_plan(names: Sequence[str], order: ExportRequest) -> list[str]:
    """What `export` would do, one step a line."""
    from vitdeploy.exporters import planning

    return [line for plan in _plans(names, order) for line in planning.describe(plan)]


def export(names: Sequence[str], order: ExportRequest, *, progress: Progress = silent) -> list[ExportResult]:
    """Make the artifacts; one model's failure does not stop the others.

    Raises:
        VitdeployError: what is wrong before any work: names, values, packages, a place that cannot be written.
    """
    from vitdeploy.artifacts.store import Store
    from vitdeploy.exporters import pipeline, planning

    plans = _plans(names, order)
    store = Store()
    planning.prepare(plans, store)
    rows: list[ExportResult] = []
    for plan in plans:
        started = time.monotonic()
        made: Artifact | None = None
        error: VitdeployError | None = None
        reused = False
        try:
            outcome = pipeline.export(plan, store, progress=progress)
            made, reused = outcome.artifact, outcome.reused
            error = outcome.error
            if error is None and made.manifest.state == "deferred" and order.device is not None:
                made = _built_on(order, made, progress)
        except VitdeployError as failure:
            error = failure
        rows.append(
            ExportResult(
                model=plan.variant.full_model,
                target=plan.variant.target,
                artifact=made,
                error=error,
                reused=reused,
                seconds=time.monotonic() - started,
            )
        )
    if len(rows) == 1 and rows[0].error is not None and rows[0].artifact is None:
        raise rows[0].error
    return rows


def _built_on(order: ExportRequest, made: Artifact, progress: Progress) -> Artifact:
    """The engine of a deferred artifact, built on the device that was named."""
    from vitdeploy.devices import device_facts
    from vitdeploy.exporters.engines import remote_build

    named = reachable(order.device or "local")
    found = device_facts.facts_of(named)
    remote_build.needs_build(named, found, made)
    return remote_build.build(made, named, facts=found, progress=progress, force=order.force)


def _plans(names: Sequence[str], order: ExportRequest) -> "list[Plan]":
    """One checked export plan a model."""
    from vitdeploy.devices import inventory
    from vitdeploy.exporters import planning

    target = registry.find_target(order.target)
    if order.device is not None:
        device = inventory.find(order.device)
        if target.file == "model.engine" and target.name not in device.targets:
            raise Impossible(f"{target.name} does not run on {device.name}", f"It takes {', '.join(device.targets)}.")
        if target.unavailable is None:
            reachable(order.device)
    specs = [spec for name in names for spec in registry.exported_models(name)]
    if order.weights is not None and (meant := len({spec.whole for spec in specs})) != 1:
        raise UsageError(f"--weights fits one model, and {meant} are meant", "Name one model.")
    if order.batch < 1:
        raise UsageError(f"--batch {order.batch} is not a positive whole number", "Use --batch 1 or more.")
    if order.attention is not None:
        _choice("attention", order.attention, get_args(Attention))
    if order.converter is not None:
        _choice("converter", order.converter, get_args(Converter))
        if target.file != "model.tflite":
            raise Impossible(f"--converter chooses between TFLite converters; {target.name} has none", "Leave it out.")
    size = registry.parse_size(order.size) if order.size else None
    options: dict[str, Any] = {
        "batch": order.batch,
        "head": _choice("head", order.head, get_args(Head)),
        "io": _choice("io", order.io, get_args(Io)),
        "converter": order.converter,
        "compute_capability": _capabilities(order.compute_capability),
        "without": order.without,
    }
    requests = [
        planning.ArtifactRequest(
            variant=registry.variant_of(spec, target.name, size=size, attention=order.attention, **options),
            weights=order.weights,
            weights_sha256=order.weights_sha256,
            out=order.out,
            force=order.force,
            device=order.device,
        )
        for spec in specs
    ]
    return planning.plans(requests)


def _capabilities(text: str | None) -> tuple[str, ...]:
    """``8.0`` or ``8.0,8.6``."""
    found = tuple(dict.fromkeys(word.strip() for word in text.split(","))) if text else ()
    for one in found:
        if not re.fullmatch(r"\d{1,2}\.\d", one):
            raise UsageError(f"--compute-capability {one!r} is none", "Use one like 8.0, or several: 8.0,8.6.")
    return found


def _choice(what: str, value: str, allowed: Sequence[str]) -> Any:
    if value not in allowed:
        raise UsageError(f"--{what} {value!r} is not one of {', '.join(allowed)}", f"Use --{what} {allowed[0]}.")
    return value
