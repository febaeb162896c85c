"""The verbs as functions, and the only place where the rooms meet.

``export``, ``check``, ``predict``, ``bench``, ``report``, … take plain values and return frozen data;
the command line only prints it. Rooms and heavy packages are imported inside the verbs that need
them, so that a verb costs what it uses.
"""

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from vitdeploy import artifact, catalog, checkup, own_models
from vitdeploy.artifact import Artifact
from vitdeploy.checkup import Finding
from vitdeploy.errors import Impossible, UsageError, VitdeployError, worst_exit_code
from vitdeploy.orders import (
    BenchOrder,
    BenchOutcome,
    CacheRow,
    Checked,
    Document,
    ExportOrder,
    ExportRow,
    Listed,
    OnTrial,
    Prediction,
    PredictOrder,
)
from vitdeploy.spec import Attention, Converter, Head, Io, ModelSpec

if TYPE_CHECKING:
    import torch

    from vitdeploy.benchmarks.bench import Job
    from vitdeploy.devices.inventory import Device
    from vitdeploy.exporters.pipeline import Request
    from vitdeploy.store import Entry
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
                "note": spec.note or "",
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
        facts = {"file": target.file, "precision": target.precision, "extra": target.extra, "note": target.note or ""}
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
    from vitdeploy.benchmarks import host, machine
    from vitdeploy.devices import inventory

    found = inventory.find(device)
    if (why_not := inventory.unreachable(found)) is not None:
        return [Finding(what=f"device {device}", found=why_not, state="problem", advice="See `vitdeploy devices`.")]
    if found.link != "local":
        try:
            seen = machine.of(found)
        except VitdeployError as error:
            return [Finding(what=f"device {device}", found=error.message, state="problem", advice=error.hint)]
        return checkup.phone(seen) if found.link == "adb" else checkup.machine(seen)
    needed = sorted(catalog.EXTRAS)
    return [
        *checkup.machine(host.facts()),
        checkup.space(store.default_root()),
        *checkup.packages(packages.missing(needed), needed),
        *checkup.tools(),
    ]


def model_names(names: Sequence[str], suite_name: str | None) -> list[str]:
    """The models that are meant: those named, else the suite's, else the demo suite's; parts one by one."""
    from vitdeploy.benchmarks import suite

    if names and suite_name:
        raise UsageError("both models and --suite were given", "Name models or a suite.")
    meant = list(names) or [entry.model for entry in suite.find(suite_name or DEFAULT_SUITE).entries]
    return list(dict.fromkeys(spec.name for name in meant for spec in catalog.exported_as(name)))


def export_plan(names: Sequence[str], order: ExportOrder) -> list[str]:
    """What `export` would do, one step a line."""
    from vitdeploy.exporters import pipeline

    return [line for request in _requests(names, order) for line in pipeline.describe(request)]


def export(names: Sequence[str], order: ExportOrder, *, progress: Progress = silent) -> list[ExportRow]:
    """Make the artifacts; one model's failure does not stop the others.

    Raises:
        VitdeployError: what is wrong before any work: names, values, packages, a place that cannot be written.
    """
    from vitdeploy.exporters import pipeline
    from vitdeploy.store import Store

    requests = _requests(names, order)
    store = Store()
    pipeline.prepare(requests, store)
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
            if error is None and made.manifest.state == "deferred" and order.device is not None:
                made = _built_on(order.device, made, progress)
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


def _built_on(device: str, made: Artifact, progress: Progress) -> Artifact:
    """The engine of a deferred artifact, built on the device that was named."""
    from vitdeploy.benchmarks import engine, machine

    named = reachable(device)
    found = machine.of(named)
    engine.wanted(named, found, made)
    return engine.build(made, named, found=found, progress=progress)


