"""Plans of exports: the request of each artifact, checked, and its steps, each with its store key."""

import hashlib
import json
import re
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Final

from vitdeploy import documents
from vitdeploy.artifacts import manifest
from vitdeploy.artifacts.store import Store
from vitdeploy.catalog import import_graph, packages, registry, rewrite_table, user_models
from vitdeploy.catalog.checkpoints import Checkpoint
from vitdeploy.catalog.preprocessing import Preprocessing
from vitdeploy.catalog.spec import Cpu, ModelSpec, Target, is_user_model
from vitdeploy.catalog.variant import Variant
from vitdeploy.devices import computer_facts, gpu
from vitdeploy.errors import Impossible, UsageError, unknown_name
from vitdeploy.exporters import job as jobs
from vitdeploy.exporters.tflite import litert_torch_env

STEP: Final = "vitdeploy.exporters.pipeline"
"""The module that writes the job of a step and starts its process."""

DEFAULT_CONVERTER: Final = "onnx2tf"

AHEAD_OF_TIME: Final = "trt-rtx-fp16"
"""The target that is compiled for stated compute capabilities, wherever it is built."""

JETSON_ORIN: Final = "8.7"
"""Of a Jetson Orin; that target has no kernels for it. Source: ``tensorrt_rtx.ComputeCapability`` of 1.7."""

BY_LAYER: Final = "winograd-rows"
"""The rewrite of which single layers can be left out."""

LAYER: Final = r"\d+-\d+-\d+x\d+(-stride2)?(:\d+)?"
"""A layer of it, as the manifest calls it, or one of the layer's tiles."""

NEEDS_LITERT_TORCH: Final = ("litert-torch", "best")
"""Converters that need a package which stands apart, in an interpreter of its own if need be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactRequest(jobs.CatalogRows):
    """One artifact to export."""

    variant: Variant
    """Without the checkpoint, which has not been read yet: `Plan.variant` has its digest."""
    weights: Path | None
    """The checkpoint; None: random weights, or the model's own."""
    out: Path
    force: bool = False
    device: str | None = None
    cpu: Cpu | None = None
    """Whose processor the file is for; None: this machine's."""
    also: tuple[str, ...] = ()
    """Rewrites that are applied though they assume another CPU: timing has shown that they pay."""
    weights_sha256: str | None = None
    """Digest of ``weights``, where a caller has read them already; None: they are read when the plan is made."""
    checkpoint: Checkpoint | None = None
    """The official one that is used; ``weights`` is then where it lies, or would lie."""
    weights_words: str | None = None
    """What a plan says of it; None: the path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step(jobs.CatalogRows):
    """Export to one target: the requested one, or a parent of it."""

    variant: Variant
    """Of the file that it writes: as requested, but for the target."""
    rewrites: tuple[str, ...]
    left_out: tuple[str, ...]
    """Layers that ``winograd-rows`` leaves out."""
    key: str
    """Digest of everything that changes the bytes of its file."""
    deferred: bool = False
    """The device has still to build the file."""
    made_from: str | None = None
    """Of a user model: what it is made from now, as the key has it."""

    @property
    def packages(self) -> tuple[str, ...]:
        """Packages that it needs here."""
        return () if self.deferred else (*self.target.export_packages, *self.target.run_packages)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The steps of a request. Made once a command, and handed on to whatever describes, prepares or does it."""

    request: ArtifactRequest
    variant: Variant
    """The requested one, with the digest of its weights."""
    steps: tuple[Step, ...]
    """From the torch module to the requested target."""

    @property
    def key(self) -> str:
        """Store key of the requested artifact."""
        return self.steps[-1].key

    @property
    def cpu(self) -> Cpu | None:
        """Whose processor the file is for; None: of no matter, or not known."""
        return _cpu(self.request) if rewrite_table.depends_on_cpu(self.request.target) else None

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
        variant = self.variant
        words = [f"w{variant.weights.removeprefix('sha256:')[:8]}"] if self.request.weights else []
        words += [f"key-{re.sub(r'[^A-Za-z0-9_.-]', '-', variant.weights_key)}"] if variant.weights_key else []
        words += [variant.head] if variant.head != "logits" else []
        words += [variant.io] if variant.io != "fp32" else []
        words += [variant.converter] if variant.converter not in (None, DEFAULT_CONVERTER) else []
        words += [f"sm{capability.replace('.', '')}" for capability in variant.compute_capability]
        words += [f"pre{_short_digest(variant.preprocessing)}"] if variant.preprocessing else []
        if self.steps[-1].rewrites != _rewrites(
            self.request, self.request.target, computer_facts.vector_instructions()
        ):
            words.append(f"cpu-{self.cpu}")
        words += [f"with-{name}" for name in sorted(self.request.also)]
        words += [f"without-{name}" for name in sorted(variant.without) if ":" not in name]
        if layers := sorted(name for name in variant.without if ":" in name):
            words.append(f"layers-{hashlib.sha256(' '.join(layers).encode()).hexdigest()[:8]}")
        return "+".join(words)


