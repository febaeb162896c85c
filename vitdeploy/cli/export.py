"""`export` and `check`: model files, and their parity with the fp32 torch reference."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitdeploy import units
from vitdeploy.catalog.spec import is_user_model
from vitdeploy.cli import completion, console
from vitdeploy.cli.console import CommandOutput, Table, Verbatim
from vitdeploy.cli.options import (
    AcceptLicence,
    ArtifactPath,
    Attention,
    Device,
    DryRun,
    Models,
    Size,
    Weights,
    request_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from vitdeploy.api.check import CheckOutcome
    from vitdeploy.api.export import ExportResult
    from vitdeploy.artifacts.manifest import Delegation, Manifest


def export_command(
    models: Models = None,
    *,
    target: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="File format: a name from `vitdeploy targets`.", autocompletion=completion.targets
        ),
    ],
    suite: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Export the models of a suite.", autocompletion=completion.suites),
    ] = None,
    size: Size = None,
    batch: Annotated[int, typer.Option(metavar="N", help="Images per inference.")] = 1,
    weights: Weights = None,
    accept_licence: AcceptLicence = False,
    weights_key: Annotated[
        str | None, typer.Option(metavar="KEY", help="Which state dict of the checkpoint; default: the averaged one.")
    ] = None,
    attention: Attention = None,
    head: Annotated[
        str,
        typer.Option(
            metavar="logits|labels",
            help="Output of a segmentation: the scores of every class, or the class of every pixel.",
            autocompletion=completion.words("logits", "labels"),
        ),
    ] = "logits",
    io: Annotated[
        str,
        typer.Option(
            metavar="fp32|fp16|uint8",
            help="Element type: fp16 of inputs and outputs, uint8 of the image.",
            autocompletion=completion.words("fp32", "fp16", "uint8"),
        ),
    ] = "fp32",
    mean: Annotated[
        str | None, typer.Option(metavar="R,G,B", help="Mean of each channel: input = (pixel x scale - mean) / std.")
    ] = None,
    std: Annotated[
        str | None, typer.Option(metavar="R,G,B", help="Standard deviation of each channel, in the channel order.")
    ] = None,
    scale: Annotated[str | None, typer.Option(metavar="S", help="Factor of 8-bit pixels; default: 1/255.")] = None,
    channel_order: Annotated[
        str | None,
        typer.Option(
            metavar="rgb|bgr",
            help="Order of the input's channels; default: as the model's files say, else rgb.",
            autocompletion=completion.words("rgb", "bgr"),
        ),
    ] = None,
    converter: Annotated[
        str | None,
        typer.Option(
            metavar="onnx2tf|litert-torch|best",
            help="What makes a TFLite file; best: both are tried, the faster is kept; default: onnx2tf.",
            autocompletion=completion.words("onnx2tf", "litert-torch", "best"),
        ),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(metavar="REWRITE", help="Leave a rewrite of the graph out, by its name in the manifest."),
    ] = None,
    tune: Annotated[
        bool, typer.Option("--tune", help="Choose the rewrites by timing each, on the device or here; takes minutes.")
    ] = False,
    cpu: Annotated[
        str | None,
        typer.Option(
            metavar="avx2|avx512|neon",
            help="CPU that the rewrites suit; default: that of the device, else of this machine.",
            autocompletion=completion.words("avx2", "avx512", "neon"),
        ),
    ] = None,
    compute_capability: Annotated[
        str | None,
        typer.Option(metavar="8.0[,8.6…]", help="GPUs that an engine of TensorRT-RTX is for; default: the one here."),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Device that builds an engine: a name from `vitdeploy devices`; default: the GPU here, else later.",
            autocompletion=completion.devices,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the artifacts; default: artifacts.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Build again what is up to date.")] = False,
    dry_run: DryRun = False,
) -> CommandOutput:
    """Make model files, each checked against fp32 PyTorch.

    What is up to date is not made again. An engine is built on the device that is named; without one and without a
    GPU here, the checked graph is kept and the device builds it later.

    Examples:
        vitdeploy export efficientvit_b1 --target onnx-fp32
        vitdeploy export efficientvit_seg_b0_cityscapes --target tflite-fp32 --size 512x1024
        vitdeploy export --suite demo --target trt-fp16
    """
    from vitdeploy.api import cases, export
    from vitdeploy.api.export_request import ExportRequest

    request = request_of(ExportRequest, locals())
    names = cases.model_names(models or [], suite, size)
    if dry_run:
        return console.plan(export.export_plan(names, request))
    with console.working() as progress:
        return export_output(export.export(names, request, progress=progress))


def check_command(
    artifact: ArtifactPath,
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of your photographs; default: those that ship.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE|official", help="The checkpoint that the artifact was exported from.")
    ] = None,
    accept_licence: AcceptLicence = False,
    device: Device = None,
    trace: Annotated[bool, typer.Option("--trace", help="Name the first layer that diverges.")] = False,
    dry_run: DryRun = False,
) -> CommandOutput:
    """Check a file's outputs against fp32 PyTorch again.

    With --device the file runs on that device, and PyTorch here. Exit code 6: the file does not compute what the model
    computes.

    Examples:
        vitdeploy check artifacts/efficientvit_b1/224x224/onnx-fp32
        vitdeploy check artifacts/efficientvit_b1/224x224/onnx-fp16 --images photos/ --trace
        vitdeploy check artifacts/efficientvit_b1/224x224/trt-fp16 --device orin
    """
    from vitdeploy.api import check

    if dry_run:
        return console.plan(check.check_plan(artifact, weights=weights, device=device))
    with console.working() as progress:
        outcome = check.check(
            artifact,
            images=images,
            weights=weights,
            accept_licence=accept_licence,
            device=device,
            trace=trace,
            progress=progress,
        )
    return check_output(outcome)


def export_row_output(row: "ExportResult") -> CommandOutput:
    """As `export_output`, of one model."""
    return export_output((row,))


def export_output(rows: "Sequence[ExportResult]") -> CommandOutput:
    """One line a model: the file, its parity and its folder."""
    from vitdeploy.catalog import registry

    heads = ("model", "size", "target", "file", "parity", "error / std", "time")
    details = ("error / std", "target", "file")
    table = Table(heads=heads, right=(3, 5, 6), rows=[_export_cells(row) for row in rows], details=details)
    folders = [str(row.artifact.folder) for row in rows if row.artifact]
    ready = [str(row.artifact.folder) for row in rows if row.artifact and not row.error and _is_ready(row)]
    notes = [*dict.fromkeys(words for row in rows if row.artifact for words in _weights_words(row.artifact.manifest))]
    notes += registry.notes(row.model for row in rows if row.artifact)
    notes += sorted({words for row in rows if row.artifact for words in _preprocessing_words(row.artifact.manifest)})
    failures = [row.error for row in rows if row.error is not None]
    return CommandOutput(
        document=[_export_document(row) for row in rows],
        human=[table, *notes, *map(Verbatim, folders)],
        next_command=("bench", *ready) if ready else ("devices",) if folders and not failures else (),
        failures=failures,
    )


def _is_ready(row: "ExportResult") -> bool:
    """Whether the artifact can be timed as it is: no engine that a device has still to build."""
    return row.artifact is not None and row.artifact.manifest.state == "ready"


def _weights_words(manifest: "Manifest") -> list[str]:
    """What has to be said of the weights: random, official, or an official name on other bytes."""
    from vitdeploy.catalog import checkpoints

    weights = manifest.weights
    if weights.source == "random":
        known = "; `--weights official` takes the authors' own" if checkpoints.checkpoints_of(manifest.model) else ""
        return [f"Made with {weights.words}: the outputs mean nothing{known}."]
    return [f"{manifest.model}: weights {weights.words}."] if weights.official or weights.remark else []


def _preprocessing_words(manifest: "Manifest") -> list[str]:
    """How pixels become the input, where that is not the catalog's own."""
    used = manifest.preprocessing
    if used is None or (used.source == "known" and not is_user_model(manifest.model)):
        return []
    return [f"{manifest.model}: pixels become its input by {used.words}."]


