"""From a data set's name and artifacts to the pictures and the dialogue that each is evaluated by."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vitdeploy.artifacts.manifest import Artifact
from vitdeploy.catalog import registry
from vitdeploy.catalog.spec import Task
from vitdeploy.errors import Impossible, UsageError, unknown_name
from vitdeploy.evaluation import (
    ade20k,
    cityscapes,
    classification,
    coco,
    dataset,
    imagenet,
    masks,
    segmentation,
    super_resolution,
)
from vitdeploy.evaluation.dataset import DataSetFiles, DataSetItem
from vitdeploy.evaluation.protocol import ImageEvaluation
from vitdeploy.images import labels, sam_predict

TASKS: dict[str, Task] = {
    "cityscapes": "segmentation",
    "ade20k": "segmentation",
    "imagenet": "classification",
    "sr": "super-resolution",
    "coco": "segment-anything",
    "lvis": "segment-anything",
}
"""Data set → the task that it is for."""

SPLITS = {"cityscapes": cityscapes.SPLIT, "ade20k": ade20k.SPLIT, "imagenet": imagenet.SPLIT, "sr": ""}
"""Data set → the split that is published on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptRequest:
    """What is to be evaluated, and on which pictures."""

    dataset: str
    root: Path
    split: str | None = None
    limit: int | None = None
    crop: float | None = None
    """Classification: the share of the resized picture that is seen; None: as the model was published."""
    prompt: str | None = None
    clicks: int = 1
    annotations: Path | None = None
    detections: Path | None = None
    """Masks: what is asked for, and the files beside the pictures; None: found below the root, or not used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedEvaluation:
    """A data set and how its pictures are evaluated."""

    found: DataSetFiles
    items: Sequence[DataSetItem]
    """Those that are asked for."""
    start: Callable[[DataSetItem], ImageEvaluation]
    protocol: tuple[str, ...]
    kind: str
    """Which figures there are: a key of `summary.MEASURES`."""
    artifacts: tuple[Artifact, ...]
    """What is run: what was named, and the other part of a model that has two."""
    rebuild: "Callable[[tuple[Artifact, ...]], PreparedEvaluation]" = field(repr=False)
    """The same for other artifacts: the reference's."""
    watch: Callable[[DataSetItem, Callable[[Any, Any], None]], ImageEvaluation] | None = None
    """The dialogue that also shows what it sees and what is right; None where there is nothing to be drawn."""


def prepare(wish: PromptRequest, artifacts: tuple[Artifact, ...]) -> PreparedEvaluation:
    """Find the pictures and make out how they are evaluated.

    Raises:
        UsageError: an unknown data set, or a value that means nothing.
        Impossible: the artifacts are for another task, or do not belong together.
        UnreadableFile: the folder is not that data set.
    """
    if wish.dataset not in dataset.NAMES:
        raise unknown_name("data set", wish.dataset, dataset.NAMES, "vitdeploy eval --help")
    if wish.limit is not None and wish.limit < 1:
        raise UsageError(f"--limit {wish.limit} is not a positive whole number", "Use --limit 1 or more.")
    check(wish.dataset, artifacts)
    if not wish.root.is_dir():
        raise dataset.wrong_layout(
            wish.dataset, wish.root, ["a folder"], "Name the folder that the data set was unpacked into."
        )
    match wish.dataset:
        case "cityscapes" | "ade20k":
            return _segmentation(wish, artifacts)
        case "imagenet":
            return _classification(wish, artifacts)
        case "sr":
            return _super_resolution(wish, artifacts)
        case _:
            return _masks(wish, artifacts)


def check(name: str, artifacts: Sequence[Artifact]) -> None:
    """Refuse artifacts that are not for this data set, or not of one model.

    Raises:
        Impossible: they are not.
    """
    first = artifacts[0].manifest
    for one in artifacts:
        manifest = one.manifest
        if manifest.task != TASKS[name]:
            fitting = " or ".join(known for known, task in TASKS.items() if task == manifest.task)
            raise Impossible(
                f"{manifest.model} is for {manifest.task}, and {name} for {TASKS[name]}", f"Use --dataset {fitting}."
            )
        spec = registry.find_model(manifest.model)
        if manifest.task in ("segmentation", "classification") and spec.dataset != name:
            raise Impossible(
                f"{manifest.model} knows the {spec.classes} classes of {spec.dataset}, not those of {name}",
                f"Use --dataset {spec.dataset}.",
            )
        alike = ("model", "target", "attention", "head", "io", "weights", "precision")
        differing = [field for field in alike if getattr(manifest, field) != getattr(first, field)]
        if differing and manifest.task != "segment-anything":
            raise Impossible(
                f"{artifacts[0].folder} and {one.folder} differ in {', '.join(differing)}",
                "Name artifacts of one model and target at several sizes, or evaluate them one by one.",
            )


