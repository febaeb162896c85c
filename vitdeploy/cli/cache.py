"""`cache ls` and `cache gc`: the artifacts in the store, and their removal."""

from typing import TYPE_CHECKING, Annotated

import typer

from vitdeploy import units
from vitdeploy.cli import console
from vitdeploy.cli.console import CommandOutput, Table
from vitdeploy.cli.options import DryRun

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vitdeploy.api.cache import CacheRow


def cache_ls_command() -> CommandOutput:
    """List the stored artifacts, and the space they take.

    Examples:
        vitdeploy cache ls
    """
    from vitdeploy.api import cache

    return _rows(cache.cache_ls(), "stored")


def cache_gc_command(
    older_than: Annotated[float, typer.Option(metavar="DAYS", help="Only what was not used for so long.")] = 0.0,
    dry_run: DryRun = False,
) -> CommandOutput:
    """Remove stored artifacts that were not used for a while.

    What vitdeploy left on the configured phones is removed as well. Exported folders stay as they are.

    Examples:
        vitdeploy cache gc --dry-run
    """
    from vitdeploy.api import cache

    rows = cache.cache_gc(older_than_days=older_than, dry_run=dry_run, progress=console.progress)
    return _rows(rows, "would be removed" if dry_run else "removed")


def _rows(rows: "Sequence[CacheRow]", action: str) -> CommandOutput:
    cells = [(row.name, units.size_bytes(row.size_bytes), row.used) for row in rows]
    table = Table(heads=("artifact", "size", "last used"), right=(1,), rows=cells)
    total = f"{len(rows)} {action}, {units.size_bytes(sum(row.size_bytes for row in rows))}"
    return CommandOutput(document=rows, human=[table, total] if rows else [total])
