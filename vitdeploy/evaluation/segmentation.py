"""Segmentation: whole pictures in, pixels counted for each class; mIoU from the sums over all pictures.

Source: https://github.com/mit-han-lab/efficientvit, applications/efficientvit_seg: logits are enlarged to the label's
size by cubic interpolation before the argmax; intersections and unions are summed over the data set.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vitdeploy import documents
from vitdeploy.artifacts.manifest import Artifact
from vitdeploy.catalog.spec import Size
from vitdeploy.errors import UnreadableFile
from vitdeploy.evaluation import cubic
from vitdeploy.evaluation.dataset import DataSetItem
from vitdeploy.evaluation.protocol import ImageEvaluation, InferenceRequest, OnResult, output, smallest_holding
from vitdeploy.evaluation.record import ImageRecord
from vitdeploy.images import photos

Labels = NDArray[np.uint8]
IGNORE = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentationTask:
    """How the pictures of a segmentation data set become inputs."""

    artifacts: tuple[Artifact, ...]
    classes: int
    official_size: Callable[[int, int], Size] | None
    """The size that the protocol resizes a picture to; None: the only artifact's, whatever the picture's."""
    train_ids: Callable[[Labels, Path], Labels]


def fitting(plan: SegmentationTask, height: int, width: int) -> tuple[Artifact, Size] | None:
    """The artifact for a picture and the size it is resized to: its own size, else the smallest that holds it."""
    if plan.official_size is None:
        chosen = plan.artifacts[0]
        return chosen, chosen.manifest.size
    size = plan.official_size(height, width)
    artifact = smallest_holding(plan.artifacts, size)
    return None if artifact is None else (artifact, size)


def evaluate_image(item: DataSetItem, plan: SegmentationTask, on_result: OnResult | None = None) -> ImageEvaluation:
    """The evaluation of one picture.

    Args:
        on_result: shown the predicted classes and the label map, both ``(h, w)``.
    """
    photo = photos.read(item.image)
    assert item.label is not None, item
    truth = plan.train_ids(label_map(item.label), item.label)
    strange = np.unique(truth[(truth != IGNORE) & (truth >= plan.classes)])
    if strange.size:
        why = f"{item.label} holds class {int(strange[0])}, and there are {plan.classes}"
        return ImageRecord(image=item.name, status="unreadable", why=why)
    choice = fitting(plan, *photo.shape[:2])
    if choice is None:
        assert plan.official_size is not None
        height, width = plan.official_size(*photo.shape[:2])
        why = f"it becomes {height}x{width}, and no artifact is that large"
        return ImageRecord(image=item.name, status="uncovered", why=why)
    artifact, size = choice
    feed = {artifact.manifest.inputs[0].name: cubic.resized(photo, size)}
    del photo
    (answer,) = yield InferenceRequest(artifact=artifact, feeds=(feed,))
    raw = output(answer, artifact)
    padded = artifact.manifest.size != size
    predicted = labels_of(cropped(raw, size, artifact.manifest.size), (truth.shape[0], truth.shape[1]))
    if on_result is not None:
        on_result(predicted, truth)
    counts = count(predicted, truth, plan.classes)
    return ImageRecord(
        image=item.name,
        score=image_iou(counts),
        finite=raw.dtype.kind != "f" or bool(np.isfinite(raw).all()),
        how=f"{size[0]}x{size[1]} padded to {artifact.manifest.size[0]}x{artifact.manifest.size[1]}"
        if padded
        else None,
        counts=counts,
    )


def label_map(path: Path) -> Labels:
    """The values of an 8-bit label file, ``(h, w)``; palettes are not applied.

    Raises:
        UnreadableFile: not there, not an image, truncated, or with channels.
    """
    try:
        with documents.open_file(path) as stream, Image.open(stream) as image:
            values: NDArray[Any] = np.asarray(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UnreadableFile(f"{path} is not a readable label map: {photos.why(error)}", "Unpack it again.") from error
    if values.ndim != 2 or values.dtype.kind not in "ui" or (values.size and int(values.max()) > 255):
        raise UnreadableFile(f"{path} is no label map: {values.dtype} {values.shape}", "Unpack it again.")
    return values.astype(np.uint8)


def cropped(maps: NDArray[Any], size: Size, padded: Size) -> NDArray[Any]:
    """The part of the output ``(c, h, w)`` or ``(h, w)`` that belongs to the picture, without its padding."""
    if size == padded:
        return maps
    rows = round(maps.shape[-2] * size[0] / padded[0])
    columns = round(maps.shape[-1] * size[1] / padded[1])
    return maps[..., :rows, :columns]


def labels_of(maps: NDArray[Any], size: Size) -> NDArray[np.int32]:
    """The class of every pixel at ``size``; logits ``(c, h, w)`` are enlarged before the argmax, labels after."""
    if maps.dtype.kind in "iu":
        rows = (np.arange(size[0]) * maps.shape[0]) // size[0]
        columns = (np.arange(size[1]) * maps.shape[1]) // size[1]
        return maps[rows[:, None], columns[None, :]].astype(np.int32)
    best = np.full(size, -np.inf, np.float32)
    labels = np.zeros(size, np.int32)
    for index, channel in enumerate(maps):  # one channel at a time: 150 full-size maps are 1 GiB
        large = cubic.enlarged(channel, size)
        better = large > best
        np.copyto(best, large, where=better)
        labels[better] = index
    return labels


def count(predicted: NDArray[Any], truth: Labels, classes: int) -> tuple[tuple[int, int, int, int], ...]:
    """Class, pixels in both, predicted and labeled, of the classes that occur; ignored pixels count nowhere."""
    valid = truth != IGNORE
    predictions, labels = predicted[valid].astype(np.int64), truth[valid].astype(np.int64)
    both = np.bincount(labels[predictions == labels], minlength=classes)
    as_predicted, as_labeled = np.bincount(predictions, minlength=classes), np.bincount(labels, minlength=classes)
    occurring = np.flatnonzero(as_predicted + as_labeled)
    return tuple((int(c), int(both[c]), int(as_predicted[c]), int(as_labeled[c])) for c in occurring)


def image_iou(counts: Sequence[tuple[int, int, int, int]]) -> float | None:
    """The mean IoU of the classes that one picture's label has."""
    ious = [both / (predicted + labeled - both) for _, both, predicted, labeled in counts if labeled]
    return float(np.mean(ious)) if ious else None


def class_ious(sums: NDArray[Any]) -> NDArray[np.float64]:
    """IoU of each class from ``(…, classes, 3)`` sums of both, predicted, labeled; NaN where a class never occurs."""
    both, predicted, labeled = (sums[..., place].astype(np.float64) for place in range(3))
    return ratio(both, predicted + labeled - both)


def mean_iou(sums: NDArray[Any]) -> NDArray[np.float64]:
    """The mean IoU over the classes that occur, from ``(…, classes, 3)`` sums."""
    ious = class_ious(sums)
    return ratio(np.nansum(ious, axis=-1), np.sum(~np.isnan(ious), axis=-1))


def ratio(numerator: NDArray[Any], denominator: NDArray[Any]) -> NDArray[np.float64]:
    """Element by element; NaN where the denominator, a count, is 0."""
    return np.asarray(np.where(denominator > 0, numerator / np.maximum(denominator, 1), np.nan), np.float64)
