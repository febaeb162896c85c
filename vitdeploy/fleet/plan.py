"""A sweep's plan: one TOML file, models × targets × sizes × devices × repetitions, or data sets; strictly read.

title = "The lab"
trials = 5
[[rows]]
models = ["efficientvit_b1", "efficientvit_b2"]     # or folders of artifacts
targets = ["onnx-fp32"]
sizes = ["224x224", "288x288"]
devices = ["orin-1", "a100"]
[[evals]]
artifacts = ["artifacts/efficientvit_seg_b0_cityscapes+w923d6fdd/1024x2048/trt-fp16@orin-1"]
devices = ["orin-1"]
dataset = "cityscapes"
root = "/data/cityscapes"
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from vitdeploy import documents
from vitdeploy.api import cases
from vitdeploy.api.cases import BenchRequest, Planned
from vitdeploy.artifacts.manifest import Artifact, open_artifact
from vitdeploy.catalog import registry
from vitdeploy.catalog.spec import Attention, Boundary
from vitdeploy.errors import Impossible, UnreadableFile, UsageError, unknown_name
from vitdeploy.evaluation import dataset
from vitdeploy.evaluation.request import EvalRequest

_Count = Annotated[int, msgspec.Meta(ge=1, le=4096)]
_Seconds = Annotated[float, msgspec.Meta(gt=0, le=86400)]
_Names = Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
_DeviceName = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9._-]*$")]

MOST_TRIALS = 1_000_000
"""A plan of more trials is a typing error: at a second each it would take eleven days."""


class PlanRows(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One ``[[rows]]`` of a plan: every model at every target and size on every device."""

    models: _Names
    """Names from ``vitdeploy models``, or folders of artifacts on the machine of the client."""
    devices: Annotated[tuple[_DeviceName, ...], msgspec.Meta(min_length=1)]
    """Names of devices; a worker serves one by ``--resources "device:NAME=1"``."""
    targets: tuple[str, ...] = ()
    """Names from ``vitdeploy targets``; empty: onnx-fp32. Artifacts have theirs already."""
    sizes: tuple[str, ...] = ()
    """Each ``HxW``; empty: the resolution of the model's published latency."""
    batch: _Count | None = None
    streams: _Count = 1
    threads: _Count | None = None
    """None: the device's own default."""
    attention: Attention | None = None
    boundary: Boundary = "host-to-host"
    """On phones it is ``compute``, whatever stands here."""


