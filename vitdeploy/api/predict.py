"""One picture through an artifact: what it saw, drawn. For people; `api_eval` counts."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitdeploy.api import devices
from vitdeploy.artifacts.manifest import Artifact, as_json, open_artifact
from vitdeploy.catalog import registry, user_models
from vitdeploy.catalog.spec import ModelSpec
from vitdeploy.errors import Impossible

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictRequest:
    """What `predict` is asked for."""

    artifact: Path
    image: str
    points: tuple[str, ...] = ()
    boxes: tuple[str, ...] = ()
    multimask: bool = False
    device: str | None = None
    out: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What an artifact saw in a picture."""

    picture: Path
    measure: str
    """What the number beside a class is: its share of the pixels, its probability, or how good the mask is."""
    classes: tuple[tuple[str, float], ...]
    """Empty where the answer is an image."""
    psnr_db: tuple[tuple[str, float], ...] = ()
    """Of an image: by whom it was enlarged, and how near that is to the picture at that size."""
    note: str | None
    masks: tuple[Path, ...] = ()
    """Of objects: pictures of their numbers, at the picture's size and in the model's frame."""


def predict_plan(order: PredictRequest) -> list[str]:
    """What `predict` would do."""
    found = open_artifact(order.artifact)
    return [f"run {found.file} on {order.image} and write {_picture_path(order, found)}"]


def predict(order: PredictRequest) -> Prediction:
    """Run an artifact on one picture and draw what it saw.

    Raises:
        UnreadableFile: the artifact or the picture cannot be read.
        Impossible: the task has no picture of its own in this version.
    """
    from vitdeploy.catalog import packages
    from vitdeploy.images import labels, photos, postprocess
    from vitdeploy.reports.pictures import overlay
    from vitdeploy.runtimes import session

    found = open_artifact(order.artifact)
    manifest = found.manifest
    spec, target = registry.find_model(manifest.model, manifest.part), registry.find_target(manifest.target)
    if spec.task == "segment-anything":
        return _segmentation(order, found)
    if order.points or order.boxes or order.multimask:
        raise Impossible(f"{manifest.model} takes no points or boxes", "Leave --point, --box and --multimask out.")
    devices.only_here("predict", order.device)
    _built(found)
    if target.runtime is None:
        raise Impossible(f"this version has nothing that runs {target.name}", "Use an artifact of another target.")
    photo = photos.open_named(order.image)
    packages.require(target.run_packages)
    runtime = registry.load(target.runtime)
    with runtime.open_session(
        found.file, as_json(manifest), session.SessionOptions(threads=_local_threads())
    ) as opened:
        outputs = session.infer(opened, postprocess.model_inputs(photo, manifest, spec))
    described = manifest.outputs[0]
    answer = postprocess.first_output(outputs[described.name], described.layout)
    picture = _picture_path(order, found)
    if spec.task == "super-resolution":
        return _enlargement(order, photo, postprocess.to_photo(answer), found, spec)
    told = [f"{manifest.weights.words}: the classes mean nothing"] if manifest.weights.source == "random" else []
    note = "; ".join([*told, *([spec.note] if spec.note else [])]) or None
    names = labels.names(spec.dataset)
    if spec.task == "segmentation":
        classes = postprocess.label_map(answer, (photo.shape[0], photo.shape[1]), enlarge=spec.enlarge)
        seen, measure = postprocess.class_shares(classes), "share of the pixels"
        drawn = overlay.segmentation(photo, classes, spec.dataset, note=note)
    else:
        seen, measure = postprocess.top_classes(answer), "probability"
        drawn = overlay.classification(photo, answer, names, note=note)
    overlay.save(drawn, picture)
    shown = tuple((names[one.label], one.share) for one in seen)
    return Prediction(picture=picture, measure=measure, classes=shown, note=note)


