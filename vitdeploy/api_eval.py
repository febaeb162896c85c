"""The verb that measures accuracy, as functions: whole, or in shards that are collected; a composer of rooms, as `api`.

A shard is a part of the pictures. Its records are a file of their own, so that many workers can each do some and any
of them can be done again: `evaluate_shard` leaves the file, `collect` makes one evaluation of all files.
"""

import dataclasses
import hashlib
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

from vitdeploy import api, artifact, catalog, errors, packages
from vitdeploy.artifact import Artifact
from vitdeploy.errors import Impossible, UnreadableFile, UsageError, VitdeployError
from vitdeploy.evaluation import dataset, detections, journal, plans, record, summary
from vitdeploy.evaluation.dataset import Item
from vitdeploy.evaluation.evaluate import evaluate
from vitdeploy.evaluation.journal import Head, Journal
from vitdeploy.evaluation.order import EvalOrder, EvalOutcome
from vitdeploy.evaluation.plans import Prepared
from vitdeploy.evaluation.record import CrossCheck, DataSet, Evaluation, Subject
from vitdeploy.orders import ExportOrder, OnTrial

if TYPE_CHECKING:
    from vitdeploy.devices.inventory import Device

REFERENCE_TARGET = "torch-fp32"
"""What the drop is against. Source: contract, "Commands"."""

CHECKED = 8
"""Pictures whose figure is computed by another library as well. Source: a choice; it costs a second or two."""

LOCK_WAIT_S = 60.0
"""A device may be busy for so long: an evaluation takes minutes, and can wait for another's last trial."""

MOST_DRAWN = 6
"""Of the worst pictures those that the page shows."""

MOST_NAMED = 3
"""Pictures that could not be scored and are named on the command line; the document names more."""


def eval_plan(paths: Sequence[Path], order: EvalOrder) -> list[str]:
    """What `eval` would do."""
    artifacts = _opened(paths)
    prepared = plans.prepare(_wish(order), artifacts)
    artifacts = prepared.artifacts
    device = api.reachable(order.device)
    lines = [
        f"{one.manifest.model} {one.manifest.target} {_size(one)} on {device.name}: "
        f"{len(prepared.items)} of {len(prepared.found.items)} pictures of {order.dataset} in {order.root}"
        for one in artifacts
    ]
    lines += list(prepared.protocol)
    if order.dataset == "ade20k":
        lines += _shape_lines(plans.shapes(_wish(order)), artifacts)
    if order.reference:
        lines.append("fp32 torch on the same pictures, on this machine, for the drop and its paired interval")
    return lines


def _shape_lines(shapes: Mapping[tuple[int, int], int], artifacts: Sequence[Artifact]) -> list[str]:
    """Which sizes the pictures become, and which artifact takes each."""
    lines: list[str] = []
    for (height, width), count in shapes.items():
        sizes = [one.manifest.size for one in artifacts]
        holding = [s for s in sizes if s[0] >= height and s[1] >= width]
        how = (
            "its own artifact"
            if (height, width) in sizes
            else f"padded to {min(holding)[0]}x{min(holding)[1]}"
            if holding
            else f"no artifact: vitdeploy export … --size {height}x{width}"
        )
        lines.append(f"{height}x{width}: {count} pictures, {how}")
    return lines


