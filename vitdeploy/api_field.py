"""The verbs that hold the field against itself, as functions: attention, reproduce; composers of rooms, as `api` is."""

import dataclasses
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from vitdeploy import api, catalog, documents, record, reproduction, scaling, workload
from vitdeploy.errors import UsageError, VitdeployError
from vitdeploy.orders import BenchOrder, FieldOrder, Listed, OnTrial, Reproduced, Studied, Wanted
from vitdeploy.record import Result, Run
from vitdeploy.workload import Planned

if TYPE_CHECKING:
    from vitdeploy.devices.inventory import Device
    from vitdeploy.fact_table import DeviceFacts

TRIALS = 7
QUICK_TRIALS = 5
"""Rounds. Five, because one trial in five may be unsteady before a row is invalid."""

MIN_TIME_S = 1.0
QUICK_MIN_TIME_S = 0.3

TRUST = 3
"""A scout is believed after so many trials."""


def attention_plan(networks: Sequence[str], order: FieldOrder) -> list[str]:
    """What `attention` would do, one case a line."""
    device = api.reachable(order.device)
    rows = _attention_rows(networks, order, device, free_bytes=_free_bytes(device))
    return _plan_lines(rows, order, device)


def attention(
    networks: Sequence[str], order: FieldOrder, *, progress: api.Progress = api.silent, on_trial: OnTrial = api.unseen
) -> Studied:
    """Time linear against softmax attention over resolutions: the modules alone, and whole networks.

    Raises:
        UsageError: an unknown network, or one without both attentions.
        DeviceError: the device is not reachable, busy, or another one than its file says.
    """
    from vitdeploy.benchmarks import reproduce as tables

    device = api.reachable(order.device)
    found = _found(device)
    rows = _attention_rows(networks, order, device, free_bytes=_free(found))
    tables.check_runs(rows, device)
    out = _out(order, "attention", device)
    run = _timed(rows, order, device, found, scaling.SUITE, out, progress, on_trial)
    kernels = _kernels(run, device, progress)
    documents.write(_beside(out), kernels)
    return _studied(run, kernels, out, order.page, tables.find("attention"))


def attention_of(path: Path, page: Path | None = None) -> Studied:
    """The study of a run that was made before.

    Raises:
        UnreadableFile: it is none.
        UsageError: it is the run of something else.
    """
    from vitdeploy.benchmarks import reproduce as tables

    run = record.load(path)
    if run.protocol.suite != scaling.SUITE:
        raise UsageError(f"{path} is no run of `vitdeploy attention`", "Name one that it wrote.")
    kernels: list[scaling.Kernel] = []
    if _beside(path).is_file():
        kernels = msgspec.json.decode(_beside(path).read_bytes(), type=list[scaling.Kernel])
    return _studied(run, kernels, path, page, tables.find("attention"))


def published_list() -> list[Listed]:
    """The published tables, and how many of their rows this version has models for."""
    from vitdeploy.benchmarks import reproduce as published_tables

    rows: list[Listed] = []
    for name in published_tables.names():
        table = published_tables.find(name)
        known = [row for row in table.rows if row.model and published_tables.known(row.model)]
        facts = {
            "title": table.title,
            "rows": f"{len(known)} of {len(table.rows)} have a model here",
            "claims": str(len(table.claims)),
        }
        rows.append(Listed(name=name, facts=facts, usable=bool(known), why_not=None if known else "no model is here"))
    return rows


def reproduce_plan(name: str, order: FieldOrder) -> list[str]:
    """What `reproduce` would do, one case a line."""
    from vitdeploy.benchmarks import reproduce as published_tables

    device = api.reachable(order.device)
    table = published_tables.find(name)
    target = published_tables.target_of(table, device, order.target)
    rows = published_tables.wanted(
        table, quick=order.quick, target=target, device=device.name, free_bytes=_free_bytes(device)
    )
    return _plan_lines(rows, order, device)