def _export_cells(row: "ExportResult") -> tuple[str, ...]:
    if row.artifact is None:
        return row.model, "", row.target, "", "failed", "", ""
    manifest = row.artifact.manifest
    parity = manifest.parity
    return (
        row.model,
        f"{manifest.size[0]}x{manifest.size[1]}" + (f" b{manifest.batch}" if manifest.batch > 1 else ""),
        row.target,
        units.size_bytes(manifest.size_bytes + sum(file.size_bytes for file in manifest.beside)),
        console.parity_words(parity) if parity else f"none: {manifest.parity_skipped}",
        f"{parity.error_std:.1e}" if parity and parity.error_std is not None else units.MISSING,
        "up to date" if row.reused else units.seconds(row.seconds),
    )


def _export_document(row: "ExportResult") -> "dict[str, Any]":
    error = row.error
    return {
        "model": row.model,
        "target": row.target,
        "folder": str(row.artifact.folder) if row.artifact else None,
        "manifest": row.artifact.manifest if row.artifact else None,
        "reused": row.reused,
        "seconds": row.seconds,
        "steps": row.steps,
        "error": error and {"exit_code": error.exit_code, "message": error.message, "hint": error.hint},
    }


def check_output(outcome: "CheckOutcome") -> CommandOutput:
    """The parity of one artifact, its inputs, and the operators of its graph."""
    parity, manifest = outcome.parity, outcome.manifest
    operators = ", ".join(f"{name} {count}" for name, count in manifest.operators.items())
    std = f"{_number(parity.error_std)} of the output's standard deviation"
    answers = (
        ("artifact", f"{manifest.model} {manifest.target} {manifest.size[0]}x{manifest.size[1]}"),
        ("weights", outcome.weights),
        ("preprocessing", manifest.preprocessing.words if manifest.preprocessing else units.MISSING),
        ("inputs", outcome.inputs),
        ("reference", parity.reference),
        ("finite", "yes" if parity.finite else "NO"),
        (parity.metric.name, f"{_number(parity.metric.value)} (at least {parity.metric.floor:g})"),
        ("largest error", f"{_number(parity.max_abs)} = {std}"),
        ("mean error", _number(parity.mean_abs)),
        ("cosine", _number(parity.cosine)),
        ("file", f"{manifest.file}, {units.size_bytes(manifest.size_bytes)}"),
        ("operators", operators or units.MISSING),
        *_delegation(manifest.delegation),
        *([("first divergence", outcome.trace)] if outcome.trace else []),
        *([("note", manifest.note)] if manifest.note else []),
        ("verdict", "passed" if parity.passed else f"FAILED: {parity.reason}"),
    )
    return CommandOutput(
        document={
            "artifact": str(outcome.folder),
            "weights": outcome.weights,
            "inputs": outcome.inputs,
            "device": outcome.device,
            "parity": parity,
        },
        human=[Table(heads=("question", "answer"), rows=answers)],
        next_command=("check", str(outcome.folder), "--trace") if outcome.error else ("bench", str(outcome.folder)),
        failures=[outcome.error] if outcome.error else [],
    )


def _delegation(delegation: "Delegation | None") -> list[tuple[str, str]]:
    if delegation is None:
        return []
    taken = ", ".join(f"{name} {count}" for name, count in delegation.taken.items())
    return [
        ("delegate", delegation.words),
        ("its nodes", (taken or units.MISSING) if delegation.left else "all"),
        ("transposes", str(delegation.transposes)),
    ]


def _number(value: float | None) -> str:
    return units.MISSING if value is None else f"{value:.4g}"
