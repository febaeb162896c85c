"""`report`: runs as a page, a table or a machine format."""

from pathlib import Path
from typing import Annotated

import typer

from vitdeploy.cli import completion, console
from vitdeploy.cli.console import Annotation, CommandOutput, Verbatim
from vitdeploy.cli.options import DryRun


def report_command(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN.json…", help="Runs, or evaluations for an html page.")],
    *,
    form: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="NAME",
            help="html, history, markdown, github, json, csv, junit, benchmark-action or bencher.",
            autocompletion=completion.formats,
        ),
    ] = "markdown",
    baseline: Annotated[
        Path | None, typer.Option(metavar="RUN.json", help="The run that the others are compared with.")
    ] = None,
    predictions: Annotated[
        list[Path] | None,
        typer.Option(
            "--prediction", metavar="FILE.json", help="Show its picture on an html page: `predict --json FILE`."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Default: stdout; html: report.html.")] = None,
    dry_run: DryRun = False,
) -> CommandOutput:
    """Turn runs into a page, a table or a machine format.

    Examples:
        vitdeploy report run.json
        vitdeploy report run.json --format html --out report.html
        vitdeploy report run.json --baseline before.json --format github
        vitdeploy report run.json --format html --prediction segmentation.json
    """
    from vitdeploy.api import report

    if dry_run:
        return console.plan(report.report_plan(runs, form, baseline, out))
    document = report.report(runs, form=form, baseline=baseline, predictions=predictions or (), out=out)
    annotations = {"annotations": document.annotations} if document.annotations else {}
    lines = map(Annotation, document.annotations)
    if document.path is None:
        text = document.text.rstrip("\n")
        return CommandOutput(
            document={"text": document.text, **annotations},
            human=[Verbatim(text), *lines],
            next_command=("report", *map(str, runs), "--format", "html"),
        )
    path = str(document.path)
    return CommandOutput(
        document={"path": path, **annotations},
        human=[*lines, Verbatim(path)],
        next_command=("verify", str(runs[0])),
    )