def _segmentation(order: PredictRequest, found: Artifact) -> Prediction:
    """Run encoder and decoder on a picture and its prompts, and draw the masks."""
    from contextlib import ExitStack
    from functools import partial

    from PIL import Image

    from vitdeploy.catalog import packages
    from vitdeploy.images import photos, sam_predict
    from vitdeploy.reports.pictures import overlay
    from vitdeploy.runtimes import session

    devices.only_here("predict", order.device)
    _built(found)
    photo = photos.open_named(order.image)
    asked = sam_predict.parse_prompts(order.points, order.boxes, photo)
    pair = sam_predict.encoder_and_decoder(found)
    target = registry.find_target(found.manifest.target)
    if target.runtime is None:
        raise Impossible(f"this version has nothing that runs {target.name}", "Use an artifact of another target.")
    packages.require(target.run_packages)
    runtime = registry.load(target.runtime)
    options = session.SessionOptions(threads=_local_threads())
    with ExitStack() as stack:
        opened = [stack.enter_context(runtime.open_session(one.file, as_json(one.manifest), options)) for one in pair]
        encode, decode = (partial(session.infer, one) for one in opened)
        objects = sam_predict.segment(
            photo,
            asked,
            (pair[0].manifest, pair[1].manifest),
            registry.find_model(found.manifest.model, "encoder"),
            run=(encode, decode),
            multimask=order.multimask,
        )
    weights = found.manifest.weights
    note = f"{weights.words}: the masks mean nothing" if weights.source == "random" else None
    picture = _picture_path(order, found)
    overlay.save(overlay.masks(photo, objects, note=note), picture)
    at_size = [one.best.at(photo) for one in objects]
    in_frame = [one.best.in_frame() for one in objects]
    beside = [picture.with_name(f"{picture.stem}-{words}.png") for words in ("masks", f"masks-{sam_predict.FRAME[0]}")]
    for masks, path in zip((at_size, in_frame), beside, strict=True):
        overlay.save(Image.fromarray(sam_predict.object_map(masks)), path)
    shown = tuple(
        (f"object {number} by {one.prompt.words}{f', mask {place}' if order.multimask else ''}", candidate.score)
        for number, one in enumerate(objects, start=1)
        for place, candidate in enumerate(one.candidates, start=1)
    )
    return Prediction(picture=picture, measure="predicted IoU", classes=shown, note=note, masks=(beside[0], beside[1]))


def _enlargement(order: PredictRequest, photo: Any, made: Any, found: Artifact, spec: ModelSpec) -> Prediction:
    """Save the picture that a super-resolution model made, and say how near it is to the photograph."""
    from PIL import Image

    from vitdeploy.images import postprocess
    from vitdeploy.reports.pictures import overlay

    picture = _picture_path(order, found)
    overlay.save(Image.fromarray(made), picture)
    near = postprocess.psnr_against_photo(photo, made, found.manifest.size)
    told = [spec.note] if spec.note else []
    if near is None:
        told.append(f"{order.image} is smaller than what was made of it, so nothing says how near that is")
    if found.manifest.weights.source == "random":
        told.append(f"{found.manifest.weights.words}: the picture means nothing")
    return Prediction(
        picture=picture,
        measure="PSNR against the photograph",
        classes=(),
        psnr_db=tuple(zip((spec.name, "bicubic"), near, strict=True)) if near else (),
        note="; ".join(told) or None,
    )


def _local_threads() -> int:
    from vitdeploy.devices import computer_facts

    return computer_facts.cores_physical()


def _picture_path(order: PredictRequest, found: Artifact) -> Path:
    name = Path(order.image.removeprefix("sample:")).stem
    return order.out or Path(f"{name}-{user_models.folder_name(found.manifest.model, None)}.png")


def _built(found: Artifact) -> None:
    """Refuse a deferred artifact where an engine is needed.

    Raises:
        Impossible: its device has still to build it.
    """
    if found.manifest.state == "deferred":
        raise Impossible(
            f"{found.folder} has still to be built on its device",
            "Export the same model to onnx-fp32 or onnx-fp16, which run here, or bench it on its device.",
        )
