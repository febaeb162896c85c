"""`report`: runs as a page, a table or a machine format."""

from pathlib import Path
from typing import Annotated

import typer

from vitdeploy.cli import console
from vitdeploy.cli.console import Annotation, CommandOutput
from vitdeploy.cli.options import DryRun


def report_command(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN.json…")],
    *,
    form: Annotated[str, typer.Option("--format", help="html, markdown, github, json, csv, junit, …")] = "markdown",
    baseline: Annotated[Path | None, typer.Option(metavar="RUN.json")] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Default: stdout; html: report.html.")] = None,
    dry_run: DryRun = False,
) -> CommandOutput:
    """Turn runs into a page, a table or a machine format."""
    from vitdeploy.api import report

    if dry_run:
        return console.plan(report.report_plan(runs, form, baseline, out))
    document = report.report(runs, form=form, baseline=baseline, out=out)
    annotations = {"annotations": document.annotations} if document.annotations else {}
    lines = map(Annotation, document.annotations)
    if document.path is None:
        text = document.text.rstrip("\n")
        return CommandOutput(document={"text": document.text, **annotations}, human=[text, *lines])
    path = str(document.path)
    return CommandOutput(document={"path": path, **annotations}, human=[*lines, path])
