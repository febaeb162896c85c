"""The verbs as functions, and the only place where the rooms meet: here ``export``, ``check`` and ``bench``.

The others lie beside it, in files named ``api_``. They take plain values and return frozen data; the command line
only prints it. Rooms and heavy packages are imported inside the verbs that need them, so that a verb costs what it
uses.
"""

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from vitdeploy import artifact, catalog
from vitdeploy.artifact import Artifact
from vitdeploy.errors import Impossible, UsageError, VitdeployError, worst_exit_code
from vitdeploy.orders import (
    BenchOrder,
    BenchOutcome,
    Checked,
    ExportOrder,
    ExportRow,
    OnTrial,
)
from vitdeploy.spec import Attention, Converter, Head, Io

if TYPE_CHECKING:
    import torch

    from vitdeploy.devices.inventory import Device
    from vitdeploy.exporters.planning import Plan
    from vitdeploy.workload import Planned

Progress = Callable[[str], None]
DEFAULT_SUITE = "demo"
"""What is exported and timed when nothing is named. Source: contract, "Commands"."""


def silent(_: str) -> None:
    """Progress that nobody reads."""


def unseen(done: int, total: int, label: str) -> None:
    """Trials that nobody watches."""


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
    asked = None if attention == "relu" else attention  # the default, which means its own to a model that has no other
    return catalog.load("vitdeploy.models.create:create")(spec, attention=asked, weights=weights, seed=seed)


def model_names(names: Sequence[str], suite_name: str | None) -> list[str]:
    """The models that are meant: those named, else the suite's, else the demo suite's; parts one by one."""
    from vitdeploy.benchmarks import suite

    if names and suite_name:
        raise UsageError("both models and --suite were given", "Name models or a suite.")
    meant = list(names) or [entry.model for entry in suite.find(suite_name or DEFAULT_SUITE).entries]
    return list(dict.fromkeys(spec.name for name in meant for spec in catalog.exported_as(name)))


def export_plan(names: Sequence[str], order: ExportOrder) -> list[str]:
    """What `export` would do, one step a line."""
    from vitdeploy.exporters import planning

    return [line for plan in _plans(names, order) for line in planning.describe(plan)]


def export(names: Sequence[str], order: ExportOrder, *, progress: Progress = silent) -> list[ExportRow]:
    """Make the artifacts; one model's failure does not stop the others.

    Raises:
        VitdeployError: what is wrong before any work: names, values, packages, a place that cannot be written.
    """
    from vitdeploy.exporters import pipeline, planning
    from vitdeploy.store import Store

    plans = _plans(names, order)
    store = Store()
    planning.prepare(plans, store)
    rows: list[ExportRow] = []
    for plan in plans:
        started = time.monotonic()
        made: Artifact | None = None
        error: VitdeployError | None = None
        reused = False
        try:
            outcome = pipeline.export(plan, store, progress=progress)
            made, reused = outcome.artifact, outcome.reused
            error = outcome.error
            if error is None and made.manifest.state == "deferred" and order.device is not None:
                made = _built_on(order, made, progress)
        except VitdeployError as failure:
            error = failure
        rows.append(
            ExportRow(
                model=plan.variant.full_model,
                target=plan.variant.target,
                artifact=made,
                error=error,
                reused=reused,
                seconds=time.monotonic() - started,
            )
        )
    if len(rows) == 1 and rows[0].error is not None and rows[0].artifact is None:
        raise rows[0].error
    return rows


def _built_on(order: ExportOrder, made: Artifact, progress: Progress) -> Artifact:
    """The engine of a deferred artifact, built on the device that was named."""
    from vitdeploy.benchmarks import engine, machine

    named = reachable(order.device or "local")
    found = machine.of(named)
    engine.wanted(named, found, made)
    return engine.build(made, named, found=found, progress=progress, force=order.force)


def _plans(names: Sequence[str], order: ExportOrder) -> "list[Plan]":
    """One checked export plan a model."""
    from vitdeploy.devices import inventory
    from vitdeploy.exporters import planning

    target = catalog.find_target(order.target)
    if order.device is not None:
        device = inventory.find(order.device)
        if target.file == "model.engine" and target.name not in device.targets:
            raise Impossible(f"{target.name} does not run on {device.name}", f"It takes {', '.join(device.targets)}.")
        if target.unavailable is None:
            reachable(order.device)
    specs = [spec for name in names for spec in catalog.exported_as(name)]
    if order.weights is not None and (meant := len({spec.whole for spec in specs})) != 1:
        raise UsageError(f"--weights fits one model, and {meant} are meant", "Name one model.")
    if order.batch < 1:
        raise UsageError(f"--batch {order.batch} is not a positive whole number", "Use --batch 1 or more.")
    if order.attention is not None:
        _choice("attention", order.attention, get_args(Attention))
    if order.converter is not None:
        _choice("converter", order.converter, get_args(Converter))
        if target.file != "model.tflite":
            raise Impossible(f"--converter chooses between TFLite converters; {target.name} has none", "Leave it out.")
    size = catalog.parse_size(order.size) if order.size else None
    options: dict[str, Any] = {
        "batch": order.batch,
        "head": _choice("head", order.head, get_args(Head)),
        "io": _choice("io", order.io, get_args(Io)),
        "converter": order.converter,
        "compute_capability": _capabilities(order.compute_capability),
        "without": order.without,
    }
    requests = [
        planning.Request(
            variant=catalog.variant_of(spec, target.name, size=size, attention=order.attention, **options),
            weights=order.weights,
            weights_sha256=order.weights_sha256,
            out=order.out,
            force=order.force,
            device=order.device,
        )
        for spec in specs
    ]
    return planning.plans(requests)


