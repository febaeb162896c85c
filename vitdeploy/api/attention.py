"""`attention`: ReLU linear attention against softmax attention over resolutions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from vitdeploy import documents
from vitdeploy.api.devices import reachable
from vitdeploy.api.studies import StudyRequest, facts_of, free_bytes, free_bytes_of, plan_lines, run_path, timed
from vitdeploy.benchmarks.suite import Wanted
from vitdeploy.catalog import registry
from vitdeploy.errors import UsageError, VitdeployError
from vitdeploy.processes.progress import OnTrial, Progress, silent, silent_trial
from vitdeploy.results import record
from vitdeploy.results.record import Result, Run
from vitdeploy.studies import attention_study

if TYPE_CHECKING:
    from vitdeploy.devices.inventory import Device
    from vitdeploy.results.record import Run
    from vitdeploy.studies.attention_study import Study


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionOutcome:
    """What was found of attention: the study, its run file and its page."""

    study: "Study"
    path: Path
    page: Path


def attention_plan(networks: Sequence[str], order: StudyRequest) -> list[str]:
    """What `attention` would do, one case a line."""
    device = reachable(order.device)
    rows = _attention_rows(networks, order, device, free_bytes=free_bytes(device))
    return plan_lines(rows, order, device)


def attention(
    networks: Sequence[str], order: StudyRequest, *, progress: Progress = silent, on_trial: OnTrial = silent_trial
) -> AttentionOutcome:
    """Time linear against softmax attention over resolutions: the modules alone, and whole networks.

    Raises:
        UsageError: an unknown network, or one without both attentions.
        DeviceError: the device is not reachable, busy, or another one than its file says.
    """
    from vitdeploy.benchmarks import reproduce as tables

    device = reachable(order.device)
    found = facts_of(device)
    rows = _attention_rows(networks, order, device, free_bytes=free_bytes_of(found))
    tables.check_runs(rows, device)
    out = run_path(order, "attention", device)
    run = timed(rows, order, device, found, attention_study.SUITE, out, progress, on_trial)
    kernels = _kernels(run, device, progress)
    documents.write(_beside(out), kernels)
    return _studied(run, kernels, out, order.page, tables.find("attention"))


def attention_of(path: Path, page: Path | None = None) -> AttentionOutcome:
    """The study of a run that was made before.

    Raises:
        UnreadableFile: it is none.
        UsageError: it is the run of something else.
    """
    from vitdeploy.benchmarks import reproduce as tables

    run = record.load(path)
    if run.protocol.suite != attention_study.SUITE:
        raise UsageError(f"{path} is no run of `vitdeploy attention`", "Name one that it wrote.")
    kernels: list[attention_study.Kernel] = []
    if _beside(path).is_file():
        kernels = msgspec.json.decode(_beside(path).read_bytes(), type=list[attention_study.Kernel])
    return _studied(run, kernels, path, page, tables.find("attention"))


def _studied(
    run: Run, kernels: Sequence[attention_study.Kernel], out: Path, page: Path | None, table: Any
) -> AttentionOutcome:
    study = attention_study.study(run, table, kernels)
    page = page or out.with_suffix(".html")
    documents.write_bytes(page, registry.load("vitdeploy.reports.as_attention:render")(study))
    return AttentionOutcome(study=study, path=out, page=page)


def _attention_rows(
    networks: Sequence[str], order: StudyRequest, device: "Device", *, free_bytes: int | None
) -> list[Wanted]:
    from vitdeploy.benchmarks import attention as studies
    from vitdeploy.benchmarks import reproduce as published_tables

    for name in networks:
        spec = registry.find_model(name)
        if not {"relu", "softmax"} <= set(spec.attentions):
            raise UsageError(f"{name} has no choice of attention", "Name an EfficientViT.")
    target = order.target or ("onnx-fp32" if "onnx-fp32" in device.targets else None)
    target = published_tables.target_of(published_tables.find("attention"), device, target)
    return studies.wanted(
        quick=order.quick, networks=networks or studies.NETWORKS, target=target, free_bytes=free_bytes
    )


def _kernels(run: Run, device: "Device", progress: Progress) -> list[attention_study.Kernel]:
    """What ran in the largest module of either attention that has a figure, by the runtime's profiler."""
    from vitdeploy.artifacts.store import Store
    from vitdeploy.benchmarks.profile import attribution
    from vitdeploy.devices import device_facts, inventory

    chosen: list[Result] = []
    for kind in ("softmax", "relu"):
        same = [
            r
            for r in run.results
            if r.case.attention == kind
            and attention_study.module_width(r) == attention_study.WIDTH
            and r.status == "valid"
        ]
        chosen += sorted(same, key=lambda r: r.case.size)[-1:]
    store = Store()
    told: list[attention_study.Kernel] = []
    with inventory.connect(device) as link:
        facts = device_facts.read_facts(device, link)
        for result in chosen:
            made = store.holding(result.artifact_sha256, result.case.target)
            if made is None:
                continue
            progress(f"{result.case.name}: asking the runtime what ran")
            measure = attribution.on_device(device, link, facts, threads=result.case.threads)
            ran: Mapping[str, int] = {}
            try:
                ran = measure(made)
                said = None if ran else f"{result.case.target} tells no operator times"
            except VitdeployError as error:
                said = error.message
            graph = made.manifest.operators
            times = {name: ns / 1e6 for name, ns in sorted(ran.items(), key=lambda item: -item[1])}
            told.append(attention_study.Kernel(case=result.case.name, graph=graph, ran_ms=times, said=said))
    return told


def _beside(out: Path) -> Path:
    """Where what the profiler said lies: a run has no place for it."""
    return out.with_suffix(".kernels.json")
