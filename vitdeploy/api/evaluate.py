"""The verb that measures accuracy, as functions: whole, or in shards that are collected; a composer of rooms, as `api`.

A shard is a part of the pictures. Its records are a file of their own, so that many workers can each do some and any
of them can be done again: `evaluate_shard` leaves the file, `collect` makes one evaluation of all files.
"""

import dataclasses
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path

from vitdeploy.api import evaluate_images, evaluate_reference
from vitdeploy.api.devices import reachable
from vitdeploy.api.evaluate_images import ShardReply
from vitdeploy.api.evaluate_reference import Reference
from vitdeploy.artifacts.manifest import Artifact, open_artifact
from vitdeploy.catalog import packages, registry
from vitdeploy.devices import computer_facts
from vitdeploy.errors import Impossible, UnreadableFile, UsageError, VitdeployError
from vitdeploy.evaluation import dataset, detections, image_records, prepare, record, summary
from vitdeploy.evaluation.dataset import DataSetItem
from vitdeploy.evaluation.image_records import ImageRecords, RecordsHeader
from vitdeploy.evaluation.prepare import PreparedEvaluation
from vitdeploy.evaluation.record import DataSet, Evaluation, Subject
from vitdeploy.evaluation.request import EvalOutcome, EvalRequest
from vitdeploy.processes.progress import OnTrial, Progress, silent, silent_trial

MOST_NAMED = 3
"""Pictures that could not be scored and are named on the command line; the document names more."""


def eval_plan(paths: Sequence[Path], order: EvalRequest) -> list[str]:
    """What `eval` would do."""
    artifacts = _opened(paths)
    prepared = prepare.prepare(order, artifacts)
    artifacts = prepared.artifacts
    device = reachable(order.device)
    lines = [
        f"{one.manifest.model} {one.manifest.target} {one.manifest.variant.size_words} on {device.name}: "
        f"{len(prepared.items)} of {len(prepared.files.items)} pictures of {order.dataset} in {order.root}"
        for one in artifacts
    ]
    lines += list(prepared.protocol)
    if order.dataset == "ade20k":
        lines += _shape_lines(prepare.shapes(order), artifacts)
    if order.reference:
        lines.append("fp32 torch on the same pictures, on this machine, for the drop and its paired interval")
    return lines


def look(artifacts: Sequence[Artifact], order: EvalRequest) -> None:
    """Find the data set and see that the artifacts are for it; nothing is evaluated.

    Raises:
        UsageError: an unknown name, or a value that means nothing.
        Impossible: the artifact is for another data set.
        UnreadableFile: the data set cannot be read.
    """
    _require(order.dataset)
    prepare.prepare(order, tuple(artifacts))


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
    paths: Sequence[Path], order: EvalRequest, *, progress: Progress = silent, on_image: OnTrial = silent_trial
) -> EvalOutcome:
    """Accuracy of an artifact (several sizes of one model: several artifacts) on a data set.

    Raises:
        UsageError: an unknown name, or a value that means nothing.
        Impossible: the artifact is for another data set.
        UnreadableFile: an artifact or the data set cannot be read.
        DeviceError: the device is not reachable, busy, or another one than its file says.
    """
    from vitdeploy.results import provenance

    artifacts = _opened(paths)
    device = reachable(order.device)
    prepared = prepare.prepare(order, artifacts)
    artifacts = prepared.artifacts
    _require(order.dataset)
    out = order.out or _default_path(artifacts[0], order)
    if order.resume and order.out is None:
        raise UsageError("--resume needs the evaluation's file", "Name it with --out.")
    provenance.check_out(out, resume=order.resume)
    images = out.with_name(f"{out.stem}.images.jsonl")
    told = evaluate_images.evaluate_items(
        prepared, artifacts, device, images, order=order, progress=progress, on_image=on_image, resume=order.resume
    )
    reference = evaluate_reference.evaluated(artifacts, order, progress, on_image) if order.reference else None
    kept = None
    if isinstance(reference, Reference):
        kept = out.with_name(f"{out.stem}.reference.jsonl")
        shutil.copyfile(reference.journal, kept)
    outcome = _finish(prepared, artifacts, device.name, order, out, images, told, reference, kept)
    if outcome.evaluation.worst:
        try:
            evaluate_images.draw_worst(prepared, device, outcome, told.threads)
        except VitdeployError as failure:  # everything is evaluated and written: a page without pictures is no loss
            progress(f"the worst pictures could not be drawn: {failure.message}")
    made = page([out], order.runs, out.with_suffix(".html"))
    return dataclasses.replace(outcome, page=made)


