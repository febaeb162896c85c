"""`cache ls` and `cache gc`: the artifacts in the store, and their removal."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from vitdeploy import units
from vitdeploy.cli import console
from vitdeploy.cli.console import CommandOutput, Table
from vitdeploy.cli.options import DryRun
from vitdeploy.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vitdeploy.api.cache import CacheRow, CacheRows

SHOWN_DIGITS = 12
"""Of a digest: enough to tell entries apart."""


def cache_ls_command() -> CommandOutput:
    """List the stored artifacts, and the space they take.

    Examples:
        vitdeploy cache ls
        vitdeploy cache ls --format tsv
    """
    from vitdeploy.api import cache

    return _rows(cache.cache_ls(), "stored", ("cache", "gc", "--dry-run"))


def cache_gc_command(
    older_than: Annotated[
        float, typer.Option(metavar="DAYS", help="Remove what was not used for so many days; 0: everything.")
    ] = 30.0,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Remove without a question.")] = False,
    dry_run: DryRun = False,
) -> CommandOutput:
    """Remove stored artifacts that were not used for a while.

    What vitdeploy left on the configured phones is removed as well. Exported folders stay as they are. It asks
    before it removes; where nobody can answer it needs --yes.

    Examples:
        vitdeploy cache gc --dry-run
        vitdeploy cache gc --older-than 0 --yes
    """
    from vitdeploy.api import cache

    if dry_run or not yes:
        rows = cache.cache_gc(older_than_days=older_than, dry_run=True, progress=console.progress)
        if dry_run or not rows:
            action = "would be removed" if dry_run else f"removed: all were used in the last {older_than:g} days"
            return _rows(rows, action, ("cache", "gc", "--older-than", f"{older_than:g}") if rows else ("cache", "ls"))
        _ask(rows, older_than)
    rows = cache.cache_gc(older_than_days=older_than, progress=console.progress)
    return _rows(rows, "removed", ("cache", "ls"))


def _ask(rows: "Sequence[CacheRow]", days: float) -> None:
    """Go on if who sits at the terminal agrees.

    Raises:
        UsageError: nobody can be asked.
        KeyboardInterrupt: the answer is no.
    """
    amount = f"{len(rows)} artifacts, {units.size_bytes(sum(row.size_bytes for row in rows))}"
    if not sys.stdin.isatty() or not sys.stderr.isatty():
        raise UsageError(
            f"{amount} not used for {days:g} days would be removed, and nobody can be asked",
            "Add --yes, or list them with --dry-run.",
        )
    typer.confirm(f"Remove {amount}, not used for {days:g} days?", abort=True, err=True)


def rows_output(rows: "CacheRows") -> CommandOutput:
    """Stored artifacts, what happened to them, and their size together."""
    return _rows(rows, rows.action, ())


def _rows(rows: "Sequence[CacheRow]", action: str, next_command: "Sequence[str]") -> CommandOutput:
    cells = [
        (row.name, row.options, units.size_bytes(row.size_bytes), row.used, row.key[:SHOWN_DIGITS], row.path)
        for row in rows
    ]
    heads = ("artifact", "options", "size", "last used", "digest", "path")
    table = Table(heads=heads, right=(2,), rows=cells, details=("path", "last used"))
    total = f"{len(rows)} {action}, {units.size_bytes(sum(row.size_bytes for row in rows))}"
    return CommandOutput(document=rows, human=[table, total], next_command=next_command)
