"""The command that uses many devices at once: sweep. It parses, calls `api_fleet`, prints, exits."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitdeploy.command import DryRun, verb
from vitdeploy.errors import Interrupted

if TYPE_CHECKING:
    from vitdeploy.tables import Outcome

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
) -> "Outcome":
    """Time a plan's models on many devices at once, on Dask; stopped at any moment, --resume goes on."""
    from vitdeploy import api_fleet, fleet_tables, tables
    from vitdeploy.fleet.order import SweepOrder

    order = SweepOrder(scheduler=scheduler, out=out, artifacts=artifacts, resume=resume)
    if dry_run:
        return tables.plan(api_fleet.sweep_plan(plan, order))
    try:
        with tables.bar() as bar:
            outcome = api_fleet.sweep(plan, order, progress=tables.progress, on_trial=bar)
    except KeyboardInterrupt as error:
        raise Interrupted("interrupted", "Go on with `sweep --resume --out RUN.json`.") from error
    return fleet_tables.sweep(outcome)
