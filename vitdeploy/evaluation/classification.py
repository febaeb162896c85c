"""Classification: the short side resized, the center cut out, the likeliest five of a thousand.

Source: https://github.com/mit-han-lab/efficientvit, applications/efficientvit_cls: ``Resize(ceil(size / crop))`` with
Pillow's bicubic filter, then ``CenterCrop(size)``; the arithmetic of both is torchvision's.
"""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from vitdeploy.artifacts.manifest import Artifact
from vitdeploy.catalog.spec import Size
from vitdeploy.evaluation.dataset import DataSetItem
from vitdeploy.evaluation.protocol import ImageEvaluation, InferenceRequest, OnResult, output
from vitdeploy.evaluation.record import ImageRecord
from vitdeploy.images import photos
from vitdeploy.images.photos import Photo

TOP = 5

CROPS = {"efficientvit_b1": 0.95}
"""Crop ratio of models that were published with another than `CROP`. Source: the project's notes, 1.8."""

CROP = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassificationTask:
    """How the pictures become inputs."""

    artifact: Artifact
    crop: float


def cut(photo: Photo, size: Size, crop: float) -> Photo:
    """The center of ``photo`` at ``size``, after its short side was resized to the size over the crop ratio."""
    height, width = photo.shape[:2]
    short = math.ceil(min(size) / crop)
    # torchvision: the long side is truncated, and margins are rounded half to even.
    new_h, new_w = (short, int(short * width / height)) if height <= width else (int(short * height / width), short)
    image = Image.fromarray(photo)
    if (new_h, new_w) != (height, width):
        image = image.resize((new_w, new_h), Image.Resampling.BICUBIC)
    grown_h, grown_w = max(new_h, size[0]), max(new_w, size[1])
    if (grown_h, grown_w) != (new_h, new_w):  # inputs that are no squares
        image = image.resize((grown_w, grown_h), Image.Resampling.BICUBIC)
    top, left = round((grown_h - size[0]) / 2.0), round((grown_w - size[1]) / 2.0)
    return np.asarray(image.crop((left, top, left + size[1], top + size[0])))


def evaluate_image(item: DataSetItem, plan: ClassificationTask, on_result: OnResult | None = None) -> ImageEvaluation:
    """The evaluation of one picture.

    Args:
        on_result: shown the likeliest classes and the true one.
    """
    photo = cut(photos.read(item.image), plan.artifact.manifest.size, plan.crop)
    feed = {plan.artifact.manifest.inputs[0].name: photo}
    (answer,) = yield InferenceRequest(artifact=plan.artifact, feeds=(feed,))
    values = output(answer, plan.artifact)
    true = int(item.truth)
    finite = True
    if values.dtype.kind in "iu":  # the graph decided itself: there is no second guess
        best = (int(values.reshape(-1)[0]),)
        score = float(best[0] == true)
    else:
        logits = values.astype(np.float64).reshape(-1)
        best = tuple(int(place) for place in np.argsort(-logits, kind="stable")[:TOP])
        finite = bool(np.isfinite(logits).all())
        score = _probability(logits, true) if finite else 0.0
    if on_result is not None:
        on_result(best, true)
    return ImageRecord(image=item.name, label=true, top5=best, score=score, finite=finite)


def _probability(logits: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]", true: int) -> float:
    """What the model gives the true class: the picture's own figure."""
    exponents = np.exp(logits - logits.max())
    return float(exponents[true] / exponents.sum())
