"""`eval`: the accuracy of artifacts on a data set, whole or in shards whose records are collected.

A shard is a part of the images. Its records are a file of their own, so that many workers can each do some and any
of them can be done again: `evaluate_shard` leaves the file, `collect` makes one evaluation of all files.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path

from vitdeploy import documents
from vitdeploy.api import evaluate_images, evaluate_reference, interrupted, official_weights, output_path
from vitdeploy.api.devices import reachable
from vitdeploy.api.evaluate_images import ShardReply
from vitdeploy.api.evaluate_reference import Reference
from vitdeploy.api.report import write_evaluation_page
from vitdeploy.artifacts.manifest import Artifact, digest_of, open_artifact
from vitdeploy.benchmarks import bench as timing
from vitdeploy.catalog import packages, registry
from vitdeploy.devices import computer_facts
from vitdeploy.devices.inventory import Device
from vitdeploy.errors import Impossible, UnreadableFile, UsageError, VitdeployError
from vitdeploy.evaluation import dataset, detections, image_records, prepare, record, summary, summary_warnings
from vitdeploy.evaluation.coco import AnnotationSource
from vitdeploy.evaluation.dataset import DataSetItem
from vitdeploy.evaluation.image_records import ImageRecords, RecordsHeader
from vitdeploy.evaluation.prepare import PreparedEvaluation
from vitdeploy.evaluation.record import DataSet, Evaluation, Subject
from vitdeploy.evaluation.request import EvalOutcome, EvalRequest
from vitdeploy.processes.progress import OnTrial, Progress, silent, silent_trial
from vitdeploy.results import provenance
from vitdeploy.results.record import RunDevice

MOST_NAMED = 3
"""Images that could not be scored and are named on the command line; the document names more."""

_PACKAGES: Mapping[str, tuple[str, ...]] = {"sr": ("skimage",), "coco": ("pycocotools",), "lvis": ("pycocotools",)}
"""Data set → the packages that its metrics need."""


def eval_plan(paths: Sequence[Path], request: EvalRequest) -> list[str]:
    """What `eval` would do."""
    prepared = prepare.prepare(request, _opened(paths))
    device = reachable(request.device)
    count = f"{len(prepared.items)} of {len(prepared.files.items)} pictures of {request.dataset} in {request.root}"
    lines = [
        f"{manifest.model} {manifest.target} {manifest.variant.size_words} on {device.name}: {count}"
        for manifest in (artifact.manifest for artifact in prepared.artifacts)
    ]
    lines += list(prepared.protocol)
    lines += official_weights.artifact_lines(request.weights, prepared.artifacts)
    if request.dataset == "ade20k":
        lines += _shape_lines(prepare.shapes(request), prepared.artifacts)
    if request.reference:
        lines.append("fp32 torch on the same pictures, on this machine, for the drop and its paired interval")
    return lines


def _shape_lines(shapes: Mapping[tuple[int, int], int], artifacts: Sequence[Artifact]) -> Iterable[str]:
    """The sizes of the preprocessed images, and which artifact takes each."""
    sizes = [artifact.manifest.size for artifact in artifacts]
    for (height, width), count in shapes.items():
        larger = [size for size in sizes if size[0] >= height and size[1] >= width]
        how = f"no artifact: vitdeploy export … --size {height}x{width}"
        if (height, width) in sizes:
            how = "its own artifact"
        elif larger:
            how = f"padded to {min(larger)[0]}x{min(larger)[1]}"
        yield f"{height}x{width}: {count} pictures, {how}"


def check_request(artifacts: Sequence[Artifact], request: EvalRequest) -> PreparedEvaluation:
    """The images and how they are evaluated; nothing is evaluated yet.

    Raises:
        UsageError: an unknown name, or a value that means nothing.
        Impossible: the artifact is for another data set.
        UnreadableFile: the data set cannot be read.
        MissingPackage: a package of the data set's metrics is not installed.
    """
    prepared = prepare.prepare(request, tuple(artifacts))
    packages.require(_PACKAGES.get(request.dataset, ()))
    return prepared


def evaluate_artifact(
    paths: Sequence[Path], request: EvalRequest, *, progress: Progress = silent, on_image: OnTrial = silent_trial
) -> EvalOutcome:
    """Accuracy of an artifact (several sizes of one model: several artifacts) on a data set.

    Raises:
        UsageError: an unknown name, or a value that means nothing.
        Impossible: the artifact is for another data set.
        UnreadableFile: an artifact or the data set cannot be read.
        DeviceError: the device is not reachable, busy, or another one than its file says.
    """
    artifacts = _opened(paths)
    device = reachable(request.device)
    prepared = check_request(artifacts, request)
    with output_path.claimed(
        request.out,
        _default_path(prepared, request),
        resume=request.resume,
        force=request.force,
        search=interrupted.of_evaluation(evaluate_images.head_of(prepared, device.name)),
        beside=interrupted.records_path,
        progress=progress,
    ) as out:
        outcome = _evaluated_into(out, prepared, device, request, progress, on_image)
    return _with_page(dataclasses.replace(outcome, path=request.out or out), request)


def _evaluated_into(
    out: Path,
    prepared: PreparedEvaluation,
    device: Device,
    request: EvalRequest,
    progress: Progress,
    on_image: OnTrial,
) -> EvalOutcome:
    reply = evaluate_images.evaluate_items(
        prepared, device, interrupted.records_path(out), request=request, progress=progress, on_image=on_image
    )
    reference: Reference | str = NO_REFERENCE
    if request.reference:
        reference = evaluate_reference.evaluated(prepared.artifacts, request, progress, on_image)
    if isinstance(reference, Reference):
        reference_path = _reference_path(out)
        documents.write_bytes(reference_path, documents.read_bytes(reference.records, what="image records"))
        reference = dataclasses.replace(reference, records=reference_path)
    outcome = _saved(prepared, request, out, reply, reference)
    if outcome.evaluation.worst:
        try:
            evaluate_images.draw_worst(prepared, device, outcome, reply.threads)
        except VitdeployError as failure:  # everything is evaluated and written: a page without pictures is no loss
            progress(f"the worst pictures could not be drawn: {failure.message}")
    return outcome


def evaluate_shard(
    paths: Sequence[Path],
    request: EvalRequest,
    index: int,
    count: int,
    out: Path,
    *,
    lock_wait_s: float = evaluate_images.LOCK_WAIT_S,
    progress: Progress = silent,
    on_image: OnTrial = silent_trial,
) -> ShardReply:
    """Evaluate part ``index`` of ``count`` of the images and leave their records in ``out``, a ``.jsonl`` file.

    An existing file is continued. `collect` reads all parts. The parts of the reference are those of the fp32 torch
    artifacts on ``local``.

    Returns:
        What the device is and how many threads it used, for `collect`.

    Raises:
        VitdeployError: as `evaluate_artifact`.
    """
    if not 0 <= index < count:
        raise UsageError(f"shard {index} of {count} does not exist", f"Use 0 to {count - 1}.")
    prepared = check_request(_opened(paths), request)
    return evaluate_images.evaluate_items(
        dataclasses.replace(prepared, items=dataset.shard(prepared.items, index, count)),
        reachable(request.device),
        out,
        request=dataclasses.replace(request, resume=True),
        progress=progress,
        on_image=on_image,
        lock_wait_s=lock_wait_s,
    )


NO_REFERENCE = "it was not asked for"
"""Why an evaluation has no reference, as its document says."""


def collect(
    paths: Sequence[Path],
    request: EvalRequest,
    parts: Sequence[Path],
    *,
    reply: ShardReply | None = None,
    references: tuple[Artifact, ...] = (),
    reference_parts: Sequence[Path] = (),
    why_not: str | None = None,
) -> EvalOutcome:
    """One evaluation of the records that `evaluate_shard` left; an image in several of them counts once.

    Args:
        reply: what `evaluate_shard` returned, which is the same for all parts.
        references: the fp32 torch artifacts that the parts of the reference are of.
        why_not: why there is no reference.

    Raises:
        UnreadableFile: a part cannot be read, or images are in none of them.
    """
    prepared = prepare.prepare(request, _opened(paths))
    out = request.out or _default_path(prepared, request)
    _merge(parts, interrupted.records_path(out), evaluate_images.head_of(prepared, request.device), prepared.items)
    reference: Reference | str = why_not or NO_REFERENCE
    if reference_parts:
        reference_path = _reference_path(out)
        head = evaluate_images.head_of(prepare.prepare(request, references), "local")
        _merge(reference_parts, reference_path, head, prepared.items)
        reference = Reference(records=reference_path, words=evaluate_reference.words_of(references))
    return _with_page(_saved(prepared, request, out, reply or ShardReply(), reference), request)


def _merge(parts: Sequence[Path], out: Path, head: RecordsHeader, items: Sequence[DataSetItem]) -> None:
    """Write one file of all records, each image once."""
    merged = ImageRecords(out, head)
    out.unlink(missing_ok=True)
    merged.begin(resume=False)
    missing = {item.name for item in items}
    for part in parts:
        part_head = image_records.head_of(part)
        alike = ("dataset", "artifacts", "protocol", "device")
        if any(getattr(part_head, field) != getattr(head, field) for field in alike):
            raise UnreadableFile(f"{part} is a part of another evaluation", "Evaluate that shard again.")
        fresh = [row for row in image_records.records(part) if row.image in missing]
        missing -= {row.image for row in fresh}
        merged.add(*fresh)
    if missing:
        raise UnreadableFile(
            f"{len(missing)} pictures are in no part, {min(missing)} among them", "Evaluate the missing shards."
        )


def _saved(
    prepared: PreparedEvaluation, request: EvalRequest, out: Path, reply: ShardReply, reference: Reference | str
) -> EvalOutcome:
    """The evaluation of all records, written to ``out``."""
    images = interrupted.records_path(out)
    reference_path = reference.records if isinstance(reference, Reference) else None
    classes = prepared.files.classes
    others = image_records.checked(reference_path, prepared.kind, len(classes)) if reference_path else None
    ours = image_records.checked(images, prepared.kind, len(classes))
    summed = summary.summarize(prepared.kind, classes, ours, others)
    annotations: Path | None = None
    if prepared.kind == "detections":
        source: AnnotationSource = prepared.files.extra
        annotations = source.annotations.resolve()
        summed.figures, summed.classes = detections.figures(request.dataset, source, images, reference_path)
    device = RunDevice(name=request.device, facts=reply.facts)
    frame = provenance.new_run(
        device, timing.make_protocol(), datetime.now(timezone.utc), host=computer_facts.read_facts()
    )
    evaluation = Evaluation(
        schema=record.SCHEMA,
        kind="evaluation",
        id=frame.id,
        started_utc=frame.started_utc,
        vitdeploy=frame.vitdeploy,
        device=device,
        host=frame.host,
        threads=reply.threads,
        dataset=DataSet(
            name=request.dataset,
            split=prepared.files.split,
            root=str(request.root),
            images=len(prepared.files.items),
            asked=len(prepared.items),
            scored=summed.scored,
            items_sha256=dataset.digest(prepared.items),
            annotations=None if annotations is None else str(annotations),
            annotations_sha256=None if annotations is None else digest_of(annotations),
        ),
        protocol=prepared.protocol,
        subjects=tuple(map(subject_of, prepared.artifacts)),
        reference=reference.words if isinstance(reference, Reference) else None,
        reference_why_not=reference if isinstance(reference, str) else None,
        figures=summed.figures,
        classes=summed.classes,
        worst=summed.worst,
        problems=tuple(summed.problems),
        warnings=tuple(_warnings(prepared, summed)),
        cross_checks=tuple(reply.checks),
        images_file=interrupted.records_path(request.out or out).name,
        images_sha256=image_records.digest(images),
    )
    record.save(evaluation, out)
    return EvalOutcome(evaluation=evaluation, path=out, page=None, error=_error(summed, out))


def _with_page(outcome: EvalOutcome, request: EvalRequest) -> EvalOutcome:
    page = write_evaluation_page([(outcome.path, outcome.evaluation)], request.runs, outcome.path.with_suffix(".html"))
    return dataclasses.replace(outcome, page=page)


def _warnings(prepared: PreparedEvaluation, summed: summary.AccuracySummary) -> Iterable[str]:
    manifest = prepared.artifacts[0].manifest
    if manifest.weights.remark is not None:
        yield f"The weights are {manifest.weights.words}."
    if manifest.weights.official is not None and manifest.weights.official.restriction is not None:
        yield f"Restricted weights: {manifest.weights.words}."
    yield from registry.notes([manifest.model])
    yield from summary_warnings.warnings(
        summed, weights=manifest.weights.identity, asked=len(prepared.items), images=len(prepared.files.items)
    )
    parity = manifest.parity
    if parity is not None and not parity.passed:
        yield f"The artifact failed its parity: {parity.reason}."
    if prepared.kind == "super-resolution" and prepared.files.extra:
        yield "The small pictures were made here with MATLAB's bicubic kernel; they are not the data set's own."


def _error(summed: summary.AccuracySummary, out: Path) -> VitdeployError | None:
    """The error of an evaluation whose images were not all scored; everything else is done and written."""
    if not summed.not_scored:
        return None
    named = "; ".join(f"{problem.image}: {problem.why}" for problem in summed.problems[:MOST_NAMED])
    more = f"; and {summed.not_scored - MOST_NAMED} more" if summed.not_scored > MOST_NAMED else ""
    message = f"{summary_warnings.pictures(summed.not_scored)} not scored: {named}{more}"
    if {problem.status for problem in summed.problems} == {"uncovered"}:
        return Impossible(message, "Export the sizes that `vitdeploy eval --dry-run` lists, and name all artifacts.")
    return UnreadableFile(message, f"Repair these files; {out} names them all.")


def subject_of(artifact: Artifact) -> Subject:
    """An artifact as its evaluation records it."""
    manifest = artifact.manifest
    return Subject(
        sha256=manifest.sha256,
        **manifest.variant.recorded,
        precision=manifest.precision,
        weights=manifest.weights.identity,
        name=manifest.weights.name,
        official=manifest.weights.official.checkpoint if manifest.weights.official else None,
    )


def _opened(paths: Sequence[Path]) -> tuple[Artifact, ...]:
    return tuple(open_artifact(path) for path in paths)


def _reference_path(out: Path) -> Path:
    """Where the records of fp32 torch lie, beside those of the evaluation ``out``."""
    return out.with_name(f"{out.stem}.reference.jsonl")


def _default_path(prepared: PreparedEvaluation, request: EvalRequest) -> Path:
    manifest = prepared.artifacts[0].manifest
    return output_path.new_path("evals", manifest.model, manifest.target, request.dataset, request.device)
