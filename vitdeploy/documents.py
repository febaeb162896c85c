"""JSON documents with a schema number: read strictly, written whole or not at all.

Every file that people or other programs may have written goes through `decode`: unknown fields,
wrong types, a newer schema, an oversized or truncated file are one `UnreadableFile` each, naming the
path of the field. The traps of the format are dealt with here: NaN is written as null, so the
fields that can be undefined are nullable; a newer schema is looked at before the rest is decoded.
"""

import contextlib
import glob
import os
import tempfile
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from vitdeploy.errors import UnreadableFile

T = TypeVar("T")

LARGEST_BYTES = 512 * 2**20
"""Documents beyond this are refused unread: a run of 50 cases is below 50 MiB."""


_PART = ".part"


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
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise UnreadableFile(
                f"{path} is {path.stat().st_size} bytes, more than any {what} file", "Check that it is the right file."
            )
        data = path.read_bytes()
    except OSError as error:
        raise UnreadableFile(
            f"cannot read the {what} file {path}: {error.strerror}", "Check the path and its permissions."
        ) from error
    return decode(data, kind, schema=schema, what=what, name=str(path))


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


def write(path: Path, document: Any) -> None:
    """Write ``document`` as indented JSON, whole or not at all.

    Raises:
        UnreadableFile: the place cannot be written (no such folder, read-only, disk full).
    """
    write_bytes(path, msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n")


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` beside ``path`` and rename it into place, so that readers see old or new, never half."""
    part: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.{os.getpid()}-", suffix=_PART)
        part = Path(name)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        part.chmod(0o644)
        part.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        if part is not None:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)


def _sweep(path: Path) -> None:
    """Remove what writers of ``path`` left behind that were killed in the middle of it."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*{_PART}"):
        writer = leftover.name.removeprefix(f".{path.name}.").partition("-")[0]
        if writer.isdigit() and not _alive(int(writer)):
            leftover.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # somebody else's
    return True


def cannot_write(path: Path, error: OSError) -> UnreadableFile:
    """The error for a place that cannot be written."""
    return UnreadableFile(
        f"cannot write {path}: {error.strerror or error}", "Choose another place with --out, or free space there."
    )
