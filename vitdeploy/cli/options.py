"""What all commands share: the options every verb has, how its outcome is shown, and the options several verbs have."""

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vitdeploy.errors import Interrupted

if TYPE_CHECKING:
    from vitdeploy.cli.console import CommandOutcome

Json = Annotated[str | None, typer.Option("--json", metavar="FILE|-", help="Write the machine form there.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no notes.")]
Verbose = Annotated[int, typer.Option("--verbose", "-v", count=True, help="Say more on stderr.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]

Models = Annotated[list[str] | None, typer.Argument(metavar="[MODEL…]", help="Names from `vitdeploy models`.")]
Device = Annotated[str | None, typer.Option(help="Name from `vitdeploy devices`.")]
Size = Annotated[str | None, typer.Option(metavar="HxW", help="Input size; default: the published latency's.")]
Weights = Annotated[Path | None, typer.Option(help="Official or timm checkpoint; default: seeded random weights.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan and touch nothing.")]
ArtifactPath = Annotated[Path, typer.Argument(metavar="ARTIFACT", help="Its folder, manifest or model file.")]


def verb(function: "Callable[..., CommandOutcome]") -> Callable[..., None]:
    """Make ``function`` a command: add the options every verb has, show what it returns, exit with its code."""

    @functools.wraps(function)
    def command(
        *args: Any, json: str | None = None, quiet: bool = False, verbose: int = 0, debug: bool = False, **options: Any
    ) -> None:
        del debug  # read from argv by `main`, so that usage errors know it too
        from vitdeploy.cli import console

        console.configure(quiet=quiet, verbose=verbose)
        try:
            outcome = function(*args, **options)
        except KeyboardInterrupt as error:  # the parser would end without a word
            raise Interrupted(
                "interrupted",
                "Run the same command again; `bench`, `eval`, `attention` and `reproduce` go on by --resume.",
            ) from error
        console.show(outcome, json)
        if outcome.exit_code:
            raise typer.Exit(outcome.exit_code)

    own = inspect.signature(function)
    common: dict[str, Any] = {"json": Json, "quiet": Quiet, "verbose": Verbose, "debug": Debug}
    defaults: dict[str, Any] = {"json": None, "quiet": False, "verbose": 0, "debug": False}
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=defaults[name], annotation=kind)
        for name, kind in common.items()
    ]
    command.__signature__ = own.replace(  # pyright: ignore[reportAttributeAccessIssue]
        parameters=[*own.parameters.values(), *added], return_annotation=None
    )
    command.__annotations__ = {**function.__annotations__, **common, "return": None}
    return command
