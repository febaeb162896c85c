"""The command that uses many devices at once: sweep. It parses, calls `api_fleet`, prints, exits."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitdeploy.cli.options import DryRun, verb
from vitdeploy.errors import Interrupted

if TYPE_CHECKING:
    from vitdeploy.cli.console import CommandOutcome

app = typer.Typer()


@app.command("sweep")
@verb
def sweep_command(
    plan: Annotated[Path, typer.Argument(metavar="PLAN.toml", help="Models, targets, sizes, devices; docs/fleet.md.")],
    *,
    scheduler: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="tcp://HOST:8786; default: a Dask cluster on this machine.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="RUN.json")] = None,
    artifacts: Annotated[Path, typer.Option(help="Where artifacts go that were exported.")] = Path("artifacts"),
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted sweep.")] = False,
    dry_run: DryRun = False,
) -> "CommandOutcome":
    """Time a plan's models on many devices at once, on Dask; stopped at any moment, --resume goes on."""
    from vitdeploy.cli import console, sweep_tables
    from vitdeploy.fleet import api
    from vitdeploy.fleet.request import SweepRequest

    order = SweepRequest(scheduler=scheduler, out=out, artifacts=artifacts, resume=resume)
    if dry_run:
        return console.plan(api.sweep_plan(plan, order))
    try:
        with console.bar() as bar:
            outcome = api.sweep(plan, order, progress=console.progress, on_trial=bar)
    except KeyboardInterrupt as error:
        raise Interrupted("interrupted", "Go on with `sweep --resume --out RUN.json`.") from error
    return sweep_tables.sweep(outcome)
