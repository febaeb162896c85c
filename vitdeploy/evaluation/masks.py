"""Masks of segment-anything models: from boxes, from a detector's boxes, or from clicks where the last mask was wrong.

Source: https://github.com/mit-han-lab/efficientvit, applications/efficientvit_sam (three masks a prompt, the one with
the best predicted IoU); the preprocessing is Meta's: the long side resized, padded after normalization, prompts in a
frame of 1024 pixels, masks enlarged through that frame.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vitdeploy.artifacts.manifest import Artifact, Tensor
from vitdeploy.catalog.spec import Size
from vitdeploy.errors import UnreadableFile
from vitdeploy.evaluation.coco import ImageAnnotations
from vitdeploy.evaluation.dataset import DataSetItem
from vitdeploy.evaluation.protocol import Feed, ImageEvaluation, InferenceRequest, OnResult, Outputs, channels_first
from vitdeploy.evaluation.record import ImageRecord, MaskRecord
from vitdeploy.images import photos

Boolean = NDArray[np.bool_]
Prompt = Literal["box", "detector", "point"]

FRAME = 1024
"""Side of the square that prompts are given in. Source: ``PromptEncoder(input_image_size=(1024, 1024))`` of SAM."""

NOTHING, OUTSIDE, INSIDE, FIRST_CORNER, SECOND_CORNER = -1.0, 0.0, 1.0, 2.0, 3.0
"""Labels of points. Source: ``PromptEncoder`` of https://github.com/facebookresearch/segment-anything."""

LEAST_AREA = 1.0
"""Smaller annotations are not asked for. Source: the official evaluation script."""

SMALL, MEDIUM = 32**2, 96**2
"""Areas in pixels at which COCO's sizes begin to differ. Source: https://cocodataset.org/#detection-eval."""

EMBEDDING_BYTES = 256 * 64 * 64 * 4
"""Of a picture's embedding in SAM."""

Point = tuple[float, float, float]
"""x, y in the picture and the label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskTask:
    """How pictures and prompts become inputs."""

    encoder: Artifact
    decoder: Artifact
    prompt: Prompt
    clicks: int
    decode: Callable[[Any, int, int], Boolean]
    encode: Callable[[Boolean], dict[str, Any]]


def evaluate_image(item: DataSetItem, plan: MaskTask, on_result: OnResult | None = None) -> ImageEvaluation:
    """The evaluation of one picture.

    Args:
        on_result: shown the predicted and the true masks, both lists of ``(h, w)``.
    """
    truth: ImageAnnotations = item.truth
    entries = _entries(truth)
    if not entries:
        return ImageRecord(image=item.name)
    photo = photos.read(item.image)
    size = (photo.shape[0], photo.shape[1])
    if size != (truth.picture.height, truth.picture.width):
        why = f"it is {size[0]}x{size[1]}, and its annotations are for {truth.picture.height}x{truth.picture.width}"
        return ImageRecord(image=item.name, status="unreadable", why=why)
    feed = {plan.encoder.manifest.inputs[0].name: _resized(photo, plan.encoder.manifest.size)}
    del photo
    held_bytes = EMBEDDING_BYTES + 2 * len(entries) * size[0] * size[1]
    (answer,) = yield InferenceRequest(artifact=plan.encoder, feeds=(feed,), held_bytes=held_bytes)
    described = plan.encoder.manifest.outputs[0]
    embedding = np.array(channels_first(answer[described.name], described.layout))
    finite = bool(np.isfinite(embedding).all())
    true = [_true_mask(entry, plan, size) for entry in entries]
    if plan.prompt == "point":
        masks = yield from _by_clicks(plan, embedding, true, size)
    else:
        corners: list[list[Point]] = [_corners(entry) for entry in entries]
        masks = yield from _answers(plan, embedding, corners, size)
    records = tuple(
        MaskRecord(
            id=getattr(entry, "id", place),
            category=entry.category_id,
            area=float(getattr(entry, "area", mask.sum())),
            iou=None if true_mask is None else iou(mask, true_mask),
            segmentation=plan.encode(mask) if plan.prompt == "detector" else None,
            score=getattr(entry, "score", None),
        )
        for place, (entry, mask, true_mask) in enumerate(zip(entries, masks, true, strict=True))
    )
    if on_result is not None:
        on_result(masks, [true_mask for true_mask in true if true_mask is not None])
    ious = [record.iou for record in records if record.iou is not None]
    return ImageRecord(image=item.name, score=float(np.mean(ious)) if ious else None, finite=finite, masks=records)


def _entries(truth: ImageAnnotations) -> Sequence[Any]:
    large = [note for note in truth.annotations if note.area >= LEAST_AREA]
    return large if truth.detections is None else truth.detections


def _true_mask(entry: Any, plan: MaskTask, size: Size) -> Boolean | None:
    """The mask of an annotation; None for a detector's box, whose truth is not known."""
    if plan.prompt == "detector":
        return None
    try:
        return plan.decode(msgspec.json.decode(entry.segmentation), *size)
    except (ValueError, TypeError, msgspec.DecodeError) as error:
        raise UnreadableFile(f"annotation {entry.id} has no mask: {error}", "Check the annotation file.") from error


