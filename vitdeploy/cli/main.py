"""The command line's entry: runs a command, and turns every error into two lines on stderr and its exit code.

The parser and the commands are imported in `main`, so that Ctrl-C in their imports ends like any other.
"""

import errno
import os
import sys
import traceback
from pathlib import Path
from typing import NoReturn

from vitdeploy.cli import streams
from vitdeploy.errors import Interrupted, ToolchainFailed, UnreadableFile, UsageError, VitdeployError

_PLACE_ERRORS = frozenset(
    getattr(errno, name)
    for name in "EACCES EDQUOT EFBIG EIO EISDIR ELOOP EMFILE ENAMETOOLONG ENFILE ENOSPC ENOTDIR EPERM EROFS".split()
)
"""Errors of a place or file that the user named, wherever they come up; others are bugs of ours."""

_BUILD_TIME = "SOURCE_DATE_EPOCH"
"""numpy's and scipy's import ends with an error where this is no number. Source: numpy/f2py/rules.py."""


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit code; the console script exits with it."""
    arguments = sys.argv[1:] if argv is None else argv
    debug = "--debug" in arguments
    if not os.environ.get(_BUILD_TIME, "0").isdecimal():
        del os.environ[_BUILD_TIME]
    try:
        return _run(arguments)
    except VitdeployError as error:
        return _fail(error, debug)
    except KeyboardInterrupt:
        return _fail(Interrupted("interrupted", "Run the same command again."), debug)
    except Exception as error:  # noqa: BLE001 (a bug becomes exit 1 and two lines)
        return _fail(_as_ours(error), debug)


def _run(arguments: list[str]) -> int:
    import typer

    from vitdeploy.cli import app, options

    options.note_arguments(arguments)
    try:
        code = int(app.app(arguments, standalone_mode=False, prog_name="vitdeploy") or 0)
    except app.ParserError as error:
        raise app.usage_error(error) from error
    except typer.Abort as error:  # the parser's word for the end of its input
        raise KeyboardInterrupt from error
    if code == Interrupted.exit_code:  # ... and for Ctrl-C outside of a command's own work
        raise KeyboardInterrupt
    return code


def _as_ours(error: Exception) -> VitdeployError:
    """Another library's or Python's own error as one of ours."""
    if isinstance(error, FileNotFoundError) and not _has_working_folder():
        return UnreadableFile("the current folder was deleted", "Change to another folder.")
    if isinstance(error, OSError) and error.errno in _PLACE_ERRORS:
        place = error.filename if error.filename is not None else "a file"
        return UnreadableFile(
            f"cannot use {place}: {error.strerror}", "Check the path, its permissions and the free space there."
        )
    if isinstance(error, UnicodeEncodeError):
        return UsageError(
            f"text that is no UTF-8: {error.object[:80]!r}", "Use UTF-8 in options, and file names without other bytes."
        )
    if isinstance(error, MemoryError):
        return ToolchainFailed(f"out of memory: {error}".rstrip(": "), "Free memory, or take fewer or smaller inputs.")
    return VitdeployError(f"internal error: {type(error).__name__}: {error}")


def _has_working_folder() -> bool:
    try:
        return bool(Path.cwd())
    except OSError:
        return False


def _fail(error: VitdeployError, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    from vitdeploy.cli import console

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