def reproduce(
    name: str, order: FieldOrder, *, progress: api.Progress = api.silent, on_trial: OnTrial = api.unseen
) -> Reproduced:
    """Run the rows of a published table that a device can, and hold them against what is published.

    Raises:
        UsageError: no such table.
        DeviceError: the device is not reachable, busy, or another one than its file says.
    """
    from vitdeploy.benchmarks import bench as timing
    from vitdeploy.benchmarks import reproduce as published_tables

    device = api.reachable(order.device)
    found = _found(device)
    table = published_tables.find(name)
    target = published_tables.target_of(table, device, order.target)
    rows = published_tables.wanted(table, quick=order.quick, target=target, device=device.name, free_bytes=_free(found))
    if not rows:
        raise UsageError(f"no model of the table {name} is in this version's catalogue", "See `vitdeploy models`.")
    published_tables.check_runs(rows, device)
    out = _out(order, f"reproduce-{name}", device)
    asked = _as_bench(order, device)
    timing.make_protocol(trials=asked.trials, min_time_s=asked.min_time_s)  # a wrong number, before any work
    timing.check_out(out, resume=order.resume)
    rows = _those_in_time(rows, order, device, found, progress)
    suite = reproduction.suite_of(name, quick=order.quick)
    run = _timed(rows, order, device, found, suite, out, progress, on_trial)
    return _reproduced(name, run, out, order.page)


def reproduction_of(path: Path, page: Path | None = None) -> Reproduced:
    """A run of `reproduce` that was made before, held against its table again.

    Raises:
        UnreadableFile: it is no run.
        UsageError: it is the run of something else.
    """
    run = record.load(path)
    kind, _, rest = (run.protocol.suite or "").partition(":")
    if kind != reproduction.SUITE:
        raise UsageError(f"{path} is no run of `vitdeploy reproduce`", "Name one that it wrote.")
    return _reproduced(rest.partition(":")[0], run, path, page)


def _studied(run: Run, kernels: Sequence[scaling.Kernel], out: Path, page: Path | None, table: Any) -> Studied:
    study = scaling.study(run, table, kernels)
    page = page or out.with_suffix(".html")
    documents.write_bytes(page, catalog.load("vitdeploy.reports.as_attention:render")(study))
    return Studied(study=study, path=out, page=page)


def _reproduced(name: str, run: Run, out: Path, page: Path | None) -> Reproduced:
    from vitdeploy.benchmarks import reproduce as published_tables

    found = reproduction.reproduce(name, published_tables.find(name), run)
    page = page or out.with_suffix(".html")
    documents.write_bytes(page, catalog.load("vitdeploy.reports.as_reproduction:render")(found))
    return Reproduced(reproduction=found, path=out, page=page)


def _attention_rows(
    networks: Sequence[str], order: FieldOrder, device: "Device", *, free_bytes: int | None
) -> list[Wanted]:
    from vitdeploy.benchmarks import attention as studies
    from vitdeploy.benchmarks import reproduce as published_tables

    for name in networks:
        spec = catalog.find_model(name)
        if not {"relu", "softmax"} <= set(spec.attentions):
            raise UsageError(f"{name} has no choice of attention", "Name an EfficientViT.")
    target = order.target or ("onnx-fp32" if "onnx-fp32" in device.targets else None)
    target = published_tables.target_of(published_tables.find("attention"), device, target)
    return studies.wanted(
        quick=order.quick, networks=networks or studies.NETWORKS, target=target, free_bytes=free_bytes
    )


def _plan_lines(rows: Sequence[Wanted], order: FieldOrder, device: "Device") -> list[str]:
    asked = _as_bench(order, device)
    how = f"{asked.trials} rounds of at least {asked.min_time_s:g} s"
    return [
        f"{_planned(row).words}: "
        + (f"left out, {row.refused.message}" if row.refused else f"{how} on {device.name}")
        for row in rows
    ]  # fmt: skip