def page(evaluations: Sequence[Path], runs: Sequence[Path], out: Path) -> Path:
    """One page of evaluations, with the latencies that runs have of the same files.

    Raises:
        UnreadableFile: an evaluation or a run cannot be read, or ``out`` cannot be written.
    """
    from vitdeploy import documents
    from vitdeploy.reports import accuracy
    from vitdeploy.results import record as timings

    shown = accuracy.build([(path, record.load(path)) for path in evaluations], [timings.load(path) for path in runs])
    documents.write_bytes(out, registry.load("vitdeploy.reports.as_evaluation:render")(shown))
    return out


def is_evaluation(path: Path) -> bool:
    """Whether a document is an evaluation, by its first lines."""
    try:
        with path.open("rb") as stream:
            return b'"kind": "evaluation"' in stream.read(200)
    except OSError:
        return False


def evaluate_shard(
    paths: Sequence[Path],
    order: EvalRequest,
    index: int,
    count: int,
    out: Path,
    *,
    lock_wait_s: float = evaluate_images.LOCK_WAIT_S,
    progress: Progress = silent,
    on_image: OnTrial = silent_trial,
) -> ShardReply:
    """Evaluate part ``index`` of ``count`` of the pictures and leave their records in ``out``, a ``.jsonl`` file.

    A file that is there is gone on with: what was finished is not done again. `collect` reads all parts. The parts of
    the reference are those of the fp32 torch artifacts on ``local``.

    Returns:
        What the device is and how many threads it used, for `collect`.

    Raises:
        VitdeployError: as `evaluate_artifact`.
    """
    if not 0 <= index < count:
        raise UsageError(f"shard {index} of {count} is none", f"Use 0 to {count - 1}.")
    artifacts = _opened(paths)
    prepared = prepare.prepare(order, artifacts)
    artifacts = prepared.artifacts
    _require(order.dataset)
    part = dataclasses.replace(prepared, items=dataset.shard(prepared.items, index, count))
    return evaluate_images.evaluate_items(
        part,
        artifacts,
        reachable(order.device),
        out,
        order=order,
        progress=progress,
        on_image=on_image,
        resume=True,
        lock_wait_s=lock_wait_s,
    )


def collect(
    paths: Sequence[Path],
    order: EvalRequest,
    parts: Sequence[Path],
    *,
    told: ShardReply | None = None,
    torches: tuple[Artifact, ...] = (),
    reference_parts: Sequence[Path] = (),
    why_not: str | None = None,
) -> EvalOutcome:
    """One evaluation of the records that `evaluate_shard` left; a picture in several of them counts once.

    Args:
        told: what `evaluate_shard` returned, which is the same for all parts.
        torches: the fp32 torch artifacts that the parts of the reference are of.
        why_not: why there is no reference.

    Raises:
        UnreadableFile: a part cannot be read, or pictures are in none of them.
    """
    artifacts = _opened(paths)
    prepared = prepare.prepare(order, artifacts)
    artifacts = prepared.artifacts
    out = order.out or _default_path(artifacts[0], order)
    images = out.with_name(f"{out.stem}.images.jsonl")
    _merged(parts, images, evaluate_images.head_of(prepared, artifacts, order.device), prepared.items)
    reference: Reference | str | None = why_not
    kept = None
    if reference_parts:
        kept = out.with_name(f"{out.stem}.reference.jsonl")
        head = evaluate_images.head_of(prepare.prepare(order, torches), torches, "local")
        _merged(reference_parts, kept, head, prepared.items)
        reference = Reference(journal=kept, words=evaluate_reference.words_of(torches))
    outcome = _finish(prepared, artifacts, order.device, order, out, images, told or ShardReply(), reference, kept)
    return dataclasses.replace(outcome, page=page([out], order.runs, out.with_suffix(".html")))


