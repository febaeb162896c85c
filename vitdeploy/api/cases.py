"""Cases: what names, suites and artifacts in a request mean, before anything is exported or timed."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import msgspec

from vitdeploy.api import official_weights, project
from vitdeploy.artifacts import described_model
from vitdeploy.artifacts.manifest import MANIFEST, Artifact, open_artifact
from vitdeploy.benchmarks import suite
from vitdeploy.benchmarks.suite import Entry
from vitdeploy.catalog import graph_io, registry, user_models
from vitdeploy.catalog.spec import Attention, Boundary, Compute, Size, is_user_model
from vitdeploy.catalog.variant import RANDOM, Variant
from vitdeploy.devices.inventory import Device
from vitdeploy.errors import Impossible, UsageError, VitdeployError
from vitdeploy.models import official
from vitdeploy.results.record import Case


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRequest:
    """The options of `bench`, beside models and artifacts; None: the default of the suite or the device."""

    targets: tuple[str, ...] = ()
    device: str = "local"
    suite: str | None = None
    size: str | None = None
    batch: int | None = None
    attention: str | None = None
    weights: Path | None = None
    """Of models that are exported: a file, or `official.OFFICIAL`; None: as the suite has it, else random ones."""
    accept_licence: bool = False
    """Of official weights, as `export` has it."""
    threads: int | None = None
    trials: int | None = None
    """Exactly so many; None: `bench.TRIALS`, and more until ``until`` or ``time_budget_s`` is reached."""
    min_time_s: float = 1.0
    until: float | None = None
    time_budget_s: float | None = None
    priority: str | None = None
    """``realtime``: our worker samples before other work of the machine."""
    boundary: str = "host-to-host"
    streams: int | None = None
    graph: str | None = None
    yardstick: str | None = None
    """``on`` or ``off``; None: as each runtime's default says."""
    sustained_s: float | None = None
    out: Path | None = None
    artifacts: Path = Path("artifacts")
    resume: bool = False
    force: bool = False
    """Replace ``out`` when the new run is whole."""


FALLBACK_TARGETS = ("onnx-fp32",)
"""Targets of models that are named without one."""

MEMORY: Mapping[Compute, str] = {"cpu": "pageable", "cuda": "pinned", "phone": "pageable"}
"""Where the host buffers of a case lie, by where it computes."""

MOST_COUNT = 1_000_000
"""Of trials, images in a batch and threads: more is a typing error, and a run with it could not be read again."""

MOST_STREAMS = 256
"""More inferences in flight than this is a typing error on every device here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One case that is not timed yet: a variant to export, or an artifact that exists already."""

    variant: Variant
    streams: int
    artifact: Artifact | None = None
    weights: Path | None = None
    """Of a variant that is still to be exported: a file, or `official.OFFICIAL`; None: random ones."""
    recorded: Case | None = None
    """The case of an earlier run that is timed again as it was; None: it follows from the request."""
    refused: VitdeployError | None = None
    """Why it is not even tried."""

    @property
    def words(self) -> str:
        """For plans: ``efficientvit_b1 onnx-fp32 224x224``."""
        return self.variant.words + (f" {self.streams} streams" if self.streams > 1 else "")


DEFAULT_SUITE = "demo"
"""What is exported and timed when nothing is named. Source: contract, "Commands"."""


def suite_entries(names: Sequence[str], suite_name: str | None) -> tuple[Entry, ...]:
    """The entries of a suite (default: `default_suite`) where nothing is named; else none.

    Raises:
        UsageError: both names and a suite are given, or there is no such suite.
        Impossible: the suite cannot be run in this version.
    """
    if names and suite_name:
        raise UsageError("both models and --suite were given", "Name models or a suite.")
    return () if names else suite.find(suite_name or default_suite()).entries


def default_suite() -> str:
    """The suite where nothing is named: that of the project file, else `DEFAULT_SUITE`."""
    return project.load().text_of("suite") or DEFAULT_SUITE


def model_names(names: Sequence[str], suite_name: str | None, size: str | None = None) -> list[str]:
    """The models that are named, else those of a suite; parts one by one, each once.

    Args:
        size: the one that is asked for, which a user model may be the only one to take.
    """
    wanted = registry.parse_size(size) if size else None
    entries = suite_entries(names, suite_name)
    named = list(names) or [entry.model for entry in entries]
    return list(dict.fromkeys(exact for name in named for exact in _exact_names(name, wanted)))


