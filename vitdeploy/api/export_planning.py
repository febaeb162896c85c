"""The options of `export` become one checked plan a model; what one of several models cannot have refuses it alone."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast, get_args

from vitdeploy.api import official_weights
from vitdeploy.api.devices import reachable
from vitdeploy.api.export_request import PREPROCESSING, ExportRequest
from vitdeploy.catalog import preprocessing, registry, rewrite_table
from vitdeploy.catalog.spec import Attention, Converter, Cpu, Head, Io, ModelSpec, Size, Target
from vitdeploy.devices import inventory
from vitdeploy.errors import Impossible, UsageError, VitdeployError
from vitdeploy.exporters import planning
from vitdeploy.exporters.planning import Plan
from vitdeploy.models import official

UNKNOWN_DIGEST = "0" * 64
"""Stands in a plan for the digest of a checkpoint that is not read yet and of which none is published."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A model that is not exported, and why; the others are."""

    model: str
    error: VitdeployError


def plans(names: Sequence[str], request: ExportRequest) -> list[Plan | Refused]:
    """One checked export plan a model; what one of several models cannot have refuses that model alone.

    Raises:
        UsageError: an unknown name, or a value that means nothing.
        VitdeployError: why none of the models can be exported, where that is the same for all.
    """
    target = registry.find_target(request.target)
    if request.device is not None:
        device = inventory.find(request.device)
        if target.file == "model.engine" and target.name not in device.targets:
            raise Impossible(f"{target.name} does not run on {device.name}", f"It takes {', '.join(device.targets)}.")
        if target.unavailable is None:
            reachable(request.device)
    size = registry.parse_size(request.size) if request.size else None
    specs = [spec for name in names for spec in _specs(name, size)]
    known = [spec for spec in specs if not isinstance(spec, Refused)]
    if not known and len(specs) == 1 and isinstance(specs[0], Refused):
        raise specs[0].error
    official_weights.check_file(request.weights, {spec.whole for spec in known})
    if request.weights_key is not None and request.weights is None:
        raise UsageError("--weights-key names a state dict of a checkpoint, and none is given", "Give --weights FILE.")
    if request.batch < 1:
        raise UsageError(f"--batch {request.batch} is not a positive whole number", "Use --batch 1 or more.")
    if request.attention is not None:
        _choice("attention", request.attention, get_args(Attention))
    if request.converter is not None:
        _choice("converter", request.converter, get_args(Converter))
        if target.file != "model.tflite":
            raise Impossible(f"--converter chooses between TFLite converters; {target.name} has none", "Leave it out.")
    if request.cpu is not None:
        _choice("cpu", request.cpu, get_args(Cpu))
    if request.tune and not rewrite_table.depends_on_cpu(target):
        raise UsageError(f"--tune means nothing for {target.name}: no rewrite of it is a choice", "Leave --tune out.")
    options: dict[str, Any] = {
        "batch": request.batch,
        "head": _choice("head", request.head, get_args(Head)),
        "io": _choice("io", request.io, get_args(Io)),
        "converter": request.converter,
        "compute_capability": _capabilities(request.compute_capability),
        "without": request.without,
        "weights_key": request.weights_key,
    }
    given = preprocessing.options(**{name: getattr(request, name) for name in PREPROCESSING})
    requests = [
        spec if isinstance(spec, Refused) else _checked(spec, target, size, given, options, request) for spec in specs
    ]
    errors = [entry.error for entry in requests if isinstance(entry, Refused)]
    if errors and len(errors) == len(requests) and len({error.message for error in errors}) == 1:
        raise errors[0]
    made = iter(planning.plans([entry for entry in requests if not isinstance(entry, Refused)]))
    return [entry if isinstance(entry, Refused) else next(made) for entry in requests]


def _specs(name: str, size: Size | None) -> Sequence[ModelSpec | Refused]:
    """The rows that a name stands for; a user's own model that cannot be read is refused."""
    try:
        return registry.exported_models(name, size)
    except UsageError:
        raise
    except VitdeployError as error:
        return (Refused(model=name, error=error),)


def _checked(
    spec: ModelSpec,
    target: Target,
    size: Size | None,
    given: preprocessing.PreprocessingOptions,
    options: Mapping[str, Any],
    request: ExportRequest,
) -> planning.ArtifactRequest | Refused:
    """The request for one model, or why the model cannot have it."""
    try:
        artifact = planning.ArtifactRequest(
            variant=registry.variant_of(
                spec,
                target.name,
                size=size,
                attention=request.attention,
                preprocessing=given.over(spec.preprocessing),
                **options,
            ),
            **_weights(spec, size, request),
            out=request.out,
            force=request.force,
            device=request.device,
            cpu=cast("Cpu | None", request.cpu),
        )
        planning.check(artifact)
    except Impossible as error:
        return Refused(model=spec.name, error=error)
    return artifact


def _weights(spec: ModelSpec, size: Size | None, request: ExportRequest) -> dict[str, Any]:
    """The fields of an artifact's request that say which weights it has.

    Raises:
        Impossible: no official checkpoint of the model is known, or its licence has to be accepted.
    """
    if not official.is_official(request.weights):
        return {"weights": request.weights, "weights_sha256": request.weights_sha256}
    checkpoint = official.choose(spec, size, accept_licence=request.accept_licence)
    return {
        "checkpoint": checkpoint,
        "weights": official.planned_path(checkpoint),
        "weights_sha256": checkpoint.sha256 or UNKNOWN_DIGEST,
        "weights_words": official.words(checkpoint),
    }


def _capabilities(text: str | None) -> tuple[str, ...]:
    """``8.0`` or ``8.0,8.6``."""
    words = tuple(dict.fromkeys(word.strip() for word in text.split(","))) if text else ()
    for word in words:
        if not re.fullmatch(r"\d{1,2}\.\d", word):
            raise UsageError(
                f"--compute-capability {word!r} is not a valid value", "Use one like 8.0, or several: 8.0,8.6."
            )
    return words


def _choice(what: str, value: str, allowed: Sequence[str]) -> Any:
    if value not in allowed:
        raise UsageError(f"--{what} {value!r} is not one of {', '.join(allowed)}", f"Use --{what} {allowed[0]}.")
    return value
