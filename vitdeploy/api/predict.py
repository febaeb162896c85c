"""`predict`: one image through an artifact, and the answer drawn."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vitdeploy import documents
from vitdeploy.api.devices import only_here
from vitdeploy.artifacts.manifest import Artifact, open_artifact
from vitdeploy.catalog import packages, registry, user_models
from vitdeploy.catalog.spec import ModelSpec
from vitdeploy.devices import computer_facts, device_facts, inventory
from vitdeploy.errors import Impossible
from vitdeploy.images import labels, photos, postprocess, sam_predict
from vitdeploy.inference import client
from vitdeploy.processes import child_reply
from vitdeploy.reports.pictures import overlay


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictRequest:
    """The artifact, the image and the options of `predict`."""

    artifact: Path
    image: str
    points: tuple[str, ...] = ()
    boxes: tuple[str, ...] = ()
    multimask: bool = False
    device: str | None = None
    out: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The answer of an artifact to an image."""

    picture: Path
    measure: str
    """The number beside a class: its share of the pixels, its probability, or the predicted IoU of a mask."""
    classes: tuple[tuple[str, float], ...]
    """Empty where the answer is an image."""
    psnr_db: tuple[tuple[str, float], ...] = ()
    """Of an image, by what it was upsampled: its PSNR against the image at that size."""
    note: str | None
    weights: str
    """Where the parameters come from, in words."""
    preprocessing: str
    """How the pixels became the input, in words."""
    model: str = ""
    image: str = ""
    """What was run on what."""
    random_weights: bool = False
    masks: tuple[Path, ...] = ()
    """Of objects: images of their numbers, at the image's size and in the model's frame."""


def predict_plan(request: PredictRequest) -> list[str]:
    """What `predict` would do."""
    artifact = open_artifact(request.artifact)
    return [f"run {artifact.file} on {request.image} and write {_picture_path(request, artifact)}"]


def predict(request: PredictRequest) -> Prediction:
    """Run an artifact on one image and draw the answer.

    Raises:
        UnreadableFile: the artifact or the image cannot be read.
        Impossible: the artifact does not run on this machine, or takes no points or boxes.
    """
    artifact = open_artifact(request.artifact)
    manifest = artifact.manifest
    return replace(
        _predicted(request, artifact),
        model=manifest.model,
        image=request.image,
        random_weights=manifest.weights.source == "random",
    )


def _predicted(request: PredictRequest, artifact: Artifact) -> Prediction:
    """The answer to one image, drawn."""
    manifest = artifact.manifest
    spec = registry.find_model(manifest.model, manifest.part)
    prompted = spec.task == "segment-anything"
    if (request.points or request.boxes or request.multimask) and not prompted:
        raise Impossible(f"{manifest.model} takes no points or boxes", "Leave --point, --box and --multimask out.")
    only_here("predict", request.device)
    if manifest.state == "deferred":
        raise Impossible(
            f"{artifact.folder} has still to be built on its device",
            "Export the same model to onnx-fp32 or onnx-fp16, which run here, or bench it on its device.",
        )
    documents.check_place(_picture_path(request, artifact))
    photo = photos.open_named(request.image)
    used = manifest.preprocessing or spec.preprocessing
    if used.source == "assumed" and spec.task != "super-resolution":
        raise user_models.unknown_preprocessing(manifest.model, "so a picture cannot be its input", "Export it with")
    if prompted:
        return _masks(request, photo, artifact, used.words)
    outputs = _answer(artifact, postprocess.model_inputs(photo, manifest, spec))
    described = manifest.outputs[0]
    answer = postprocess.first_output(outputs[described.name], described.layout)
    picture = _picture_path(request, artifact)
    if spec.task == "super-resolution":
        return _upsampled(request, photo, postprocess.to_photo(answer), artifact, replace(spec, preprocessing=used))
    notes = [f"{manifest.weights.words}: the classes mean nothing"] if manifest.weights.source == "random" else []
    if (limit := postprocess.threshold(answer)) is not None:
        notes.append(f"one channel: class 1 is above {limit:g}")
    note = "; ".join([*notes, *([spec.note] if spec.note else [])]) or None
    dataset = spec.dataset
    if spec.task == "segmentation":
        classes = postprocess.label_map(answer, (photo.shape[0], photo.shape[1]), enlarge=spec.enlarge)
        shares, measure = postprocess.class_shares(classes), "share of the pixels"
        if (highest := int(classes.max())) >= len(labels.names(dataset)):  # a map of labels says nowhere how many
            dataset = f"{labels.NAMELESS}{highest + 1}"
        drawn = overlay.segmentation(photo, classes, dataset, note=note, caption=f"input: {used.words}")
    elif not np.issubdtype(answer.dtype, np.floating):
        raise Impossible(
            f"{manifest.model} answers {answer.dtype.name}, which are no scores of classes", "Let it return the logits."
        )
    else:
        shares, measure = postprocess.top_classes(answer), "probability"
        drawn = overlay.classification(photo, answer, labels.names(dataset), note=note, caption=f"input: {used.words}")
    overlay.save(drawn, picture)
    names = labels.names(dataset)
    shown = tuple((names[row.label], row.share) for row in shares)
    return Prediction(
        picture=picture,
        measure=measure,
        classes=shown,
        note=note,
        weights=manifest.weights.words,
        preprocessing=used.words,
    )