def _segmentation(wish: PromptRequest, artifacts: tuple[Artifact, ...]) -> PreparedEvaluation:
    city = wish.dataset == "cityscapes"
    split = wish.split or SPLITS[wish.dataset]
    found = cityscapes.find(wish.root, split) if city else ade20k.find(wish.root, split)
    first = _only(artifacts) if city else artifacts[0]
    items = dataset.limited(found.items, wish.limit)
    size = first.manifest.size
    sizes = ", ".join(_words(one.manifest.size) for one in artifacts)
    steps = (
        (f"the whole picture at {size[0]}x{size[1]} (cubic, a = -0.75, where it has another size)",)
        if city
        else (
            "short side to 512, long side in proportion up to a multiple of 32 (cubic, a = -0.75)",
            f"a picture whose size no artifact has is padded with zeros after normalization to the smallest of {sizes}",
        )
    )
    plan = segmentation.SegmentationTask(
        artifacts=artifacts,
        classes=len(found.classes),
        wanted=None if city else ade20k.official_size,
        train_ids=cityscapes.train_ids if city else ade20k.train_ids,
        names=found.classes,
    )
    if not city:  # one artifact after the other: a group that mixes sizes starts a process for each
        items = sorted(items, key=lambda item: _shape(item, plan))
    return PreparedEvaluation(
        found=found,
        items=items,
        start=lambda item: segmentation.evaluate_image(item, plan),
        watch=lambda item, seen: segmentation.evaluate_image(item, plan, seen),
        protocol=(
            f"{found.layout}, split {split}",
            *steps,
            "logits enlarged to the label's size (cubic, a = -0.75) before the argmax"
            if first.manifest.head == "logits"
            else "labels decided in the graph, enlarged to the label's size by the nearest",
            "intersections and unions summed over all pictures; classes that occur nowhere are left out of the mean",
        ),
        kind="segmentation",
        artifacts=artifacts,
        rebuild=lambda others: _segmentation(wish, others),
    )


def shapes(wish: PromptRequest) -> dict[tuple[int, int], int]:
    """ADE20K: how many pictures become each size, the most frequent first; from the heads of the files."""
    from vitdeploy.evaluation import pictures

    counted: dict[tuple[int, int], int] = {}
    for item in dataset.limited(ade20k.find(wish.root, wish.split or ade20k.SPLIT).items, wish.limit):
        size = pictures.size_of(item.image)
        if size is not None:
            wanted = ade20k.official_size(*size)
            counted[wanted] = counted.get(wanted, 0) + 1
    return dict(sorted(counted.items(), key=lambda pair: -pair[1]))


def _shape(item: DataSetItem, plan: segmentation.SegmentationTask) -> tuple[tuple[int, ...], str]:
    from vitdeploy.evaluation import pictures

    size = pictures.size_of(item.image)
    chosen = segmentation.fitting(plan, *size) if size else None
    return (chosen[0].manifest.size if chosen else ()), item.name


def _classification(wish: PromptRequest, artifacts: tuple[Artifact, ...]) -> PreparedEvaluation:
    only = _only(artifacts)
    manifest = only.manifest
    crop = wish.crop or classification.CROPS.get(manifest.model, classification.CROP)
    if not 0 < crop <= 1:
        raise UsageError(f"--crop {crop:g} is not a share of the picture", "Use more than 0 and at most 1.")
    found = imagenet.find(wish.root, wish.split or imagenet.SPLIT)
    plan = classification.ClassificationTask(artifact=only, crop=crop, names=labels.names("imagenet"))
    return PreparedEvaluation(
        found=found,
        items=dataset.limited(found.items, wish.limit),
        start=lambda item: classification.evaluate_image(item, plan),
        protocol=(
            f"{found.layout}, split {found.split}",
            f"short side to {_words(manifest.size)} / {crop:g} (Pillow's bicubic), center crop {_words(manifest.size)}",
        ),
        kind="classification",
        artifacts=artifacts,
        rebuild=lambda others: _classification(wish, others),
    )


def _super_resolution(wish: PromptRequest, artifacts: tuple[Artifact, ...]) -> PreparedEvaluation:
    scales = {super_resolution.scale_of(one) for one in artifacts}
    if len(scales) > 1:
        raise Impossible(f"the artifacts enlarge {' and '.join(map(str, sorted(scales)))} times", "Name one kind.")
    (scale,) = scales
    if scale < 1:
        raise Impossible(f"{artifacts[0].file} returns less than it is given", "Name a super-resolution artifact.")
    found = super_resolution.find(wish.root, scale, wish.split or "")
    ssim = registry.load("vitdeploy.evaluation.by_skimage:ssim")
    plan = super_resolution.SuperResolutionTask(artifacts=artifacts, scale=scale, ssim=ssim)
    sizes = ", ".join(_words(one.manifest.size) for one in artifacts)
    return PreparedEvaluation(
        found=found,
        items=dataset.limited(found.items, wish.limit),
        start=lambda item: super_resolution.evaluate_image(item, plan),
        watch=lambda item, seen: super_resolution.evaluate_image(item, plan, seen),
        protocol=(
            f"x{scale}, {found.layout}",
            f"inputs of other sizes than {sizes} in tiles that overlap by {super_resolution.OVERLAP} pixels",
            f"output rounded to bytes; PSNR and SSIM on Y (BT.601), {scale} border pixels left out",
        ),
        kind="super-resolution",
        artifacts=artifacts,
        rebuild=lambda others: _super_resolution(wish, others),
    )


