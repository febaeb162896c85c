"""Images through artifacts on a device, their records into a file; the worst ones once more, to be drawn."""

import dataclasses
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from vitdeploy import documents
from vitdeploy.catalog import packages, registry
from vitdeploy.devices import device_facts, inventory
from vitdeploy.devices.inventory import Device
from vitdeploy.errors import Impossible
from vitdeploy.evaluation import dataset, image_records, summary
from vitdeploy.evaluation.dataset import DataSetItem
from vitdeploy.evaluation.evaluate import evaluate
from vitdeploy.evaluation.image_records import ImageRecords, RecordsHeader
from vitdeploy.evaluation.prepare import PreparedEvaluation
from vitdeploy.evaluation.record import CrossCheck
from vitdeploy.evaluation.request import EvalOutcome, EvalRequest
from vitdeploy.images import photos
from vitdeploy.inference import client
from vitdeploy.processes.progress import OnTrial, Progress
from vitdeploy.reports import accuracy
from vitdeploy.reports.pictures import sheets

LOCK_WAIT_S = 60.0
"""A device may be busy for so long: an evaluation takes minutes, and can wait for another's last trial."""

CHECKED = 8
"""Pictures whose figure is computed by another library as well. Source: a choice; it costs a second or two."""

MOST_DRAWN = 6
"""Of the worst pictures those that the page shows."""


@dataclasses.dataclass(slots=True)
class ShardReply:
    """The device that evaluated images, its threads, and the cross-checks."""

    facts: dict[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    threads: int = 0
    checks: list[CrossCheck] = dataclasses.field(default_factory=list[CrossCheck])


def evaluate_items(
    prepared: PreparedEvaluation,
    device: Device,
    out: Path,
    *,
    request: EvalRequest,
    progress: Progress,
    on_image: OnTrial,
    label: str | None = None,
    lock_wait_s: float = LOCK_WAIT_S,
) -> ShardReply:
    """Evaluate the images on the device and append their records to ``out``; when resumed, only those it lacks.

    Raises:
        DeviceError: the device is not reachable, busy, or another one than its file says.
        VitdeployError: the runtime failed.
    """
    targets = [artifact.manifest.target for artifact in prepared.artifacts]
    for target in targets:
        if target not in device.targets:
            raise Impossible(f"{target} does not run on {device.name}", f"It takes {', '.join(device.targets)}.")
    if device.link == "local":
        packages.require({name for target in targets for name in registry.find_target(target).run_packages})
    records = ImageRecords(out, head_of(prepared, device.name))
    reply = ShardReply()
    with inventory.connect(device) as link, link.lock(timeout_s=lock_wait_s):
        recorded = records.begin(resume=request.resume)  # in the lock: another worker may have done these meanwhile
        remaining = [item for item in prepared.items if item.name not in recorded]
        if recorded:
            progress(f"going on with {out}: {len(recorded)} pictures are there")
        facts = device_facts.read_facts(device, link)
        reply.facts = device_facts.stable_facts(device, facts)
        reply.threads = request.threads or inventory.threads_of(device, facts)
        ran: dict[str, Any] = {}
        log = out.with_suffix(".log")
        infer = client.inference_on(device, link, facts, threads=reply.threads, log=log, on_facts=ran.update)
        check = _Check(prepared, remaining, fresh=not recorded)
        name = label or f"{prepared.artifacts[0].manifest.model} {targets[0]}"
        count = len(recorded)
        for evaluated in evaluate(remaining, check.start, infer):
            records.add(*evaluated)
            count += len(evaluated)
            on_image(count, len(prepared.items), name)
        reply.facts |= {f"ran_{key}": value for key, value in ran.items()}
        reply.checks = check.results(records.path)
    return reply


class _Check:
    """Cross-check of a segmentation's first images by another library."""

    def __init__(self, prepared: PreparedEvaluation, items: Sequence[DataSetItem], *, fresh: bool) -> None:
        self._prepared = prepared
        watch = prepared.kind == "segmentation" and fresh and not packages.missing(["torchmetrics"])
        self._names = {item.name for item in items[:CHECKED]} if watch else set[str]()
        self._metric: Any = (
            registry.load("vitdeploy.evaluation.by_torchmetrics:MeanIou")(len(prepared.files.classes), 255)
            if self._names
            else None
        )

    def start(self, item: DataSetItem) -> Any:
        """The evaluation of an image, its result to the other library as well where it is one of the first."""
        return self._prepared.start(item, on_result=self._metric.add if item.name in self._names else None)

    def results(self, path: Path) -> list[CrossCheck]:
        """The other library's figure beside ours for the same pictures."""
        if not self._names:
            return []
        ours = [record for record in image_records.records(path) if record.image in self._names]
        scored = sum(record.status == "scored" for record in ours)
        if not scored:
            return []
        summed = summary.summarize("segmentation", self._prepared.files.classes, ours, None)
        return [
            CrossCheck(
                library=registry.load("vitdeploy.evaluation.by_torchmetrics:LIBRARY"),
                figure="mIoU",
                images=scored,
                ours=summed.figures[0].value or 0.0,
                theirs=self._metric.percent(),
            )
        ]


def draw_worst(prepared: PreparedEvaluation, device: Device, outcome: EvalOutcome, threads: int) -> None:
    """Evaluate the worst images once more, and write a sheet of each beside the evaluation."""
    worst = {bad.image: place for place, bad in enumerate(outcome.evaluation.worst[:MOST_DRAWN])}
    items = [item for item in prepared.items if item.name in worst]

    def start(item: DataSetItem) -> Any:
        path = accuracy.sheet_path(outcome.path, worst[item.name])
        return prepared.start(item, on_result=partial(_write_sheet, path, prepared, item))

    with inventory.connect(device) as link, link.lock(timeout_s=LOCK_WAIT_S):
        facts = device_facts.read_facts(device, link)
        infer = client.inference_on(device, link, facts, threads=threads, log=outcome.path.with_suffix(".log"))
        for _ in evaluate(items, start, infer):
            pass


def _write_sheet(path: Path, prepared: PreparedEvaluation, item: DataSetItem, predicted: Any, true: Any) -> None:
    match prepared.kind:
        case "segmentation":
            data = sheets.segmentation(photos.read(item.image), predicted, true, prepared.files.name)
        case "super-resolution":
            data = sheets.enlargement(predicted, true)
        case "masks" | "detections":
            data = sheets.masks(photos.read(item.image), predicted, true)
        case _:
            data = sheets.picture(photos.read(item.image))
    documents.write_bytes(path, data)


def head_of(prepared: PreparedEvaluation, device: str) -> RecordsHeader:
    """The head of a file of records: what was evaluated, how and where."""
    return RecordsHeader(
        schema=image_records.SCHEMA,
        dataset=f"{prepared.files.name}:{prepared.files.split}",
        items_sha256=dataset.digest(prepared.items),
        artifacts=tuple(sorted(artifact.manifest.sha256 for artifact in prepared.artifacts)),
        protocol=prepared.protocol,
        device=device,
    )
