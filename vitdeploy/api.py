"""The verbs as functions, and the only place where the rooms meet.

``export``, ``check``, ``predict``, ``bench``, ``report``, … take plain values and return frozen data;
the command line only prints it. Rooms and heavy packages are imported inside the verbs that need
them, so that a verb costs what it uses.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, get_args

from vitdeploy import artifact, catalog, doctor as checkup
from vitdeploy.artifact import Artifact, Manifest, Parity
from vitdeploy.doctor import Finding
from vitdeploy.errors import Impossible, NoValidMeasurement, UsageError, VitdeployError, unknown_name, worst_exit_code
from vitdeploy.spec import Attention, Boundary, Head, Io, ModelSpec

if TYPE_CHECKING:
    import torch

    from vitdeploy.benchmarks.bench import Job
    from vitdeploy.exporters.pipeline import Request
    from vitdeploy.record import Case, Run

Progress = Callable[[str], None]
DEFAULT_SUITE = "demo"
"""What is exported and timed when nothing is named. Source: contract, "Commands"."""

MANY_BYTES = 8 * 2**30
"""A checkpoint or image beyond this is not read at all."""


class OnTrial(Protocol):
    """Called after each trial of a bench."""

    def __call__(self, done: int, total: int, label: str) -> None:
        """``done`` of ``total`` trials are finished; ``label`` says which was last."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One row of `models`, `targets`, `devices` or `suites`."""

    name: str
    facts: Mapping[str, str]
    usable: bool
    why_not: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOrder:
    """What `export` is asked for, beside the models; texts are checked when it is planned."""

    target: str
    size: str | None = None
    batch: int = 1
    weights: Path | None = None
    attention: str = "relu"
    head: str = "logits"
    io: str = "fp32"
    converter: str | None = None
    without: tuple[str, ...] = ()
    compute_capability: str | None = None
    device: str | None = None
    out: Path = Path("artifacts")
    force: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRow:
    """What became of one model: an artifact, an error, or both (a file that failed parity)."""

    model: str
    target: str
    artifact: Artifact | None
    error: VitdeployError | None
    reused: bool
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """The parity of an artifact, measured again."""

    folder: Path
    manifest: Manifest
    inputs: str
    parity: Parity
    error: VitdeployError | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictOrder:
    """What `predict` is asked for."""

    artifact: Path
    image: str
    points: tuple[str, ...] = ()
    boxes: tuple[str, ...] = ()
    multimask: bool = False
    device: str | None = None
    out: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What an artifact saw in a picture."""

    picture: Path
    measure: str
    """What the number beside a class is: its share of the pixels, or its probability."""
    classes: tuple[tuple[str, float], ...]
    note: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOrder:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOutcome:
    """A run, where it was written, and the exit code its rows ask for."""

    run: "Run"
    path: Path
    exit_code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A report: its text, or the file it was written to."""

    text: str
    path: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheRow:
    """One stored artifact."""

    name: str
    size_bytes: int
    used: str
    """Day of the last use, ISO 8601."""
    key: str = field(default="")


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
    spec = catalog.find_model(name)
    _attention(spec, attention)
    return catalog.load("vitdeploy.models.create:create")(spec, attention=attention, weights=weights, seed=seed)


def models() -> list[Listed]:
    """Every model, and whether the packages that build it are here."""
    from vitdeploy import packages

    missing = packages.missing(sorted({name for spec in catalog.models().values() for name in spec.requires}))
    return [
        Listed(
            name=spec.name,
            facts={
                "task": spec.task,
                "data set": spec.dataset,
                "size": f"{spec.size[0]}x{spec.size[1]}",
                "attention": " ".join(spec.attentions),
            },
            usable=not (lacking := [name for name in spec.requires if name in missing]),
            why_not=packages.advice(lacking) if lacking else None,
        )
        for spec in catalog.models().values()
    ]


def targets() -> list[Listed]:
    """Every target, and whether it can be made and run here."""
    from vitdeploy import packages

    every = {name for t in catalog.targets().values() for name in (*t.export_packages, *t.run_packages)}
    missing = packages.missing(sorted(every))
    rows: list[Listed] = []
    for target in catalog.targets().values():
        lacking = [name for name in (*target.export_packages, *target.run_packages) if name in missing]
        why_not = target.unavailable or (packages.advice(lacking) if lacking else None)
        facts = {"file": target.file, "precision": target.precision, "extra": target.extra}
        rows.append(Listed(name=target.name, facts=facts, usable=why_not is None, why_not=why_not))
    return rows


def devices() -> list[Listed]:
    """Every device, and whether it can be reached as far as its file tells."""
    from vitdeploy.devices import inventory

    return [
        Listed(
            name=device.name,
            facts={"title": device.title, "link": device.link, "targets": " ".join(device.targets)},
            usable=(why_not := inventory.unreachable(device)) is None,
            why_not=why_not,
        )
        for device in inventory.devices().values()
    ]


