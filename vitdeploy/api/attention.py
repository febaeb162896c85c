"""`attention`: ReLU linear attention against softmax attention over resolutions."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import msgspec

from vitdeploy import documents
from vitdeploy.api import studies
from vitdeploy.api.devices import reachable
from vitdeploy.api.studies import StudyPlan, StudyRequest
from vitdeploy.artifacts.store import Store
from vitdeploy.benchmarks import attention as attention_cases
from vitdeploy.benchmarks import reproduce as published_tables
from vitdeploy.benchmarks.profile import attribution
from vitdeploy.catalog import registry
from vitdeploy.catalog.shown import Shown
from vitdeploy.devices import device_facts, inventory
from vitdeploy.devices.inventory import Device
from vitdeploy.errors import UnreadableFile, UsageError, VitdeployError
from vitdeploy.processes.progress import OnTrial, Progress, silent, silent_trial
from vitdeploy.results import record
from vitdeploy.results.record import Result, Run
from vitdeploy.studies import attention_study
from vitdeploy.studies.attention_study import Kernel, Study

TABLE = "attention"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class AttentionOutcome(Shown):
    """The study of a run, its run file and its page."""

    shown_by: ClassVar = "vitdeploy.cli.studies:attention_output"
    study: Study
    path: Path
    page: Path

    def __fspath__(self) -> str:
        """The run file: the outcome stands where a path is expected."""
        return str(self.path)


def attention_plan(networks: Sequence[str], request: StudyRequest) -> list[str]:
    """What `attention` would do, one case a line."""
    return _planned(networks, request).lines()


def attention(
    networks: Sequence[str], request: StudyRequest, *, progress: Progress = silent, on_trial: OnTrial = silent_trial
) -> AttentionOutcome:
    """Time linear against softmax attention over resolutions: the modules alone, and whole networks.

    Raises:
        UsageError: an unknown network, or one without both attentions.
        DeviceError: the device is not reachable, busy, or another one than its file says.
    """
    plan = _planned(networks, request)
    published_tables.check_runs(plan.rows, plan.device)
    protocol = plan.protocol(attention_study.SUITE)
    with studies.claimed(plan, protocol, "attention", progress) as out:
        run = studies.timed(plan, protocol, out, progress, on_trial)
        kernels = _kernels(run, plan.device, progress)
        documents.write(_kernels_path(out), kernels)
    return _outcome(run, kernels, request.out or out, request.page)


def attention_of(path: Path, page: Path | None = None) -> AttentionOutcome:
    """The study of an earlier run.

    Raises:
        UnreadableFile: it is no run.
        UsageError: it is the run of something else.
    """
    run = record.load(path)
    if run.protocol.suite != attention_study.SUITE:
        raise UsageError(f"{path} is no run of `vitdeploy attention`", "Name one that it wrote.")
    return _outcome(run, _kept_kernels(run, _kernels_path(path)), path, page)


def _kept_kernels(run: Run, path: Path) -> list[Kernel]:
    """The kernels that lie beside a run; none where there is no file of them.

    Raises:
        UnreadableFile: the file is cut or edited, or of another run.
    """
    if not path.is_file():
        return []
    try:
        kernels = msgspec.json.decode(documents.read_bytes(path, what="kernels"), type=list[Kernel])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableFile(f"{path} is not a valid kernels file: {error}", "Remove it.") from error
    names = {result.case.name for result in run.results}
    for place, kernel in enumerate(kernels):
        if kernel.case not in names:
            raise UnreadableFile(
                f"{path} is of another run, `$[{place}].case`: {kernel.case[:80]!r} is no case of {run.id}",
                "Remove it.",
            )
    return kernels


def _planned(networks: Sequence[str], request: StudyRequest) -> StudyPlan:
    device = reachable(request.device)
    facts = device_facts.facts_of(device)
    for name in networks:
        if not {"relu", "softmax"} <= set(registry.find_model(name).attentions):
            raise UsageError(f"{name} has no choice of attention", "Name an EfficientViT.")
    target = request.target or ("onnx-fp32" if "onnx-fp32" in device.targets else None)
    rows = attention_cases.wanted(
        quick=request.quick,
        networks=networks or attention_cases.NETWORKS,
        target=published_tables.target_of(published_tables.find(TABLE), device, target),
        free_bytes=studies.free_bytes(facts),
    )
    return studies.plan_of(rows, device, facts, request, attention_cases.groups(rows))


def _outcome(run: Run, kernels: Sequence[Kernel], out: Path, page: Path | None) -> AttentionOutcome:
    study = attention_study.study(run, published_tables.find(TABLE), kernels)
    page = page or out.with_suffix(".html")
    documents.write_bytes(page, registry.load("vitdeploy.reports.as_attention:render")(study))
    return AttentionOutcome(study=study, path=out, page=page)


def _kernels(run: Run, device: Device, progress: Progress) -> list[Kernel]:
    """The kernels of the largest valid module of either attention, by the runtime's profiler."""
    kernels: list[Kernel] = []
    with inventory.connect(device) as link:
        facts = device_facts.read_facts(device, link)
        for result in filter(None, (_largest_module(run, kind) for kind in ("softmax", "relu"))):
            artifact = Store().holding(result.artifact_sha256, result.case.target)
            if artifact is None:
                continue
            progress(f"{result.case.name}: reading kernel names from the runtime's profiler")
            measure = attribution.on_device(device, link, facts, threads=result.case.threads)
            times: dict[str, float] = {}
            try:
                measured = sorted(measure(artifact).items(), key=lambda item: -item[1])
                times = {name: ns / 1e6 for name, ns in measured}
                message = None if times else f"{result.case.target} reports no operator times"
            except VitdeployError as error:
                message = error.message
            graph = artifact.manifest.operators
            kernels.append(Kernel(case=result.case.name, graph=graph, ran_ms=times, said=message))
    return kernels


def _largest_module(run: Run, kind: str) -> Result | None:
    modules = [
        result
        for result in run.results
        if result.status == "valid"
        and result.case.attention == kind
        and attention_study.module_width(result) == attention_study.WIDTH
    ]
    return max(modules, key=lambda result: result.case.size, default=None)


def _kernels_path(out: Path) -> Path:
    """Where the profiler's kernels are kept, for which a run has no field."""
    return out.with_suffix(".kernels.json")
