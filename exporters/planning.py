"""What a user asked for and the steps to it: refused where it cannot be, each under a digest of what it depends on."""

import hashlib
import json
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Final

from vitdeploy import artifact, catalog, documents, gpu, import_graph, own_models, packages
from vitdeploy.errors import Impossible, unknown_name
from vitdeploy.exporters import interpreters
from vitdeploy.exporters import job as jobs
from vitdeploy.spec import Attention, Converter, Head, Io, ModelSpec, Size, Target
from vitdeploy.store import Store

STEP: Final = "vitdeploy.exporters.pipeline"
"""What tells a step what to make, and starts its process."""

DEFAULT_CONVERTER: Final = "onnx2tf"

AHEAD_OF_TIME: Final = "trt-rtx-fp16"
"""The target that is compiled for stated compute capabilities, wherever it is built."""

JETSON_ORIN: Final = "8.7"
"""Of a Jetson Orin; that target has no kernels for it. Source: ``tensorrt_rtx.ComputeCapability`` of 1.7."""

NEEDS_LITERT_TORCH: Final = ("litert-torch", "best")
"""Converters that need a package which stands apart, in an interpreter of its own if need be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One artifact that is wanted."""

    spec: ModelSpec
    target: Target
    size: Size
    batch: int
    attention: Attention
    weights: Path | None
    head: Head
    io: Io
    without: tuple[str, ...]
    out: Path
    converter: Converter | None = None
    """For targets that have several; None: the default one."""
    force: bool = False
    device: str | None = None
    compute_capability: tuple[str, ...] = ()
    """What an engine is built for ahead of time; empty: all that the builder can."""
    weights_sha256: str | None = None
    """Digest of ``weights``, where a caller has read them already; None: they are read when the plan is made."""

    @property
    def words(self) -> str:
        """For progress and plans: ``efficientvit_b1 onnx-fp32 224x224``."""
        return f"{self.spec.name} {self.target.name} {self.size[0]}x{self.size[1]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One target on the way to the one that is wanted."""

    target: Target
    rewrites: tuple[str, ...]
    key: str
    """Digest of everything that changes the bytes of what it makes."""
    deferred: bool = False
    """The device has still to build the file."""

    @property
    def packages(self) -> tuple[str, ...]:
        """What it needs here."""
        return () if self.deferred else (*self.target.export_packages, *self.target.run_packages)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a request comes to. Made once a command, and handed on to whatever describes, prepares or does it."""

    request: Request
    steps: tuple[Step, ...]
    """From the torch module to the target that is wanted."""
    weights_sha256: str | None
    """Digest of the checkpoint; None: there is none."""

    @property
    def key(self) -> str:
        """Under which the store has what is wanted."""
        return self.steps[-1].key

    @property
    def refusal(self) -> Impossible | None:
        """Why the target cannot take the model, whatever is asked; it stops this model and no other."""
        spec, target = self.request.spec, self.request.target
        if target.name not in spec.refused:
            return None
        return Impossible(f"{target.name} cannot take {spec.name}: {spec.refused[target.name]}", "Use another target.")

    @property
    def options(self) -> str:
        """The words of the folder's name for whatever makes another file than the default."""
        request = self.request
        words = [f"w{self.weights_sha256[:8]}"] if self.weights_sha256 else []
        words += [request.head] if request.head != "logits" else []
        words += [request.io] if request.io != "fp32" else []
        words += [request.converter] if request.converter not in (None, DEFAULT_CONVERTER) else []
        words += [f"sm{one.replace('.', '')}" for one in request.compute_capability]
        words += [f"without-{name}" for name in sorted(request.without)]
        return "+".join(words)


def plans(requests: Sequence[Request]) -> list[Plan]:
    """The plan of each request. All are checked before the first checkpoint is read, and each is read once.

    Raises:
        UsageError: a rewrite that the target does not have.
        Impossible: a size or border that the model cannot have, or a target that is not built in this version.
        UnreadableFile: the weights file cannot be read.
    """
    for request in requests:
        _check(request)
    digests = {request.weights: request.weights_sha256 for request in requests if request.weights}
    digests = {path: digest or artifact.digest_of(path) for path, digest in digests.items()}
    return [_plan(request, digests[request.weights] if request.weights else None) for request in requests]


def _check(request: Request) -> None:
    spec, target = request.spec, request.target
    catalog.check_size(spec, request.size)
    for name in request.without:
        if name not in target.rewrites:
            raise unknown_name(f"rewrite of {target.name}", name, target.rewrites, "vitdeploy targets")
    if target.exporter is None:
        raise Impossible(f"{target.name} is {target.unavailable}", "`vitdeploy targets` lists those that can be made.")
    _check_border(request)


def _plan(request: Request, weights_sha256: str | None) -> Plan:
    target = request.target
    chain = [target]
    while (parent := chain[0].parent) is not None:
        chain.insert(0, catalog.find_target(parent))
    steps: list[Step] = []
    for one in chain:
        # A parent's rewrites that the target does not want, because they suit a CPU, are left out on the way.
        rewrites = tuple(name for name in one.rewrites if name in target.rewrites and name not in request.without)
        deferred = _deferred(request, one)
        parent = steps[-1].key if steps else None
        key = _key(request, one, rewrites, parent, weights_sha256=weights_sha256, deferred=deferred)
        steps.append(Step(target=one, rewrites=rewrites, key=key, deferred=deferred))
    return Plan(request=request, steps=tuple(steps), weights_sha256=weights_sha256)