def evaluate_artifact(
    paths: Sequence[Path], order: EvalOrder, *, progress: api.Progress = api.silent, on_image: OnTrial = api.unseen
) -> EvalOutcome:
    """Accuracy of an artifact (several sizes of one model: several artifacts) on a data set.

    Raises:
        UsageError: an unknown name, or a value that means nothing.
        Impossible: the artifact is for another data set.
        UnreadableFile: an artifact or the data set cannot be read.
        DeviceError: the device is not reachable, busy, or another one than its file says.
    """
    from vitdeploy.benchmarks import bench as timing

    artifacts = _opened(paths)
    device = api.reachable(order.device)
    prepared = plans.prepare(_wish(order), artifacts)
    artifacts = prepared.artifacts
    _require(order.dataset)
    out = order.out or _default_path(artifacts[0], order)
    if order.resume and order.out is None:
        raise UsageError("--resume needs the evaluation's file", "Name it with --out.")
    timing.check_out(out, resume=order.resume)
    images = out.with_name(f"{out.stem}.images.jsonl")
    told = evaluate_items(
        prepared, artifacts, device, images, order=order, progress=progress, on_image=on_image, resume=order.resume
    )
    reference = _reference(prepared, artifacts, order, progress, on_image) if order.reference else None
    kept = None
    if isinstance(reference, _Reference):
        kept = out.with_name(f"{out.stem}.reference.jsonl")
        shutil.copyfile(reference.journal, kept)
    outcome = _finish(prepared, artifacts, device, order, out, images, told, reference, kept)
    _draw_worst(prepared, device, outcome, told.threads)
    made = page([out], order.runs, out.with_suffix(".html"))
    return dataclasses.replace(outcome, page=made)


def page(evaluations: Sequence[Path], runs: Sequence[Path], out: Path) -> Path:
    """One page of evaluations, with the latencies that runs have of the same files.

    Raises:
        UnreadableFile: an evaluation or a run cannot be read, or ``out`` cannot be written.
    """
    from vitdeploy import documents
    from vitdeploy import record as timings
    from vitdeploy.reports import accuracy

    shown = accuracy.build([(path, record.load(path)) for path in evaluations], [timings.load(path) for path in runs])
    documents.write_bytes(out, catalog.load("vitdeploy.reports.as_evaluation:render")(shown))
    return out


def is_evaluation(path: Path) -> bool:
    """Whether a document is an evaluation, by its first lines."""
    try:
        with path.open("rb") as stream:
            return b'"kind": "evaluation"' in stream.read(200)
    except OSError:
        return False


def _draw_worst(prepared: Prepared, device: "Device", outcome: EvalOutcome, threads: int) -> None:
    """Evaluate the worst pictures once more, looking on, and leave a sheet of each beside the evaluation."""
    from vitdeploy.benchmarks import feeding
    from vitdeploy.devices import inventory
    from vitdeploy.reports import accuracy

    bad = {one.image: place for place, one in enumerate(outcome.evaluation.worst[:MOST_DRAWN])}
    items = [item for item in prepared.items if item.name in bad]

    def start(item: Item) -> Any:
        def seen(found: Any, true: Any) -> None:
            _write_sheet(accuracy.sheet_path(outcome.path, bad[item.name]), prepared, item, found, true)

        if prepared.watch is not None:
            return prepared.watch(item, seen)
        seen(None, None)
        return prepared.start(item)

    with inventory.connect(device) as link, link.lock(timeout_s=LOCK_WAIT_S):
        answers = feeding.answers(link, threads=threads, log=outcome.path.with_suffix(".log"))
        for _ in evaluate(items, start, answers):
            pass


def _write_sheet(path: Path, prepared: Prepared, item: Item, found: Any, true: Any) -> None:
    from vitdeploy import documents
    from vitdeploy.evaluation import pictures
    from vitdeploy.reports import sheets

    match prepared.kind:
        case "segmentation":
            data = sheets.segmentation(pictures.photo(item.image), found, true, prepared.found.name)
        case "super-resolution":
            data = sheets.enlargement(found, true)
        case "masks" | "detections":
            data = sheets.masks(pictures.photo(item.image), found, true)
        case _:
            data = sheets.picture(pictures.photo(item.image))
    documents.write_bytes(path, data)


def evaluate_shard(
    paths: Sequence[Path],
    order: EvalOrder,
    index: int,
    count: int,
    out: Path,
    *,
    reference: bool = False,
    progress: api.Progress = api.silent,
    on_image: OnTrial = api.unseen,
) -> Path:
    """Evaluate part ``index`` of ``count`` of the pictures and leave their records in ``out``, a ``.jsonl`` file.

    A file that is there is gone on with: what was finished is not done again. `collect` reads all parts.

    Args:
        reference: evaluate fp32 torch on this machine instead of the artifacts on the device.

    Raises:
        VitdeployError: as `evaluate_artifact`.
    """
    if not 0 <= index < count:
        raise UsageError(f"shard {index} of {count} is none", f"Use 0 to {count - 1}.")
    artifacts = _opened(paths)
    prepared = plans.prepare(_wish(order), artifacts)
    artifacts = prepared.artifacts
    _require(order.dataset)
    device = api.reachable("local" if reference else order.device)
    if reference:
        artifacts = _references(artifacts, order, progress)
        prepared = prepared.rebuild(artifacts)
    part = dataclasses.replace(prepared, items=dataset.shard(prepared.items, index, count))
    evaluate_items(part, artifacts, device, out, order=order, progress=progress, on_image=on_image, resume=True)
    return out


