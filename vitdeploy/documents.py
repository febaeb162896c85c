"""JSON documents with a schema number: read strictly, written whole or not at all.

Every file that people or other programs may have written goes through `decode`: unknown fields,
wrong types, a newer schema, an oversized or truncated file are one `UnreadableFile` each, naming the
path of the field. The traps of the format are dealt with here: NaN is written as null, so the
fields that can be undefined are nullable; a newer schema is looked at before the rest is decoded.
"""

import contextlib
import errno
import glob
import hashlib
import json
import os
import re
import socket
import stat
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import msgspec
import platformdirs

from vitdeploy.errors import UnreadableFile, UsageError

T = TypeVar("T")

LARGEST_BYTES = 512 * 2**20
"""Documents beyond this are refused: a run of 50 cases is below 50 MiB."""

LARGEST_TEXT_BYTES = 2**24
"""The same of files that people write: plans, suites, device files, project files."""

_BLOCK_BYTES = 2**22


_PART = ".part"

_LONGEST_NAME = 200
"""Bytes of a file name that are left room for marks around it: file systems allow 255."""

_MOST_LINKS = 40
"""Links that are followed. Source: Linux, MAXSYMLINKS."""

_OPEN_FILE = re.compile(r"(?:/dev|/proc/(?:self|thread-self))/fd/([0-9]+)")
"""Names of this process's open files; ``/dev/stdout`` is a link to one."""


_OBEYED = re.compile("[\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]|#(?=\\[)")
"""Inside of JSON strings only: C1 controls, marks of direction, line breaks, and ``##[`` of GitHub's old commands."""


_KINDS: Mapping[Callable[[int], bool], str] = {
    stat.S_ISFIFO: "a named pipe",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
    stat.S_ISSOCK: "a socket",
}


class _Head(msgspec.Struct):
    """The one field that is looked at first."""

    schema: int


def read(path: Path, kind: type[T], *, schema: int, what: str) -> T:
    """Decode the JSON document at ``path`` as ``kind``.

    Args:
        schema: the newest schema number this version understands.
        what: what the file should be, for messages: ``"run"``, ``"manifest"``.

    Raises:
        UnreadableFile: it cannot be read, is truncated, newer, or does not fit.
    """
    return decode(read_bytes(path, what=what), kind, schema=schema, what=what, name=str(path))


def read_bytes(path: Path, *, what: str, most_bytes: int | None = None) -> bytes:
    """The bytes of a document, at most ``most_bytes`` (None: `LARGEST_BYTES`). Raises as `read` does."""
    most_bytes = LARGEST_BYTES if most_bytes is None else most_bytes
    try:
        data = bytearray()
        with open_file(path) as stream:
            too_long = os.fstat(stream.fileno()).st_size > most_bytes
            while not too_long and (block := stream.read(_BLOCK_BYTES)):  # a pipe has no size
                data += block
                too_long = len(data) > most_bytes
    except OSError as error:
        raise UnreadableFile(
            f"cannot read the {what} file {path}: {error.strerror}", "Check the path and its permissions."
        ) from error
    if too_long:
        raise UnreadableFile(
            f"{path} has more than {most_bytes} bytes, as no {what} file has", "Check that it is the right file."
        )
    return bytes(data)


def open_file(path: Path) -> BinaryIO:
    """Open a file that a user named, for reading; what may have no end, or never a beginning, is refused.

    A pipe that this process has open already (``/dev/stdin``, a shell's ``<(…)``) has somebody who writes into it.

    Raises:
        OSError: it cannot be opened.
        UnreadableFile: it is a named pipe, a device or a socket.
    """
    mode = path.stat().st_mode
    is_ours = stat.S_ISFIFO(mode) and _followed(path)[1] is not None
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or is_ours):
        kind = next((words for is_kind, words in _KINDS.items() if is_kind(mode)), "no regular file")
        raise UnreadableFile(f"cannot read {path}: it is {kind}", "Name a regular file.")
    return path.open("rb")


def decode(data: bytes, kind: type[T], *, schema: int, what: str, name: str) -> T:
    """Decode ``data`` as ``kind``; ``name`` is what messages call it. Raises as `read` does."""
    if not data.strip():
        raise UnreadableFile(f"{name} is empty", f"Make the {what} file again.")
    try:
        version = msgspec.json.decode(data, type=_Head).schema
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableFile(f"{name} is not a {what} file: {error}", f"Make the {what} file again.") from error
    if version > schema:
        raise UnreadableFile(
            f"{name} has {what} schema {version}; this vitdeploy reads up to {schema}",
            "Update vitdeploy to the version that wrote it.",
        )
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableFile(f"{name} is not a valid {what} file: {error}", f"Make the {what} file again.") from error


def encode(document: Any) -> bytes:
    """``document`` as indented JSON; characters that UTF-8 cannot hold (parts of file names) are replaced.

    Characters that a terminal or GitHub would obey are written as JSON's escapes: the same text to who reads it.
    """
    try:
        data = msgspec.json.encode(document)
    except UnicodeEncodeError:
        data = json.dumps(msgspec.to_builtins(document), ensure_ascii=False).encode(errors="replace")
    text = msgspec.json.format(data, indent=1).decode()
    return _OBEYED.sub(lambda match: f"\\u{ord(match[0]):04x}", text).encode()