def describe(plan: Plan) -> list[str]:
    """The plan, one line a step."""
    if plan.refusal:
        return [plan.refusal.message]
    request = plan.request
    lines: list[str] = []
    for step in plan.steps:
        named = f" with {', '.join(step.rewrites)}" if step.rewrites else ""
        weights = str(request.weights) if request.weights else "random weights (seed 0)"
        size = f"{request.size[0]}x{request.size[1]}"
        by = f" by {request.converter}" if request.converter else ""
        proof = "proven against torch fp32"
        if step.deferred:
            proof = "left to the device to build"
        elif step.target.name == AHEAD_OF_TIME:
            proof = "built ahead of time, not run"
        lines.append(f"{request.spec.name} {size}, {weights} → {step.target.name}{by}{named}, {proof}")
    return lines


def prepare(plans: Iterable[Plan], store: Store) -> None:
    """Find what would stop the work before any of it is done: missing packages, a place that cannot be written.

    Raises:
        MissingPackage: with all that is missing.
        UnreadableFile: an output folder cannot be written.
    """
    needed: list[str] = []
    apart = False
    for plan in plans:
        request = plan.request
        _check_writable(request.out)
        if plan.refusal is None and (request.force or store.find(plan.key) is None):
            needed += [*request.spec.requires, *(name for step in plan.steps for name in step.packages)]
            apart = apart or request.converter in NEEDS_LITERT_TORCH
    if needed:
        packages.require(needed)
    if apart:
        interpreters.require_litert_torch()


def _check_border(request: Request) -> None:
    """Refuse heads and element types that the target or the model does not have."""
    spec, target = request.spec, request.target
    own_models.check(spec, target.name, weights=request.weights is not None, border=(request.head, request.io))
    for option, value, default in (("head", request.head, "logits"), ("io", request.io, "fp32")):
        if value != default and value not in target.options.get(option, ()):
            raise Impossible(f"{target.name} has no --{option} {value}", f"Use --{option} {default}.")
    if request.converter is not None and request.converter not in target.options.get("converter", ()):
        raise Impossible(f"{target.name} has no --converter {request.converter}", "Leave --converter out.")
    if request.compute_capability and target.name != AHEAD_OF_TIME:
        raise Impossible(
            f"{target.name} is not built ahead of time for a compute capability", f"Use --target {AHEAD_OF_TIME}."
        )
    if JETSON_ORIN in request.compute_capability:
        raise Impossible(
            f"TensorRT for RTX does not build for compute capability {JETSON_ORIN}, a Jetson Orin's",
            "Use --target trt-fp16, whose engine the Orin builds itself.",
        )
    if request.io == "uint8" and spec.part == "decoder":
        raise Impossible(f"{spec.name} takes no picture that could be made of bytes", "Use --io fp32.")
    if request.head == "labels" and spec.task not in ("classification", "segmentation"):
        raise Impossible(f"{spec.name} has no labels: it is for {spec.task}", "Use --head logits.")


def _check_writable(out: Path) -> None:
    """Make the output folder, so that a place that cannot be written is found before the work."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise documents.cannot_write(out, error) from error


def _deferred(request: Request, target: Target) -> bool:
    """Whether a device has to build it: another one is named, or none is and builder or GPU are not here."""
    if not target.deferrable or request.device == "local":
        return False
    if request.device is not None:
        return True
    return gpu.here() is None or bool(packages.missing(target.export_packages))


def _key(
    request: Request,
    target: Target,
    rewrites: Sequence[str],
    parent: str | None,
    *,
    weights_sha256: str | None,
    deferred: bool,
) -> str:
    tools = {name: _version(name) for name in (*jobs.DISTRIBUTIONS, *target.tools)}
    if request.converter in NEEDS_LITERT_TORCH:
        tools[interpreters.LITERT_TORCH] = interpreters.litert_torch_version()
    made_from = {
        "model": request.spec.name,
        "size": request.size,
        "batch": request.batch,
        "attention": request.attention,
        "weights": weights_sha256 or request.spec.own_weights or "random",
        "head": request.head,
        "io": request.io,
        "target": target.name,
        "rewrites": list(rewrites),
        "parent": parent,
        "converter": None if request.converter == DEFAULT_CONVERTER else request.converter,
        "deferred": deferred,
        "compute_capability": request.compute_capability if target.name == AHEAD_OF_TIME else None,
        "gpu": str(gpu.here()) if target.deferrable and not deferred else None,
        "tools": tools,
        "source": _source_digest(request.spec, target),
    }
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _source_digest(spec: ModelSpec, target: Target) -> str:
    """Digest of our own files that decide what a step makes, and how it is proven."""
    whole = spec if spec.part is None else catalog.find_model(spec.whole)
    by_name = [target.exporter, target.proof or target.runtime]
    for row in (whole, *whole.parts):  # a part is proven by means of the others
        by_name += [row.builder, row.weight_names, row.weight_tensors]
    return _digest_of(tuple(dict.fromkeys(name for name in by_name if name)))


@cache
def _digest_of(by_name: tuple[str, ...]) -> str:
    """Digest of the files behind a step that loads these modules by name; the place of the package is not in it."""
    digest = hashlib.sha256()
    for name, path in sorted(import_graph.modules_of((STEP, *by_name)).items()):
        content = path.read_bytes()
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()