def suites() -> list[Listed]:
    """Every suite, and whether it can be run in this version."""
    from vitdeploy.benchmarks import suite

    return [
        Listed(
            name=found.name,
            facts={"title": found.title, "cases": str(len(found.entries))},
            usable=found.unavailable is None,
            why_not=found.unavailable,
        )
        for found in suite.suites().values()
    ]


def doctor(device: str = "local") -> list[Finding]:
    """What would spoil a number or stop an export."""
    from vitdeploy import packages, store
    from vitdeploy.benchmarks import host
    from vitdeploy.devices import inventory

    found = inventory.find(device)
    if (why_not := inventory.unreachable(found)) is not None:
        return [Finding(what=f"device {device}", found=why_not, state="problem", advice="See `vitdeploy devices`.")]
    needed = sorted(catalog.EXTRAS)
    return [
        *checkup.machine(host.facts()),
        checkup.space(store.default_root()),
        *checkup.packages(packages.missing(needed), needed),
        *checkup.tools(),
    ]


def model_names(names: Sequence[str], suite_name: str | None) -> list[str]:
    """The models that are meant: those named, else the suite's, else the demo suite's."""
    from vitdeploy.benchmarks import suite

    if names and suite_name:
        raise UsageError("both models and --suite were given", "Name models or a suite.")
    for name in names:
        catalog.find_model(name)
    return list(names) or list(dict.fromkeys(e.model for e in suite.find(suite_name or DEFAULT_SUITE).entries))


def export_plan(names: Sequence[str], order: ExportOrder) -> list[str]:
    """What `export` would do, one step a line."""
    from vitdeploy.exporters import pipeline

    return [line for request in _requests(names, order) for line in pipeline.describe(request)]


def export(names: Sequence[str], order: ExportOrder, *, progress: Progress = lambda line: None) -> list[ExportRow]:
    """Make the artifacts; one model's failure does not stop the others.

    Raises:
        VitdeployError: what is wrong before any work: names, values, packages, a place that cannot be written.
    """
    from vitdeploy.exporters import pipeline
    from vitdeploy.store import Store

    requests = _requests(names, order)
    pipeline.prepare(requests)
    store = Store()
    rows: list[ExportRow] = []
    for request in requests:
        started = time.monotonic()
        made: Artifact | None = None
        error: VitdeployError | None = None
        reused = False
        try:
            outcome = pipeline.export(request, store, progress=progress)
            made, reused = outcome.artifact, outcome.reused
            error = outcome.error
        except VitdeployError as failure:
            error = failure
        rows.append(
            ExportRow(
                model=request.spec.name,
                target=request.target.name,
                artifact=made,
                error=error,
                reused=reused,
                seconds=time.monotonic() - started,
            )
        )
    if len(rows) == 1 and rows[0].error is not None and rows[0].artifact is None:
        raise rows[0].error
    return rows


def _requests(names: Sequence[str], order: ExportOrder) -> "list[Request]":
    """One checked export request a model."""
    from vitdeploy.devices import inventory
    from vitdeploy.exporters import pipeline

    target = catalog.find_target(order.target)
    if order.device is not None:
        device = inventory.find(order.device)
        if (why_not := inventory.unreachable(device)) is not None and target.unavailable is None:
            raise inventory.unreachable_error(device, why_not)
    if order.weights is not None and len(names) != 1:
        raise UsageError(f"--weights fits one model, and {len(names)} are meant", "Name one model.")
    if order.batch < 1:
        raise UsageError(f"--batch {order.batch} is not a positive whole number", "Use --batch 1 or more.")
    attention = _choice("attention", order.attention, get_args(Attention))
    head, io = _choice("head", order.head, get_args(Head)), _choice("io", order.io, get_args(Io))
    if order.converter is not None:
        _choice("converter", order.converter, ("onnx2tf", "litert-torch", "best"))
        if target.file != "model.tflite":
            raise Impossible(f"--converter chooses between TFLite converters; {target.name} has none", "Leave it out.")
    requests: list[Request] = []
    for name in names:
        spec = catalog.find_model(name)
        _attention(spec, attention)
        size = catalog.parse_size(order.size) if order.size else spec.size
        request = pipeline.Request(
            spec=spec,
            target=target,
            size=size,
            batch=order.batch,
            attention=attention,
            weights=order.weights,
            head=head,
            io=io,
            without=order.without,
            out=order.out,
            force=order.force,
            device=order.device,
        )
        pipeline.plan(request)
        requests.append(request)
    return requests


def _choice(what: str, value: str, allowed: Sequence[str]) -> Any:
    if value not in allowed:
        raise UsageError(f"--{what} {value!r} is not one of {', '.join(allowed)}", f"Use --{what} {allowed[0]}.")
    return value


def _attention(spec: ModelSpec, attention: str) -> None:
    if attention not in spec.attentions:
        raise Impossible(
            f"{spec.name} has no {attention} attention", f"It can have {' or '.join(spec.attentions) or 'none'}."
        )