def _corners(entry: Any) -> list[Point]:
    left, top, width, height = entry.bbox
    return [(left, top, FIRST_CORNER), (left + width, top + height, SECOND_CORNER)]


def _resized(photo: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """The picture as large as fits, Pillow's bilinear filter as torchvision's; padded where it is run."""
    height, width = inner((photo.shape[0], photo.shape[1]), max(size))
    if (height, width) == photo.shape[:2]:
        return photo
    return np.asarray(Image.fromarray(photo).resize((width, height), Image.Resampling.BILINEAR))


def inner(size: Size, side: int) -> Size:
    """What a picture becomes when its long side is resized to ``side``. Source: ``ResizeLongestSide`` of SAM."""
    scale = side / max(size)
    return int(size[0] * scale + 0.5), int(size[1] * scale + 0.5)


Masks = Generator[InferenceRequest, Sequence[Outputs], list[Boolean]]
"""A part of a evaluate_image that ends in masks."""


def _by_clicks(plan: MaskTask, embedding: NDArray[Any], true: Sequence[Boolean | None], size: Size) -> Masks:
    """Click after click, each where the mask so far is most wrong; returns the last masks."""
    masks = [np.zeros(size, np.bool_) for _ in true]
    clicks: list[list[Point]] = [[] for _ in true]
    for _ in range(plan.clicks):
        for points, mask, true_mask in zip(clicks, masks, true, strict=True):
            assert true_mask is not None
            points.append(next_click(mask, true_mask, points))
        masks = yield from _answers(plan, embedding, clicks, size)
    return masks


def next_click(mask: Boolean, true: Boolean, before: Sequence[Point]) -> Point:
    """The point deepest inside what is missing or too much, whichever goes deeper; never the same point twice.

    Source: the official script's ``Clicker``, after https://github.com/SamsungLabs/ritm_interactive_segmentation.
    """
    from scipy import ndimage

    depths: list[NDArray[np.float64]] = []
    for wrong in (true & ~mask, ~true & mask):
        depth = np.asarray(ndimage.distance_transform_edt(np.pad(wrong, 1)))[1:-1, 1:-1]
        for x, y, _ in before:
            depth[int(y), int(x)] = 0
        depths.append(depth)
    missing, excess = depths
    inside = bool(missing.max() > excess.max())
    row, column = np.unravel_index(int(np.argmax(missing if inside else excess)), mask.shape)
    return float(column), float(row), INSIDE if inside else OUTSIDE


def _answers(plan: MaskTask, embedding: NDArray[Any], prompts: Sequence[Sequence[Point]], size: Size) -> Masks:
    """One mask a prompt, in as few calls of the decoder as it takes."""
    manifest = plan.decoder.manifest
    by_name = {tensor.name: tensor for tensor in manifest.inputs}
    coords, labels, embeddings = by_name["point_coords"], by_name["point_labels"], by_name["image_embeddings"]
    objects, slots = labels.shape[0], labels.shape[1]
    if max(map(len, prompts)) > slots:
        raise UnreadableFile(
            f"a prompt has {max(map(len, prompts))} points, and the decoder takes {slots}", "Use fewer."
        )
    whole = _laid_out(embedding, embeddings)
    feeds: list[Feed] = [
        {embeddings.name: whole, **_points(prompts[start : start + objects], size, (coords, labels))}
        for start in range(0, len(prompts), objects)
    ]
    layouts = {tensor.name: tensor.layout for tensor in manifest.outputs}
    answers: Sequence[Outputs] = yield InferenceRequest(artifact=plan.decoder, feeds=tuple(feeds))
    masks: list[Boolean] = []
    for place in range(len(prompts)):
        answer, row = answers[place // objects], place % objects
        candidates = channels_first(answer["masks"][row], layouts["masks"])
        masks.append(chosen(candidates, answer["iou_predictions"][row], size))
    return masks


def _laid_out(embedding: NDArray[Any], tensor: Tensor) -> NDArray[Any]:
    """An embedding ``(c, h, w)`` as the decoder's input."""
    whole = embedding[None]
    return np.ascontiguousarray(whole.transpose(0, 2, 3, 1) if tensor.layout == "NHWC" else whole, np.float32)


def _points(prompts: Sequence[Sequence[Point]], size: Size, tensors: tuple[Tensor, Tensor]) -> dict[str, NDArray[Any]]:
    coords, labels = (np.zeros(tensor.shape, np.float32) for tensor in tensors)
    labels[:] = NOTHING
    height, width = inner(size, FRAME)
    for row, points in enumerate(prompts):
        for place, (x, y, label) in enumerate(points):
            coords[row, place] = x * width / size[1], y * height / size[0]
            labels[row, place] = label
    return {tensors[0].name: coords, tensors[1].name: labels}


def chosen(masks: NDArray[Any], scores: NDArray[Any], size: Size) -> Boolean:
    """Of the masks for an ambiguous prompt the one that the model believes in, at the picture's size.

    Args:
        masks: logits ``(candidates, h, w)`` for the whole frame; where there are four, the first is for a prompt that
            is not ambiguous.
        scores: the IoU that the model predicts for each.
    """
    first = 1 if len(scores) > 3 else 0
    best = first + int(np.argmax(scores[first:]))
    rows, columns = enlargement(masks.shape[-2], size, 0), enlargement(masks.shape[-1], size, 1)
    large = rows @ np.asarray(masks[best], np.float32) @ columns.T
    return np.asarray(large > 0, np.bool_)


@lru_cache(maxsize=256)
def enlargement(low: int, size: Size, axis: int) -> NDArray[np.float32]:
    """From a mask's side to the picture's, through the frame: twice bilinear, cut in between, as one matrix."""
    cut = inner(size, FRAME)[axis]
    return (_bilinear(cut, size[axis]) @ _bilinear(low, FRAME)[:cut]).astype(np.float32)


def _bilinear(old: int, new: int) -> NDArray[np.float64]:
    """``(new, old)``: the weights of ``interpolate(mode="bilinear", align_corners=False)`` along one side."""
    places = np.maximum((np.arange(new) + 0.5) * (old / new) - 0.5, 0)
    base = np.minimum(places.astype(np.int64), old - 1)
    share = places - base
    weights = np.zeros((new, old))
    np.add.at(weights, (np.arange(new), base), 1 - share)
    np.add.at(weights, (np.arange(new), np.minimum(base + 1, old - 1)), share)
    return weights


def iou(first: Boolean, second: Boolean) -> float:
    """Intersection over union; 1 for two empty masks."""
    either = int(np.count_nonzero(first | second))
    return int(np.count_nonzero(first & second)) / either if either else 1.0
