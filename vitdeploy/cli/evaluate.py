"""The command that measures accuracy: it parses, calls `api_eval`, prints, exits."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitdeploy.cli.options import Device, DryRun, verb

if TYPE_CHECKING:
    from vitdeploy.cli.console import CommandOutcome

app = typer.Typer()


@app.command("eval")
@verb
def eval_command(
    artifacts: Annotated[
        list[Path], typer.Argument(metavar="ARTIFACT…", help="One, or those of one model at several sizes.")
    ],
    *,
    dataset: Annotated[str, typer.Option(metavar="NAME", help="cityscapes, ade20k, imagenet, sr, coco or lvis.")],
    root: Annotated[Path, typer.Option(metavar="DIR", help="Where the data set was unpacked.")],
    device: Device = None,
    split: Annotated[str | None, typer.Option(help="Default: the one that is published on.")] = None,
    limit: Annotated[int | None, typer.Option(metavar="N", help="Only N pictures, spread evenly.")] = None,
    crop: Annotated[float | None, typer.Option(metavar="SHARE", help="ImageNet's crop ratio.")] = None,
    prompt: Annotated[str | None, typer.Option(metavar="box|detector|point", help="Masks: what is asked.")] = None,
    clicks: Annotated[int, typer.Option(metavar="1|3|5", help="With --prompt point.")] = 1,
    annotations: Annotated[Path | None, typer.Option(metavar="FILE", help="Default: found below the root.")] = None,
    detections: Annotated[Path | None, typer.Option(metavar="FILE", help="A detector's boxes, COCO's format.")] = None,
    threads: Annotated[int | None, typer.Option(help="Default: the device's physical cores.")] = None,
    weights: Annotated[Path | None, typer.Option(help="The checkpoint, for fp32 torch beside it.")] = None,
    reference: Annotated[bool, typer.Option(help="Evaluate fp32 torch on the same pictures.")] = True,
    run: Annotated[list[Path] | None, typer.Option(metavar="RUN.json", help="Latencies of the same file.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="EVAL.json", help="Default: below ./evals.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted evaluation.")] = False,
    dry_run: DryRun = False,
) -> "CommandOutcome":
    """Accuracy of an artifact on a data set, and its drop against fp32 torch on the same pictures."""
    from vitdeploy.api import evaluate
    from vitdeploy.cli import console, evaluate_tables
    from vitdeploy.evaluation.request import EvalRequest

    order = EvalRequest(
        dataset=dataset,
        root=root,
        device=device or "local",
        split=split,
        limit=limit,
        crop=crop,
        prompt=prompt,
        clicks=clicks,
        annotations=annotations,
        detections=detections,
        threads=threads,
        weights=weights,
        reference=reference,
        runs=tuple(run or ()),
        out=out,
        resume=resume,
    )
    if dry_run:
        return console.plan(evaluate.eval_plan(artifacts, order))
    with console.bar() as bar:
        outcome = evaluate.evaluate_artifact(artifacts, order, progress=console.progress, on_image=bar)
    return evaluate_tables.evaluated(outcome)