def _those_in_time(
    rows: list[Wanted], order: FieldOrder, device: "Device", found: "DeviceFacts", progress: api.Progress
) -> list[Wanted]:
    """The rows, those that would take too long refused: a small one is timed first and tells how fast the device is."""
    from vitdeploy.benchmarks import reproduce as published_tables

    scout = published_tables.scout(rows)
    if scout is None or scout.macs is None:
        return rows
    trials = _as_bench(order, device).trials
    with tempfile.TemporaryDirectory(prefix="vitdeploy-scout-") as place:
        short = dataclasses.replace(order, trials=TRUST, min_time_s=0.1)
        path = Path(place) / "scout.json"
        run = _timed([scout], short, device, found, "scout", path, progress, api.unseen)
    (result,) = run.results
    if result.summary is None or result.macs is None:
        return rows
    speed = result.macs * result.case.batch / (result.summary.median_ms / 1e3)
    progress(f"{result.case.name} tells the speed: {speed / 1e9:.1f} G multiply-accumulates a second")
    late = published_tables.in_time(rows, speed, quick=order.quick, trials=trials)
    return [dataclasses.replace(row, refused=row.refused or late.get(place)) for place, row in enumerate(rows)]


def _timed(
    rows: Sequence[Wanted],
    order: FieldOrder,
    device: "Device",
    found: "DeviceFacts",
    suite: str,
    out: Path,
    progress: api.Progress,
    on_trial: OnTrial,
) -> Run:
    """Make the files and time them, all cases in turn; a row that fails says why and stops no other."""
    from vitdeploy import api_jobs
    from vitdeploy.benchmarks import bench as timing

    asked = _as_bench(order, device)
    protocol = timing.make_protocol(suite=suite, trials=asked.trials, min_time_s=asked.min_time_s)
    timing.check_out(out, resume=order.resume)
    jobs = api_jobs.jobs_for([_planned(row) for row in rows], asked, device, found, progress=progress)
    return timing.run(
        jobs, device=device, protocol=protocol, out=out, resume=order.resume, progress=progress, on_trial=on_trial
    )


def _planned(row: Wanted) -> Planned:
    entry = row.entry
    spec = catalog.find_model(entry.model)
    return Planned(
        spec=spec,
        target=catalog.find_target(entry.targets[0]),
        size=entry.size or spec.size,
        batch=entry.batch,
        attention=catalog.attention_of(spec, entry.attention),
        streams=entry.streams,
        refused=row.refused,
    )


def _as_bench(order: FieldOrder, device: "Device") -> BenchOrder:
    return workload.fitted(
        BenchOrder(
            device=order.device,
            threads=order.threads,
            trials=(QUICK_TRIALS if order.quick else TRIALS) if order.trials is None else order.trials,
            min_time_s=(QUICK_MIN_TIME_S if order.quick else MIN_TIME_S)
            if order.min_time_s is None
            else order.min_time_s,
            artifacts=order.artifacts,
        ),
        device,
    )


def _kernels(run: Run, device: "Device", progress: api.Progress) -> list[scaling.Kernel]:
    """What ran in the largest module of either attention that has a figure, by the runtime's profiler."""
    from vitdeploy.benchmarks import attribution, machine
    from vitdeploy.devices import inventory
    from vitdeploy.store import Store

    chosen: list[Result] = []
    for kind in ("softmax", "relu"):
        same = [
            r
            for r in run.results
            if r.case.attention == kind and scaling.module_width(r) == scaling.WIDTH and r.status == "valid"
        ]
        chosen += sorted(same, key=lambda r: r.case.size)[-1:]
    store = Store()
    told: list[scaling.Kernel] = []
    with inventory.connect(device) as link:
        facts = machine.found(device, link)
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
            told.append(scaling.Kernel(case=result.case.name, graph=graph, ran_ms=times, said=said))
    return told


def _out(order: FieldOrder, kind: str, device: "Device") -> Path:
    if order.resume and order.out is None:
        raise UsageError("--resume needs the run file", "Name it with --out.")
    return order.out or Path("runs") / f"{kind}-{device.name}-{time.strftime('%Y%m%d-%H%M%S')}.json"


def _beside(out: Path) -> Path:
    """Where what the profiler said lies: a run has no place for it."""
    return out.with_suffix(".kernels.json")


def _found(device: "Device") -> "DeviceFacts":
    from vitdeploy.benchmarks import machine

    return machine.of(device)


def _free_bytes(device: "Device") -> int | None:
    return _free(_found(device))


def _free(facts: "DeviceFacts") -> int | None:
    """Memory that nobody uses; None where it is not visible."""
    return facts.memory_free_bytes or facts.memory_bytes
