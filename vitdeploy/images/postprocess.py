"""From a picture to a model's input and from its raw output to classes; what `predict` shows."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vitdeploy.artifacts import answers
from vitdeploy.artifacts.manifest import Manifest
from vitdeploy.catalog.spec import ModelSpec, Size
from vitdeploy.images import matlab_cubic, photos
from vitdeploy.images.photos import Photo

Logits = NDArray[np.floating[Any]]
Labels = NDArray[np.integer[Any]]

TOP = 5
"""How many classes of a classification are shown; the papers report top-1 and top-5."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassShare:
    """One class and how much of the answer it is."""

    label: int
    share: float
    """Of the pixels for segmentation, the softmax probability for classification; 0–1."""


def model_inputs(photo: Photo, manifest: Manifest, spec: ModelSpec) -> dict[str, NDArray[Any]]:
    """``photo``, resized to the artifact's input, as the arrays its session takes (the batch repeats it).

    Segmentation takes the whole picture, as published; classification and super-resolution the largest centered part
    with the input's aspect ratio. Source: the official evaluation scripts' transforms; small pictures are made as the
    papers' are.
    """
    if spec.task == "super-resolution":
        fitted = matlab_cubic.resized(photos.center_part(photo, manifest.size), manifest.size)
    else:
        fitted = (photos.resize if spec.task == "segmentation" else photos.center_crop)(photo, manifest.size)
    return fitted_inputs(fitted, manifest, spec)


def fitted_inputs(fitted: Photo, manifest: Manifest, spec: ModelSpec) -> dict[str, NDArray[Any]]:
    """A picture of the artifact's size as the arrays its session takes (the batch repeats it)."""
    described = manifest.inputs[0]
    if described.dtype == "uint8":
        array: NDArray[Any] = np.stack([fitted.transpose(2, 0, 1)] * manifest.batch)
    else:
        array = photos.normalized([fitted] * manifest.batch, manifest.preprocessing or spec.preprocessing).astype(
            described.dtype
        )
    if described.layout == "NHWC":
        array = array.transpose(0, 2, 3, 1)
    return {described.name: np.ascontiguousarray(array)}


def to_photo(output: NDArray[Any]) -> Photo:
    """An image ``(3, h, w)`` on a 0–1 scale as bytes ``(h, w, 3)``; what lies outside the scale is cut off.

    Integers are on a 0–255 scale already.
    """
    if np.issubdtype(output.dtype, np.integer):
        return np.asarray(np.moveaxis(np.clip(output, 0, 255), 0, -1), np.uint8)
    channels_last = np.moveaxis(output.astype(np.float32), 0, -1)
    return np.asarray((np.clip(channels_last, 0, 1) * 255).round(), np.uint8)


def first_output(output: NDArray[Any], layout: str) -> NDArray[Any]:
    """The output for the first image of the batch, channels first."""
    return np.moveaxis(output[0], -1, 0) if layout == "NHWC" and output.ndim == 4 else output[0]


def label_map(output: NDArray[Any], size: Size, *, enlarge: str = "bicubic") -> Labels:
    """Class of every pixel at ``size``: logits ``(classes, h, w)`` are enlarged before the argmax, labels after.

    Logits or probabilities of one channel are enlarged before they are held against their `threshold`; labels and flags
    may be ``(1, h, w)`` or ``(h, w)``.

    Source: the official protocols enlarge logits to the label's size, bicubic for EfficientViT and bilinear for
    SegFormer, then take the argmax.
    """
    method = Image.Resampling.BILINEAR if enlarge == "bilinear" else Image.Resampling.BICUBIC
    height, width = size
    if not np.issubdtype(output.dtype, np.floating):
        small = Image.fromarray(output.reshape(output.shape[-2:]).astype(np.int32).clip(0), mode="I")
        return np.asarray(small.resize((width, height), Image.Resampling.NEAREST))
    limit = threshold(output)
    if limit is not None:
        large = Image.fromarray(output[0].astype(np.float32), mode="F").resize((width, height), method)
        return (np.asarray(large) > limit).astype(np.int32)
    best = np.full(size, -np.inf, np.float32)
    labels = np.zeros(size, np.int32)
    for index, channel in enumerate(output.astype(np.float32)):  # one channel at a time: 150 full-size maps are 1 GiB
        large = np.asarray(Image.fromarray(channel, mode="F").resize((width, height), method))
        better = large > best
        best[better] = large[better]
        labels[better] = index
    return labels


def threshold(output: NDArray[Any]) -> float | None:
    """From where a map ``(1, h, w)`` of logits or probabilities means yes; None: the output is no such map."""
    if output.ndim == 3 and len(output) == 1 and np.issubdtype(output.dtype, np.floating):
        return answers.threshold_of(output)
    return None


def class_shares(labels: Labels) -> list[ClassShare]:
    """The classes of a label map by falling area."""
    values, counts = np.unique(labels, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return [ClassShare(label=int(values[i]), share=float(counts[i]) / labels.size) for i in order]


def top_classes(logits: Logits) -> list[ClassShare]:
    """The `TOP` classes of logits ``(classes,)`` with their softmax probabilities."""
    exponents = np.exp(logits.astype(np.float64) - float(logits.max()))
    probabilities = exponents / exponents.sum()
    order = np.argsort(-probabilities, kind="stable")[:TOP]
    return [ClassShare(label=int(i), share=float(probabilities[i])) for i in order]
