"""`export`: models become files that are checked against the fp32 torch reference."""

import dataclasses
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, get_args

import msgspec

from vitdeploy.api import estimates, export_planning, official_weights, tune
from vitdeploy.api.devices import reachable
from vitdeploy.api.export_planning import Refused
from vitdeploy.api.export_request import ExportRequest
from vitdeploy.artifacts import manifest
from vitdeploy.artifacts.manifest import Artifact
from vitdeploy.artifacts.store import Store
from vitdeploy.catalog import registry, rewrite_table
from vitdeploy.catalog.fact_table import DeviceFacts
from vitdeploy.catalog.shown import Rows, Shown
from vitdeploy.catalog.spec import Attention, Cpu
from vitdeploy.devices import device_facts, inventory
from vitdeploy.errors import MissingPackage, UsageError, VitdeployError
from vitdeploy.exporters import pipeline, planning
from vitdeploy.exporters.engines import remote_build
from vitdeploy.exporters.pipeline import StepStages
from vitdeploy.exporters.planning import Plan
from vitdeploy.models import official
from vitdeploy.models.official import OfficialFile
from vitdeploy.processes.progress import Progress, silent

if TYPE_CHECKING:
    import torch

_LOG = logging.getLogger("vitdeploy")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ExportResult(Shown):
    """The export of one model: an artifact, an error, or both (a file that failed parity)."""

    shown_by: ClassVar = "vitdeploy.cli.export:export_row_output"
    model: str
    target: str
    artifact: Artifact | None
    error: VitdeployError | None
    reused: bool
    seconds: float
    steps: tuple[StepStages, ...] = ()
    """The files that were made for it, and the seconds of each stage; empty where it was up to date."""

    def __fspath__(self) -> str:
        """The artifact's folder: the result stands where a path is expected.

        Raises:
            VitdeployError: there is no file, and this is why.
        """
        if self.artifact is None:
            raise self.error or UsageError(f"{self.model} was not exported", "Export it again.")
        return str(self.artifact.folder)


class Exports(Rows[ExportResult]):
    """The exports of one call, a row a model; that of a single model stands for its artifact."""

    __slots__ = ()

    shown_by: ClassVar = "vitdeploy.cli.export:export_output"

    @property
    def errors(self) -> tuple[VitdeployError, ...]:
        """Of the models that failed, also of those whose file exists and failed parity."""
        return tuple(row.error for row in self if row.error is not None)

    def __fspath__(self) -> str:
        """The folder of the only artifact.

        Raises:
            UsageError: these are several.
        """
        if len(self) != 1:
            raise UsageError(f"{len(self)} exports stand where one artifact is expected", "Choose one: exports[0].")
        return self[0].__fspath__()


def create_model(
    name: str,
    *,
    attention: Attention = "relu",
    weights: Path | str | None = None,
    weights_key: str | None = None,
    accept_licence: bool = False,
    seed: int = 0,
) -> "torch.nn.Module":
    """The model as published, in eval mode, with official state-dict keys.

    Args:
        weights: an official or timm checkpoint; ``"official"``: the official one of the model, downloaded where it is
            not here; None: deterministic random weights from ``seed``.
        accept_licence: needed for official weights whose licence restricts commercial use or is missing.
        weights_key: name of the state dict in it; None: the averaged one, else the raw one, which is logged.

    Raises:
        UsageError: no such model.
        UnreadableFile: the checkpoint is broken or does not fit.
        Impossible: no official checkpoint is known, or its licence has to be accepted.
        DeviceError: the official checkpoint cannot be downloaded.
    """
    spec = registry.find_model(name)
    if official.is_official(weights):
        weights = official_weights.file_of_model(name, accept_licence=accept_licence, progress=_LOG.info).path
    kind = None if attention == "relu" else attention  # the default, which means its own to a model that has no other
    module, choice = registry.load("vitdeploy.models.create:create_with_choice")(
        spec, attention=kind, weights=weights, weights_key=weights_key, seed=seed
    )
    if choice is not None and choice.words:
        _LOG.warning("%s: %s %s", weights, name, choice.words)
    return module


def export_plan(names: Sequence[str], request: ExportRequest) -> list[str]:
    """What `export` would do, one step a line."""
    lines: list[str] = []
    plans = export_planning.plans(names, dataclasses.replace(request, accept_licence=True, cpu=_planned_cpu(request)))
    for plan in plans:
        if isinstance(plan, Refused):
            lines.append(f"{plan.model}: left out, {plan.error.message}")
        else:
            lines += planning.describe(plan)
    if _asks_for_cpu(request) and _planned_cpu(request) is None:
        lines.append(
            f"{request.device} is asked for its CPU, on which the rewrites depend; this plan is for the CPU here"
        )
    possible = [plan for plan in plans if isinstance(plan, Plan) and plan.refusal is None]
    if request.tune:
        lines += [tune.plan_words(plan, Store()) for plan in possible]
    return [*lines, estimates.export_words(possible, Store())] if possible else lines