def plans(requests: Sequence[ArtifactRequest]) -> list[Plan]:
    """The plan of each request. All are checked before the first checkpoint is read, and each is read once.

    Raises:
        UsageError: a rewrite that the target does not have.
        Impossible: an option that the model or the target cannot have, or a target that is not built in this version.
        UnreadableFile: the weights file cannot be read.
    """
    for request in requests:
        check(request)
    stated = {request.weights: request.weights_sha256 for request in requests if request.weights}
    digests: dict[Path | None, str] = {path: digest or manifest.digest_of(path) for path, digest in stated.items()}
    return [_plan(request, digests.get(request.weights)) for request in requests]


def check(request: ArtifactRequest) -> None:
    """Refuse what the model or the target cannot have, before anything is read.

    Raises:
        UsageError: a rewrite that the target does not have.
        Impossible: a size or an option that the model or the target cannot have.
    """
    spec, target = request.spec, request.target
    registry.check_size(spec, request.variant.size)
    for name in request.variant.without:
        rewrite, colon, layer = name.partition(":")
        if colon and (rewrite != BY_LAYER or not re.fullmatch(LAYER, layer)):
            raise UsageError(
                f"--without {name!r} names no layer", f"Use {BY_LAYER}:64-256-56x56, or :4 behind it for one tile."
            )
        if rewrite not in target.rewrites:
            raise unknown_name(f"rewrite of {target.name}", name, target.rewrites, "vitdeploy targets")
    if target.exporter is None:
        raise Impossible(f"{target.name} is {target.unavailable}", "`vitdeploy targets` lists those that can be made.")
    _check_options(request)


def _plan(request: ArtifactRequest, weights_sha256: str | None) -> Plan:
    variant, target, spec = request.variant, request.target, request.spec
    if weights_sha256 is not None:
        variant = replace(variant, weights=f"sha256:{weights_sha256}")
    targets = [target]
    while (parent := targets[0].parent) is not None:
        targets.insert(0, registry.find_target(parent))
    steps: list[Step] = []
    for row in targets:
        rewrites = _rewrites(request, row, _cpu(request))
        step_variant = replace(
            variant,
            target=row.name,
            converter=None if variant.converter == DEFAULT_CONVERTER else variant.converter,
            compute_capability=variant.compute_capability if row.name == AHEAD_OF_TIME else (),
            without=(),  # the rewrites that are applied say it
        )
        layered = [name.partition(":") for name in variant.without if BY_LAYER in rewrites]
        left_out = tuple(sorted(layer for _, colon, layer in layered if colon))
        deferred = _deferred(request, row)
        parent = steps[-1].key if steps else None
        key = _key(spec, step_variant, row, (*rewrites, *left_out), parent, deferred=deferred)
        steps.append(
            Step(
                variant=step_variant,
                rewrites=rewrites,
                left_out=left_out,
                key=key,
                deferred=deferred,
                made_from=spec.made_from,
            )
        )
    return Plan(request=request, variant=variant, steps=tuple(steps))


def _cpu(request: ArtifactRequest) -> Cpu | None:
    """The CPU that is asked for, else this machine's."""
    return request.cpu or computer_facts.vector_instructions()


def _rewrites(request: ArtifactRequest, row: Target, cpu: Cpu | None) -> tuple[str, ...]:
    """The rewrites of a step for a CPU.

    A parent's rewrites that the target does not want, because they suit a CPU, are left out on the way.
    """
    wanted = (name for name in row.rewrites if name in request.target.rewrites)
    return rewrite_table.fitting([name for name in wanted if name not in request.variant.without], cpu, request.also)