def _requests(names: Sequence[str], order: ExportOrder) -> "list[Request]":
    """One checked export request a model."""
    from vitdeploy.devices import inventory
    from vitdeploy.exporters import pipeline

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
    head, io = _choice("head", order.head, get_args(Head)), _choice("io", order.io, get_args(Io))
    converter: Converter | None = None
    if order.converter is not None:
        converter = _choice("converter", order.converter, get_args(Converter))
        if target.file != "model.tflite":
            raise Impossible(f"--converter chooses between TFLite converters; {target.name} has none", "Leave it out.")
    requests: list[Request] = []
    for spec in specs:
        size = catalog.parse_size(order.size) if order.size else spec.size
        request = pipeline.Request(
            spec=spec,
            target=target,
            size=size,
            batch=order.batch,
            attention=catalog.attention_of(spec, order.attention),
            weights=order.weights,
            head=head,
            io=io,
            without=order.without,
            out=order.out,
            converter=converter,
            force=order.force,
            device=order.device,
            compute_capability=_capabilities(order.compute_capability),
        )
        pipeline.plan(request)
        requests.append(request)
    return requests


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

    _only_here("check", device)
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


def predict_plan(order: PredictOrder) -> list[str]:
    """What `predict` would do."""
    found = artifact.open_artifact(order.artifact)
    return [f"run {found.file} on {order.image} and write {_picture_path(order, found)}"]


def predict(order: PredictOrder) -> Prediction:
    """Run an artifact on one picture and draw what it saw.

    Raises:
        UnreadableFile: the artifact or the picture cannot be read.
        Impossible: the task has no picture of its own in this version.
    """
    from vitdeploy import labels, packages, photographs, predictions
    from vitdeploy.reports import overlay
    from vitdeploy.runtimes import session

    found = artifact.open_artifact(order.artifact)
    manifest = found.manifest
    spec, target = catalog.find_model(manifest.model, manifest.part), catalog.find_target(manifest.target)
    if spec.task == "segment-anything":
        return _segmentation(order, found)
    if order.points or order.boxes or order.multimask:
        raise Impossible(f"{manifest.model} takes no points or boxes", "Leave --point, --box and --multimask out.")
    _only_here("predict", order.device)
    _built(found)
    if target.runtime is None:
        raise Impossible(f"this version has nothing that runs {target.name}", "Use an artifact of another target.")
    photo = photographs.open_named(order.image)
    packages.require(target.run_packages)
    runtime = catalog.load(target.runtime)
    with runtime.open_session(
        found.file, artifact.as_json(manifest), session.SessionOptions(threads=_local_threads())
    ) as opened:
        outputs = session.infer(opened, predictions.feed(photo, manifest, spec))
    described = manifest.outputs[0]
    answer = predictions.first(outputs[described.name], described.layout)
    picture = _picture_path(order, found)
    if spec.task == "super-resolution":
        return _enlargement(order, photo, predictions.image(answer), found, spec)
    note = f"{manifest.weights.words}: the classes mean nothing" if manifest.weights.source == "random" else None
    names = labels.names(spec.dataset)
    if spec.task == "segmentation":
        classes = predictions.label_map(answer, (photo.shape[0], photo.shape[1]), enlarge=spec.enlarge)
        seen, measure = predictions.shares(classes), "share of the pixels"
        drawn = overlay.segmentation(photo, classes, spec.dataset, note=note)
    else:
        seen, measure = predictions.likeliest(answer), "probability"
        drawn = overlay.classification(photo, answer, names, note=note)
    overlay.save(drawn, picture)
    shown = tuple((names[one.label], one.share) for one in seen)
    return Prediction(picture=picture, measure=measure, classes=shown, note=note)


