"""Verbs that make and check files: `export`, `check` and `predict`."""

from collections.abc import Sequence
from typing import Any, cast

from vitdeploy.api import cases
from vitdeploy.api import check as checking
from vitdeploy.api import export as exporting
from vitdeploy.api import predict as predicting
from vitdeploy.api.check import CheckOutcome
from vitdeploy.api.export import Exports
from vitdeploy.api.export_request import ExportRequest
from vitdeploy.api.predict import Prediction, PredictRequest
from vitdeploy.api.requests import Names, SizeLike, StrPath, name_of, names_of, path_of, plain_value, request_of
from vitdeploy.processes.progress import Progress, silent
from vitdeploy.verbs.verb import Plan, verb

Prompt = str | Sequence[float] | Sequence[str | Sequence[float]]
"""A point or a box, or several: ``"120,80"`` or ``(120, 80)``; the numbers of `predict`'s options in their order."""


@verb
def export(
    *models: Names,
    target: str,
    suite: str | None = None,
    size: SizeLike | None = None,
    batch: int = 1,
    weights: StrPath | None = None,
    accept_licence: bool = False,
    weights_key: str | None = None,
    attention: str | None = None,
    head: str = "logits",
    io: str = "fp32",
    mean: str | Sequence[float] | None = None,
    std: str | Sequence[float] | None = None,
    scale: str | float | None = None,
    channel_order: str | None = None,
    converter: str | None = None,
    without: Names | None = None,
    tune: bool = False,
    cpu: str | None = None,
    compute_capability: str | None = None,
    device: str | None = None,
    out: StrPath | None = None,
    force: bool = False,
    dry_run: bool = False,
    progress: Progress = silent,
) -> Exports | Plan:
    """Export models to files, and check each file against the fp32 torch reference.

    What several models share happens once, and one model's failure does not stop the others: look at `Exports.errors`.

    Args:
        *models: names from ``vitdeploy.models``, ``onnx:FILE``, ``hf:NAME`` and the like; none: those of the suite.
        target: a name from ``vitdeploy.targets``.
        suite: a name from ``vitdeploy.suites``; its models are exported.
        size: ``"512x1024"`` or ``(512, 1024)``; None: that of the published latency.
        batch: images per inference.
        weights: a checkpoint; ``official``: the authors' own, downloaded if need be; None: seeded random weights.
        accept_licence: use official weights whose licence limits commercial use or is missing.
        weights_key: the state dict in it; None: the averaged one, else the raw one.
        attention: ``relu`` or ``softmax``; None: the first that a model has.
        head: ``logits`` or ``labels``.
        io: element type: ``fp32``, ``fp16`` of inputs and outputs, or ``uint8`` of the image.
        mean: input = (pixel x scale - mean) / std, one number a channel.
        std: the same, the deviation.
        scale: of 8-bit pixels; None: as the model has it, 1/255.
        channel_order: ``rgb`` or ``bgr``.
        converter: ``onnx2tf``, ``litert-torch`` or ``best``, of TFLite files.
        without: rewrites to leave out.
        tune: choose the rewrites by timing each form of the file, on the device or here.
        cpu: ``avx2``, ``avx512`` or ``neon``, which the rewrites suit; None: that of the device, else of this machine.
        compute_capability: of the GPU that an engine is for, like ``8.0``.
        device: a name from ``vitdeploy.devices``, on which an engine is built.
        out: folder of the artifacts; None: ``artifacts``.
        force: build again what is up to date.
        dry_run: return the plan and do nothing.
        progress: called with each line of progress, as ``print`` can be.

    Returns:
        A row a model; of a single model it stands where an artifact is expected.

    Raises:
        VitdeployError: what is wrong before any work; where one model is named, also why it could not be exported.
    """
    request = request_of(ExportRequest, locals())
    exact = cases.model_names(names_of("models", models), suite, request.size)
    if dry_run:
        return Plan(exporting.export_plan(exact, request))
    return Exports(exporting.export(exact, request, progress=progress))


@verb
def check(
    artifact: StrPath,
    *,
    images: StrPath | None = None,
    weights: StrPath | None = None,
    accept_licence: bool = False,
    device: str | None = None,
    trace: bool = False,
    dry_run: bool = False,
    progress: Progress = silent,
) -> CheckOutcome | Plan:
    """Measure an artifact's parity with fp32 torch again, on your images or the shipped ones.

    Args:
        artifact: its folder, manifest or model file, or what `export` returned.
        images: a folder of photographs; None: those of scikit-image.
        weights: the checkpoint that it was exported from, or ``official``.
        accept_licence: use official weights whose licence limits commercial use or is missing.
        device: a name from ``vitdeploy.devices``; None: the project file's, else this machine.
        trace: name the first node that diverges in half precision.
        dry_run: return the plan and do nothing.
        progress: called with each line of progress, as ``print`` can be.

    Returns:
        The parity; where it failed, `CheckOutcome.error` says why.

    Raises:
        VitdeployError: the artifact cannot be read, or cannot be checked here.
    """
    path = path_of("artifact", artifact)
    checkpoint = None if weights is None else path_of("weights", weights)
    if dry_run:
        return Plan(checking.check_plan(path, weights=checkpoint, device=device))
    return checking.check(
        path,
        images=None if images is None else path_of("images", images),
        weights=checkpoint,
        accept_licence=accept_licence,
        device=device,
        trace=trace,
        progress=progress,
    )


@verb
def predict(
    artifact: StrPath,
    image: StrPath,
    *,
    point: Prompt | None = None,
    box: Prompt | None = None,
    multimask: bool = False,
    tiles: bool = False,
    device: str | None = None,
    out: StrPath | None = None,
    dry_run: bool = False,
    progress: Progress = silent,
) -> Prediction | Plan:
    """Run an artifact on a picture, and draw the answer.

    Args:
        artifact: its folder, manifest or model file, or what `export` returned.
        image: a picture, or ``sample:coffee``, ``sample:rocket`` and the like.
        point: of segment-anything models: ``(x, y)`` or ``(x, y, label)`` in pixels, or several.
        box: of segment-anything models: ``(x0, y0, x1, y1)``, or several.
        multimask: three masks an object.
        tiles: of super-resolution models: enlarge the whole picture in tiles, not its center alone.
        device: a name from ``vitdeploy.devices``; None: the project file's, else this machine.
        out: the picture that is written; None: the image's name, in this folder.
        dry_run: return the plan and do nothing.
        progress: called with each line of progress, as ``print`` can be.

    Returns:
        The classes or masks, and where the picture lies; a notebook shows it.

    Raises:
        VitdeployError: the artifact or the image cannot be read, or it does not run on the device.
    """
    image = name_of("image", image)
    point, box = _prompts(point), _prompts(box)
    request = request_of(PredictRequest, locals())
    if dry_run:
        return Plan(predicting.predict_plan(request))
    return predicting.predict(request, progress=progress)


def _prompts(prompt: Any) -> Any:
    """Points or boxes as the texts of the command line; what is neither is left for the request to refuse."""
    parts = plain_value(prompt)
    if not isinstance(parts, list | tuple):
        return parts
    several = cast("Sequence[Any]", parts)
    numbers = all(isinstance(part, int | float) for part in several)
    return [_prompt(part) for part in ([several] if numbers else several)]


def _prompt(part: Any) -> Any:
    """One point or box as text, if it is one."""
    if not isinstance(part, list | tuple):
        return part
    numbers = cast("Sequence[Any]", part)
    return ",".join(f"{number:g}" if isinstance(number, int | float) else str(number) for number in numbers)