def describe(plan: Plan) -> list[str]:
    """The plan, one line a step. Which rewrites apply is known once the graph is made: the manifest lists them."""
    if plan.refusal:
        return [plan.refusal.message]
    variant, checkpoint = plan.variant, plan.request.weights
    lines: list[str] = []
    for step in plan.steps:
        named = f", rewritten where they apply by {', '.join(step.rewrites)}" if step.rewrites else ""
        weights = plan.request.weights_words or (str(checkpoint) if checkpoint else "random weights (seed 0)")
        by = f" by {variant.converter}" if variant.converter else ""
        by += f" for {plan.cpu}" if plan.cpu else ""
        proof = "checked against torch fp32 (parity)"
        if step.deferred:
            proof = "the device builds the engine"
        elif step.variant.target == AHEAD_OF_TIME:
            proof = "built ahead of time, not run"
        model = f"{variant.full_model} {variant.size_words}"
        lines.append(f"{model}, {weights} → {step.variant.target}{by}{named}, {proof}")
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
            apart = apart or request.variant.converter in NEEDS_LITERT_TORCH
    if needed:
        packages.require(needed)
    if apart:
        litert_torch_env.require_litert_torch()


def _check_options(request: ArtifactRequest) -> None:
    """Refuse heads, element types and other options that the target or the model does not have."""
    spec, target, variant = request.spec, request.target, request.variant
    user_models.check(spec, target.name, weights=request.weights is not None, head=variant.head, io=variant.io)
    for option, value, default in (("head", variant.head, "logits"), ("io", variant.io, "fp32")):
        if value != default and value not in target.options.get(option, ()):
            raise Impossible(f"{target.name} has no --{option} {value}", f"Use --{option} {default}.")
    if variant.converter is not None and variant.converter not in target.options.get("converter", ()):
        raise Impossible(f"{target.name} has no --converter {variant.converter}", "Leave --converter out.")
    if request.cpu is not None and not rewrite_table.depends_on_cpu(target):
        raise UsageError(
            f"--cpu {request.cpu} means nothing for {target.name}: its files are the same for every CPU",
            "Leave --cpu out.",
        )
    if variant.compute_capability and target.name != AHEAD_OF_TIME:
        raise Impossible(
            f"{target.name} is not built ahead of time for a compute capability", f"Use --target {AHEAD_OF_TIME}."
        )
    if JETSON_ORIN in variant.compute_capability:
        raise Impossible(
            f"TensorRT for RTX does not build for compute capability {JETSON_ORIN}, a Jetson Orin's",
            "Use --target trt-fp16, whose engine the Orin builds itself.",
        )
    if variant.io == "uint8" and spec.preprocessing.source == "assumed" and spec.task != "super-resolution":
        raise user_models.unknown_preprocessing(spec.name, "so it cannot be built into the graph", "Give")
    if variant.io == "uint8" and spec.part == "decoder":
        raise Impossible(f"{spec.name} takes no image, so it has no uint8 input", "Use --io fp32.")
    if variant.head == "labels" and spec.task not in ("classification", "segmentation"):
        raise Impossible(f"{spec.name} has no labels: it is for {spec.task}", "Use --head logits.")


def _check_writable(out: Path) -> None:
    """Make the output folder, so that a place that cannot be written is found before the work."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise documents.cannot_write(out, error) from error


def _deferred(request: ArtifactRequest, target: Target) -> bool:
    """Whether a device has to build it: another one is named, or none is and builder or GPU are not here."""
    if not target.deferrable or request.device == "local":
        return False
    if request.device is not None:
        return True
    return gpu.first_gpu() is None or bool(packages.missing(target.export_packages))


def _key(
    spec: ModelSpec, variant: Variant, target: Target, rewrites: Sequence[str], parent: str | None, *, deferred: bool
) -> str:
    tools: dict[str, str | None] = {**jobs.tool_versions(target)}
    if variant.converter in NEEDS_LITERT_TORCH:
        tools[litert_torch_env.LITERT_TORCH] = litert_torch_env.litert_torch_version()
    parts = {
        **asdict(variant),
        "preprocessing": asdict(variant.preprocessing or spec.preprocessing),
        "rewrites": list(rewrites),
        "parent": parent,
        "deferred": deferred,
        "gpu": str(gpu.first_gpu()) if target.deferrable and not deferred else None,
        "tools": tools,
        "source": _source_digest(spec, target),
        # Of a user model the row itself: what it is made from, what it answers, how its images are prepared.
        "user_model": asdict(spec) if is_user_model(spec.name) else None,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _short_digest(preprocessing: Preprocessing) -> str:
    return hashlib.sha256(json.dumps(asdict(preprocessing)).encode()).hexdigest()[:8]


def _source_digest(spec: ModelSpec, target: Target) -> str:
    """Digest of our own files that decide what a step makes, and how it is proven."""
    whole = spec if spec.part is None else registry.find_model(spec.whole)
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
