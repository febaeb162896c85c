"""All commands as one application of the parser.

Human tables go to stdout, logs and progress to stderr; ``--json FILE|-`` is the machine form of
every command.
"""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import typer

from vitdeploy._version import __version__
from vitdeploy.cli import (
    bench,
    cache,
    compare,
    devices,
    doctor,
    evaluate,
    export,
    listings,
    predict,
    report,
    selftest,
    studies,
    sweep,
    weights,
)
from vitdeploy.cli.console import CommandOutput
from vitdeploy.cli.help_pages import VerbCommand, VerbGroup, text_of
from vitdeploy.cli.options import verb
from vitdeploy.errors import UsageError, one_of, unknown_name

COMMANDS: Mapping[str, Callable[..., CommandOutput]] = {
    "models": listings.models_command,
    "weights": weights.weights_command,
    "targets": listings.targets_command,
    "devices": devices.devices_command,
    "suites": listings.suites_command,
    "doctor": doctor.doctor_command,
    "selftest": selftest.selftest_command,
    "export": export.export_command,
    "check": export.check_command,
    "predict": predict.predict_command,
    "bench": bench.bench_command,
    "report": report.report_command,
    "duel": compare.duel_command,
    "compare": compare.compare_command,
    "accept": compare.accept_command,
    "calibrate": compare.calibrate_command,
    "verify": compare.verify_command,
    "eval": evaluate.eval_command,
    "attention": studies.attention_command,
    "reproduce": studies.reproduce_command,
    "sweep": sweep.sweep_command,
}
"""The verbs in the order of `vitdeploy --help`."""

SECTIONS: Mapping[str, tuple[str, ...]] = {
    "Make files": ("export", "check", "predict"),
    "Measure": ("bench", "duel", "calibrate", "eval", "sweep"),
    "Decide": ("compare", "accept", "report", "verify"),
    "Study": ("attention", "reproduce"),
    "See what there is, and manage it": (
        "models",
        "weights",
        "targets",
        "devices",
        "suites",
        "doctor",
        "selftest",
        "cache",
    ),
}
"""Title → the commands below it in `vitdeploy --help`."""


LISTINGS = frozenset({"models", "targets", "devices", "suites", "weights"})
"""Commands whose table other programs may read: they have ``--format``."""


class _Root(VerbGroup):
    """All commands."""

    sections = SECTIONS


app = typer.Typer(
    name="vitdeploy",
    cls=_Root,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _group(own: Callable[..., None], commands: Mapping[str, Callable[..., CommandOutput]]) -> typer.Typer:
    """A command that does its own work where none of the commands below it is named."""

    @functools.wraps(own)
    def callback(context: typer.Context, **options: Any) -> None:
        if context.invoked_subcommand is None:
            own(**options)

    signature = inspect.signature(own)
    first = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    callback.__signature__ = signature.replace(  # pyright: ignore[reportAttributeAccessIssue]
        parameters=[first, *signature.parameters.values()]
    )
    callback.__annotations__ = {"context": typer.Context, **own.__annotations__}
    group = typer.Typer(cls=VerbGroup, invoke_without_command=True)
    group.callback()(callback)
    for name, subcommand in commands.items():
        group.command(name, cls=VerbCommand)(verb(subcommand))
    return group


for _name, _command in COMMANDS.items():
    _wrapped = verb(_command, listing=_name in LISTINGS)
    if _name == "devices":
        _below = {"show": devices.devices_show_command, "add": devices.devices_add_command}
        app.add_typer(_group(_wrapped, _below), name=_name)
    else:
        app.command(_name, cls=VerbCommand)(_wrapped)
_cache_app = typer.Typer(cls=VerbGroup)
_cache_app.command("ls", cls=VerbCommand)(verb(cache.cache_ls_command, listing=True))
_cache_app.command("gc", cls=VerbCommand)(verb(cache.cache_gc_command))
app.add_typer(_cache_app, name="cache")


def show_help(context: Any) -> None:
    """Print the help of a command with commands below it, where none of these is named."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@_cache_app.callback(invoke_without_command=True)
def cache_root(context: typer.Context) -> None:
    """List or remove stored artifacts.

    Examples:
        vitdeploy cache ls
        vitdeploy cache gc --dry-run
    """
    show_help(context)


ParserError: type[Exception] = typer.BadParameter.__mro__[1]
"""The parser's usage error; typer carries its parser privately, this is its public way in."""


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Export EfficientViT (MIT) and its rivals, check every file against PyTorch, and time it on real devices.

    `vitdeploy COMMAND --help` says more of a command.

    Examples:
        vitdeploy export efficientvit_b1 --target onnx-fp32
        vitdeploy bench efficientvit_b1 --target onnx-fp32
        vitdeploy doctor
    """
    if version:
        typer.echo(f"vitdeploy {__version__}")
        raise typer.Exit
    show_help(context)


def usage_error(error: Exception, arguments: Sequence[str] = ()) -> UsageError:
    """The parser's complaint in our two lines, with the nearest names for an unknown command or option.

    Args:
        arguments: the command line, which says the command where the parser does not.
    """
    formatted: Callable[[], str] = getattr(error, "format_message", lambda: str(error))
    message = formatted().rstrip(".")
    name = message.partition("'")[2].partition("'")[0]
    context = getattr(error, "ctx", None)
    command = "vitdeploy"
    if context is not None:
        command = context.command_path
    elif arguments and arguments[0] in COMMANDS:
        command = f"vitdeploy {arguments[0]}"
    if message.startswith("No such command"):
        if name == "help":
            return UsageError("unknown command 'help'", "Type `vitdeploy --help`, or a command and `--help`.")
        known = list(getattr(context.command, "commands", COMMANDS)) if context is not None else list(COMMANDS)
        return unknown_name("command", name, known, f"{command} --help")
    possible: list[str] = getattr(error, "possibilities", None) or []
    hint = f"Did you mean {one_of(possible)}? " if possible else ""
    if message.startswith("Missing") and context is not None and (examples := text_of(context.command.help).examples):
        hint = f"For example `{next((line for line in examples if line != command), command)}`. "
    return UsageError(message[:1].lower() + message[1:], f"{hint}`{command} --help` lists the options.")