def write(path: Path, document: Any) -> None:
    """Write ``document`` as indented JSON, as `write_bytes` does.

    Raises:
        UsageError: the place is a folder.
        UnreadableFile: the place cannot be written (no such folder, read-only, disk full).
    """
    write_bytes(path, encode(document) + b"\n")


def check_place(path: Path) -> None:
    """Refuse, before any work, a place that cannot be written.

    Raises:
        UsageError: it is a folder.
        UnreadableFile: its name is too long, or its folder cannot be written to.
    """
    place, descriptor = _followed(path)
    try:
        if descriptor is not None:
            os.fstat(descriptor)
        elif (mode := _mode(place)) is None or stat.S_ISREG(mode):  # a regular file is replaced by one made beside it
            _check_folder(place)
    except (OSError, ValueError) as error:
        raise cannot_write(path, error) from error
    if place.is_dir():
        raise UsageError(f"{path} is a folder, not a file", "Name a file in it.")


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path``: a regular file is replaced whole or not at all, and a link's target, not the link.

    A device, a pipe, a socket or an open file (``/dev/stdout``) is written to.

    Raises:
        UsageError: the place is a folder.
        UnreadableFile: the place cannot be written (no such folder, read-only, disk full).
    """
    check_place(path)
    place, descriptor = _followed(path)
    try:
        mode = _mode(place)
        if descriptor is not None:
            _write_through(os.dup(descriptor), data)
        elif mode is not None and not stat.S_ISREG(mode):
            _write_through(_opened(place, mode), data)
        else:
            _replace(place, data, mode)
    except OSError as error:
        raise cannot_write(path, error) from error


def _followed(path: Path) -> tuple[Path, int | None]:
    """What ``path`` is when its links are followed, and the number of the open file that it names, if it names one."""
    place = path
    for _ in range(_MOST_LINKS):
        named = _OPEN_FILE.fullmatch(str(place))
        if named is not None:
            return place, int(named[1])
        try:
            place = place.parent / place.readlink()
        except (OSError, ValueError):  # no link
            return place, None
    raise cannot_write(path, OSError(errno.ELOOP, os.strerror(errno.ELOOP)))


def _mode(place: Path) -> int | None:
    """The file's type and permissions; None: there is none yet."""
    try:
        return place.stat().st_mode
    except FileNotFoundError:
        return None


def _check_folder(place: Path) -> None:
    """Raise the error that making the file would end in, as far as it is known without making it."""
    folder = place.absolute().parent  # fails in a working folder that was deleted
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    if not os.access(folder, os.W_OK | os.X_OK):
        number = errno.EROFS if os.statvfs(folder).f_flag & os.ST_RDONLY else errno.EACCES
        raise OSError(number, os.strerror(number))


def _opened(place: Path, mode: int) -> int:
    if not stat.S_ISSOCK(mode):
        return os.open(place, os.O_WRONLY)
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(str(place))
        return link.detach()


def _write_through(descriptor: int, data: bytes) -> None:
    """Write into what is open already, and close it; a reader that went away has read what it wanted."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # pyright: ignore[reportUnnecessaryComparison] (None where it is closed)
            stream.flush()
    with contextlib.suppress(BrokenPipeError), os.fdopen(descriptor, "wb", buffering=0) as stream:
        rest = memoryview(data)
        while rest:
            rest = rest[stream.write(rest) or 0 :]


def _replace(path: Path, data: bytes, mode: int | None) -> None:
    """Write ``data`` beside ``path`` and rename it into place, so that readers see old or new, never half."""
    part: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        prefix = f"{beside(path, '')}.{os.getpid()}-"
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=_PART)
        part = Path(name)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        part.chmod(0o644 if mode is None else stat.S_IMODE(mode))
        part.replace(path)
    finally:
        if part is not None:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)


def beside(path: Path, ending: str) -> str:
    """The name of a hidden file that belongs to ``path``, short enough for file systems."""
    encoded = os.fsencode(path.name)
    name = path.name if len(encoded) <= _LONGEST_NAME else hashlib.sha256(encoded).hexdigest()
    return f".{name}{ending}"


def _sweep(path: Path) -> None:
    """Remove what writers of ``path`` left behind that were killed in the middle of it."""
    start = beside(path, ".")
    for leftover in path.parent.glob(f"{glob.escape(start)}*{_PART}"):
        writer = leftover.name.removeprefix(start).partition("-")[0]
        if writer.isdigit() and not alive(int(writer)):
            leftover.unlink(missing_ok=True)


def alive(pid: int) -> bool:
    """Whether a process of that number runs."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True  # somebody else's
    return True


def cannot_write(path: Path, error: OSError | ValueError) -> UnreadableFile:
    """The error for a place that cannot be written."""
    reason = getattr(error, "strerror", None) or error
    is_cache = path.is_relative_to(platformdirs.user_cache_dir("vitdeploy"))
    other = "Set XDG_CACHE_HOME to a folder that can be written to" if is_cache else "Choose another place with --out"
    return UnreadableFile(f"cannot write {path}: {reason}", f"{other}, or free space there.")