def _exact_names(name: str, size: Size | None) -> list[str]:
    """A model's parts, or itself; also where it is a user's own that cannot be read, which its export says."""
    try:
        return [spec.name for spec in registry.exported_models(name, size)]
    except UsageError:
        raise
    except VitdeployError:
        return [name]


def plan(what: Sequence[str], request: BenchRequest, *, keep_going: bool = True) -> list[Planned]:
    """The cases of a request: those of ``what`` when anything is named, else those of its suite.

    Args:
        keep_going: a size or attention that one of several models cannot have is a refused case; without, an error.

    Raises:
        UsageError: an unknown name or a value that means nothing.
        Impossible: a size or attention that none of the models can have.
        UnreadableFile: a path that is no artifact.
    """
    _check(request)
    planned = [case for entry in suite_entries(what, request.suite) for case in _of_models(entry, request)]
    for name in what:
        if _is_path(name):
            planned.append(_of_artifact(open_artifact(Path(name)), request))
        else:
            planned += _of_models(Entry(model=name), request)
    official_weights.check_file(request.weights, {case.variant.model for case in planned})
    refusals = [case.refused for case in planned if case.refused is not None]
    if refusals and (not keep_going or len(refusals) == len(planned)):
        raise refusals[0]
    return planned


def fitted(request: BenchRequest, device: Device) -> BenchRequest:
    """The request as a device can fill it: phones time without copies, and run the formats of their device file."""
    if device.link not in ("adb", "hub"):
        return request
    return dataclasses.replace(request, boundary="compute", targets=request.targets or device.targets)


def side(name: str, request: BenchRequest) -> Planned:
    """One side of a duel: an artifact, or ``MODEL[+softmax][:TARGET][@HxW]``.

    Raises:
        UsageError: an unknown name or a value that means nothing.
        Impossible: a size or attention that the model cannot have.
        UnreadableFile: a path that is no artifact.
    """
    _check(request)
    if _is_path(name):
        return _of_artifact(open_artifact(Path(name)), dataclasses.replace(request, weights=None))
    words, _, size = name.partition("@")
    if is_user_model(words):
        model, target = user_models.split_target(words, frozenset(registry.targets()))
    else:
        model, _, target = words.partition(":")
    plain = model.removesuffix("+softmax")
    spec = registry.find_model(plain, size=registry.parse_size(size) if size else None)
    if spec.parts:
        raise UsageError(
            f"{plain} has parts, and a duel times one file a side", f"Name {' or '.join(p.name for p in spec.parts)}."
        )
    entry = Entry(
        model=spec.name,
        targets=(target,) if target else (),
        size=registry.parse_size(size) if size else None,
        attention="softmax" if plain != model else None,
    )
    (planned,) = _of_models(entry, request)
    if planned.refused is not None:
        raise planned.refused
    return planned


def artifact_folders(name: str) -> dict[str, Path]:
    """Place below a folder of artifacts → the artifact; empty where ``name`` is an artifact itself, or no folder.

    The place of a user model has no digest: two versions of one model are the same place in two folders. Where one
    folder holds several versions, each keeps its digest.
    """
    root = Path(name)
    if not root.is_dir() or (root / MANIFEST).exists():
        return {}
    folders = [path.parent for path in sorted(root.rglob(MANIFEST))]
    places = [_place(folder, root) for folder in folders]
    exact = [folder.relative_to(root).as_posix() for folder in folders]
    return {
        place if places.count(place) == 1 else path: folder
        for place, path, folder in zip(places, exact, folders, strict=True)
    }


def _place(folder: Path, root: Path) -> str:
    """A folder below ``root``, a user model under the name that it was given and not under its content's digest."""
    place = folder.relative_to(root).as_posix()
    manifest = open_artifact(folder, check_bytes=False).manifest
    if not is_user_model(manifest.model):
        return place
    return place.replace(user_models.folder_name(manifest.model, manifest.weights.sha256), manifest.model, 1)


def again(case: Case, artifact: Artifact) -> Planned:
    """A case of an earlier run with its artifact, to be timed once more as it was.

    Raises:
        UsageError: this version has no such model or target.
    """
    registry.find_model(case.model, case.part)
    registry.find_target(case.target)
    return Planned(variant=case.variant, streams=case.streams, artifact=artifact, recorded=case)