def collect(
    paths: Sequence[Path], order: EvalOrder, parts: Sequence[Path], *, reference_parts: Sequence[Path] = ()
) -> EvalOutcome:
    """One evaluation of the records that `evaluate_shard` left; a picture in several of them counts once.

    Raises:
        UnreadableFile: a part cannot be read, or pictures are in none of them.
    """
    artifacts = _opened(paths)
    prepared = plans.prepare(_wish(order), artifacts)
    artifacts = prepared.artifacts
    out = order.out or _default_path(artifacts[0], order)
    images = out.with_name(f"{out.stem}.images.jsonl")
    _merged(parts, images, _head(prepared, artifacts, order.device), prepared.items)
    reference, kept = None, None
    if reference_parts:
        torches = _references(artifacts, order, api.silent)
        kept = out.with_name(f"{out.stem}.reference.jsonl")
        _merged(reference_parts, kept, _head(prepared.rebuild(torches), torches, "local"), prepared.items)
        reference = _Reference(journal=kept, words=_reference_words(torches))
    return _finish(prepared, artifacts, api.reachable(order.device), order, out, images, _Told(), reference, kept)


@dataclasses.dataclass(slots=True)
class _Told:
    """What became known while pictures were evaluated."""

    facts: dict[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    threads: int = 0
    checks: list[CrossCheck] = dataclasses.field(default_factory=list[CrossCheck])


@dataclasses.dataclass(frozen=True, slots=True)
class _Reference:
    """The records of fp32 torch."""

    journal: Path
    words: str


def evaluate_items(
    prepared: Prepared,
    artifacts: Sequence[Artifact],
    device: "Device",
    out: Path,
    *,
    order: EvalOrder,
    progress: api.Progress,
    on_image: OnTrial,
    resume: bool,
    label: str | None = None,
) -> _Told:
    """Evaluate the pictures that ``out`` does not have yet, on the device, and append their records.

    Raises:
        DeviceError: the device is not reachable, busy, or another one than its file says.
        VitdeployError: the runtime failed.
    """
    from vitdeploy.benchmarks import feeding, machine
    from vitdeploy.devices import inventory

    for one in artifacts:
        if one.manifest.target not in device.targets:
            raise Impossible(
                f"{one.manifest.target} does not run on {device.name}", f"It takes {', '.join(device.targets)}."
            )
    if device.link == "local":
        packages.require({name for one in artifacts for name in catalog.find_target(one.manifest.target).run_packages})
    kept = Journal(out, _head(prepared, artifacts, device.name))
    told = _Told()
    done = kept.begin(resume=resume)
    left = [item for item in prepared.items if item.name not in done]
    if done:
        progress(f"going on with {out}: {len(done)} pictures are there")
    with inventory.connect(device) as link, link.lock(timeout_s=LOCK_WAIT_S):
        found = machine.found(device, link)
        told.facts = dict(machine.stable(device, found))
        told.threads = order.threads or inventory.threads_of(device, found)
        ran: dict[str, Any] = {}
        answers = feeding.answers(link, threads=told.threads, log=out.with_suffix(".log"), on_facts=ran.update)
        check = _Check(prepared, left, fresh=not done)
        name = label or f"{artifacts[0].manifest.model} {artifacts[0].manifest.target}"
        count = len(done)
        for records in evaluate(left, check.start, answers):
            kept.add(*records)
            count += len(records)
            on_image(count, len(prepared.items), name)
        told.facts |= {f"ran_{key}": value for key, value in ran.items()}
        told.checks = check.results(kept.path)
    return told


class _Check:
    """Watches the first pictures of a segmentation and hands them to another library."""

    def __init__(self, prepared: Prepared, items: Sequence[Item], *, fresh: bool) -> None:
        self._prepared = prepared
        watch = prepared.kind == "segmentation" and fresh and not packages.missing(["torchmetrics"])
        self._names = {item.name for item in items[:CHECKED]} if watch else set[str]()
        self._metric: Any = (
            catalog.load("vitdeploy.evaluation.by_torchmetrics:MeanIou")(len(prepared.found.classes), 255)
            if self._names
            else None
        )

    def start(self, item: Item) -> Any:
        """The dialogue of an item, watched where it is one of the first."""
        if item.name in self._names and self._prepared.watch is not None:
            return self._prepared.watch(item, self._metric.add)
        return self._prepared.start(item)

    def results(self, path: Path) -> list[CrossCheck]:
        """The other library's figure beside ours for the same pictures."""
        if not self._names:
            return []
        mine = [one for one in journal.records(path) if one.image in self._names]
        scored = sum(one.status == "scored" for one in mine)
        if not scored:
            return []
        found = summary.summarize("segmentation", self._prepared.found.classes, mine, None)
        return [
            CrossCheck(
                library=catalog.load("vitdeploy.evaluation.by_torchmetrics:LIBRARY"),
                figure="mIoU",
                images=scored,
                ours=found.figures[0].value or 0.0,
                theirs=self._metric.percent(),
            )
        ]


def _reference(
    prepared: Prepared,
    artifacts: Sequence[Artifact],
    order: EvalOrder,
    progress: api.Progress,
    on_image: OnTrial,
) -> "_Reference | str":
    """The records of fp32 torch on the same pictures, from an earlier evaluation where they are kept; or why not."""
    if all(one.manifest.target == REFERENCE_TARGET for one in artifacts):
        return "the artifact is the reference itself"
    try:
        torches = _references(artifacts, order, progress)
    except (UnreadableFile, Impossible, errors.MissingPackage) as error:
        return f"{error.message}. {error.hint}"
    rebuilt = prepared.rebuild(torches)
    head = _head(rebuilt, torches, "local")
    key = hashlib.sha256(repr(head).encode()).hexdigest()
    path = Path(platformdirs.user_cache_dir("vitdeploy")) / "evaluations" / f"{key}.jsonl"
    local = dataclasses.replace(order, device="local", threads=None)
    evaluate_items(
        rebuilt,
        torches,
        api.reachable("local"),
        path,
        order=local,
        progress=progress,
        on_image=on_image,
        resume=True,
        label="fp32 torch",
    )
    return _Reference(journal=path, words=_reference_words(torches))


def _reference_words(torches: Sequence[Artifact]) -> str:
    manifest = torches[0].manifest
    return f"{manifest.model} {manifest.target}, {manifest.weights.words}, on this machine"


def _references(artifacts: Sequence[Artifact], order: EvalOrder, progress: api.Progress) -> tuple[Artifact, ...]:
    """The fp32 torch artifact of each artifact, at its size and with its weights."""
    made: list[Artifact] = []
    for one in artifacts:
        manifest = one.manifest
        stored = _stored_reference(one)
        if stored is not None:
            made.append(stored)
            continue
        weights = None
        if manifest.weights.source == "file":
            weights = order.weights
            if weights is None:
                raise UnreadableFile(
                    f"{one.folder} was made from {manifest.weights.name}, which fp32 torch needs as well",
                    "Name the checkpoint with --weights, or leave the drop out with --no-reference.",
                )
            if artifact.digest_of(weights) != manifest.weights.sha256:
                raise UnreadableFile(
                    f"{weights} is not the checkpoint that {one.folder} was made from", f"Use {manifest.weights.name}."
                )
        asked = ExportOrder(
            target=REFERENCE_TARGET,
            size=_size(one),
            attention=manifest.attention,
            weights=weights,
            out=Path(platformdirs.user_cache_dir("vitdeploy")) / "references",
        )
        name = f"{manifest.model}.{manifest.part}" if manifest.part else manifest.model
        row = api.export([name], asked, progress=progress)[0]
        if row.artifact is None or row.error is not None:
            raise row.error or Impossible(f"no reference for {one.folder}", "Use --no-reference.")
        made.append(row.artifact)
    return tuple(made)


def _stored_reference(one: Artifact) -> Artifact | None:
    """The store's fp32 torch artifact of the same model, size and weights, where an earlier export left it."""
    from vitdeploy.store import Store

    wanted = one.manifest
    store = Store()
    for entry in store.entries():
        found = entry.manifest
        same = all(
            getattr(found, field) == getattr(wanted, field) for field in ("model", "part", "attention", "size")
        ) and (found.weights.source, found.weights.sha256, found.weights.seed) == (
            wanted.weights.source,
            wanted.weights.sha256,
            wanted.weights.seed,
        )
        plain = found.target == REFERENCE_TARGET and found.batch == 1 and found.head == "logits" and found.io == "fp32"
        if same and plain and store.find(entry.key) is not None:
            return Artifact(entry.folder, found)
    return None


def _finish(
    prepared: Prepared,
    artifacts: Sequence[Artifact],
    device: "Device",
    order: EvalOrder,
    out: Path,
    images: Path,
    told: _Told,
    reference: "_Reference | str | None",
    kept: Path | None,
) -> EvalOutcome:
    """Sum up, save, and show."""
    from vitdeploy.benchmarks import bench as timing
    from vitdeploy.record import Device as Told

    others = journal.records(kept) if kept is not None else None
    found = summary.summarize(prepared.kind, prepared.found.classes, journal.records(images), others)
    if prepared.kind == "detections":
        found.figures, found.classes = detections.figures(prepared, images, kept)
    described = Told(name=device.name, facts=told.facts)
    frame = timing.new_run(described, timing.make_protocol(), datetime.now(timezone.utc))
    made = Evaluation(
        schema=record.SCHEMA,
        kind="evaluation",
        id=frame.id,
        started_utc=frame.started_utc,
        vitdeploy=frame.vitdeploy,
        device=described,
        host=frame.host,
        threads=told.threads,
        dataset=DataSet(
            name=order.dataset,
            split=prepared.found.split,
            root=str(order.root),
            images=len(prepared.found.items),
            asked=len(prepared.items),
            scored=found.scored,
            items_sha256=dataset.digest(prepared.items),
        ),
        protocol=prepared.protocol,
        subjects=tuple(_subject(one) for one in artifacts),
        reference=reference.words if isinstance(reference, _Reference) else None,
        reference_why_not=reference if isinstance(reference, str) else None if reference else "it was not asked for",
        figures=found.figures,
        classes=found.classes,
        worst=found.worst,
        problems=tuple(found.problems),
        warnings=tuple(_warnings(prepared, artifacts, found, order)),
        cross_checks=tuple(told.checks),
        images_file=images.name,
        images_sha256=journal.digest(images),
    )
    record.save(made, out)
    return EvalOutcome(evaluation=made, path=out, page=None, error=_error(found, out))


def _warnings(
    prepared: Prepared, artifacts: Sequence[Artifact], found: summary.Summary, order: EvalOrder
) -> Iterable[str]:
    manifest = artifacts[0].manifest
    if manifest.weights.source == "random":
        yield f"Made with {manifest.weights.words}: the figures say only that everything runs."
    if len(prepared.items) < len(prepared.found.items):
        yield f"Only {len(prepared.items)} of {len(prepared.found.items)} pictures: not the published figure."
    if found.not_scored:
        yield f"{_pictures(found.not_scored)} not scored and in no figure."
    if found.not_finite:
        yield f"{_pictures(found.not_finite)} answered with NaN or Inf, and in every figure."
    if found.adapted:
        yield f"{_pictures(found.adapted)} padded or cut into tiles, which the published protocol does not do."
    if found.paired is not None and found.paired < found.scored:
        yield f"The drop is over the {found.paired} pictures that the reference scored as well."
    parity = manifest.parity
    if parity is not None and not parity.passed:
        yield f"The artifact failed its parity: {parity.reason}."
    if order.dataset == "sr" and prepared.found.extra:
        yield "The small pictures were made here with Pillow's bicubic filter, not with the papers' MATLAB script."


def _error(found: summary.Summary, out: Path) -> VitdeployError | None:
    """The error of an evaluation whose pictures were not all scored; everything else is done and written."""
    if not found.not_scored:
        return None
    named = "; ".join(f"{one.image}: {one.why}" for one in found.problems[:MOST_NAMED])
    more = f"; and {found.not_scored - MOST_NAMED} more" if found.not_scored > MOST_NAMED else ""
    states = {one.status for one in found.problems}
    if states == {"uncovered"}:
        return Impossible(
            f"{_pictures(found.not_scored)} not scored: {named}{more}",
            "Export the sizes that `vitdeploy eval --dry-run` lists, and name all artifacts.",
        )
    return UnreadableFile(
        f"{_pictures(found.not_scored)} not scored: {named}{more}", f"Mend them; {out} names them all."
    )


def _pictures(count: int) -> str:
    return "1 picture was" if count == 1 else f"{count} pictures were"


def _merged(parts: Sequence[Path], out: Path, head: Head, items: Sequence[Item]) -> None:
    """One file of all records, each picture once."""
    kept = Journal(out, head)
    out.unlink(missing_ok=True)
    kept.begin(resume=False)
    wanted, seen = {item.name for item in items}, set[str]()
    for part in parts:
        theirs = journal.head_of(part)
        alike = ("dataset", "artifacts", "protocol", "device")
        if any(getattr(theirs, field) != getattr(head, field) for field in alike):
            raise UnreadableFile(f"{part} is a part of another evaluation", "Evaluate that shard again.")
        fresh = [one for one in journal.records(part) if one.image in wanted - seen]
        seen |= {one.image for one in fresh}
        kept.add(*fresh)
    if wanted - seen:
        missing = sorted(wanted - seen)
        raise UnreadableFile(
            f"{len(missing)} pictures are in no part, {missing[0]} among them", "Evaluate the missing shards."
        )


def _head(prepared: Prepared, artifacts: Sequence[Artifact], device: str) -> Head:
    return Head(
        schema=journal.SCHEMA,
        dataset=f"{prepared.found.name}:{prepared.found.split}",
        items_sha256=dataset.digest(prepared.items),
        artifacts=tuple(sorted(one.manifest.sha256 for one in artifacts)),
        protocol=prepared.protocol,
        device=device,
    )


def _subject(one: Artifact) -> Subject:
    manifest = one.manifest
    weights = manifest.weights
    return Subject(
        sha256=manifest.sha256,
        model=manifest.model,
        part=manifest.part,
        target=manifest.target,
        attention=manifest.attention,
        size=manifest.size,
        batch=manifest.batch,
        precision=manifest.precision,
        head=manifest.head,
        io=manifest.io,
        weights=f"random:{weights.seed}" if weights.source == "random" else f"sha256:{weights.sha256}",
        name=weights.name,
    )


def _opened(paths: Sequence[Path]) -> tuple[Artifact, ...]:
    return tuple(artifact.open_artifact(path) for path in paths)


def _wish(order: EvalOrder) -> plans.Wish:
    return plans.Wish(
        dataset=order.dataset,
        root=order.root,
        split=order.split,
        limit=order.limit,
        crop=order.crop,
        prompt=order.prompt,
        clicks=order.clicks,
        annotations=order.annotations,
        detections=order.detections,
    )


_PACKAGES: Mapping[str, tuple[str, ...]] = {"sr": ("skimage",), "coco": ("pycocotools",), "lvis": ("pycocotools",)}


def _require(name: str) -> None:
    packages.require(_PACKAGES.get(name, ()))


def _default_path(one: Artifact, order: EvalOrder) -> Path:
    manifest = one.manifest
    words = (manifest.model, manifest.target, order.dataset, order.device, time.strftime("%Y%m%d-%H%M%S"))
    return Path("evals") / ("-".join(words) + ".json")


def _size(one: Artifact) -> str:
    return f"{one.manifest.size[0]}x{one.manifest.size[1]}"