class PlanEvals(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One ``[[evals]]`` of a plan: the accuracy of an artifact on each of the devices, in parts."""

    artifacts: _Names
    """Folders on the machine of the client: one model's, of several sizes where the data set needs them."""
    devices: Annotated[tuple[_DeviceName, ...], msgspec.Meta(min_length=1)]
    dataset: str
    """As ``eval --dataset``."""
    root: str
    """The data set's folder, by the same path on the client's machine and on each worker's."""
    shards: _Count = 8
    split: str | None = None
    limit: _Count | None = None
    crop: float | None = None
    prompt: str | None = None
    clicks: int = 1
    annotations: str | None = None
    detections: str | None = None
    threads: _Count | None = None
    weights: str | None = None
    """The checkpoint, for fp32 torch; a file of the client's machine."""
    reference: bool = True
    """Evaluate fp32 torch as well, wherever a worker offers memory."""


class SweepPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A plan file. Its name without ``.toml`` is the name of the sweep."""

    title: str
    """For people: what this sweep is for."""
    rows: tuple[PlanRows, ...] = ()
    """What is timed."""
    evals: tuple[PlanEvals, ...] = ()
    """What is evaluated, after everything is timed."""
    trials: _Count = 5
    """Repetitions: fresh processes a case."""
    min_time_s: _Seconds = 1.0
    """Sampling time of a trial."""
    sustained_s: _Seconds | None = None
    wait_s: _Seconds = 60.0
    """A device that no worker serves for so long gets no more trials in this sweep (exit 7)."""
    lock_wait_s: _Seconds = 600.0
    """A worker waits so long for a device that somebody else holds."""
    retries: Annotated[int, msgspec.Meta(ge=0, le=100)] = 2
    """A trial that was lost with its link is run again so often."""
    export_memory_gib: Annotated[float, msgspec.Meta(gt=0, le=4096)] = 4.0
    """Memory that an export claims of a worker's ``memory`` resource."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepCase:
    """One row to be: what is timed, and on which device."""

    place: int
    """Its position in the run."""
    device: str
    planned: Planned
    request: BenchRequest
    """How it is timed, as `bench` would be asked for it."""

    @property
    def words(self) -> str:
        """For plans: ``efficientvit_b1 onnx-fp32 224x224 on orin-1``."""
        return f"{self.planned.words} on {self.device}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalJob:
    """One evaluation to be: an artifact on a device."""

    artifacts: tuple[Artifact, ...]
    request: EvalRequest
    """How it is evaluated, as `eval` would be asked for it."""
    count: int
    """Parts that the pictures are cut into."""

    @property
    def words(self) -> str:
        """For plans: ``efficientvit_seg_b0_cityscapes onnx-fp32 cityscapes on orin-1``."""
        manifest = self.artifacts[0].manifest
        return f"{manifest.model} {manifest.target} {self.request.dataset} on {self.request.device}"

    @property
    def name(self) -> str:
        """For files."""
        manifest = self.artifacts[0].manifest
        return f"{manifest.model}-{manifest.target}-{self.request.dataset}-{self.request.device}"


def read(path: Path) -> SweepPlan:
    """The plan file at ``path``.

    Raises:
        UnreadableFile: it cannot be read, or has unknown fields or wrong types; the message names the field.
    """
    data = documents.read_bytes(path, what="plan", most_bytes=documents.LARGEST_TEXT_BYTES)
    try:
        plan = msgspec.toml.decode(data, type=SweepPlan)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableFile(
            f"{path} is not a valid plan: {error}", "Correct that field; docs/fleet.md lists them all."
        ) from error
    if not (plan.rows or plan.evals):
        raise UnreadableFile(f"{path} is not a valid plan: it has no rows and no evals", "Write [[rows]] or [[evals]].")
    return plan


def name_of(path: Path) -> str:
    """What a sweep is called: the plan file's name, in the letters that a device's name may have.

    Raises:
        UsageError: nothing is left of it.
    """
    name = re.sub(r"[^a-z0-9._-]+", "-", path.stem.lower()).lstrip("._-")
    if not name:
        raise UsageError(
            f"the plan's file name {path.name} has no stem of letters or digits",
            "Call the plan file lab.toml or the like.",
        )
    return name


def expand(plan: SweepPlan) -> list[SweepCase]:
    """Every row of the run to be, in the order of the plan.

    Raises:
        UsageError: an unknown name, a value that means nothing, or one case twice.
        Impossible: a size or attention that the model cannot have.
        UnreadableFile: a path that is no artifact.
    """
    sweep_cases: list[SweepCase] = []
    numbers: dict[tuple[object, ...], int] = {}
    for number, rows in enumerate(plan.rows, 1):
        try:
            expanded = _of_rows(plan, rows)
        except (UsageError, Impossible, UnreadableFile) as error:
            raise type(error)(f"rows {number}: {error.message}", error.hint) from error
        for device, planned, request in expanded:
            key = (device, planned.words, request.threads, request.boundary)
            if key in numbers:
                raise UsageError(
                    f"rows {number} and rows {numbers[key]} both name {planned.words} on {device}", "Leave one out."
                )
            numbers[key] = number
            sweep_cases.append(SweepCase(place=len(sweep_cases), device=device, planned=planned, request=request))
    if len(sweep_cases) * plan.trials > MOST_TRIALS:
        raise UsageError(
            f"{len(sweep_cases)} cases of {plan.trials} trials are beyond {MOST_TRIALS} trials", "Split the plan."
        )
    return sweep_cases


def evaluations(plan: SweepPlan) -> list[EvalJob]:
    """Every evaluation of the plan, in its order.

    Raises:
        UsageError: an unknown data set, or one evaluation twice.
        UnreadableFile: a path that is no artifact.
    """
    jobs: list[EvalJob] = []
    for number, evals in enumerate(plan.evals, 1):
        if evals.dataset not in dataset.NAMES:
            raise unknown_name("data set", evals.dataset, dataset.NAMES, "docs/eval.md")
        artifacts = tuple(open_artifact(Path(name)) for name in evals.artifacts)
        options = {
            name: value
            for name, value in msgspec.structs.asdict(evals).items()
            if name not in ("artifacts", "devices", "shards")
        }
        options["root"] = Path(evals.root)
        for name in ("annotations", "detections", "weights"):
            options[name] = Path(options[name]) if options[name] else None
        for device in evals.devices:
            request = EvalRequest(**options, device=device)
            job = EvalJob(artifacts=artifacts, request=request, count=evals.shards)
            if job in jobs:
                raise UsageError(f"evals {number} names {job.words} a second time", "Leave evals out.")
            jobs.append(job)
    return jobs


def devices(sweep_cases: Sequence[SweepCase]) -> list[str]:
    """The devices of a plan, each once."""
    return list(dict.fromkeys(case.device for case in sweep_cases))


def _of_rows(plan: SweepPlan, rows: PlanRows) -> list[tuple[str, Planned, BenchRequest]]:
    expanded: list[tuple[str, Planned, BenchRequest]] = []
    for size in rows.sizes:
        registry.parse_size(size)
    for device in rows.devices:
        for size in rows.sizes or (None,):
            request = BenchRequest(
                targets=rows.targets,
                device=device,
                size=size,
                batch=rows.batch,
                attention=rows.attention,
                threads=rows.threads,
                trials=plan.trials,
                min_time_s=plan.min_time_s,
                boundary=rows.boundary,
                streams=rows.streams,
                sustained_s=plan.sustained_s,
            )
            expanded += [(device, planned, request) for planned in cases.plan(rows.models, request, keep_going=False)]
    return expanded