def _segmentation(order: PredictOrder, found: Artifact) -> Prediction:
    """Run encoder and decoder on a picture and its prompts, and draw the masks."""
    from contextlib import ExitStack
    from functools import partial

    from PIL import Image

    from vitdeploy import packages, photographs, segmenting
    from vitdeploy.reports import overlay
    from vitdeploy.runtimes import session

    _only_here("predict", order.device)
    _built(found)
    photo = photographs.open_named(order.image)
    asked = segmenting.parsed(order.points, order.boxes, photo)
    pair = segmenting.parts(found)
    target = catalog.find_target(found.manifest.target)
    if target.runtime is None:
        raise Impossible(f"this version has nothing that runs {target.name}", "Use an artifact of another target.")
    packages.require(target.run_packages)
    runtime = catalog.load(target.runtime)
    options = session.SessionOptions(threads=_local_threads())
    with ExitStack() as stack:
        opened = [
            stack.enter_context(runtime.open_session(one.file, artifact.as_json(one.manifest), options)) for one in pair
        ]
        encode, decode = (partial(session.infer, one) for one in opened)
        objects = segmenting.segment(
            photo,
            asked,
            (pair[0].manifest, pair[1].manifest),
            catalog.find_model(found.manifest.model, "encoder"),
            run=(encode, decode),
            multimask=order.multimask,
        )
    weights = found.manifest.weights
    note = f"{weights.words}: the masks mean nothing" if weights.source == "random" else None
    picture = _picture_path(order, found)
    overlay.save(overlay.masks(photo, objects, note=note), picture)
    at_size = [one.best.at(photo) for one in objects]
    in_frame = [one.best.in_frame() for one in objects]
    beside = [picture.with_name(f"{picture.stem}-{words}.png") for words in ("masks", f"masks-{segmenting.FRAME[0]}")]
    for masks, path in zip((at_size, in_frame), beside, strict=True):
        overlay.save(Image.fromarray(segmenting.numbered(masks)), path)
    shown = tuple(
        (f"object {number} by {one.prompt.words}{f', mask {place}' if order.multimask else ''}", candidate.score)
        for number, one in enumerate(objects, start=1)
        for place, candidate in enumerate(one.candidates, start=1)
    )
    return Prediction(picture=picture, measure="predicted IoU", classes=shown, note=note, masks=(beside[0], beside[1]))


def _enlargement(order: PredictOrder, photo: Any, made: Any, found: Artifact, spec: ModelSpec) -> Prediction:
    """Save the picture that a super-resolution model made, and say how near it is to the photograph."""
    from PIL import Image

    from vitdeploy import predictions
    from vitdeploy.reports import overlay

    picture = _picture_path(order, found)
    overlay.save(Image.fromarray(made), picture)
    near = predictions.against(photo, made, found.manifest.size)
    told = [spec.note] if spec.note else []
    if near is None:
        told.append(f"{order.image} is smaller than what was made of it, so nothing says how near that is")
    if found.manifest.weights.source == "random":
        told.append(f"{found.manifest.weights.words}: the picture means nothing")
    return Prediction(
        picture=picture,
        measure="PSNR against the photograph",
        classes=(),
        psnr_db=tuple(zip((spec.name, "bicubic"), near, strict=True)) if near else (),
        note="; ".join(told) or None,
    )


def _local_threads() -> int:
    from vitdeploy.benchmarks import host

    return host.cores_physical()


def _picture_path(order: PredictOrder, found: Artifact) -> Path:
    name = Path(order.image.removeprefix("sample:")).stem
    return order.out or Path(f"{name}-{own_models.folder_name(found.manifest.model, None)}.png")


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
    from vitdeploy import workload
    from vitdeploy.benchmarks import bench as timing
    from vitdeploy.benchmarks import engine, machine
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
    found = machine.of(device)
    threads = order.threads or inventory.threads_of(device, found)
    jobs: list[Job] = []
    for case in planned:
        made, error = None, None
        try:
            made = artifact_for(case, order, device, progress)
            if engine.wanted(device, found, made):
                made = engine.build(made, device, found=found, progress=progress)
        except VitdeployError as failure:
            error = failure
        described = workload.case_of(
            case,
            order,
            device=device.name,
            threads=threads,
            made=made,
            power_mode=found.get("power_mode"),
            gpu=found.get("compute_capability") is not None,
        )
        jobs.append(timing.Job(case=described, artifact=made, error=error))
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


def artifact_for(planned: "Planned", order: BenchOrder, device: "Device", progress: Progress) -> Artifact:
    """The artifact of a case: the one that was named, or one that is exported now."""
    if planned.target.name not in device.targets:
        raise Impossible(
            f"{planned.target.name} does not run on {device.name}", f"It takes {', '.join(device.targets)}."
        )
    if planned.artifact is not None:
        return planned.artifact
    asked = ExportOrder(
        target=planned.target.name,
        size=f"{planned.size[0]}x{planned.size[1]}",
        batch=planned.batch,
        attention=planned.attention,
        device=device.name if planned.target.deferrable and device.link != "local" else None,
        out=order.artifacts,
    )
    rows = export([planned.spec.name], asked, progress=progress)
    if rows[0].artifact is None:
        raise rows[0].error or Impossible(f"{planned.words} could not be made", "Run `vitdeploy export` for it.")
    return rows[0].artifact


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


