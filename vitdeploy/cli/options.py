"""Options that several commands share, the options of every command, and requests made from options."""

import functools
import inspect
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from vitdeploy.api import requests
from vitdeploy.cli import completion, console
from vitdeploy.cli.console import CommandOutput
from vitdeploy.errors import Interrupted, UsageError

Models = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[MODEL…]",
        help="Names from `vitdeploy models`; default: those of the suite `demo`.",
        autocompletion=completion.models,
    ),
]
ArtifactPath = Annotated[Path, typer.Argument(metavar="ARTIFACT", help="Its folder, manifest or model file.")]
Device = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Where it runs: a name from `vitdeploy devices`; default: the project file's, else local, this machine.",
        autocompletion=completion.devices,
    ),
]
Size = Annotated[str | None, typer.Option(metavar="HxW", help="Input size; default: the published latency's.")]
Weights = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE|official",
        help="Checkpoint; official: the authors' own, downloaded if need be; default: seeded random weights.",
    ),
]
AcceptLicence = Annotated[
    bool,
    typer.Option("--accept-licence", help="Use official weights whose licence limits commercial use or is missing."),
]
Attention = Annotated[
    str | None,
    typer.Option(
        metavar="relu|softmax",
        help="Attention of EfficientViT (MIT): linear as published, or softmax; default: as published.",
        autocompletion=completion.words("relu", "softmax"),
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(metavar="N", help="Threads of the runtime; default: the device's physical cores."),
]
MinTime = Annotated[float, typer.Option("--min-time", metavar="S", help="Sampling time of a trial.")]
Priority = Annotated[
    str | None,
    typer.Option(
        metavar="realtime",
        help="Sample before the machine's other work, where it allows that.",
        autocompletion=completion.words("realtime"),
    ),
]
Out = Annotated[Path | None, typer.Option(metavar="RUN.json", help="File of the run; default: a new one in runs/.")]
Artifacts = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Folder of artifacts; missing ones are exported to it; default: artifacts.",
        show_default=False,
    ),
]
Resume = Annotated[
    bool,
    typer.Option("--resume", help="Go on with an interrupted run: that of --out, else the last one of this workload."),
]
Force = Annotated[bool, typer.Option("--force", help="Replace the file of --out when the new run is whole.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan and touch nothing.")]

_COMMON: Mapping[str, tuple[Any, Any]] = {
    "json": (
        Annotated[
            str | None, typer.Option("--json", metavar="FILE|-", help="Write the machine form there; -: stdout.")
        ],
        None,
    ),
    "quiet": (Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no notes.")], False),
    "verbose": (
        Annotated[int, typer.Option("--verbose", "-v", count=True, help="Say more on stderr; a line a trial.")],
        0,
    ),
    "debug": (Annotated[bool, typer.Option("--debug", help="Show tracebacks.")], False),
}
"""Option of every command → its type and its default."""

_LISTING: Mapping[str, tuple[Any, Any]] = {
    "table_format": (
        Annotated[
            str | None,
            typer.Option(
                "--format",
                metavar="plain|tsv",
                help="A row a line, whatever the terminal; or tab-separated. Default: fitted to the terminal.",
                autocompletion=completion.words("plain", "tsv"),
            ),
        ],
        None,
    ),
}
"""The same for commands that list."""


request_of = requests.request_of


def share(text: str | float) -> float:
    """``2%`` or ``0.02``; the parser also hands over the default, which is a number already."""
    try:
        return requests.share(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is neither a share like 2% nor a number like 0.02") from error


def _check_text(options: Mapping[str, Any]) -> None:
    """Refuse text of other encodings; paths may have any bytes.

    Raises:
        UsageError: an option is no UTF-8 text.
    """
    for name, value in options.items():
        words = cast("list[Any]", value) if isinstance(value, list) else [value]
        if any(isinstance(word, str) and not _is_text(word) for word in words):
            raise UsageError(f"--{name.replace('_', '-')} is not UTF-8 text", "Give it in UTF-8.")


def _is_text(word: str) -> bool:
    """Whether no byte of the command line was left undecoded."""
    return not any("\ud800" <= letter <= "\udfff" for letter in word)


AGAIN = "Run the same command again."

_arguments: list[str] = []
"""Of the command line that runs, as it was given."""


def note_arguments(arguments: Sequence[str]) -> None:
    """Keep the words of the command line, for the hint that says how to go on."""
    _arguments[:] = arguments


def _go_on(function: Callable[..., CommandOutput], interruption: KeyboardInterrupt) -> str:
    """How to go on after Ctrl-C, as a whole command: with ``--resume`` where its file holds finished work."""
    out = next((word for word in interruption.args if isinstance(word, Path)), None)
    if out is None or "resume" not in inspect.signature(function).parameters:
        return f"Run it again: `{shlex.join(('vitdeploy', *_arguments))}`." if _arguments else AGAIN
    words = [word for word in _arguments if word != "--resume"]
    if not any(word == "--out" or word.startswith("--out=") for word in words):
        words += ["--out", str(out)]
    return f"Go on with `{shlex.join(('vitdeploy', *words, '--resume'))}`."


def verb(function: Callable[..., CommandOutput], *, listing: bool = False) -> Callable[..., None]:
    """A command from ``function``: with the options of every command; it shows the output and exits with its code.

    Args:
        listing: it shows a table that other programs may read: it has ``--format``.
    """
    common = {**_LISTING, **_COMMON} if listing else _COMMON

    @functools.wraps(function)
    def command(
        *args: Any,
        json: str | None = None,
        quiet: bool = False,
        verbose: int = 0,
        debug: bool = False,
        table_format: str | None = None,
        **options: Any,
    ) -> None:
        del debug  # read from argv by `main`, so that usage errors know it too
        console.configure(quiet=quiet, verbose=verbose, form=table_format)
        _check_text({**options, "json": json})
        if json is not None and json != "-":
            from vitdeploy import documents

            documents.check_place(Path(json))
        try:
            with console.downloads():
                output = function(*args, **options)
        except KeyboardInterrupt as error:  # the parser would end without a word
            raise Interrupted("interrupted", _go_on(function, error)) from error
        if code := console.show(output, json):
            raise typer.Exit(code)

    own = inspect.signature(function)
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in common.items()
    ]
    command.__signature__ = own.replace(  # pyright: ignore[reportAttributeAccessIssue]
        parameters=[*own.parameters.values(), *added], return_annotation=None
    )
    kinds = {name: kind for name, (kind, _) in common.items()}
    command.__annotations__ = {**function.__annotations__, **kinds, "return": None}
    return command
