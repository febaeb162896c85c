"""The command line: the app of all commands, and the exit codes of their errors.

Human tables go to stdout, logs and progress to stderr; ``--json FILE|-`` is the machine form of
every command. Errors are two lines on stderr with the contract's exit code.
"""

import os
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Annotated, NoReturn

import typer

from vitdeploy._version import __version__
from vitdeploy.cli import bench, cache, compare, doctor, evaluate, export, listings, predict, report, studies, sweep
from vitdeploy.cli.console import CommandOutput
from vitdeploy.cli.options import verb
from vitdeploy.errors import UsageError, VitdeployError, unknown_name

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

_CliUsageError: type[Exception] = typer.BadParameter.__mro__[1]
"""The parser's usage error; typer carries its parser privately, this is its public way in."""


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Export EfficientViT and its rivals, check every file against PyTorch, and measure its latency."""
    if version:
        typer.echo(f"vitdeploy {__version__}")
        raise typer.Exit


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit code; the console script exits with it."""
    arguments = sys.argv[1:] if argv is None else argv
    debug = "--debug" in arguments
    try:
        return int(app(arguments, standalone_mode=False, prog_name="vitdeploy") or 0)
    except VitdeployError as error:
        return _fail(error, debug)
    except _CliUsageError as error:
        return _fail(_as_usage_error(error), debug)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001 (a bug becomes exit 1 and two lines)
        return _fail(VitdeployError(f"internal error: {type(error).__name__}: {error}"), debug)


def _fail(error: VitdeployError, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    for word, text in (("error", error.message), ("hint", error.hint)):
        print(f"{word}: {' '.join(text.split())}", file=sys.stderr)
    return error.exit_code


def _as_usage_error(error: Exception) -> UsageError:
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


def run() -> NoReturn:
    """The console script."""
    sys.exit(main())


if __name__ == "__main__":
    run()