def _masks(request: PredictRequest, photo: Any, artifact: Artifact, preprocessing: str) -> Prediction:
    """Run encoder and decoder on an image and its prompts, and draw the masks."""
    prompts = sam_predict.parse_prompts(request.points, request.boxes, photo)
    parts = sam_predict.encoder_and_decoder(artifact)
    objects = sam_predict.segment(
        photo,
        prompts,
        (parts[0].manifest, parts[1].manifest),
        registry.find_model(artifact.manifest.model, "encoder"),
        run=(partial(_answer, parts[0]), partial(_answer, parts[1])),
        multimask=request.multimask,
    )
    weights = artifact.manifest.weights
    note = f"{weights.words}: the masks mean nothing" if weights.source == "random" else None
    picture = _picture_path(request, artifact)
    overlay.save(overlay.masks(photo, objects, note=note, caption=f"input: {preprocessing}"), picture)
    numbered = (
        picture.with_name(f"{picture.stem}-masks.png"),
        picture.with_name(f"{picture.stem}-masks-{sam_predict.FRAME[0]}.png"),
    )
    at_size, in_frame = [region.best.at(photo) for region in objects], [region.best.in_frame() for region in objects]
    for masks, path in zip((at_size, in_frame), numbered, strict=True):
        overlay.save(Image.fromarray(sam_predict.object_map(masks)), path)
    shown = tuple(
        (f"object {number} by {region.prompt.words}{f', mask {place}' if request.multimask else ''}", candidate.score)
        for number, region in enumerate(objects, start=1)
        for place, candidate in enumerate(region.candidates, start=1)
    )
    return Prediction(
        picture=picture,
        measure="predicted IoU",
        classes=shown,
        note=note,
        weights=weights.words,
        preprocessing=preprocessing,
        masks=numbered,
    )


def _upsampled(request: PredictRequest, photo: Any, image: Any, artifact: Artifact, spec: ModelSpec) -> Prediction:
    """Save the output of a super-resolution model, with its PSNR against the photograph."""
    picture = _picture_path(request, artifact)
    overlay.save(Image.fromarray(image), picture)
    psnr_db = postprocess.psnr_against_photo(photo, image, artifact.manifest.size)
    notes = [spec.note] if spec.note else []
    if psnr_db is None:
        notes.append(f"{request.image} is smaller than the output, so PSNR cannot be computed")
    if artifact.manifest.weights.source == "random":
        notes.append(f"{artifact.manifest.weights.words}: the picture means nothing")
    return Prediction(
        picture=picture,
        measure="PSNR against the photograph",
        classes=(),
        psnr_db=tuple(zip((spec.name, "bicubic"), psnr_db, strict=True)) if psnr_db else (),
        note="; ".join(notes) or None,
        weights=artifact.manifest.weights.words,
        preprocessing=spec.preprocessing.words,
    )


def _answer(artifact: Artifact, feed: Mapping[str, Any]) -> Mapping[str, Any]:
    """The artifact's outputs, from a process of its own: a damaged file can end that, and not this one.

    Raises:
        Impossible: this version has no runtime for the target.
        MissingPackage: it is not installed.
        ToolchainFailed: the runtime refused the file, or died of it.
    """
    target = registry.find_target(artifact.manifest.target)
    packages.require(target.run_packages)
    here = inventory.find("local")
    with inventory.connect(here) as link:
        answer = client.inference_on(
            here,
            link,
            device_facts.read_facts(here, link),
            threads=computer_facts.cores_physical(),
            log=child_reply.log_file(f"predict-{user_models.folder_name(artifact.manifest.model, None)}"),
        )
        (outputs,) = answer(artifact, [feed])
        return {name: np.array(values) for name, values in outputs.items()}  # they are mapped from a file that goes


def _picture_path(request: PredictRequest, artifact: Artifact) -> Path:
    name = Path(request.image.removeprefix("sample:")).stem
    return request.out or Path(f"{name}-{user_models.folder_name(artifact.manifest.model, None)}.png")
