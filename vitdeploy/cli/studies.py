"""The commands that hold the field against itself: attention, reproduce. They parse, call `api_field`, print, exit."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitdeploy.cli.options import Device, DryRun, verb
from vitdeploy.errors import UsageError

if TYPE_CHECKING:
    from vitdeploy.cli.console import CommandOutcome

app = typer.Typer()

Target = Annotated[str | None, typer.Option(help="Default: the published one where the device has it.")]
Quick = Annotated[bool, typer.Option("--quick", help="Sizes and rounds that take minutes on a laptop.")]
Threads = Annotated[int | None, typer.Option(help="Default: the device's physical cores.")]
Trials = Annotated[int | None, typer.Option(help="Rounds: fresh processes of each case. Default: 7, quick 5.")]
MinTime = Annotated[float | None, typer.Option(metavar="S", help="Sampling time of a trial. Default: 1, quick 0.3.")]
RunOut = Annotated[Path | None, typer.Option(metavar="RUN.json", help="Default: a new file in runs/.")]
Page = Annotated[Path | None, typer.Option(metavar="FILE.html", help="Default: beside the run.")]
Artifacts = Annotated[Path, typer.Option(help="Where missing artifacts are made.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")]
Shown = Annotated[Path | None, typer.Option("--from", metavar="RUN.json", help="Show a run that was made before.")]


@app.command("attention")
@verb
def attention_command(
    *,
    device: Device = None,
    target: Annotated[str | None, typer.Option(help="Default: onnx-fp32, on phones tflite-fp32.")] = None,
    quick: Quick = False,
    network: Annotated[list[str] | None, typer.Option(help="Whole networks; default: efficientvit_b1.")] = None,
    threads: Threads = None,
    trials: Trials = None,
    min_time: MinTime = None,
    out: RunOut = None,
    page: Page = None,
    artifacts: Artifacts = Path("artifacts"),
    resume: Resume = False,
    shown: Shown = None,
    dry_run: DryRun = False,
) -> "CommandOutcome":
    """ReLU linear attention against softmax attention over resolutions: modules alone and whole networks."""
    from vitdeploy.api import attention
    from vitdeploy.api.studies import StudyRequest
    from vitdeploy.cli import console, studies_tables

    if shown is not None:
        return studies_tables.attention(attention.attention_of(shown, page))
    order = StudyRequest(
        device=device or "local",
        target=target,
        quick=quick,
        threads=threads,
        trials=trials,
        min_time_s=min_time,
        out=out,
        page=page,
        artifacts=artifacts,
        resume=resume,
    )
    if dry_run:
        return console.plan(attention.attention_plan(network or [], order))
    with console.bar() as bar:
        found = attention.attention(network or [], order, progress=console.progress, on_trial=bar)
    return studies_tables.attention(found)


@app.command("reproduce")
@verb
def reproduce_command(
    table: Annotated[str | None, typer.Argument(metavar="[TABLE]", help="Without one: which tables there are.")] = None,
    *,
    device: Device = None,
    target: Target = None,
    quick: Quick = False,
    threads: Threads = None,
    trials: Trials = None,
    min_time: MinTime = None,
    out: RunOut = None,
    page: Page = None,
    artifacts: Artifacts = Path("artifacts"),
    resume: Resume = False,
    shown: Shown = None,
    dry_run: DryRun = False,
) -> "CommandOutcome":
    """Published figures against measured ones: a table's rows, its claims' ratios, and what differs."""
    from vitdeploy.api import reproduce
    from vitdeploy.api.studies import StudyRequest
    from vitdeploy.cli import console, studies_tables

    if shown is not None:
        if table is not None:
            raise UsageError(f"both the table {table} and --from were given", "A run knows its table: name one.")
        return studies_tables.reproduction(reproduce.reproduction_of(shown, page))
    if table is None:
        return studies_tables.published_tables(reproduce.published_list())
    order = StudyRequest(
        device=device or "local",
        target=target,
        quick=quick,
        threads=threads,
        trials=trials,
        min_time_s=min_time,
        out=out,
        page=page,
        artifacts=artifacts,
        resume=resume,
    )
    if dry_run:
        return console.plan(reproduce.reproduce_plan(table, order))
    with console.bar() as bar:
        found = reproduce.reproduce(table, order, progress=console.progress, on_trial=bar)
    return studies_tables.reproduction(found)