def _built(found: Artifact) -> None:
    """Refuse a deferred artifact where an engine is needed.

    Raises:
        Impossible: its device has still to build it.
    """
    if found.manifest.state == "deferred":
        raise Impossible(
            f"{found.folder} has still to be built on its device",
            "Export the same model to onnx-fp32 or onnx-fp16, which run here, or bench it on its device.",
        )


def _only_here(verb: str, device: str | None) -> None:
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


def report_plan(runs: Sequence[Path], form: str, baseline: Path | None, out: Path | None) -> list[str]:
    """What `report` would do."""
    catalog.find_format(form)
    names = ", ".join(map(str, (*runs, *([baseline] if baseline else []))))
    return [f"read {names} and write {form} to {_report_path(form, out) or 'stdout'}"]


def report(
    runs: Sequence[Path], *, form: str = "markdown", baseline: Path | None = None, out: Path | None = None
) -> Document:
    """Render runs as a page, a table or a machine format.

    Raises:
        UsageError: no such format.
        UnreadableFile: a run cannot be read, or ``out`` cannot be written.
    """
    from vitdeploy import documents, record

    module = catalog.find_format(form)
    from vitdeploy import api_eval

    evaluations = [path for path in runs if api_eval.is_evaluation(path)]
    if evaluations:
        if form != "html":
            raise Impossible(
                f"evaluations are shown by html, not by {form}", "Use --format html; their JSON is a form too."
            )
        timed = [path for path in runs if path not in evaluations]
        made = api_eval.page(evaluations, timed, out or Path("report.html"))
        return Document(text=made.read_text(encoding="utf-8"), path=made)
    if form == "history":
        return _history(module, runs, out or Path("history.html"))
    loaded = [record.load(path) for path in runs]
    against = record.load(baseline) if baseline else None
    from vitdeploy.reports import report as reporting

    renderer = catalog.load(module)
    built = reporting.build(loaded, against)
    data: bytes = renderer.render(built)
    path = _report_path(form, out)
    if path is not None:
        documents.write_bytes(path, data)
    said: list[str] = renderer.annotations(built) if form == "github" else []
    return Document(text=data.decode(), path=path, annotations=tuple(said))


def _history(module: str, runs: Sequence[Path], out: Path) -> Document:
    from vitdeploy import documents, history

    data: bytes = catalog.load(module).render(history.read(runs))
    documents.write_bytes(out, data)
    return Document(text=data.decode(), path=out)


def _report_path(form: str, out: Path | None) -> Path | None:
    """Where a report goes: a page always into a file, text to stdout unless a file is named."""
    return out or {"html": Path("report.html"), "history": Path("history.html")}.get(form)


def cache_ls() -> list[CacheRow]:
    """What the store holds."""
    from vitdeploy.store import Store

    return [_cache_row(entry) for entry in Store().entries()]


def cache_gc(*, older_than_days: float = 0.0, dry_run: bool = False, progress: Progress = silent) -> list[CacheRow]:
    """Remove stored artifacts that were not used for so long, and all that is ours on the phones that are configured.

    Returns what was (or would be) removed. A phone that is not there, or is in use, is told to ``progress``.
    """
    from vitdeploy.store import Store

    gone = [_cache_row(entry) for entry in Store().collect(older_than_days=older_than_days, dry_run=dry_run)]
    return gone + _swept_phones(dry_run, progress)


def _swept_phones(dry_run: bool, progress: Progress) -> list[CacheRow]:
    from vitdeploy.devices import inventory

    rows: list[CacheRow] = []
    for device in inventory.devices().values():
        if device.link != "adb" or inventory.unreachable(device) is not None:
            continue
        try:
            size_bytes = inventory.sweep(device, dry_run=dry_run)
        except VitdeployError as error:
            progress(f"{device.name} keeps what is ours on it: {error.message}")
            continue
        if size_bytes:
            rows.append(CacheRow(name=f"everything on {device.name}", size_bytes=size_bytes, used="-"))
    return rows


def _cache_row(entry: "Entry") -> CacheRow:
    manifest = entry.manifest
    used = time.strftime("%Y-%m-%d", time.localtime(entry.used_s))
    size = f"{manifest.size[0]}x{manifest.size[1]}"
    return CacheRow(
        name=f"{manifest.model} {manifest.target} {size}", size_bytes=entry.size_bytes, used=used, key=entry.key
    )
