"""Pictures through artifacts on a device, their records into a file; the worst ones once more, to be drawn."""

import dataclasses
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitdeploy.artifacts.manifest import Artifact
from vitdeploy.catalog import packages, registry
from vitdeploy.errors import Impossible
from vitdeploy.evaluation import dataset, image_records, summary
from vitdeploy.evaluation.dataset import DataSetItem
from vitdeploy.evaluation.evaluate import evaluate
from vitdeploy.evaluation.image_records import ImageRecords, RecordsHeader
from vitdeploy.evaluation.prepare import PreparedEvaluation
from vitdeploy.evaluation.record import CrossCheck
from vitdeploy.evaluation.request import EvalOutcome, EvalRequest
from vitdeploy.processes.progress import OnTrial, Progress

if TYPE_CHECKING:
    from vitdeploy.devices.inventory import Device

LOCK_WAIT_S = 60.0
"""A device may be busy for so long: an evaluation takes minutes, and can wait for another's last trial."""

CHECKED = 8
"""Pictures whose figure is computed by another library as well. Source: a choice; it costs a second or two."""

MOST_DRAWN = 6
"""Of the worst pictures those that the page shows."""


@dataclasses.dataclass(slots=True)
class ShardReply:
    """What became known while pictures were evaluated."""

    facts: dict[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    threads: int = 0
    checks: list[CrossCheck] = dataclasses.field(default_factory=list[CrossCheck])


def evaluate_items(
    prepared: PreparedEvaluation,
    artifacts: Sequence[Artifact],
    device: "Device",
    out: Path,
    *,
    order: EvalRequest,
    progress: Progress,
    on_image: OnTrial,
    resume: bool,
    label: str | None = None,
    lock_wait_s: float = LOCK_WAIT_S,
) -> ShardReply:
    """Evaluate the pictures that ``out`` does not have yet, on the device, and append their records.

    Raises:
        DeviceError: the device is not reachable, busy, or another one than its file says.
        VitdeployError: the runtime failed.
    """
    from vitdeploy.devices import device_facts, inventory
    from vitdeploy.inference import client

    for one in artifacts:
        if one.manifest.target not in device.targets:
            raise Impossible(
                f"{one.manifest.target} does not run on {device.name}", f"It takes {', '.join(device.targets)}."
            )
    if device.link == "local":
        packages.require({name for one in artifacts for name in registry.find_target(one.manifest.target).run_packages})
    kept = ImageRecords(out, head_of(prepared, artifacts, device.name))
    told = ShardReply()
    with inventory.connect(device) as link, link.lock(timeout_s=lock_wait_s):
        done = kept.begin(resume=resume)  # within the lock: another worker may have done these pictures meanwhile
        left = [item for item in prepared.items if item.name not in done]
        if done:
            progress(f"going on with {out}: {len(done)} pictures are there")
        facts = device_facts.read_facts(device, link)
        told.facts = device_facts.stable_facts(device, facts)
        told.threads = order.threads or inventory.threads_of(device, facts)
        ran: dict[str, Any] = {}
        answers = client.inference_on(
            device, link, facts, threads=told.threads, log=out.with_suffix(".log"), on_facts=ran.update
        )
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
        """The dialogue of an item, watched where it is one of the first."""
        return self._prepared.start(item, on_result=self._metric.add if item.name in self._names else None)

    def results(self, path: Path) -> list[CrossCheck]:
        """The other library's figure beside ours for the same pictures."""
        if not self._names:
            return []
        mine = [one for one in image_records.records(path) if one.image in self._names]
        scored = sum(one.status == "scored" for one in mine)
        if not scored:
            return []
        found = summary.summarize("segmentation", self._prepared.files.classes, mine, None)
        return [
            CrossCheck(
                library=registry.load("vitdeploy.evaluation.by_torchmetrics:LIBRARY"),
                figure="mIoU",
                images=scored,
                ours=found.figures[0].value or 0.0,
                theirs=self._metric.percent(),
            )
        ]


def draw_worst(prepared: PreparedEvaluation, device: "Device", outcome: EvalOutcome, threads: int) -> None:
    """Evaluate the worst pictures once more, looking on, and leave a sheet of each beside the evaluation."""
    from vitdeploy.devices import device_facts, inventory
    from vitdeploy.inference import client
    from vitdeploy.reports import accuracy

    bad = {one.image: place for place, one in enumerate(outcome.evaluation.worst[:MOST_DRAWN])}
    items = [item for item in prepared.items if item.name in bad]

    def start(item: DataSetItem) -> Any:
        path = accuracy.sheet_path(outcome.path, bad[item.name])
        return prepared.start(item, on_result=partial(_write_sheet, path, prepared, item))

    with inventory.connect(device) as link, link.lock(timeout_s=LOCK_WAIT_S):
        facts = device_facts.read_facts(device, link)
        answers = client.inference_on(device, link, facts, threads=threads, log=outcome.path.with_suffix(".log"))
        for _ in evaluate(items, start, answers):
            pass


def _write_sheet(path: Path, prepared: PreparedEvaluation, item: DataSetItem, found: Any, true: Any) -> None:
    from vitdeploy import documents
    from vitdeploy.images import photos
    from vitdeploy.reports.pictures import sheets

    match prepared.kind:
        case "segmentation":
            data = sheets.segmentation(photos.read(item.image), found, true, prepared.files.name)
        case "super-resolution":
            data = sheets.enlargement(found, true)
        case "masks" | "detections":
            data = sheets.masks(photos.read(item.image), found, true)
        case _:
            data = sheets.picture(photos.read(item.image))
    documents.write_bytes(path, data)


def head_of(prepared: PreparedEvaluation, artifacts: Sequence[Artifact], device: str) -> RecordsHeader:
    """Whose records a file has."""
    return RecordsHeader(
        schema=image_records.SCHEMA,
        dataset=f"{prepared.files.name}:{prepared.files.split}",
        items_sha256=dataset.digest(prepared.items),
        artifacts=tuple(sorted(one.manifest.sha256 for one in artifacts)),
        protocol=prepared.protocol,
        device=device,
    )
