"""The command line's entry: runs a command, and turns every error into two lines on stderr and its exit code.

The parser and the commands are imported in `main`, so that Ctrl-C in their imports ends like any other.
"""

import os
import resource
import sys
import traceback
from collections.abc import Sequence
from itertools import pairwise
from typing import NoReturn

from vitdeploy.cli import streams
from vitdeploy.errors import Interrupted, ToolchainFailed, UnreadableFile, VitdeployError

LEAST_MEMORY_BYTES = 320 * 2**20
"""Address space below which numpy's OpenBLAS ends the process or looks for memory for minutes. Source: measured with
numpy's wheel on two cores: 200,000 KiB to 250,000 KiB no end after 110 s, 300,000 KiB out of memory, 350,000 KiB works.
"""

_BUILD_TIME = "SOURCE_DATE_EPOCH"
"""numpy's and scipy's import ends with an error where this is no number. Source: numpy/f2py/rules.py."""


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit code; the console script exits with it."""
    arguments = sys.argv[1:] if argv is None else argv
    debug, json = "--debug" in arguments, _json_on_stdout(arguments)
    limit_bytes, _ = resource.getrlimit(resource.RLIMIT_AS)
    if 0 <= limit_bytes < LEAST_MEMORY_BYTES:
        return _fail(_too_little_memory(limit_bytes), debug, json)
    if not os.environ.get(_BUILD_TIME, "0").isdecimal():
        del os.environ[_BUILD_TIME]
    try:
        return _run(arguments)
    except VitdeployError as error:
        return _fail(error, debug, json)
    except KeyboardInterrupt:
        return _fail(Interrupted("interrupted", "Run the same command again."), debug, json)
    except Exception as error:  # noqa: BLE001 (a bug becomes exit 1 and two lines)
        from vitdeploy.api import outside_errors

        return _fail(outside_errors.as_ours(error), debug, json)


def _json_on_stdout(arguments: Sequence[str]) -> bool:
    """Whether stdout is for JSON: errors go there too then. Read from the words, so that usage errors know it."""
    from vitdeploy.cli.console import STDOUT

    pairs = [(word, value) for word, value in pairwise(arguments) if word == "--json"]
    pairs += [(word, value) for word, _, value in (argument.partition("=") for argument in arguments)]
    return any(word == "--json" and value in STDOUT for word, value in pairs)


def _too_little_memory(limit_bytes: int) -> VitdeployError:
    limit, least = limit_bytes // 2**20, LEAST_MEMORY_BYTES // 2**20
    return ToolchainFailed(
        f"the address space is limited to {limit} MiB, and numpy alone needs about {least}",
        "Raise the limit: `ulimit -v`.",
    )


def _run(arguments: list[str]) -> int:
    import typer

    from vitdeploy.cli import app, options

    options.note_arguments(arguments)
    try:
        code = int(app.app(arguments, standalone_mode=False, prog_name="vitdeploy") or 0)
    except app.ParserError as error:
        raise app.usage_error(error, arguments) from error
    except typer.Abort as error:  # the parser's word for the end of its input
        raise KeyboardInterrupt from error
    if code == Interrupted.exit_code:  # ... and for Ctrl-C outside of a command's own work
        raise KeyboardInterrupt
    return code


def _fail(error: VitdeployError, debug: bool, json: bool = False) -> int:
    if debug:
        traceback.print_exc()
    from vitdeploy.cli import console

    if json:
        console.print_error_document(error)
    console.print_error(error)
    return error.exit_code


def run() -> NoReturn:
    """The console script."""
    code = 1
    try:
        streams.install()
        code = main()
        if (fault := streams.fault()) is not None:
            lost = UnreadableFile(f"cannot write to stdout: {fault.strerror}", "Free space there.")
            code = code if streams.verdict_stands() else code or _fail(lost, debug=False)
    except KeyboardInterrupt:
        code = code if code != 1 else Interrupted.exit_code
    sys.exit(code)


if __name__ == "__main__":
    run()
