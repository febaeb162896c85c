"""adb's services over one open stream each: commands by shell protocol v2, files by the sync protocol.

A stream is a socket that an adb server has joined to a service of the phone. Nothing here knows phones,
servers or policies: only bytes, deadlines, and what the other side refused. Standard library only.

Source: SERVICES.TXT, SYNC.TXT and shell_protocol.h of packages/modules/adb (android.googlesource.com).
"""

import select
import socket
import struct
import time
from collections.abc import Callable
from typing import BinaryIO

from vitdeploy.processes.bounded_streams import LARGEST_OUTPUT_BYTES, OutOfTime, TooMuch

STDIN, STDOUT, STDERR, EXIT, CLOSE_STDIN = range(5)
"""Kinds of packets of shell protocol v2: one byte, then the length in four bytes, then the bytes."""

_SHELL_HEADER = struct.Struct("<BI")
_SYNC_HEADER = struct.Struct("<4sI")
_CHUNK_BYTES = 64 * 1024
"""Largest data block of the sync protocol. Source: SYNC.TXT."""

_SIGNAL_BIT = 0x80
"""adbd adds it to the number of the signal that ended a command, as shells do. Source: shell_service.cpp."""

_LONGEST_REFUSAL_BYTES = 64 * 1024
_LONGEST_PACKET_BYTES = 2**20
"""Source: MAX_PAYLOAD of adb.h; a phone that says more speaks another protocol."""


class StreamLost(Exception):
    """The other side is gone: unplugged, or a daemon died."""


class Refused(Exception):
    """The phone answered that it will not or cannot; the words are its own."""


class Shell:
    """One command: its stdin goes in, its two outputs and its exit code come out, all at once, never in a deadlock."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream
        self._stream.setblocking(False)
        self._unsent = bytearray()
        self._unread = bytearray()
        self.stdout, self.stderr = bytearray(), bytearray()
        self.exit_code: int | None = None
        """None while it runs; negative: killed by that signal."""

    def send(self, data: bytes) -> None:
        """Queue bytes for the command's stdin."""
        for start in range(0, len(data), _CHUNK_BYTES):
            block = data[start : start + _CHUNK_BYTES]
            self._unsent += _SHELL_HEADER.pack(STDIN, len(block)) + block

    def close_stdin(self) -> None:
        """Let the command see the end of its stdin, after what is queued."""
        self._unsent += _SHELL_HEADER.pack(CLOSE_STDIN, 0)

    def wait(self, deadline: float, *, until: Callable[[], bool] = lambda: False) -> None:
        """Pass data until the command has ended, or ``until`` says so.

        Args:
            deadline: on the clock of `time.monotonic`.

        Raises:
            OutOfTime: the deadline came first; the command still runs.
            StreamLost: the stream ended before the command did, or what comes is no packet.
            TooMuch: it printed more than may be; it still runs.
        """
        while self.exit_code is None and not until():
            remaining_s = deadline - time.monotonic()
            if remaining_s <= 0:
                raise OutOfTime
            poll = select.poll()  # `select` itself ends at descriptor 1023
            poll.register(self._stream, select.POLLIN | (select.POLLOUT if self._unsent else 0))
            ready = sum(event for _, event in poll.poll(remaining_s * 1000))
            try:
                if ready & select.POLLOUT:
                    del self._unsent[: self._stream.send(self._unsent)]
                if ready & ~select.POLLOUT:
                    data = self._stream.recv(_CHUNK_BYTES)
                    if not data:
                        raise StreamLost
                    self._unread += data
                    self._take()
                    if len(self.stdout) + len(self.stderr) > LARGEST_OUTPUT_BYTES:
                        raise TooMuch
            except BlockingIOError:
                continue
            except OSError as error:
                raise StreamLost from error

    def _take(self) -> None:
        while len(self._unread) >= _SHELL_HEADER.size:
            kind, length = _SHELL_HEADER.unpack_from(self._unread)
            end = _SHELL_HEADER.size + length
            if length > _LONGEST_PACKET_BYTES:
                raise StreamLost(f"a packet of {length} bytes")
            if len(self._unread) < end:
                return
            data = bytes(self._unread[_SHELL_HEADER.size : end])
            del self._unread[:end]
            if kind == STDOUT:
                self.stdout += data
            elif kind == STDERR:
                self.stderr += data
            elif kind == EXIT:
                code = data[0] if data else 255
                self.exit_code = -(code - _SIGNAL_BIT) if code > _SIGNAL_BIT else code