def case_of(
    planned: Planned,
    request: BenchRequest,
    *,
    device: str,
    compute: Compute,
    threads: int,
    artifact: Artifact | None,
    power_mode: str | None = None,
) -> Case:
    """The case of a run's record; the artifact, where there is one, says its input and output types and weights.

    Args:
        compute: where on the device it runs.
        power_mode: of the device now; of a recorded case, only this is taken anew.
    """
    if planned.recorded is not None:
        return msgspec.structs.replace(planned.recorded, power_mode=power_mode)
    variant = planned.variant
    if artifact is None:
        weights = official_weights.planned_identity(planned.weights, planned.variant)
        variant = dataclasses.replace(variant, head="logits", io="fp32", weights=weights)
    else:
        manifest = artifact.manifest
        weights = manifest.weights.identity if manifest.weights.source == "file" else RANDOM
        variant = dataclasses.replace(variant, head=manifest.head, io=manifest.io, weights=weights)
    return Case(
        **variant.recorded,
        device=device,
        threads=threads,
        boundary="compute" if request.boundary == "compute" else "host-to-host",
        streams=planned.streams,
        graph=request.graph == "on",
        prompts=graph_io.prompt_text(variant.part, variant.batch),
        weights=variant.weights,
        power_mode=power_mode,
        memory=MEMORY[compute],
    )


def of_entry(entry: Entry, target: str, refused: VitdeployError | None = None, weights: Path | None = None) -> Planned:
    """The case of a suite's or study's entry at one target."""
    spec, name = registry.find_model(entry.model), registry.find_target(target).name
    variant = registry.variant_of(spec, name, size=entry.size, attention=entry.attention, batch=entry.batch)
    return Planned(variant=variant, streams=entry.streams, refused=refused, weights=weights)


def _of_models(entry: Entry, request: BenchRequest) -> list[Planned]:
    """The cases of an entry: each part of its model at each target, with the options of the request."""
    planned: list[Planned] = []
    wanted = registry.parse_size(request.size) if request.size else entry.size
    for spec in registry.exported_models(entry.model, wanted):
        size = wanted or spec.size
        attention, refused = spec.attentions[0], None
        weights = request.weights or (Path(entry.weights) if entry.weights else None)
        try:
            registry.check_size(spec, size)
            attention = registry.attention_of(spec, request.attention or entry.attention)
            if official.is_official(weights):
                official.choose(spec, size, accept_licence=request.accept_licence)
        except Impossible as error:
            refused = error
        exact = dataclasses.replace(
            entry,
            model=spec.name,
            size=size,
            batch=request.batch or entry.batch,
            attention=attention,
            streams=request.streams or entry.streams,
        )
        targets = request.targets or entry.targets or FALLBACK_TARGETS
        planned += [of_entry(exact, target, refused, weights) for target in targets]
    return planned


def _of_artifact(artifact: Artifact, request: BenchRequest) -> Planned:
    manifest = artifact.manifest
    for option, value in (
        ("--size", request.size),
        ("--batch", request.batch),
        ("--attention", request.attention),
        ("--weights", request.weights),
    ):
        if value is not None:
            raise UsageError(f"{option} does not change an artifact that is there: {artifact.folder}", "Leave it out.")
    described_model.spec_of(manifest)
    registry.find_target(manifest.target)
    return Planned(variant=manifest.variant, streams=request.streams or 1, artifact=artifact)


def _is_path(name: str) -> bool:
    if is_user_model(name):
        return False
    return "/" in name or name.endswith((".onnx", ".tflite", ".engine", ".pt", MANIFEST)) or Path(name).is_dir()


def _check(request: BenchRequest) -> None:
    for name in request.targets:
        registry.find_target(name)
    for option, value, kind in (
        ("--attention", request.attention, Attention),
        ("--boundary", request.boundary, Boundary),
    ):
        if value is not None and value not in get_args(kind):
            raise UsageError(f"{option} {value!r} is not a valid value", f"Use {' or '.join(get_args(kind))}.")
    for option, value in (("--graph", request.graph), ("--yardstick", request.yardstick)):
        if value not in (None, "on", "off"):
            raise UsageError(f"{option} {value!r} is neither on nor off", f"Use {option} on or {option} off.")
    counts = (("--batch", request.batch), ("--threads", request.threads), ("--trials", request.trials))
    for option, count in (*counts, ("--streams", request.streams)):
        if count is not None and count < 1:
            raise UsageError(f"{option} {count} is not a positive whole number", f"Use {option} 1 or more.")
        if count is not None and count > MOST_COUNT:
            raise UsageError(f"{option} {count} is beyond {MOST_COUNT}", "Choose fewer.")
    if (request.streams or 1) > MOST_STREAMS:
        raise UsageError(f"--streams {request.streams} is beyond {MOST_STREAMS}", "Use fewer.")