PROMPTS = ("box", "detector", "point")
CLICKS = (1, 3, 5)
"""Source: arXiv 2402.05008, tables of points; more are allowed as far as the decoder takes them."""


def _masks(wish: PromptRequest, artifacts: tuple[Artifact, ...]) -> PreparedEvaluation:
    encoder, decoder = _parts(artifacts)
    prompt = wish.prompt or ("detector" if wish.detections else "box")
    if prompt not in PROMPTS:
        raise UsageError(f"--prompt {prompt!r} is not one of {', '.join(PROMPTS)}", "Use --prompt box.")
    if (prompt == "detector") != (wish.detections is not None):
        raise UsageError(
            f"--prompt {prompt} {'needs' if prompt == 'detector' else 'takes no'} --detections",
            "Give a detector's boxes with --prompt detector --detections FILE.",
        )
    slots = next(tensor.shape[1] for tensor in decoder.manifest.inputs if tensor.name == "point_labels")
    if not 1 <= wish.clicks <= slots:
        raise UsageError(f"--clicks {wish.clicks} is not between 1 and {slots}", "Use --clicks 1, 3 or 5.")
    found = coco.find(
        wish.dataset,
        wish.root,
        wish.split or coco.SPLITS[wish.dataset],
        annotations=wish.annotations,
        detections=wish.detections,
    )
    plan = masks.MaskTask(
        encoder=encoder,
        decoder=decoder,
        prompt=prompt,
        clicks=wish.clicks,
        decode=registry.load("vitdeploy.evaluation.by_pycocotools:decode"),
        encode=registry.load("vitdeploy.evaluation.by_pycocotools:encode"),
    )
    asked = {
        "box": "the box of every annotation of at least one pixel is asked for",
        "detector": f"every box of {wish.detections.name if wish.detections else ''} is asked for",
        "point": f"{wish.clicks} clicks an annotation, each deepest inside what was wrong so far",
    }
    return PreparedEvaluation(
        found=found,
        items=dataset.limited(found.items, wish.limit),
        start=lambda item: masks.evaluate_image(item, plan),
        watch=lambda item, seen: masks.evaluate_image(item, plan, seen),
        protocol=(
            f"{found.layout}, split {found.split}",
            f"long side to {max(encoder.manifest.size)} (Pillow's bilinear), padded after normalization",
            asked[prompt],
            "of three masks the one whose IoU the model predicts highest, enlarged twice bilinearly",
            "mask AP by pycocotools" + ("" if wish.dataset == "coco" else " with LVIS's rules")
            if prompt == "detector"
            else "IoU of each mask with its annotation, averaged over all masks",
        ),
        kind="detections" if prompt == "detector" else "masks",
        artifacts=(encoder, decoder),
        rebuild=lambda others: _masks(wish, others),
    )


def _parts(artifacts: Sequence[Artifact]) -> tuple[Artifact, Artifact]:
    """The encoder and the decoder of one model; where one is named, the other lies where the same export put it."""
    if len(artifacts) == 1 and artifacts[0].manifest.part is not None:
        artifacts = sam_predict.encoder_and_decoder(artifacts[0])
    by_part = {one.manifest.part: one for one in artifacts}
    encoder, decoder = by_part.get("encoder"), by_part.get("decoder")
    if len(artifacts) != 2 or encoder is None or decoder is None:
        given = ", ".join(f"{one.manifest.model}.{one.manifest.part}" for one in artifacts)
        raise Impossible(f"masks take an encoder and a decoder, and {given} is given", "Name both artifacts.")
    alike = ("model", "weights")
    differing = [name for name in alike if getattr(encoder.manifest, name) != getattr(decoder.manifest, name)]
    if differing:
        raise Impossible(
            f"{encoder.folder} and {decoder.folder} differ in {', '.join(differing)}", "Name two parts of one model."
        )
    return encoder, decoder


def _only(artifacts: Sequence[Artifact]) -> Artifact:
    if len(artifacts) != 1:
        raise Impossible(f"{len(artifacts)} artifacts are named for pictures of one size", "Name one.")
    return artifacts[0]


def _words(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
