"""`eval`: accuracy on a data set, the drop against fp32 torch, the worst classes and pictures."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitdeploy import units
from vitdeploy.cli import completion, console
from vitdeploy.cli.console import CommandOutput, Table, Verbatim
from vitdeploy.cli.options import AcceptLicence, Device, DryRun, Force, Resume, Threads, request_of

if TYPE_CHECKING:
    from vitdeploy.evaluation.record import Evaluation, Figure
    from vitdeploy.evaluation.request import EvalOutcome

FEW = 8
"""Classes and pictures that the terminal shows; the document and the page have more."""


def eval_command(
    artifacts: Annotated[
        list[Path], typer.Argument(metavar="ARTIFACT…", help="One, or those of one model at several sizes.")
    ],
    *,
    dataset: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="cityscapes, ade20k, imagenet, sr, coco or lvis.",
            autocompletion=completion.words("cityscapes", "ade20k", "imagenet", "sr", "coco", "lvis"),
        ),
    ],
    root: Annotated[Path, typer.Option(metavar="DIR", help="Where the data set was unpacked.")],
    device: Device = None,
    split: Annotated[
        str | None, typer.Option(metavar="NAME", help="Part of the data set; default: the one published on.")
    ] = None,
    limit: Annotated[int | None, typer.Option(metavar="N", help="Only N pictures, spread evenly.")] = None,
    crop: Annotated[float | None, typer.Option(metavar="SHARE", help="ImageNet's crop ratio.")] = None,
    prompt: Annotated[
        str | None,
        typer.Option(
            metavar="box|detector|point",
            help="Prompt for masks: the labeled box, a detector's box, or clicks.",
            autocompletion=completion.words("box", "detector", "point"),
        ),
    ] = None,
    clicks: Annotated[int, typer.Option(metavar="1|3|5", help="Clicks on each object, with --prompt point.")] = 1,
    annotations: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Labels of the data set; default: found below the root.")
    ] = None,
    detections: Annotated[Path | None, typer.Option(metavar="FILE", help="A detector's boxes, COCO's format.")] = None,
    threads: Threads = None,
    weights: Annotated[
        Path | None,
        typer.Option(metavar="FILE|official", help="The checkpoint, for fp32 torch beside the artifact."),
    ] = None,
    accept_licence: AcceptLicence = False,
    reference: Annotated[bool, typer.Option(help="Evaluate fp32 torch on the same pictures.")] = True,
    runs: Annotated[
        list[Path] | None, typer.Option("--run", metavar="RUN.json", help="Latencies of the same file, for the page.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="EVAL.json", help="File of the evaluation; default: a new one in evals/.")
    ] = None,
    resume: Resume = False,
    force: Force = False,
    dry_run: DryRun = False,
) -> CommandOutput:
    """Measure accuracy on a data set, and its drop against fp32 PyTorch.

    Both see the same pictures. The terminal shows the figures first, then the classes and pictures they come from.

    Examples:
        vitdeploy eval artifacts/efficientvit_b1/224x224/onnx-fp32 --dataset imagenet --root data/imagenet --limit 500
    """
    from vitdeploy.api import evaluate
    from vitdeploy.evaluation.request import EvalRequest

    request = request_of(EvalRequest, locals())
    if dry_run:
        return console.plan(evaluate.eval_plan(artifacts, request))
    with console.bar() as bar:
        return eval_output(evaluate.evaluate_artifact(artifacts, request, progress=console.progress, on_image=bar))


def eval_output(outcome: "EvalOutcome") -> CommandOutput:
    """The figures first, then the classes and pictures that they come from."""
    from vitdeploy.reports.accuracy import published_of

    evaluation = outcome.evaluation
    lines = [
        f"{check.library} says {check.theirs:.4f} {check.figure} of the first {check.images}, ours is {check.ours:.4f}."
        for check in evaluation.cross_checks
    ]
    if (published := published_of(evaluation)) is not None:
        value = units.metric(published.figure.value, "dB" if published.figure.metric == "PSNR" else "%")
        lines.append(f"Published: {published.figure.metric} {value} ({published.words}).")
    if evaluation.reference_why_not:
        lines.append(f"No drop: {evaluation.reference_why_not}.".replace("..", "."))
    lines += evaluation.warnings
    paths = [str(outcome.path), *([str(outcome.page)] if outcome.page else [])]
    tables = [table for table in (_classes(evaluation), _worst(evaluation)) if table.rows]
    return CommandOutput(
        document=evaluation,
        human=[_figures(evaluation), *tables, *lines, *map(Verbatim, paths)],
        next_command=("report", str(outcome.path), "--format", "html"),
        failures=[outcome.error] if outcome.error else [],
    )


def _figures(evaluation: "Evaluation") -> Table:
    subject, data = evaluation.subjects[0], evaluation.dataset
    sizes = ", ".join(f"{part.size[0]}x{part.size[1]}" for part in evaluation.subjects)
    title = (
        f"{subject.model} {subject.target} {sizes} on {evaluation.device.name}: "
        f"{data.scored} of {data.asked} pictures of {data.name} {data.split}".rstrip()
    )
    heads = ("figure", "value", "fp32 torch", "drop", "95 % interval")
    rows = [
        (
            figure.name,
            units.metric(figure.value, figure.unit),
            units.metric(figure.reference, figure.unit),
            units.signed_metric(figure.drop, figure.unit),
            _interval(figure),
        )
        for figure in evaluation.figures
    ]
    return Table(title=title, heads=heads, right=(1, 2, 3, 4), rows=rows)


def _interval(figure: "Figure") -> str:
    if figure.drop_ci95 is None:
        return units.MISSING
    low, high = figure.drop_ci95
    decimals = 3 if figure.unit else 4
    return f"{low:+.{decimals}f} … {high:+.{decimals}f}"


def _classes(evaluation: "Evaluation") -> Table:
    """The classes that occur, with the lowest figures."""
    scored = [row for row in evaluation.classes if row.value is not None]
    title = f"lowest of {len(scored)} classes that occur, of {len(evaluation.classes)}"
    rows = [
        (row.name, units.metric(row.value, "%"), units.metric(row.reference, "%"), str(row.count))
        for row in sorted(scored, key=lambda row: row.value or 0.0)[:FEW]
    ]
    return Table(heads=(title, "%", "fp32 torch", "labeled"), right=(1, 2, 3), rows=rows)


def _worst(evaluation: "Evaluation") -> Table:
    rows = [
        (row.image, f"{row.score:.3f}", units.MISSING if row.reference is None else f"{row.reference:.3f}")
        for row in evaluation.worst[:FEW]
    ]
    return Table(heads=("worst pictures", "its figure", "fp32 torch"), right=(1, 2), rows=rows)
