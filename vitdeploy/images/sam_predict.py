"""From points and boxes on a picture to masks at its size: what `predict` does around the two parts of a SAM model."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitdeploy.artifacts.manifest import Artifact, Manifest, Tensor, open_artifact
from vitdeploy.catalog import sam_prompts
from vitdeploy.catalog.sam_prompts import Box, Point, Prompt
from vitdeploy.catalog.spec import ModelSpec, Size
from vitdeploy.errors import UnreadableFile, UsageError
from vitdeploy.images import photos
from vitdeploy.images.photos import Photo

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
Run = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""Runs a file on named inputs."""

OTHER = {"encoder": "decoder", "decoder": "encoder"}
FRAME: Size = (sam_prompts.FRAME, sam_prompts.FRAME)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One answer to a prompt."""

    score: float
    """The model's own guess of its intersection over union, about 0 to 1."""
    logits: Floats
    """``(256, 256)`` for the whole frame; above 0 is the object."""

    def in_frame(self) -> Mask:
        """At the size of the frame, ``(1024, 1024)``; what lies beyond the picture is there too."""
        return resize_bilinear(self.logits, FRAME) > 0

    def at(self, photo: Photo) -> Mask:
        """At the picture's size, ``(h, w)``.

        Source: ``Sam.postprocess_masks`` of https://github.com/facebookresearch/segment-anything: to the frame, without
        what is not the picture, then to its size; bilinear both times.
        """
        height, width = photos.inner_size(photo, FRAME)
        return (
            resize_bilinear(resize_bilinear(self.logits, FRAME)[:height, :width], (photo.shape[0], photo.shape[1])) > 0
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentedObject:
    """One object that was asked for, and its answers."""

    prompt: Prompt
    """In pixels of the picture."""
    candidates: tuple[Candidate, ...]
    """One, or three where several were asked for."""

    @property
    def best(self) -> Candidate:
        """The one that the model trusts most."""
        return max(self.candidates, key=lambda candidate: candidate.score)


def parse_prompts(points: Sequence[str], boxes: Sequence[str], photo: Photo) -> list[Prompt]:
    """What the command line asks for, one prompt an object, in pixels of the picture.

    Without a box all points mean one object; every box is an object, and a point belongs to the box that it lies in,
    the smallest of several, or that it is nearest to.

    Raises:
        UsageError: not numbers, outside the picture, a box without area, more than an object can have, or nothing.
    """
    height, width = photo.shape[:2]
    placed = [_point(text, width, height) for text in points]
    framed = [_box(text, width, height) for text in boxes]
    if not placed and not framed:
        raise UsageError(
            "no --point or --box was given",
            f"Point at an object, e.g. --point {width // 2},{height // 2}, or give a --box.",
        )
    if not framed:
        prompts = [Prompt(points=tuple(placed))]
    else:
        belonging: list[list[Point]] = [[] for _ in framed]
        for point in placed:
            belonging[_nearest(point, framed)].append(point)
        prompts = [Prompt(points=tuple(own), box=box) for own, box in zip(belonging, framed, strict=True)]
    for prompt in prompts:
        if prompt.slots > sam_prompts.SLOTS:
            most = sam_prompts.MOST_POINTS if prompt.box else sam_prompts.SLOTS
            beside = "beside a box" if prompt.box else "without a box"
            raise UsageError(
                f"an object has {len(prompt.points)} points, and its decoder takes {most} {beside}", "Give fewer."
            )
    return prompts


def encoder_and_decoder(artifact: Artifact) -> tuple[Artifact, Artifact]:
    """Encoder and decoder, where one of them was named; the other lies where the same export put it.

    Raises:
        UnreadableFile: the other is not there, or was made from other weights.
    """
    manifest = artifact.manifest
    own = manifest.part or ""
    other = OTHER[own]
    name = f"{manifest.model}.{other}"
    export = f"vitdeploy export {name} --target {manifest.target} --size {manifest.size[0]}x{manifest.size[1]}"
    folder = artifact.folder.resolve()
    kin = folder.parents[1].name.replace(f"{manifest.model}.{own}", name, 1)
    size = f"{manifest.size[0]}x{manifest.size[1]}"
    places = [place / folder.name for place in sorted((folder.parents[2] / kin).glob(f"{size}*"))]
    near = [place for place in places if (place / "manifest.json").is_file()]
    if not near:
        raise UnreadableFile(f"{artifact.folder} is the {own} only, and no {other} lies beside it", f"Run `{export}`.")
    mate = open_artifact(near[0])
    if mate.manifest.weights != manifest.weights:
        raise UnreadableFile(f"{mate.folder} was made from other weights than {artifact.folder}", f"Run `{export}`.")
    return (artifact, mate) if own == "encoder" else (mate, artifact)


def image_feed(photo: Photo, manifest: Manifest, spec: ModelSpec) -> dict[str, NDArray[Any]]:
    """``photo`` in the upper left corner of the encoder's input, which is zero elsewhere, after normalization.

    Source: ``SamPad`` and ``SamResize`` of https://github.com/mit-han-lab/efficientvit.
    """
    described = manifest.inputs[0]
    boxed = photos.letterbox(photo, manifest.size)
    if described.dtype == "uint8":
        array: NDArray[Any] = photos.as_bytes([boxed])
    else:
        array = photos.normalized([boxed], manifest.preprocessing or spec.preprocessing)
        height, width = photos.inner_size(photo, manifest.size)
        array[:, :, height:] = 0
        array[:, :, :, width:] = 0
    return {described.name: _as_stored(np.repeat(array, manifest.batch, axis=0), described)}


def segment(
    photo: Photo,
    prompts: Sequence[Prompt],
    pair: tuple[Manifest, Manifest],
    spec: ModelSpec,
    *,
    run: tuple[Run, Run],
    multimask: bool,
) -> list[SegmentedObject]:
    """What the two parts make of ``prompts``, in pixels of the picture.

    Args:
        photo: ``(h, w, 3)``.
        prompts: one an object.
        pair: encoder and decoder.
        spec: the encoder's row.
        run: how each of them is run.
        multimask: the three masks of an ambiguous prompt, not the one of a clear one.
    """
    encoder, decoder = pair
    encoded = run[0](image_feed(photo, encoder, spec))
    embedding = _as_nchw(encoded[encoder.outputs[0].name], encoder.outputs[0])[:1]
    height, width = photos.inner_size(photo, FRAME)
    across, down = width / photo.shape[1], height / photo.shape[0]
    selection = slice(1, None) if multimask else slice(0, 1)
    objects: list[SegmentedObject] = []
    for start in range(0, len(prompts), decoder.batch):
        group = prompts[start : start + decoder.batch]
        feeds = {
            sam_prompts.EMBEDDINGS: embedding,
            **sam_prompts.arrays([prompt.scaled(across, down) for prompt in group], decoder.batch),
        }
        answer = run[1]({tensor.name: _as_stored(feeds[tensor.name], tensor) for tensor in decoder.inputs})
        outputs = {tensor.name: _as_nchw(answer[tensor.name], tensor).astype(np.float32) for tensor in decoder.outputs}
        for prompt, masks, scores in zip(group, outputs[sam_prompts.MASKS], outputs[sam_prompts.SCORES], strict=False):
            candidates = tuple(
                Candidate(score=float(score), logits=mask)
                for mask, score in zip(masks[selection], scores[selection], strict=True)
            )
            objects.append(SegmentedObject(prompt=prompt, candidates=candidates))
    return objects


def object_map(masks: Sequence[Mask]) -> NDArray[np.uint8]:
    """Masks of one size as one picture: 0 where nothing is, else the object's number; later ones lie on top."""
    picture = np.zeros(masks[0].shape, np.uint8)
    for number, mask in enumerate(masks, start=1):
        picture[mask] = min(number, 255)
    return picture


def resize_bilinear(values: Floats, size: Size) -> Floats:
    """``(h, w)`` at another size: bilinear, corners not aligned, as ``torch.nn.functional.interpolate``."""
    return _stretched(_stretched(values, size[0]).T, size[1]).T


def _stretched(values: Floats, rows: int) -> Floats:
    """``(h, w)`` with so many rows."""
    last = len(values) - 1
    place: NDArray[np.float64] = np.clip((np.arange(rows) + 0.5) * (last + 1) / rows - 0.5, 0, last)
    below: NDArray[np.int64] = np.floor(place).astype(np.int64)
    weight: Floats = (place - below).astype(np.float32)[:, None]
    return (values[below] * (1 - weight) + values[np.minimum(below + 1, last)] * weight).astype(np.float32)


def _as_stored(array: NDArray[Any], described: Tensor) -> NDArray[Any]:
    turned = array.transpose(0, 2, 3, 1) if described.layout == "NHWC" else array
    return np.ascontiguousarray(turned, dtype=described.dtype)


def _as_nchw(array: NDArray[Any], described: Tensor) -> NDArray[Any]:
    return array.transpose(0, 3, 1, 2) if described.layout == "NHWC" else array


def _numbers(option: str, text: str, example: str, counts: Sequence[int]) -> list[float]:
    words = [word.strip() for word in text.split(",")]
    if len(words) not in counts or not all(re.fullmatch(r"\d+(\.\d+)?", word) for word in words):
        raise UsageError(f"{option} {text!r} is not in pixels of the picture", f"Write it as {example}.")
    return [float(word) for word in words]


def _inside(option: str, text: str, x: float, y: float, width: int, height: int) -> None:
    if x > width or y > height:
        raise UsageError(
            f"{option} {text} lies outside the picture, which is {width} pixels wide and {height} high",
            "x comes before y, both from the upper left corner.",
        )


def _point(text: str, width: int, height: int) -> Point:
    x, y, *label = _numbers("--point", text, "X,Y or X,Y,0 for the background, e.g. 120,80", (2, 3))
    if label and label[0] not in (0, 1):
        raise UsageError(f"--point {text} ends in neither 0 nor 1", "1: the point is on the object; 0: background.")
    _inside("--point", text, x, y, width, height)
    return x, y, int(label[0]) if label else 1


def _box(text: str, width: int, height: int) -> Box:
    x0, y0, x1, y1 = _numbers("--box", text, "X0,Y0,X1,Y1, e.g. 40,30,200,180", (4,))
    _inside("--box", text, max(x0, x1), max(y0, y1), width, height)
    if x1 <= x0 or y1 <= y0:
        raise UsageError(f"--box {text} has no area", "Give the upper left corner, then the lower right one.")
    return x0, y0, x1, y1


def _nearest(point: Point, boxes: Sequence[Box]) -> int:
    def rank(index: int) -> tuple[float, float]:
        x0, y0, x1, y1 = boxes[index]
        off = math.hypot(max(x0 - point[0], 0, point[0] - x1), max(y0 - point[1], 0, point[1] - y1))
        return off, (x1 - x0) * (y1 - y0)

    return min(range(len(boxes)), key=rank)
