"""Small evaluations, one of each kind of figures, made from records without a model; what a test edits."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from tests.doubles import make_run
from vitdeploy.evaluation import image_records, record, summary, summary_warnings
from vitdeploy.evaluation.image_records import ImageRecords, RecordsHeader
from vitdeploy.evaluation.record import DataSet, Evaluation, ImageRecord, MaskRecord, Subject
from vitdeploy.images import labels

PICTURES = 12
DATASETS = {"segmentation": "cityscapes", "classification": "imagenet", "super-resolution": "sr", "masks": "coco"}


def classes(kind: str) -> tuple[str, ...]:
    """Names of the classes of a kind."""
    return labels.names(DATASETS[kind]) if kind in ("segmentation", "classification") else ()


def image(kind: str, place: int, *, right: bool) -> ImageRecord:
    """The record of one picture; of the reference, which is right, a better one."""
    good = 0 if right else place
    fields: dict[str, dict[str, Any]] = {
        "segmentation": {"counts": ((0, 90 - good, 95, 92), (1, 40 - good, 50, 45)), "score": 0.9 - good / 100},
        "classification": {
            "label": place % 2,
            "top5": (place % 2, 1 - place % 2) if right or place % 3 else (1 - place % 2,),
        },
        "super-resolution": {"psnr_db": 32.0 - good / 10, "ssim": 0.9 - good / 100, "score": 32.0 - good / 10},
        "masks": {
            "masks": tuple(
                MaskRecord(id=number, category=1, area=area, iou=0.9 - good / 50)
                for number, area in enumerate((50.0, 2000.0))
            ),
            "score": 0.9 - good / 50,
        },
    }
    return ImageRecord(image=f"p{place:03d}", **fields[kind])


def kept_records(path: Path, head: RecordsHeader, records: Sequence[ImageRecord]) -> None:
    """A file of records."""
    kept = ImageRecords(path, head)
    kept.begin(resume=False)
    kept.add(*records)


def evaluation(folder: Path, kind: str, *, name: str = "e", reference: bool = True) -> Path:
    """Write an evaluation with its records; one picture could not be read, and one was padded."""
    folder.mkdir(parents=True, exist_ok=True)
    broken = ImageRecord(image="broken", status="unreadable", why="it is cut")
    ours = [image(kind, place, right=False) for place in range(PICTURES)]
    ours[3] = msgspec.structs.replace(ours[3], how="padded")
    theirs = [image(kind, place, right=True) for place in range(PICTURES)]
    digest = "a" * 64
    head = RecordsHeader(
        schema=1,
        dataset=f"{DATASETS[kind]}:val",
        items_sha256="b" * 64,
        artifacts=(digest,),
        protocol=("as is",),
        device="local",
    )
    kept_records(folder / f"{name}.images.jsonl", head, [*ours, broken])
    kept_records(folder / f"{name}.reference.jsonl", head, theirs)
    others = image_records.records(folder / f"{name}.reference.jsonl") if reference else None
    images = folder / f"{name}.images.jsonl"
    summed = summary.summarize(kind, classes(kind), image_records.records(images), others)
    asked, run = PICTURES + 1, make_run.run(name=name)
    made: dict[str, Any] = {"target": "onnx-fp32", "attention": "relu", "precision": "fp32", "weights": "random:0"}
    subject = Subject(
        **made, sha256=digest, model="m", part=None, size=(8, 8), batch=1, head="logits", io="fp32", name=None
    )
    document = Evaluation(
        schema=record.SCHEMA,
        kind="evaluation",
        id=name,
        started_utc="2026-01-01T00:00:00+00:00",
        vitdeploy=run.vitdeploy,
        device=run.device,
        host={},
        threads=1,
        dataset=DataSet(
            name=DATASETS[kind], split="val", root="r", images=99, asked=asked, scored=PICTURES, items_sha256="b" * 64
        ),
        protocol=("as is",),
        subjects=(subject,),
        reference="fp32 torch" if reference else None,
        reference_why_not=None if reference else "it was not asked for",
        figures=summed.figures,
        classes=summed.classes,
        worst=summed.worst,
        problems=tuple(summed.problems),
        warnings=tuple(summary_warnings.warnings(summed, weights=subject.weights, asked=asked, images=99)),
        cross_checks=(),
        images_file=images.name,
        images_sha256=image_records.digest(images),
    )
    record.save(document, folder / f"{name}.json")
    return folder / f"{name}.json"
