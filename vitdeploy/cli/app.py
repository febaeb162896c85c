"""All commands as one application of the parser.

Human tables go to stdout, logs and progress to stderr; ``--json FILE|-`` is the machine form of
every command.
"""

from collections.abc import Callable, Mapping
from typing import Annotated

import typer

from vitdeploy._version import __version__
from vitdeploy.cli import bench, cache, compare, doctor, evaluate, export, listings, predict, report, studies, sweep
from vitdeploy.cli.console import CommandOutput
from vitdeploy.cli.options import verb
from vitdeploy.errors import UsageError, unknown_name

COMMANDS: Mapping[str, Callable[..., CommandOutput]] = {
    "models": listings.models_command,
    "targets": listings.targets_command,
    "devices": listings.devices_command,
    "suites": listings.suites_command,
    "doctor": doctor.doctor_command,
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

app = typer.Typer(
    name="vitdeploy",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for _name, _command in COMMANDS.items():
    app.command(_name)(verb(_command))
_cache_app = typer.Typer(help="List or empty the store of exported artifacts.", no_args_is_help=True)
_cache_app.command("ls")(verb(cache.cache_ls_command))
_cache_app.command("gc")(verb(cache.cache_gc_command))
app.add_typer(_cache_app, name="cache")

ParserError: type[Exception] = typer.BadParameter.__mro__[1]
"""The parser's usage error; typer carries its parser privately, this is its public way in."""


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Export EfficientViT and its rivals, check every file against PyTorch, and measure its latency."""
    if version:
        typer.echo(f"vitdeploy {__version__}")
        raise typer.Exit


def usage_error(error: Exception) -> UsageError:
    """The parser's complaint in our two lines, with the nearest names for an unknown command or option."""
    formatted: Callable[[], str] = getattr(error, "format_message", lambda: str(error))
    message = formatted().rstrip(".")
    name = message.partition("'")[2].partition("'")[0]
    if message.startswith("No such command"):
        return unknown_name("command", name, [*COMMANDS, "cache"], "vitdeploy --help")
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "vitdeploy"
    possible: list[str] = getattr(error, "possibilities", None) or []
    hint = f"Did you mean {' or '.join(possible)}? " if possible else ""
    return UsageError(message[:1].lower() + message[1:], f"{hint}`{command} --help` lists the options.")
