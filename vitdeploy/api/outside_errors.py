"""Errors of Python and of other libraries as ours: files and places, text, memory, processes."""

import errno
from pathlib import Path

from vitdeploy.errors import ToolchainFailed, UnreadableFile, UsageError, VitdeployError

_PLACE_ERRORS = frozenset(
    getattr(errno, name)
    for name in "EACCES EDQUOT EFBIG EIO EISDIR ELOOP EMFILE ENAMETOOLONG ENFILE ENOSPC ENOTDIR EPERM EROFS".split()
)
"""Errors of a place or file that the user named, wherever they come up; others are bugs of ours."""

_NO_THREAD = "can't start new thread"
"""What Python says where the limit of processes is reached. Source: CPython, Modules/_threadmodule.c."""

_NO_SEGMENT = "failed to map segment"
"""What the loader says of a library that finds no memory. Source: glibc, elf/dl-load.c."""


def as_ours(error: Exception) -> VitdeployError:
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
    no_library = isinstance(error, ImportError) and _NO_SEGMENT in str(error)
    if isinstance(error, MemoryError) or _number(error) == errno.ENOMEM or no_library:
        return ToolchainFailed(f"out of memory: {error}".rstrip(": "), "Free memory, or take fewer or smaller inputs.")
    if _number(error) == errno.EAGAIN or (isinstance(error, RuntimeError) and _NO_THREAD in str(error)):
        return ToolchainFailed(
            f"no more processes or threads can be started: {error}", "Raise the limit, `ulimit -u`, or end some."
        )
    return VitdeployError(f"internal error: {type(error).__name__}: {error}")


def _number(error: BaseException) -> int | None:
    return error.errno if isinstance(error, OSError) else None


def _has_working_folder() -> bool:
    try:
        return bool(Path.cwd())
    except OSError:
        return False
