"""Checkpoints at plain addresses: downloaded by requests into a folder of our own, gone on with where they were cut.

What is here of an unfinished file lies beside its place as a ``.part``, with the server's mark of that version: the
next attempt, or the next command, asks for the rest of the same version. One process downloads, others wait for it.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import requests

from vitdeploy import documents
from vitdeploy.artifacts.manifest import digest_of
from vitdeploy.catalog.checkpoints import Checkpoint
from vitdeploy.models import refused_download, weights_cache
from vitdeploy.processes.progress import Progress, bytes_arrived, silent

CONNECT_LIMIT_S, READ_LIMIT_S = 10.0, 30.0
"""A server that is silent for so long is not reached, or is lost."""

CONTINUATIONS = 8
"""A download is gone on with so many times, as long as each attempt brings something."""

PAUSE_S = 1.0
_BLOCK_BYTES = 2**14
"""What a connection has brought of an unfinished block is lost with it."""


@dataclass(frozen=True, slots=True)
class _Cut:
    """An attempt that ended before the end."""

    received_bytes: int
    """In all attempts."""
    gained_bytes: int
    reason: str


def download(checkpoint: Checkpoint, *, progress: Progress = silent) -> Path:
    """The file in our own folder, whole and with the published digest, where one is published.

    Raises:
        DeviceError: no network, or the server does not give the file, or not all of it.
        UnreadableFile: it is another file, or our folder cannot be written.
    """
    place = weights_cache.own_path(checkpoint)
    part = place.with_name(f".{place.name}.part")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with _lock(place.with_name(f".{place.name}.lock"), progress):
            if not place.is_file():
                _complete(checkpoint, part)
                part.replace(place)
                _mark_of(part).unlink(missing_ok=True)
    except OSError as error:
        if refused_download.is_of_the_network(error):  # the library's errors are OSErrors too
            raise refused_download.failed(checkpoint, _words(error)) from error
        raise documents.cannot_write(place, error) from error
    return place


def _complete(checkpoint: Checkpoint, part: Path) -> None:
    """Bring ``part`` to its full length and check it; a wrong one is removed."""
    for attempt in range(CONTINUATIONS + 1):
        if attempt:
            time.sleep(PAUSE_S)
        cut = _attempt(checkpoint, part)
        if cut is None:
            break
        if not cut.gained_bytes or attempt == CONTINUATIONS:
            goes_on = "; the next attempt goes on from there" if cut.received_bytes else ""
            raise refused_download.failed(checkpoint, f"{cut.reason}{goes_on}")
    digest = digest_of(part)
    if not digest.startswith(checkpoint.sha256 or checkpoint.sha256_prefix or ""):
        part.unlink()
        raise refused_download.wrong_digest(checkpoint, digest)


def _attempt(checkpoint: Checkpoint, part: Path) -> _Cut | None:
    """One request for what is still missing; None: the file is complete."""
    assert checkpoint.url is not None, checkpoint.name
    had_bytes = part.stat().st_size if part.is_file() else 0
    mark = _mark_of(part)
    if had_bytes and not mark.is_file():  # it cannot be known that the rest would be of the same file
        had_bytes = 0
    headers = {"Accept-Encoding": "identity"}
    if had_bytes:
        headers |= {"Range": f"bytes={had_bytes}-", "If-Range": mark.read_text()}
    limits = (CONNECT_LIMIT_S, READ_LIMIT_S)
    with requests.get(checkpoint.url, headers=headers, stream=True, timeout=limits) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            part.unlink(missing_ok=True)
            return _Cut(0, 1, "the server has another file than before")
        if response.status_code not in (requests.codes.ok, requests.codes.partial_content):
            raise refused_download.failed(checkpoint, refused_download.status_words(response.status_code))
        if response.headers.get("Content-Type", "").startswith("text/html"):
            raise refused_download.failed(checkpoint, "the server answers with a web page")
        starts_at = had_bytes if response.status_code == requests.codes.partial_content else 0
        length = response.headers.get("Content-Length", "")
        total_bytes = starts_at + int(length) if length.isdecimal() else None
        if checkpoint.size_bytes is not None and total_bytes not in (None, checkpoint.size_bytes):
            part.unlink(missing_ok=True)
            raise refused_download.wrong_size(checkpoint, total_bytes or 0)
        _keep_mark(mark, response)
        with part.open("r+b" if starts_at else "wb") as stream:
            stream.seek(starts_at)
            stream.truncate()
            return _received(response, stream, starts_at, total_bytes or checkpoint.size_bytes, checkpoint.name)


def _received(
    response: requests.Response, stream: BinaryIO, starts_at: int, total_bytes: int | None, label: str
) -> _Cut | None:
    """Write a response's body; None: it came whole."""
    received_bytes = starts_at
    bytes_arrived(received_bytes, total_bytes, label)
    reason = None
    try:
        for block in response.iter_content(_BLOCK_BYTES):
            stream.write(block)
            received_bytes += len(block)
            bytes_arrived(received_bytes, total_bytes, label)
    except requests.RequestException:
        reason = refused_download.cut(received_bytes, total_bytes)
    if reason is None and total_bytes is not None and received_bytes < total_bytes:
        reason = refused_download.cut(received_bytes, total_bytes)
    return None if reason is None else _Cut(received_bytes, received_bytes - starts_at, reason)


def _mark_of(part: Path) -> Path:
    """Where the server's mark of the version lies that ``part`` is a part of."""
    return part.with_name(f"{part.name}.etag")


def _keep_mark(mark: Path, response: requests.Response) -> None:
    """Keep a strong mark; without one the file cannot be gone on with. Source: RFC 9110, section 13.1.5."""
    etag = response.headers.get("ETag", "")
    if etag.startswith('"'):
        mark.write_text(etag)
    else:
        mark.unlink(missing_ok=True)


@contextlib.contextmanager
def _lock(path: Path, progress: Progress) -> Generator[None, None, None]:
    """Hold the lock that ends with the process; wait for another process that holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        with contextlib.suppress(OSError):  # a file system without locks: two downloads cost time
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                progress(f"{path.parent.name}: another process downloads these weights; waiting for it")
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _words(error: Exception) -> str:
    """A library's error in a few words: its innermost cause."""
    cause: BaseException = error
    while cause.__cause__ is not None or cause.__context__ is not None:
        cause = cause.__cause__ or cause.__context__ or cause
    return f"{type(cause).__name__}: {cause}"