def export(names: Sequence[str], request: ExportRequest, *, progress: Progress = silent) -> list[ExportResult]:
    """Make the artifacts; one model's failure does not stop the others.

    Raises:
        VitdeployError: what is wrong before any work: names, values, packages, a place that cannot be written.
    """
    plans = export_planning.plans(names, dataclasses.replace(request, cpu=_cpu(request)))
    store = Store()
    files: dict[str, OfficialFile] = {}
    rows = [
        _refused_row(plan, request) if isinstance(plan, Refused) else _exported(plan, store, request, files, progress)
        for plan in _ready(plans, store)
    ]
    errors = [row.error for row in rows if row.error is not None and row.artifact is None]
    if errors and len(errors) == len(rows) and len({error.message for error in errors}) == 1:
        raise errors[0]  # of both parts of a model, for example
    return rows


def _asks_for_cpu(request: ExportRequest) -> bool:
    """Whether the file depends on the CPU of a device that is named, and the request does not say which it is."""
    return (
        bool(request.device) and not request.cpu and rewrite_table.depends_on_cpu(registry.find_target(request.target))
    )


def _planned_cpu(request: ExportRequest) -> str | None:
    """The CPU, as far as it is known without asking a device; None: this machine's, or not known."""
    if not _asks_for_cpu(request):
        return request.cpu
    return device_facts.cpu_of(DeviceFacts(inventory.find(request.device or "").facts))


def _cpu(request: ExportRequest) -> str | None:
    """The CPU that the files are for: asked for, or of the device that is named; None: this machine's, or not known.

    Raises:
        DeviceError: the device does not answer.
        UsageError: it does not show which CPU it has.
    """
    planned = _planned_cpu(request)
    if planned is None and _asks_for_cpu(request):
        planned = device_facts.cpu_of(device_facts.facts_of(reachable(request.device or "")))
        if planned is None:
            raise UsageError(
                f"{request.device} does not show the vector instructions of its CPU",
                f"Name them with --cpu {'|'.join(get_args(Cpu))}.",
            )
    return planned


def _with_official_file(
    plan: Plan, store: Store, request: ExportRequest, files: dict[str, OfficialFile], progress: Progress
) -> Plan:
    """The plan with the file of its official checkpoint, had now; as it is where it needs none, or is in the store.

    Args:
        files: those of this command, by checkpoint.
    """
    checkpoint = plan.request.checkpoint
    if checkpoint is None:
        return plan
    if note := official.size_note(plan.request.spec, plan.variant.size):
        progress(note)
    if checkpoint.sha256 is not None and not request.force and store.find(plan.key) is not None:
        return plan
    if checkpoint.name not in files:
        files[checkpoint.name] = official.obtain(checkpoint, progress=progress)
    file = files[checkpoint.name]
    changed = dataclasses.replace(plan.request, weights=file.path, weights_sha256=file.sha256)
    return planning.plans([changed])[0]


def _ready(plans: Sequence[Plan | Refused], store: Store) -> list[Plan | Refused]:
    """The plans, those that lack a package here refused; all of them lack one: an error that names all packages."""
    possible = [plan for plan in plans if isinstance(plan, Plan)]
    try:
        planning.prepare(possible, store)
    except MissingPackage:
        ready = [_prepared(plan, store) if isinstance(plan, Plan) else plan for plan in plans]
        if not any(isinstance(plan, Plan) for plan in ready):
            raise
        return ready
    return list(plans)


def _prepared(plan: Plan, store: Store) -> Plan | Refused:
    try:
        planning.prepare([plan], store)
    except MissingPackage as error:
        return Refused(model=plan.variant.full_model, error=error)
    return plan


def _refused_row(refused: Refused, request: ExportRequest) -> ExportResult:
    return ExportResult(
        model=refused.model, target=request.target, artifact=None, error=refused.error, reused=False, seconds=0.0
    )


def _exported(
    plan: Plan, store: Store, request: ExportRequest, files: dict[str, OfficialFile], progress: Progress
) -> ExportResult:
    """The artifact of a plan; in place of a deferred one, the engine built on the device that was named."""
    started = time.monotonic()
    artifact: Artifact | None = None
    error: VitdeployError | None = None
    reused = False
    steps: tuple[StepStages, ...] = ()
    try:
        plan = _with_official_file(plan, store, request, files, progress)
        tuning = None
        if request.tune:
            plan, tuning = tune.tuned_plan(plan, store, progress=progress)
        outcome = pipeline.export(plan, store, progress=progress)
        artifact, error, reused, steps = outcome.artifact, outcome.error, outcome.reused, outcome.steps
        if tuning is not None:
            tuned = msgspec.structs.replace(artifact.manifest, tuning=tuning)
            artifact = manifest.write(artifact.folder, tuned)
        if error is None and artifact.manifest.state == "deferred" and request.device is not None:
            device = reachable(request.device)
            facts = device_facts.facts_of(device)
            remote_build.needs_build(device, facts, artifact)
            artifact = remote_build.build(artifact, device, facts=facts, progress=progress, force=request.force)
    except VitdeployError as failure:
        error = failure
    return ExportResult(
        model=plan.variant.full_model,
        target=plan.variant.target,
        artifact=artifact,
        error=error,
        reused=reused,
        seconds=time.monotonic() - started,
        steps=steps,
    )
