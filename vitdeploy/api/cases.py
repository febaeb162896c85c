"""What a bench will time: names, suites and artifacts made into cases, before anything is touched."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import msgspec

from vitdeploy.artifacts.manifest import MANIFEST, Artifact, open_artifact
from vitdeploy.benchmarks.suite import Entry
from vitdeploy.catalog import graph_io, registry, user_models
from vitdeploy.catalog.spec import Attention, Boundary, Compute, ModelSpec, Size, Target, is_user_model
from vitdeploy.errors import UsageError, VitdeployError
from vitdeploy.results.record import Case

if TYPE_CHECKING:
    from vitdeploy.devices.inventory import Device


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRequest:
    """What `bench` is asked for, beside models and artifacts; None: the suite's or the device's default."""

    targets: tuple[str, ...] = ()
    device: str = "local"
    suite: str | None = None
    size: str | None = None
    batch: int | None = None
    attention: str | None = None
    threads: int | None = None
    trials: int = 5
    min_time_s: float = 1.0
    boundary: str = "host-to-host"
    streams: int | None = None
    graph: str | None = None
    sustained_s: float | None = None
    out: Path | None = None
    artifacts: Path = Path("artifacts")
    resume: bool = False


FALLBACK_TARGETS = ("onnx-fp32",)
"""Targets of models that are named without one."""

MEMORY: Mapping[Compute, str] = {"cpu": "pageable", "cuda": "pinned", "phone": "pageable"}
"""Where the host buffers of a case lie, by where it computes."""

MOST_STREAMS = 256
"""More inferences in flight than this is a typing error on every device here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One case to be: a model at a target, or an artifact that lies there already."""

    spec: ModelSpec
    target: Target
    size: Size
    batch: int
    attention: Attention
    streams: int
    artifact: Artifact | None = None
    recorded: Case | None = None
    """The case of an earlier run that is timed again as it was; None: it follows from the order."""
    refused: VitdeployError | None = None
    """Why it is not even tried."""

    @property
    def words(self) -> str:
        """For plans: ``efficientvit_b1 onnx-fp32 224x224``."""
        extra = [f"b{self.batch}"] * (self.batch > 1) + [f"{self.streams} streams"] * (self.streams > 1)
        size = f"{self.size[0]}x{self.size[1]}"
        softmax = ["softmax"] * (self.attention == "softmax")
        return " ".join([self.spec.name, *softmax, self.target.name, size, *extra])


def plan(what: Sequence[str], entries: Iterable[Entry], order: BenchRequest) -> list[Planned]:
    """The cases of an order: those of ``what`` when anything is named, else the suite's ``entries``.

    Raises:
        UsageError: an unknown name or a value that means nothing.
        Impossible: a size or attention that the model cannot have.
        UnreadableFile: a path that is no artifact.
    """
    _check(order)
    if not what:
        return [case for entry in entries for one in _in_parts(entry) for case in _of_entry(one, order)]
    cases: list[Planned] = []
    for name in what:
        if _is_path(name):
            cases.append(_of_artifact(open_artifact(Path(name)), order))
        else:
            cases += [case for entry in _in_parts(Entry(model=name)) for case in _of_entry(entry, order)]
    return cases


def fitted(order: BenchRequest, device: "Device") -> BenchRequest:
    """The order as a device can fill it: what phones run is timed without copies, and there is one format."""
    if device.link != "adb":
        return order
    return dataclasses.replace(order, boundary="compute", targets=order.targets or device.targets)


def side(name: str, order: BenchRequest) -> Planned:
    """One side of a duel: an artifact, or ``MODEL[+softmax][:TARGET][@HxW]``.

    Raises:
        UsageError: an unknown name or a value that means nothing.
        Impossible: a size or attention that the model cannot have.
        UnreadableFile: a path that is no artifact.
    """
    _check(order)
    if _is_path(name):
        return _of_artifact(open_artifact(Path(name)), order)
    words, _, size = name.partition("@")
    if is_user_model(words):
        model, target = user_models.split_target(words, frozenset(registry.targets()))
    else:
        model, _, target = words.partition(":")
    plain = model.removesuffix("+softmax")
    spec = registry.find_model(plain)
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
    return _of_entry(entry, order)[0]


def again(case: Case, artifact: Artifact) -> Planned:
    """A case of an earlier run with its artifact, to be timed once more as it was.

    Raises:
        UsageError: this version has no such model or target.
    """
    return Planned(
        spec=registry.find_model(case.model, case.part),
        target=registry.find_target(case.target),
        size=case.size,
        batch=case.batch,
        attention=case.attention,
        streams=case.streams,
        artifact=artifact,
        recorded=case,
    )


def case_of(
    planned: Planned,
    order: BenchRequest,
    *,
    device: str,
    compute: Compute,
    threads: int,
    made: Artifact | None,
    power_mode: str | None = None,
) -> Case:
    """The record's case; an artifact that was made says what its border and weights are.

    Args:
        planned: what is timed; of a case that was recorded, only its power mode is taken anew.
        order: how.
        device: name of the device.
        compute: where on it.
        threads: of the runtime.
        made: the artifact; None: there is none.
        power_mode: of the device now.
    """
    if planned.recorded is not None:
        return msgspec.structs.replace(planned.recorded, power_mode=power_mode)
    manifest = made.manifest if made else None
    weights = manifest.weights if manifest else None
    return Case(
        model=planned.spec.whole,
        part=planned.spec.part,
        attention=planned.attention,
        target=planned.target.name,
        size=planned.size,
        batch=planned.batch,
        device=device,
        threads=threads,
        boundary="compute" if order.boundary == "compute" else "host-to-host",
        streams=planned.streams,
        graph=order.graph == "on",
        io=manifest.io if manifest else "fp32",
        head=manifest.head if manifest else "logits",
        prompts=graph_io.prompt_text(planned.spec.part, planned.batch),
        weights=f"sha256:{weights.sha256}" if weights and weights.source == "file" else "random:0",
        power_mode=power_mode,
        memory=MEMORY[compute],
    )


def _in_parts(entry: Entry) -> list[Entry]:
    """The entry once for each file that its model is."""
    return [dataclasses.replace(entry, model=spec.name) for spec in registry.exported_models(entry.model)]


def _of_entry(entry: Entry, order: BenchRequest) -> list[Planned]:
    spec = registry.find_model(entry.model)
    size = registry.parse_size(order.size) if order.size else entry.size or spec.size
    registry.check_size(spec, size)
    attention = registry.attention_of(spec, order.attention or entry.attention)
    return [
        Planned(
            spec=spec,
            target=registry.find_target(target),
            size=size,
            batch=order.batch or entry.batch,
            attention=attention,
            streams=order.streams or entry.streams,
        )
        for target in order.targets or entry.targets or FALLBACK_TARGETS
    ]


def _of_artifact(found: Artifact, order: BenchRequest) -> Planned:
    manifest = found.manifest
    for option, asked in (("--size", order.size), ("--batch", order.batch), ("--attention", order.attention)):
        if asked is not None:
            raise UsageError(f"{option} does not change an artifact that is there: {found.folder}", "Leave it out.")
    return Planned(
        spec=registry.find_model(manifest.model, manifest.part),
        target=registry.find_target(manifest.target),
        size=manifest.size,
        batch=manifest.batch,
        attention=manifest.attention,
        streams=order.streams or 1,
        artifact=found,
    )


def _is_path(name: str) -> bool:
    if is_user_model(name):
        return False
    return "/" in name or name.endswith((".onnx", ".tflite", ".engine", ".pt", MANIFEST)) or Path(name).is_dir()


def _check(order: BenchRequest) -> None:
    for name in order.targets:
        registry.find_target(name)
    if order.attention is not None and order.attention not in get_args(Attention):
        raise UsageError(f"--attention {order.attention!r} is none", f"Use {' or '.join(get_args(Attention))}.")
    if order.boundary not in get_args(Boundary):
        raise UsageError(f"--boundary {order.boundary!r} is none", f"Use {' or '.join(get_args(Boundary))}.")
    if order.graph not in (None, "on", "off"):
        raise UsageError(f"--graph {order.graph!r} is neither on nor off", "Use --graph on or --graph off.")
    counts = (("--batch", order.batch), ("--threads", order.threads), ("--trials", order.trials))
    for option, count in (*counts, ("--streams", order.streams)):
        if count is not None and count < 1:
            raise UsageError(f"{option} {count} is not a positive whole number", f"Use {option} 1 or more.")
    if (order.streams or 1) > MOST_STREAMS:
        raise UsageError(f"--streams {order.streams} is beyond {MOST_STREAMS}", "Use fewer.")


DEFAULT_SUITE = "demo"
"""What is exported and timed when nothing is named. Source: contract, "Commands"."""


def model_names(names: Sequence[str], suite_name: str | None) -> list[str]:
    """The models that are meant: those named, else the suite's, else the demo suite's; parts one by one."""
    from vitdeploy.benchmarks import suite

    if names and suite_name:
        raise UsageError("both models and --suite were given", "Name models or a suite.")
    meant = list(names) or [entry.model for entry in suite.find(suite_name or DEFAULT_SUITE).entries]
    return list(dict.fromkeys(spec.name for name in meant for spec in registry.exported_models(name)))
