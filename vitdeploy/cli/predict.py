"""`predict`: an artifact on one image."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitdeploy.cli import console
from vitdeploy.cli.console import CommandOutput, Table, Verbatim
from vitdeploy.cli.options import ArtifactPath, Device, DryRun, request_of

if TYPE_CHECKING:
    from vitdeploy.api.predict import Prediction


def predict_command(
    artifact: ArtifactPath,
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="A picture, or sample:coffee, sample:rocket, ….")],
    points: Annotated[
        list[str] | None,
        typer.Option(
            "--point", metavar="X,Y[,0|1]", help="Prompt of SAM: a pixel of the object; with 0 one of what it is not."
        ),
    ] = None,
    boxes: Annotated[
        list[str] | None,
        typer.Option("--box", metavar="X0,Y0,X1,Y1", help="Prompt of SAM: a box around the object, in pixels."),
    ] = None,
    multimask: Annotated[
        bool, typer.Option("--multimask", help="SAM: three masks of each prompt, the whole and its parts.")
    ] = False,
    tiles: Annotated[
        bool, typer.Option("--tiles", help="Super-resolution: the whole picture in tiles; default: its center.")
    ] = False,
    device: Device = None,
    out: Annotated[Path | None, typer.Option(metavar="PNG", help="Default: the image's name, in this folder.")] = None,
    dry_run: DryRun = False,
) -> CommandOutput:
    """Run an artifact on one picture.

    A segmentation is drawn over the picture with a legend, a classification gives the five likeliest classes, a SAM
    model needs --point or --box. Super-resolution takes the center of the picture, or with --tiles all of it. With
    --device the artifact runs on that device.

    Examples:
        vitdeploy predict artifacts/efficientvit_b1/224x224/onnx-fp32 sample:coffee
        vitdeploy predict artifacts/efficientvit_sam_l0 sample:coffee --point 300,200
        vitdeploy predict artifacts/bsrn_x2/128x128/onnx-fp32 photo.png --tiles
    """
    from vitdeploy.api import predict

    request = request_of(predict.PredictRequest, locals())
    if dry_run:
        return console.plan(predict.predict_plan(request))
    return prediction_output(predict.predict(request, progress=console.progress), artifact)


def prediction_output(prediction: "Prediction", artifact: Path | None = None) -> CommandOutput:
    """The classes or objects in the picture, or the PSNR of its enlargement, and where the overlay lies."""
    classes = [(name, f"{share:.1%}") for name, share in prediction.classes]
    psnr = [(name, f"{decibel:.2f} dB") for name, decibel in prediction.psnr_db]
    masks = [str(path) for path in prediction.masks]
    notes = [
        *([prediction.note] if prediction.note else []),
        f"weights: {prediction.weights}",
        f"input: {prediction.preprocessing}",
    ]
    if prediction.device != "local":
        notes.append(f"computed on {prediction.computed_on}")
    document = {
        "picture": str(prediction.picture),
        "model": prediction.model,
        "image": prediction.image,
        "random_weights": prediction.random_weights,
        "measure": prediction.measure,
        "classes": prediction.classes,
        "psnr_db": prediction.psnr_db,
        "note": prediction.note,
        "weights": prediction.weights,
        "preprocessing": prediction.preprocessing,
        "masks": masks,
        "device": prediction.device,
        "computed_on": prediction.computed_on,
    }
    kinds = (("object" if prediction.masks else "class", classes), ("enlarged by", psnr))
    tables = [Table(heads=(head, prediction.measure), right=(1,), rows=rows) for head, rows in kinds if rows]
    return CommandOutput(
        document=document,
        human=[*tables, *notes, *map(Verbatim, (str(prediction.picture), *masks))],
        next_command=("bench", str(artifact)) if artifact else (),
    )
