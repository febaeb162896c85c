"""`predict`: one image through an artifact, and the answer drawn."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vitdeploy import documents
from vitdeploy.api import predict_tiles
from vitdeploy.api.devices import reachable, ready_there
from vitdeploy.artifacts import described_model
from vitdeploy.artifacts.manifest import Artifact, open_artifact
from vitdeploy.catalog import registry, user_models
from vitdeploy.catalog.shown import Shown
from vitdeploy.catalog.spec import ModelSpec, is_user_model
from vitdeploy.devices.inventory import Device
from vitdeploy.errors import Impossible, UnreadableFile
from vitdeploy.images import labels, photos, postprocess, sam_predict
from vitdeploy.inference.open_device import OpenDevice, open_device
from vitdeploy.processes import child_reply
from vitdeploy.processes.progress import Progress, silent
from vitdeploy.reports.pictures import overlay


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictRequest:
    """The artifact, the image and the options of `predict`."""

    artifact: Path
    image: str
    points: tuple[str, ...] = ()
    boxes: tuple[str, ...] = ()
    multimask: bool = False
    tiles: bool = False
    """Of a super-resolution model: the whole picture in tiles, instead of its center."""
    device: str | None = None
    out: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Prediction(Shown):
    """The answer of an artifact to an image."""

    shown_by: ClassVar = "vitdeploy.cli.predict:prediction_output"
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
    device: str = "local"
    computed_on: str = ""
    """The device and what ran the artifact there: ``orin by onnxruntime 1.20.0``."""


def predict_plan(request: PredictRequest) -> list[str]:
    """What `predict` would do."""
    artifact = open_artifact(request.artifact)
    device = reachable(request.device or "local")
    built = [f"build the engine of {artifact.file} on {device.name}"] if artifact.manifest.state == "deferred" else []
    where = "" if device.link == "local" else f" on {device.name}"
    tiles = ", in tiles," if request.tiles else ""
    return [
        *built,
        f"run {artifact.file}{where} with {request.image}{tiles} and write {_picture_path(request, artifact)}",
    ]


def predict(request: PredictRequest, *, progress: Progress = silent) -> Prediction:
    """Run an artifact on one image, here or on a device, and draw the answer.

    Raises:
        UnreadableFile: the artifact or the image cannot be read.
        Impossible: the artifact does not run on the device, or takes no points or boxes.
        MissingPackage: the runtime is not installed there.
        ToolchainFailed: the runtime refused the file, or died of it.
        DeviceError: the device is not reachable, busy, or another machine than its file says.
    """
    artifact = open_artifact(request.artifact)
    manifest = artifact.manifest
    return replace(
        _predicted(request, artifact, progress),
        model=manifest.model,
        image=request.image,
        random_weights=manifest.weights.source == "random",
    )


def _predicted(request: PredictRequest, artifact: Artifact, progress: Progress) -> Prediction:
    """The answer to one image, drawn."""
    manifest = artifact.manifest
    spec = described_model.spec_of(manifest)
    prompted = spec.task == "segment-anything"
    if (request.points or request.boxes or request.multimask) and not prompted:
        raise Impossible(f"{manifest.model} takes no points or boxes", "Leave --point, --box and --multimask out.")
    if request.tiles and spec.task != "super-resolution":
        raise Impossible(f"{manifest.model} takes the whole picture: it has no tiles", "Leave --tiles out.")
    device = reachable(request.device or "local", progress=progress)
    if manifest.state == "deferred" and request.device is None:
        raise Impossible(
            f"{artifact.folder} has still to be built on its device",
            "Name its device with --device, or export the same model to onnx-fp32 or onnx-fp16, which run here.",
        )
    documents.check_place(_picture_path(request, artifact))
    photo = photos.open_named(request.image)
    used = manifest.preprocessing or spec.preprocessing
    if used.source == "assumed" and spec.task != "super-resolution":
        raise user_models.unknown_preprocessing(manifest.model, "so a picture cannot be its input", "Export it with")
    if prompted:
        return _masks(request, photo, artifact, device, used.words, progress)
    ready = ready_there(artifact, device, progress=progress)
    if request.tiles:
        with _opened(device, ready) as place:
            enlarged = predict_tiles.enlarge(photo, place, ready, spec)
        drawn = _tiled(request, enlarged, artifact, replace(spec, preprocessing=used))
        return replace(drawn, device=device.name, computed_on=place.words)
    with _opened(device, ready) as place:
        outputs = place.outputs(ready, postprocess.model_inputs(photo, manifest, spec))
    described = ready.manifest.outputs[0]
    answer = postprocess.first_output(outputs[described.name], described.layout)
    _check_answer(answer, artifact, spec)
    spec = replace(spec, preprocessing=used)
    draw = _upsampled if spec.task == "super-resolution" else _classified
    return replace(draw(request, photo, answer, artifact, spec), device=device.name, computed_on=place.words)


def _classified(request: PredictRequest, photo: Any, answer: Any, artifact: Artifact, spec: ModelSpec) -> Prediction:
    """Draw the classes of the pixels, or the likeliest ones of the image."""
    manifest, used = artifact.manifest, spec.preprocessing
    picture = _picture_path(request, artifact)
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


def _check_answer(answer: NDArray[Any], artifact: Artifact, spec: ModelSpec) -> None:
    """Refuse an answer that is not of the model that the manifest names: its classes would have wrong names.

    Raises:
        UnreadableFile: the manifest names another model than the file's.
    """
    scores = np.issubdtype(answer.dtype, np.floating)
    fits = {
        "classification": answer.ndim == 1 or not scores,
        "segmentation": answer.ndim == 3 or (answer.ndim == 2 and not scores),
        "super-resolution": answer.ndim == 3 and len(answer) == 3,
    }
    counted = scores and spec.task in ("classification", "segmentation") and not is_user_model(spec.name)
    if not fits.get(spec.task, True) or (counted and len(answer) != spec.classes):
        shape = "x".join(map(str, answer.shape)) or "one number"
        raise UnreadableFile(
            f"{artifact.file} answers {shape}, which is no {spec.task} of {artifact.manifest.model}: "
            "its manifest names another model",
            "Export the model again.",
        )


def _masks(
    request: PredictRequest, photo: Any, artifact: Artifact, device: Device, preprocessing: str, progress: Progress
) -> Prediction:
    """Run encoder and decoder on an image and its prompts, and draw the masks."""
    prompts = sam_predict.parse_prompts(request.points, request.boxes, photo)
    encoder, decoder = (
        ready_there(part, device, progress=progress) for part in sam_predict.encoder_and_decoder(artifact)
    )
    with _opened(device, encoder, decoder) as place:
        objects = sam_predict.segment(
            photo,
            prompts,
            (encoder.manifest, decoder.manifest),
            registry.find_model(artifact.manifest.model, "encoder"),
            run=(partial(place.outputs, encoder), partial(place.outputs, decoder)),
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
        device=device.name,
        computed_on=place.words,
    )


def _upsampled(request: PredictRequest, photo: Any, answer: Any, artifact: Artifact, spec: ModelSpec) -> Prediction:
    """Save the output of a super-resolution model, with its PSNR against the photograph."""
    image, size = postprocess.to_photo(answer), artifact.manifest.size
    overlay.save(Image.fromarray(image), _picture_path(request, artifact))
    psnr_db = predict_tiles.psnr_against_photo(photo, image, size)
    notes = [f"{predict_tiles.crop_words(photo, size)}; --tiles enlarges the whole picture"]
    if psnr_db is None:
        notes.append(f"{request.image} is smaller than the output, so PSNR cannot be computed")
    gains = tuple(zip((spec.name, "bicubic"), psnr_db, strict=True)) if psnr_db else ()
    return _enlargement(request, artifact, spec, notes, gains)


def _tiled(
    request: PredictRequest, enlarged: predict_tiles.Enlarged, artifact: Artifact, spec: ModelSpec
) -> Prediction:
    """Save the whole picture, enlarged in tiles; nobody knows what it should be, so it has no PSNR."""
    overlay.save(Image.fromarray(enlarged.picture), _picture_path(request, artifact))
    return _enlargement(request, artifact, spec, [enlarged.words], ())


def _enlargement(
    request: PredictRequest,
    artifact: Artifact,
    spec: ModelSpec,
    notes: Sequence[str],
    psnr_db: tuple[tuple[str, float], ...],
) -> Prediction:
    weights = artifact.manifest.weights
    random = [f"{weights.words}: the picture means nothing"] if weights.source == "random" else []
    return Prediction(
        picture=_picture_path(request, artifact),
        measure="PSNR on Y against the photograph",
        classes=(),
        psnr_db=psnr_db,
        note="; ".join([*([spec.note] if spec.note else []), *notes, *random]) or None,
        weights=weights.words,
        preprocessing=spec.preprocessing.words,
    )


def _opened(device: Device, *artifacts: Artifact) -> AbstractContextManager[OpenDevice]:
    """The device for artifacts, each run in a process of its own: a damaged file can end that, and not this one."""
    manifest = artifacts[0].manifest
    log = child_reply.log_file(f"predict-{user_models.folder_name(manifest.model, None)}")
    return open_device(device, [artifact.manifest.target for artifact in artifacts], log=log)


def _picture_path(request: PredictRequest, artifact: Artifact) -> Path:
    name = Path(request.image.removeprefix("sample:")).stem
    return request.out or Path(f"{name}-{user_models.folder_name(artifact.manifest.model, None)}.png")