def _finish(
    prepared: PreparedEvaluation,
    artifacts: Sequence[Artifact],
    device: str,
    order: EvalRequest,
    out: Path,
    images: Path,
    told: ShardReply,
    reference: "Reference | str | None",
    kept: Path | None,
) -> EvalOutcome:
    """Sum up, save, and show."""
    from vitdeploy.benchmarks import bench as timing
    from vitdeploy.results import provenance
    from vitdeploy.results.record import RunDevice as Described

    others = image_records.records(kept) if kept is not None else None
    found = summary.summarize(prepared.kind, prepared.files.classes, image_records.records(images), others)
    if prepared.kind == "detections":
        found.figures, found.classes = detections.figures(prepared, images, kept)
    described = Described(name=device, facts=told.facts)
    frame = provenance.new_run(
        described, timing.make_protocol(), datetime.now(timezone.utc), host=computer_facts.read_facts()
    )
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
            split=prepared.files.split,
            root=str(order.root),
            images=len(prepared.files.items),
            asked=len(prepared.items),
            scored=found.scored,
            items_sha256=dataset.digest(prepared.items),
        ),
        protocol=prepared.protocol,
        subjects=tuple(subject_of(one) for one in artifacts),
        reference=reference.words if isinstance(reference, Reference) else None,
        reference_why_not=reference if isinstance(reference, str) else None if reference else "it was not asked for",
        figures=found.figures,
        classes=found.classes,
        worst=found.worst,
        problems=tuple(found.problems),
        warnings=tuple(_warnings(prepared, artifacts, found, order)),
        cross_checks=tuple(told.checks),
        images_file=images.name,
        images_sha256=image_records.digest(images),
    )
    record.save(made, out)
    return EvalOutcome(evaluation=made, path=out, page=None, error=_error(found, out))


def _warnings(
    prepared: PreparedEvaluation, artifacts: Sequence[Artifact], found: summary.AccuracySummary, order: EvalRequest
) -> Iterable[str]:
    manifest = artifacts[0].manifest
    if manifest.weights.source == "random":
        yield f"Made with {manifest.weights.words}: the figures say only that everything runs."
    yield from registry.notes([manifest.model])
    if len(prepared.items) < len(prepared.files.items):
        yield f"Only {len(prepared.items)} of {len(prepared.files.items)} pictures: not the published figure."
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
    if order.dataset == "sr" and prepared.files.extra:
        yield "The small pictures were made here with Pillow's bicubic filter, not with the papers' MATLAB script."


def _error(found: summary.AccuracySummary, out: Path) -> VitdeployError | None:
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


def _merged(parts: Sequence[Path], out: Path, head: RecordsHeader, items: Sequence[DataSetItem]) -> None:
    """One file of all records, each picture once."""
    kept = ImageRecords(out, head)
    out.unlink(missing_ok=True)
    kept.begin(resume=False)
    wanted, seen = {item.name for item in items}, set[str]()
    for part in parts:
        theirs = image_records.head_of(part)
        alike = ("dataset", "artifacts", "protocol", "device")
        if any(getattr(theirs, field) != getattr(head, field) for field in alike):
            raise UnreadableFile(f"{part} is a part of another evaluation", "Evaluate that shard again.")
        fresh = [one for one in image_records.records(part) if one.image in wanted - seen]
        seen |= {one.image for one in fresh}
        kept.add(*fresh)
    if wanted - seen:
        missing = sorted(wanted - seen)
        raise UnreadableFile(
            f"{len(missing)} pictures are in no part, {missing[0]} among them", "Evaluate the missing shards."
        )


def subject_of(one: Artifact) -> Subject:
    """An artifact as its evaluation records it."""
    manifest = one.manifest
    return Subject(
        sha256=manifest.sha256,
        **manifest.variant.recorded,
        precision=manifest.precision,
        weights=manifest.weights.identity,
        name=manifest.weights.name,
    )


def _opened(paths: Sequence[Path]) -> tuple[Artifact, ...]:
    return tuple(open_artifact(path) for path in paths)


_PACKAGES: Mapping[str, tuple[str, ...]] = {"sr": ("skimage",), "coco": ("pycocotools",), "lvis": ("pycocotools",)}


def _require(name: str) -> None:
    packages.require(_PACKAGES.get(name, ()))


def _default_path(one: Artifact, order: EvalRequest) -> Path:
    manifest = one.manifest
    words = (manifest.model, manifest.target, order.dataset, order.device, time.strftime("%Y%m%d-%H%M%S"))
    return Path("evals") / ("-".join(words) + ".json")
