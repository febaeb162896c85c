"""COCO and LVIS: their pictures with annotations, and a detector's boxes where masks are asked for those.

Source: https://cocodataset.org/#format-data; https://www.lvisdataset.org/dataset (``neg_category_ids`` and
``not_exhaustive_category_ids`` say what was looked for in a picture).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from vitdeploy import documents
from vitdeploy.errors import UnreadableFile
from vitdeploy.evaluation.dataset import DataSetFiles, DataSetItem, folder_contents, wrong_layout

T = TypeVar("T")

LARGEST_BYTES = 2**32
"""Of annotations: those of LVIS's training part have about 1 GB."""

SPLITS = {"coco": "val2017", "lvis": "val"}

ANNOTATIONS = {"coco": "instances_{split}.json", "lvis": "lvis_v1_{split}.json"}


class ImageEntry(msgspec.Struct, frozen=True):
    """An entry of ``images``; what is not needed is skipped."""

    id: int
    height: int
    width: int
    file_name: str = ""
    coco_url: str = ""
    neg_category_ids: tuple[int, ...] = ()
    not_exhaustive_category_ids: tuple[int, ...] = ()


class Annotation(msgspec.Struct, frozen=True):
    """An entry of ``annotations``; its outline stays text until it is looked at."""

    id: int
    image_id: int
    category_id: int
    area: float
    bbox: tuple[float, float, float, float]
    segmentation: msgspec.Raw
    iscrowd: int = 0


class Category(msgspec.Struct, frozen=True):
    """An entry of ``categories``."""

    id: int
    name: str
    frequency: str = ""
    """LVIS: r, c or f."""


class AnnotationFile(msgspec.Struct, frozen=True):
    """An annotation file."""

    images: tuple[ImageEntry, ...]
    annotations: tuple[Annotation, ...]
    categories: tuple[Category, ...]


class Detection(msgspec.Struct, frozen=True):
    """A box that a detector found, in COCO's results format."""

    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageAnnotations:
    """What is right for one picture, and what is asked of it."""

    picture: ImageEntry
    annotations: tuple[Annotation, ...]
    detections: tuple[Detection, ...] | None
    """None: the annotations' own boxes or points are the prompts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotationSource:
    """What the figures need beside the pictures."""

    annotations: Path
    categories: tuple[Category, ...]


def find(
    name: str, root: Path, split: str, *, annotations: Path | None = None, detections: Path | None = None
) -> DataSetFiles:
    """The pictures of an annotation file, by their number.

    Raises:
        UnreadableFile: there is no annotation file, or it, or the detections, are none.
    """
    path = annotations or _annotations(name, root, split)
    annotation_file = _decode(path, AnnotationFile, "annotation file")
    boxes = _by_image(_decode(detections, tuple[Detection, ...], "list of detections")) if detections else None
    by_image = _by_image(annotation_file.annotations)
    items = [
        _item(picture, root, by_image.get(picture.id, ()), None if boxes is None else boxes.get(picture.id, ()))
        for picture in sorted(annotation_file.images, key=lambda image: image.id)
    ]
    if items and not any(item.problem is None for item in items):
        where = sorted({str(item.image.parent) for item in items})
        raise wrong_layout(
            name.upper(), root, [f"{path.name}'s pictures in {' or '.join(where)}"], "Unpack them there."
        )
    if boxes is not None and (strange := set(boxes) - {picture.id for picture in annotation_file.images}):
        raise UnreadableFile(
            f"{detections} has boxes for image {min(strange)}, which {path} does not have",
            "Name the detections of this split.",
        )
    return DataSetFiles(
        name=name,
        split=split,
        root=root,
        items=items,
        classes=tuple(category.name for category in annotation_file.categories),
        layout=f"annotations from {path.name}" + (f", boxes from {detections.name}" if detections else ""),
        extra=AnnotationSource(annotations=path, categories=annotation_file.categories),
    )


def annotation_source(path: Path) -> AnnotationSource:
    """What figures need of an annotation file.

    Raises:
        UnreadableFile: it is none.
    """
    return AnnotationSource(annotations=path, categories=_decode(path, AnnotationFile, "annotation file").categories)


def _annotations(name: str, root: Path, split: str) -> Path:
    file = ANNOTATIONS[name].format(split=split)
    candidates = [root / "annotations" / file, root / file]
    for path in candidates:
        if path.is_file():
            return path
    contents = folder_contents(root / "annotations") if (root / "annotations").is_dir() else None
    more = f"; annotations/ holds {contents}" if contents else ""
    raise wrong_layout(
        name.upper(), root, [f"annotations/{file}"], f"Put it there, or name it with --annotations{more}."
    )


def _decode(path: Path, kind: type[T], what: str) -> T:
    data = documents.read_bytes(path, what=what, most_bytes=LARGEST_BYTES)
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableFile(f"{path} is no {what}: {error}", "Use one in COCO's format.") from error


Entry = TypeVar("Entry", Annotation, Detection)


def _by_image(entries: Sequence[Entry]) -> Mapping[int, tuple[Entry, ...]]:
    grouped: dict[int, list[Entry]] = {}
    for entry in entries:
        grouped.setdefault(entry.image_id, []).append(entry)
    return {image: tuple(group) for image, group in grouped.items()}


def _item(
    picture: ImageEntry, root: Path, annotations: tuple[Annotation, ...], detections: tuple[Detection, ...] | None
) -> DataSetItem:
    # LVIS names its pictures by COCO's address, whose last two words are the folder and the file.
    names = picture.coco_url.split("/")[-2:] if picture.coco_url and not picture.file_name else [picture.file_name]
    folders = (
        [] if len(names) == 2 else [picture.coco_url.split("/")[-2]] if picture.coco_url else ["val2017", "images"]
    )
    candidates = [root.joinpath(*names), *(root / folder / names[-1] for folder in (*folders, "val2017", "train2017"))]
    image = next((path for path in candidates if path.is_file()), candidates[-2] if folders else candidates[0])
    return DataSetItem(
        name=f"{picture.id:012d}",
        image=image,
        truth=ImageAnnotations(picture=picture, annotations=annotations, detections=detections),
        problem=None if image.is_file() else f"{image} is not there",
    )