class Sync:
    """Files to and from the phone, one after the other, over one stream."""

    def __init__(self, stream: socket.socket, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def send(self, source: BinaryIO, remote: str, *, mode: int) -> None:
        """Write a file on the phone.

        Raises:
            Refused: it could not be written there; the words say why.
            StreamLost: the phone is gone.
            OutOfTime: the deadline came first.
        """
        name = f"{remote},{mode}".encode()
        self._write(_SYNC_HEADER.pack(b"SEND", len(name)) + name)
        try:
            while block := source.read(_CHUNK_BYTES):
                self._write(_SYNC_HEADER.pack(b"DATA", len(block)) + block)
            self._write(_SYNC_HEADER.pack(b"DONE", int(time.time())))
        except StreamLost as error:
            self._refusal_or(error)
        self._expect_okay()

    def receive(self, remote: str, target: BinaryIO, *, largest_bytes: int) -> None:
        """Read a file of the phone.

        Raises:
            TooMuch: more than ``largest_bytes`` came.
            Refused: it cannot be read there.
            StreamLost: the phone is gone.
            OutOfTime: the deadline came first.
        """
        name = remote.encode()
        self._write(_SYNC_HEADER.pack(b"RECV", len(name)) + name)
        received_bytes = 0
        while True:
            kind, length = _SYNC_HEADER.unpack(self._read(_SYNC_HEADER.size))
            if kind == b"DONE":
                return
            if kind == b"FAIL":
                raise Refused(self._words(length))
            if kind != b"DATA" or length > _CHUNK_BYTES:
                raise StreamLost(f"it answered {kind!r} of {length} bytes")
            received_bytes += length
            if received_bytes > largest_bytes:
                raise TooMuch
            target.write(self._read(length))

    def _expect_okay(self) -> None:
        kind, length = _SYNC_HEADER.unpack(self._read(_SYNC_HEADER.size))
        if kind == b"FAIL":
            raise Refused(self._words(length))
        if kind != b"OKAY":
            raise StreamLost(f"it answered {kind!r}")

    def _refusal_or(self, lost: StreamLost) -> None:
        """A phone that refuses may close before all was sent: its reason is read then, if it came through."""
        try:
            self._expect_okay()
        except (StreamLost, OutOfTime):
            raise lost from None

    def _words(self, length: int) -> str:
        return self._read(min(length, _LONGEST_REFUSAL_BYTES)).decode(errors="replace")

    def _write(self, data: bytes) -> None:
        write_all(self._stream, data, self._deadline)

    def _read(self, count: int) -> bytes:
        return read_exactly(self._stream, count, self._deadline)


def write_all(stream: socket.socket, data: bytes, deadline: float) -> None:
    """Send all of ``data``.

    Raises:
        StreamLost: the other side is gone.
        OutOfTime: the deadline came first.
    """
    _limit(stream, deadline)
    try:
        stream.sendall(data)
    except TimeoutError as error:
        raise OutOfTime from error
    except OSError as error:
        raise StreamLost from error


def read_exactly(stream: socket.socket, count: int, deadline: float) -> bytes:
    """Receive ``count`` bytes. Raises as `write_all` does."""
    data = bytearray()
    while len(data) < count:
        _limit(stream, deadline)
        try:
            block = stream.recv(count - len(data))
        except TimeoutError as error:
            raise OutOfTime from error
        except OSError as error:
            raise StreamLost from error
        if not block:
            raise StreamLost
        data += block
    return bytes(data)


def _limit(stream: socket.socket, deadline: float) -> None:
    remaining_s = deadline - time.monotonic()
    if remaining_s <= 0:
        raise OutOfTime
    stream.settimeout(remaining_s)