def _capabilities(text: str | None) -> tuple[str, ...]:
    """``8.0`` or ``8.0,8.6``."""
    found = tuple(dict.fromkeys(word.strip() for word in text.split(","))) if text else ()
    for one in found:
        if not re.fullmatch(r"\d{1,2}\.\d", one):
            raise UsageError(f"--compute-capability {one!r} is none", "Use one like 8.0, or several: 8.0,8.6.")
    return found


def _choice(what: str, value: str, allowed: Sequence[str]) -> Any:
    if value not in allowed:
        raise UsageError(f"--{what} {value!r} is not one of {', '.join(allowed)}", f"Use --{what} {allowed[0]}.")
    return value


def check_plan(path: Path) -> list[str]:
    """What `check` would do."""
    found = artifact.open_artifact(path)
    return [f"run {found.file} on noise and photographs and hold it against torch fp32 {found.manifest.model}"]


def check(
    path: Path,
    *,
    images: Path | None = None,
    weights: Path | None = None,
    device: str | None = None,
    trace: bool = False,
) -> Checked:
    """Measure an artifact's parity again, on the user's images or the shipped ones.

    Raises:
        UnreadableFile: the artifact or the checkpoint is not what the manifest says.
        Impossible: the way asked for is not built in this version.
    """
    from vitdeploy.exporters import pipeline

    only_here("check", device)
    found = artifact.open_artifact(path)
    target = catalog.find_target(found.manifest.target)
    if found.manifest.parity_skipped is not None:
        raise Impossible(f"{found.file} cannot be run here: {found.manifest.parity_skipped}", "Check it on its device.")
    if trace and target.precision not in ("fp16", "bf16"):
        raise Impossible(
            f"--trace looks for what 16 bits break, and {target.name} has more",
            "Leave --trace out.",
        )
    parity, error = pipeline.prove(found, weights=weights, images=images)
    first = catalog.load("vitdeploy.exporters.on_rounded:trace")(found, images, weights) if trace else None
    return Checked(
        folder=found.folder,
        manifest=found.manifest,
        inputs=f"noise and the photographs {'in ' + str(images) if images else 'of scikit-image'}",
        parity=parity,
        error=error,
        trace=None if not trace else "no node diverges" if first is None else first.words,
    )


def bench_plan(what: Sequence[str], order: BenchOrder) -> list[str]:
    """What `bench` would do, one case a line."""
    from vitdeploy import workload
    from vitdeploy.devices import inventory

    order = workload.fitted(order, inventory.find(order.device))
    planned = _planned(what, order)
    device = reachable(order.device)
    return [
        f"{case.words} on {device.name}: {order.trials} trials of at least {order.min_time_s:g} s" for case in planned
    ]


def bench(
    what: Sequence[str],
    order: BenchOrder,
    *,
    progress: Progress = silent,
    on_trial: OnTrial = unseen,
) -> BenchOutcome:
    """Time models and artifacts; what is not exported yet is made first.

    Raises:
        VitdeployError: what is wrong before any work: names, values, packages, an unreachable device.
    """
    from vitdeploy import api_jobs, workload
    from vitdeploy.benchmarks import bench as timing
    from vitdeploy.benchmarks import machine
    from vitdeploy.devices import inventory

    order = workload.fitted(order, inventory.find(order.device))
    planned = _planned(what, order)
    device = reachable(order.device)
    protocol = timing.make_protocol(
        suite=None if what else order.suite or DEFAULT_SUITE,
        trials=order.trials,
        min_time_s=order.min_time_s,
        sustained_s=order.sustained_s,
    )
    if order.resume and order.out is None:
        raise UsageError("--resume needs the run file", "Name it with --out.")
    out = order.out or Path("runs") / f"{device.name}-{time.strftime('%Y%m%d-%H%M%S')}.json"
    timing.check_out(out, resume=order.resume)
    for notice in inventory.load().notices:
        progress(notice)
    jobs = api_jobs.jobs_for(planned, order, device, machine.of(device), progress=progress)
    run = timing.run(
        jobs, device=device, protocol=protocol, out=out, resume=order.resume, progress=progress, on_trial=on_trial
    )
    return BenchOutcome(run=run, path=out, exit_code=worst_exit_code(timing.exit_code_of(r) for r in run.results))


def _planned(what: Sequence[str], order: BenchOrder) -> "list[Planned]":
    from vitdeploy import workload
    from vitdeploy.benchmarks import suite

    if what and order.suite:
        raise UsageError("both models and --suite were given", "Name models or a suite.")
    return workload.plan(what, () if what else suite.find(order.suite or DEFAULT_SUITE).entries, order)


def reachable(name: str) -> "Device":
    """The device of that name, if nothing stands against reaching it.

    Raises:
        DeviceError: it is not configured, or its link is not built in this version.
    """
    from vitdeploy.devices import inventory

    device = inventory.find(name)
    if (why_not := inventory.unreachable(device)) is not None:
        raise inventory.unreachable_error(device, why_not)
    return device


def only_here(verb: str, device: str | None) -> None:
    """Refuse a device that the verb would not use: an answer from this machine must not pass for another one's.

    Raises:
        DeviceError: the device is not configured.
        Impossible: it is, and the verb does not run there in this version.
    """
    if device not in (None, "local"):
        reachable(device or "local")
        raise Impossible(
            f"`{verb}` runs on this machine only in this version, not on {device}",
            "Leave --device out; `bench` on a phone holds every output against this machine's.",
        )
