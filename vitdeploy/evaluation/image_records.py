"""The records of all pictures in one file, one a line, written as they arrive; what was finished is never lost.

The first line says whose records they are. A line that was cut off by a crash is dropped when the file is gone on with,
and so are pictures that were not scored: they may have been mended.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from vitdeploy import documents
from vitdeploy.errors import UnreadableFile, UsageError
from vitdeploy.evaluation import record_faults
from vitdeploy.evaluation.record import ImageRecord

SCHEMA = 1


class RecordsHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose records they are: another one of these is another evaluation."""

    schema: int
    dataset: str
    items_sha256: str
    artifacts: tuple[str, ...]
    """Digests of the files, sorted."""
    protocol: tuple[str, ...]
    device: str


class ImageRecords:
    """An open file of records."""

    def __init__(self, path: Path, head: RecordsHeader) -> None:
        self.path = path
        self.head = head

    def begin(self, *, resume: bool) -> set[str]:
        """Start the file, or go on with it; returns the names of the pictures that it has scored.

        Raises:
            UsageError: there is one of another evaluation, or it exists and is not to be gone on with.
            UnreadableFile: it cannot be read or written.
        """
        first_line = msgspec.json.encode(self.head) + b"\n"
        if self.path.exists():
            if not resume:
                raise UsageError(
                    f"{self.path} exists", "Go on with it by --resume, or choose another place with --out."
                )
            if not self._was_cut(first_line):
                return self._adopt()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_bytes(first_line)
        except OSError as error:
            raise documents.cannot_write(self.path, error) from error
        return set()

    def add(self, *records: ImageRecord) -> None:
        """Append records; they are on disk when this returns.

        Raises:
            UnreadableFile: it cannot be written.
        """
        try:
            with self.path.open("ab") as stream:
                stream.write(b"".join(msgspec.json.encode(record) + b"\n" for record in records))
        except OSError as error:
            raise documents.cannot_write(self.path, error) from error

    def _was_cut(self, first_line: bytes) -> bool:
        """Whether the file ends within its first line: a kill or a full disk came before any record."""
        try:
            with documents.open_file(self.path) as stream:
                start = stream.read(len(first_line))
        except OSError as error:
            raise UnreadableFile(f"cannot read {self.path}: {error.strerror}", "Check the path.") from error
        return len(start) < len(first_line) and first_line.startswith(start)

    def _adopt(self) -> set[str]:
        head = head_of(self.path)
        if head != self.head:
            differing = [f for f in RecordsHeader.__struct_fields__ if getattr(head, f) != getattr(self.head, f)]
            raise UsageError(
                f"{self.path} is of another evaluation: {', '.join(differing)} differ",
                "Choose another place with --out.",
            )
        names: set[str] = set()
        part = self.path.with_name(f"{self.path.name}.part")
        try:
            with documents.open_file(self.path) as stream, part.open("wb") as copy:
                copy.write(stream.readline())
                for line in stream:
                    record = _record(line)
                    if record is None:
                        break
                    if record.status == "scored":
                        names.add(record.image)
                        copy.write(line)
            part.replace(self.path)
        except OSError as error:
            raise documents.cannot_write(self.path, error) from error
        return names


def head_of(path: Path) -> RecordsHeader:
    """Whose records a file has.

    Raises:
        UnreadableFile: it is none.
    """
    try:
        with documents.open_file(path) as stream:
            line = stream.readline()
    except OSError as error:
        raise UnreadableFile(f"cannot read {path}: {error.strerror}", "Check the path.") from error
    return documents.decode(line, RecordsHeader, schema=SCHEMA, what="image records", name=str(path))


def records(path: Path) -> Iterator[ImageRecord]:
    """The records of a file, one by one.

    Raises:
        UnreadableFile: a line is no record.
    """
    head_of(path)
    with documents.open_file(path) as stream:
        stream.readline()
        for number, line in enumerate(stream, 2):
            record = _record(line)
            if record is None:
                raise UnreadableFile(f"line {number} of {path} is no record of an image", "Run `eval --resume`.")
            yield record


def checked(path: Path, kind: str, classes: int) -> Iterator[ImageRecord]:
    """The records of a file, of pictures that are there once and with values that can be true.

    Args:
        kind: a key of `summary.METRICS`.
        classes: how many there are; 0 where there are none.

    Raises:
        UnreadableFile: as `records`, or a record cannot be true.
    """
    names: set[str] = set()
    for number, record in enumerate(records(path), 2):
        faults = (f"`$.{field}`: {why}" for field, why in record_faults.image_faults(record, kind, classes))
        why = next(faults, None)
        if record.image in names:
            why = f"`$.image`: {record.image[:80]!r} is there twice"
        if why is not None:
            raise UnreadableFile(f"line {number} of {path} holds what cannot be true, {why}", "Evaluate again.")
        names.add(record.image)
        yield record


def digest(path: Path) -> str:
    """SHA-256 of a file of records, whatever the order of its lines: parts may have come in any."""
    hasher = hashlib.sha256()
    with documents.open_file(path) as stream:
        hasher.update(stream.readline())
        for line in sorted(hashlib.sha256(line).digest() for line in stream):
            hasher.update(line)
    return hasher.hexdigest()


def _record(line: bytes) -> ImageRecord | None:
    if not line.endswith(b"\n"):
        return None
    try:
        return msgspec.json.decode(line, type=ImageRecord)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
