"""Preparation of an evaluation: the pictures of a data set, how each is evaluated, and the protocol in words."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from vitdeploy.artifacts import described_model
from vitdeploy.artifacts.manifest import Artifact
from vitdeploy.catalog import registry, user_models
from vitdeploy.catalog.spec import Task, is_user_model
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
from vitdeploy.evaluation.request import EvalRequest
from vitdeploy.images import photos, sam_predict

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
class PreparedEvaluation:
    """A data set and how its pictures are evaluated."""

    files: DataSetFiles
    items: Sequence[DataSetItem]
    """The pictures to evaluate: all, or as many as ``--limit`` says."""
    start: partial[ImageEvaluation]
    """Begins the evaluation of one item, which is shown by ``on_result``."""
    protocol: tuple[str, ...]
    kind: str
    """Which figures there are: a key of `summary.METRICS`."""
    artifacts: tuple[Artifact, ...]
    """What is run: what was named, and the other part of a model that has two."""


def prepare(request: EvalRequest, artifacts: tuple[Artifact, ...]) -> PreparedEvaluation:
    """Find the pictures and make out how they are evaluated.

    Raises:
        UsageError: an unknown data set, or a value that means nothing.
        Impossible: the artifacts are for another task, or do not belong together.
        UnreadableFile: the folder is not that data set.
    """
    if request.dataset not in dataset.NAMES:
        raise unknown_name("data set", request.dataset, dataset.NAMES, "vitdeploy eval --help")
    if request.limit is not None and request.limit < 1:
        raise UsageError(f"--limit {request.limit} is not a positive whole number", "Use --limit 1 or more.")
    check(request.dataset, artifacts)
    if not request.root.is_dir():
        raise dataset.wrong_layout(
            request.dataset, request.root, ["a folder"], "Name the folder that the data set was unpacked into."
        )
    prepared = _PREPARE[request.dataset](request, artifacts)
    used = artifacts[0].manifest.preprocessing
    if used is None or not is_user_model(artifacts[0].manifest.model):
        return prepared
    return replace(prepared, protocol=(*prepared.protocol, f"input: {used.words}"))


def check(name: str, artifacts: Sequence[Artifact]) -> None:
    """Refuse artifacts that are not for this data set, or not of one model.

    Raises:
        Impossible: they are not.
    """
    first = artifacts[0].manifest
    for artifact in artifacts:
        manifest = artifact.manifest
        if manifest.task != TASKS[name]:
            fitting = " or ".join(data_set for data_set, task in TASKS.items() if task == manifest.task)
            raise Impossible(
                f"{manifest.model} is for {manifest.task}, and {name} for {TASKS[name]}", f"Use --dataset {fitting}."
            )
        spec = described_model.spec_of(manifest)
        used = manifest.preprocessing or spec.preprocessing
        if used.source == "assumed" and manifest.task != "super-resolution":
            raise user_models.unknown_preprocessing(
                manifest.model, "so pictures cannot be its inputs", "Export it with"
            )
        if manifest.task in ("segmentation", "classification") and spec.dataset != name:
            raise Impossible(
                f"{manifest.model} knows the {spec.classes} classes of {spec.dataset}, not those of {name}",
                f"Use --dataset {spec.dataset}.",
            )
        alike = ("model", "target", "attention", "head", "io", "weights", "precision")
        differing = [field for field in alike if getattr(manifest, field) != getattr(first, field)]
        if differing and manifest.task != "segment-anything":
            raise Impossible(
                f"{artifacts[0].folder} and {artifact.folder} differ in {', '.join(differing)}",
                "Name artifacts of one model and target at several sizes, or evaluate them one by one.",
            )


def _segmentation(request: EvalRequest, artifacts: tuple[Artifact, ...]) -> PreparedEvaluation:
    city = request.dataset == "cityscapes"
    split = request.split or SPLITS[request.dataset]
    files = cityscapes.find(request.root, split) if city else ade20k.find(request.root, split)
    first = _only(artifacts) if city else artifacts[0]
    items = dataset.limited(files.items, request.limit)
    size = first.manifest.size
    sizes = ", ".join(artifact.manifest.variant.size_words for artifact in artifacts)
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
        classes=len(files.classes),
        official_size=None if city else ade20k.official_size,
        train_ids=cityscapes.train_ids if city else ade20k.train_ids,
    )
    if not city:  # one artifact after the other: a group that mixes sizes starts a process for each
        items = sorted(items, key=lambda item: _shape(item, plan))
    return PreparedEvaluation(
        files=files,
        items=items,
        start=partial(segmentation.evaluate_image, plan=plan),
        protocol=(
            f"{files.layout}, split {split}",
            *steps,
            "logits enlarged to the label's size (cubic, a = -0.75) before the argmax"
            if first.manifest.head == "logits"
            else "labels decided in the graph, enlarged to the label's size by the nearest",
            "intersections and unions summed over all pictures; classes that occur nowhere are left out of the mean",
        ),
        kind="segmentation",
        artifacts=artifacts,
    )


def shapes(request: EvalRequest) -> dict[tuple[int, int], int]:
    """ADE20K: how many pictures become each size, the most frequent first; from the heads of the files."""
    items = dataset.limited(ade20k.find(request.root, request.split or ade20k.SPLIT).items, request.limit)
    sizes = (photos.size_of(item.image) for item in items)
    return dict(Counter(ade20k.official_size(*size) for size in sizes if size is not None).most_common())


def _shape(item: DataSetItem, plan: segmentation.SegmentationTask) -> tuple[tuple[int, ...], str]:
    size = photos.size_of(item.image)
    chosen = segmentation.fitting(plan, *size) if size else None
    return (chosen[0].manifest.size if chosen else ()), item.name


def _classification(request: EvalRequest, artifacts: tuple[Artifact, ...]) -> PreparedEvaluation:
    only = _only(artifacts)
    manifest, size = only.manifest, only.manifest.variant.size_words
    crop = request.crop or classification.CROPS.get(manifest.model, classification.CROP)
    if not 0 < crop <= 1:
        raise UsageError(f"--crop {crop:g} is not a share of the picture", "Use more than 0 and at most 1.")
    files = imagenet.find(request.root, request.split or imagenet.SPLIT)
    plan = classification.ClassificationTask(artifact=only, crop=crop)
    return PreparedEvaluation(
        files=files,
        items=dataset.limited(files.items, request.limit),
        start=partial(classification.evaluate_image, plan=plan),
        protocol=(
            f"{files.layout}, split {files.split}",
            f"short side to {size} / {crop:g} (Pillow's bicubic), center crop {size}",
        ),
        kind="classification",
        artifacts=artifacts,
    )


def _super_resolution(request: EvalRequest, artifacts: tuple[Artifact, ...]) -> PreparedEvaluation:
    scales = {super_resolution.scale_of(artifact) for artifact in artifacts}
    if len(scales) > 1:
        raise Impossible(f"the artifacts enlarge {' and '.join(map(str, sorted(scales)))} times", "Name one kind.")
    (scale,) = scales
    if scale < 1:
        raise Impossible(f"{artifacts[0].file} returns less than it is given", "Name a super-resolution artifact.")
    files = super_resolution.find(request.root, scale, request.split or "")
    ssim = registry.load("vitdeploy.evaluation.by_skimage:ssim")
    plan = super_resolution.SuperResolutionTask(artifacts=artifacts, scale=scale, ssim=ssim)
    sizes = ", ".join(artifact.manifest.variant.size_words for artifact in artifacts)
    return PreparedEvaluation(
        files=files,
        items=dataset.limited(files.items, request.limit),
        start=partial(super_resolution.evaluate_image, plan=plan),
        protocol=(
            f"x{scale}, {files.layout}",
            f"inputs of other sizes than {sizes} in tiles that overlap by {super_resolution.OVERLAP} pixels",
            f"output rounded to bytes; PSNR and SSIM on Y (BT.601), {scale} border pixels left out",
        ),
        kind="super-resolution",
        artifacts=artifacts,
    )


PROMPTS = ("box", "detector", "point")
CLICKS = (1, 3, 5)
"""Source: arXiv 2402.05008, tables of points; more are allowed as far as the decoder takes them."""


def _masks(request: EvalRequest, artifacts: tuple[Artifact, ...]) -> PreparedEvaluation:
    encoder, decoder = _parts(artifacts)
    prompt = request.prompt or ("detector" if request.detections else "box")
    if prompt not in PROMPTS:
        raise UsageError(f"--prompt {prompt!r} is not one of {', '.join(PROMPTS)}", "Use --prompt box.")
    if (prompt == "detector") != (request.detections is not None):
        raise UsageError(
            f"--prompt {prompt} {'needs' if prompt == 'detector' else 'takes no'} --detections",
            "Give a detector's boxes with --prompt detector --detections FILE.",
        )
    slots = next(tensor.shape[1] for tensor in decoder.manifest.inputs if tensor.name == "point_labels")
    if not 1 <= request.clicks <= slots:
        raise UsageError(f"--clicks {request.clicks} is not between 1 and {slots}", "Use --clicks 1, 3 or 5.")
    files = coco.find(
        request.dataset,
        request.root,
        request.split or coco.SPLITS[request.dataset],
        annotations=request.annotations,
        detections=request.detections,
    )
    plan = masks.MaskTask(
        encoder=encoder,
        decoder=decoder,
        prompt=prompt,
        clicks=request.clicks,
        decode=registry.load("vitdeploy.evaluation.by_pycocotools:decode"),
        encode=registry.load("vitdeploy.evaluation.by_pycocotools:encode"),
    )
    prompts = {
        "box": "the box of every annotation of at least one pixel is asked for",
        "detector": f"every box of {request.detections.name if request.detections else ''} is asked for",
        "point": f"{request.clicks} clicks an annotation, each deepest inside what was wrong so far",
    }
    return PreparedEvaluation(
        files=files,
        items=dataset.limited(files.items, request.limit),
        start=partial(masks.evaluate_image, plan=plan),
        protocol=(
            f"{files.layout}, split {files.split}",
            f"long side to {max(encoder.manifest.size)} (Pillow's bilinear), padded after normalization",
            prompts[prompt],
            "of three masks the one whose IoU the model predicts highest, enlarged twice bilinearly",
            "mask AP by pycocotools" + ("" if request.dataset == "coco" else " with LVIS's rules")
            if prompt == "detector"
            else "IoU of each mask with its annotation, averaged over all masks",
        ),
        kind="detections" if prompt == "detector" else "masks",
        artifacts=(encoder, decoder),
    )


_PREPARE: Mapping[str, Callable[[EvalRequest, tuple[Artifact, ...]], PreparedEvaluation]] = {
    "cityscapes": _segmentation,
    "ade20k": _segmentation,
    "imagenet": _classification,
    "sr": _super_resolution,
    "coco": _masks,
    "lvis": _masks,
}


def _parts(artifacts: Sequence[Artifact]) -> tuple[Artifact, Artifact]:
    """The encoder and the decoder of one model; where one is named, the other lies where the same export put it."""
    if len(artifacts) == 1 and artifacts[0].manifest.part is not None:
        artifacts = sam_predict.encoder_and_decoder(artifacts[0])
    by_part = {artifact.manifest.part: artifact for artifact in artifacts}
    encoder, decoder = by_part.get("encoder"), by_part.get("decoder")
    if len(artifacts) != 2 or encoder is None or decoder is None:
        given = ", ".join(f"{artifact.manifest.model}.{artifact.manifest.part}" for artifact in artifacts)
        raise Impossible(f"masks take an encoder and a decoder, and {given} is given", "Name both artifacts.")
    differing = [
        name for name in ("model", "weights") if getattr(encoder.manifest, name) != getattr(decoder.manifest, name)
    ]
    if differing:
        raise Impossible(
            f"{encoder.folder} and {decoder.folder} differ in {', '.join(differing)}", "Name two parts of one model."
        )
    return encoder, decoder


def _only(artifacts: Sequence[Artifact]) -> Artifact:
    if len(artifacts) != 1:
        raise Impossible(f"{len(artifacts)} artifacts are named for pictures of one size", "Name one.")
    return artifacts[0]
