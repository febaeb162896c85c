"""TEST DOUBLE of two services of a phone's adbd, commands and files: each runs at one end of a pair of sockets.

What the daemon passes on, and when, is `adb_daemon`'s; here is only what a service itself says and does. Held
against recordings of Google's own adbd: `test_adbd_recordings`. Source of what no recording shows:
daemon/shell_service.cpp, file_sync_service.cpp and SYNC.TXT of packages/modules/adb (android.googlesource.com).

Not here, as no bench of ours can meet it: symlinks that are pushed (``adb sync``), ``shell,v2,pty``, the size of a
window, SELinux and file capabilities. Entries of a folder come with ``.`` and ``..`` first, then as the system has
them; adbd mixes all. The output of commands has the phone's paths; that of plain ``shell:`` those of the folder.
"""

import contextlib
import errno
import os
import re
import select
import signal
import socket
import struct
import threading
import time
import tty
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NoReturn

if TYPE_CHECKING:
    from tests.doubles.adb_daemon import PhoneDouble

SHELL, SYNC = struct.Struct("<BI"), struct.Struct("<4sI")
STDIN, STDOUT, STDERR, EXIT, CLOSE_STDIN = range(5)
LONGEST_NAME, LARGEST_BLOCK = 1024, 64 * 1024
LONGEST_FLUSH_S = 1.0

End = socket.socket | FileIO
"""What the daemon holds of a service: a socket, or the master of a terminal."""


def start(phone: "PhoneDouble", service: str) -> End | None:
    """Run a service in threads of its own; None: adbd has no such service."""
    kind, _, text = service.partition(":")
    name, *words = kind.split(",")
    if name not in ("shell", "sync"):
        return None
    terminal = next((word.removeprefix("TERM=") for word in words if word.startswith("TERM=")), "dumb")
    if name == "shell" and "v2" not in words:
        return on_terminal(phone, text, terminal)
    ours, theirs = socket.socketpair()
    running = Files(phone, theirs) if name == "sync" else Command(phone, theirs, text, terminal)
    threading.Thread(target=running.serve, daemon=True).start()
    return ours


def let_go(end: End) -> None:
    """Say no more to a service and throw away what it says, until it ends or a second is over, as adbd does."""
    with end:
        if isinstance(end, socket.socket):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_WR)
        readable = select.poll()
        readable.register(end, select.POLLIN)
        until = time.monotonic() + LONGEST_FLUSH_S
        with contextlib.suppress(OSError):
            while (left := until - time.monotonic()) > 0 and readable.poll(left * 1000):
                if not os.read(end.fileno(), LARGEST_BLOCK):
                    return


def exactly(end: socket.socket, count: int) -> bytes:
    """So many bytes of what the host sends.

    Raises:
        EOFError: it closed the stream, or is gone.
    """
    data = bytearray()
    with contextlib.suppress(OSError):
        while len(data) < count and (block := end.recv(count - len(data))):
            data += block
    if len(data) < count:
        raise EOFError
    return bytes(data)


def say(end: socket.socket, data: bytes) -> None:
    """Bytes for the host.

    Raises:
        EOFError: it closed the stream, or is gone.
    """
    try:
        end.sendall(data)
    except OSError as error:
        raise EOFError from error


def on_terminal(phone: "PhoneDouble", text: str, terminal: str) -> FileIO:
    """A command of plain ``shell:``; the system itself sends it SIGHUP when its terminal's master is closed."""
    master, slave = os.openpty()
    tty.setraw(slave)
    # A session's first process gets the terminal that it opens: so it is opened once more, by the shell itself.
    argv = ["/bin/sh", "-c", ': <"$1"; exec /bin/sh -c "$2"', "sh", os.ttyname(slave), phone.inside(text)]
    process = phone.start(argv, terminal, data=slave, errors=slave)
    os.close(slave)
    threading.Thread(target=process.wait, daemon=True).start()  # leaves no zombie
    return FileIO(master, "r+")


class Command:
    """A command of shell protocol v2: a session of its own, with one socket as stdin and stdout and one as stderr."""

    def __init__(self, phone: "PhoneDouble", host: socket.socket, text: str, terminal: str) -> None:
        self._host, self._phone = host, phone
        self._sending = threading.Lock()
        self._host_left = False
        self._data, data = socket.socketpair()
        self._errors, errors = socket.socketpair()
        with data, errors:
            argv = ["/bin/sh", "-c", phone.inside(text)]
            self._process = phone.start(argv, terminal, data=data.fileno(), errors=errors.fileno())

    def serve(self) -> None:
        """Pass data until nobody has the command's outputs open any more; then say how it ended."""
        threads = [
            threading.Thread(target=self._feed, daemon=True),
            threading.Thread(target=self._pump, args=(STDERR, self._errors), daemon=True),
        ]
        with self._host, self._data, self._errors:
            for thread in threads:
                thread.start()
            self._pump(STDOUT, self._data)
            threads[1].join()
            code = self._process.wait()
            if not self._host_left:
                with contextlib.suppress(EOFError):
                    self._send(EXIT, bytes([0x80 | -code if code < 0 else code]))
            with contextlib.suppress(OSError):
                self._host.shutdown(socket.SHUT_RDWR)  # wakes `_feed`
            threads[0].join()

    def _send(self, kind: int, data: bytes) -> None:
        with self._sending:
            say(self._host, SHELL.pack(kind, len(data)) + data)

    def _pump(self, kind: int, source: socket.socket) -> None:
        with contextlib.suppress(EOFError, OSError):
            while data := source.recv(LARGEST_BLOCK):
                self._send(kind, self._phone.outside(data))

    def _feed(self) -> None:
        with contextlib.suppress(EOFError):
            while True:
                kind, length = SHELL.unpack(exactly(self._host, SHELL.size))
                data = exactly(self._host, length)
                with contextlib.suppress(OSError):  # nobody reads it any more
                    if kind == CLOSE_STDIN:
                        self._data.shutdown(socket.SHUT_WR)
                    elif kind == STDIN:
                        self._give(data)
        self._host_left = self._process.poll() is None
        if self._host_left:
            self._process.send_signal(signal.SIGHUP)  # to this one process; who writes on meets a closed socket
        for pair in (self._data, self._errors):
            with contextlib.suppress(OSError):
                pair.shutdown(socket.SHUT_RDWR)

    def _give(self, data: bytes) -> None:
        """To the command's stdin, for as long as it takes, unless the host is gone meanwhile."""
        ready = select.poll()
        ready.register(self._data, select.POLLOUT)
        ready.register(self._host, 0)  # its end is told all the same
        rest = memoryview(data)
        while rest:
            if self._host.fileno() in dict(ready.poll()):
                raise EOFError
            rest = rest[self._data.send(rest, socket.MSG_DONTWAIT) :]


class Files:
    """The sync service: one request after the other; after a refusal it ends."""

    def __init__(self, phone: "PhoneDouble", host: socket.socket) -> None:
        self._phone, self._host = phone, host

    def serve(self) -> None:
        """Answer until the host says QUIT or leaves, or something was refused."""
        answers = {
            b"STAT": self._stat,
            b"LST2": self._stat2,
            b"STA2": self._stat2,
            b"LIST": self._list,
            b"LIS2": self._list2,
            b"SEND": self._send,
            b"RECV": self._receive,
        }
        with self._host, contextlib.suppress(EOFError):
            while True:
                kind, length = SYNC.unpack(self._read(SYNC.size))
                if length > LONGEST_NAME:
                    self._refuse("path too long")
                name = self._read(length).decode()
                if kind == b"QUIT":
                    return
                if kind not in answers:
                    self._refuse(f"unknown command {int.from_bytes(kind, 'little'):08x}")
                answers[kind](kind, name)

    def _read(self, count: int) -> bytes:
        return exactly(self._host, count)

    def _say(self, data: bytes) -> None:
        say(self._host, data)

    def _fail(self, words: str) -> None:
        said = words.encode()
        self._say(SYNC.pack(b"FAIL", len(said)))
        self._say(said)

    def _refuse(self, words: str) -> NoReturn:
        self._fail(words)
        raise EOFError(words)

    def _stat(self, kind: bytes, name: str) -> None:
        try:
            found = self._phone.path(name).lstat()
            numbers = (found.st_mode, found.st_size & 0xFFFFFFFF, int(found.st_mtime))
        except OSError:
            numbers = (0, 0, 0)
        self._say(struct.pack("<4sIII", b"STAT", *numbers))

    def _stat2(self, kind: bytes, name: str) -> None:
        path = self._phone.path(name)
        try:
            numbers = numbers_of(path.stat() if kind == b"STA2" else path.lstat())
        except OSError as error:
            numbers = (error.errno or errno.EIO, *([0] * 10))
        self._say(struct.pack("<4sIQQIIIIQqqq", kind, *numbers))

    def _entries(self, name: str) -> Iterator[tuple[bytes, os.stat_result]]:
        path = self._phone.path(name)
        try:
            names = [".", "..", *os.listdir(path)]  # noqa: PTH208  in the order of the system
        except OSError:
            return  # a folder that cannot be read is an empty one, without a word
        for entry in names:
            with contextlib.suppress(OSError):
                yield entry.encode(), (path / entry).lstat()

    def _list(self, kind: bytes, name: str) -> None:
        form = "<4sIIII"
        for entry, s in self._entries(name):
            size = s.st_size & 0xFFFFFFFF
            self._say(struct.pack(form, b"DENT", s.st_mode, size, int(s.st_mtime), len(entry)) + entry)
        self._say(struct.pack(form, b"DONE", 0, 0, 0, 0))

    def _list2(self, kind: bytes, name: str) -> None:
        form = "<4sIQQIIIIQqqqI"
        for entry, s in self._entries(name):
            self._say(struct.pack(form, b"DNT2", *numbers_of(s), len(entry)) + entry)
        self._say(struct.pack(form, b"DONE", *([0] * 12)))

    def _send(self, kind: bytes, name: str) -> None:
        remote, comma, digits = name.rpartition(",")
        if not comma:
            self._refuse("missing , in ID_SEND")
        found = re.match(r"\d*", digits)
        number = int(found[0] or "0", 8 if digits.startswith("0") else 10) if found else 0
        user = number & 0o700
        path = self._phone.path(remote)
        replaced = path.is_symlink() or path.is_file() or not path.exists()
        if replaced:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        try:
            written_at = self._write(path, (number & 0o777) | user >> 3 | user >> 6)
        except EOFError:
            if replaced:
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
            raise
        self._say(SYNC.pack(b"OKAY", 0))
        os.utime(path, (written_at, written_at), follow_symlinks=False)

    def _write(self, path: Path, mode: int) -> int:
        """Write what the host sends; returns the time that it gives the file."""
        with self._created(path, mode) as target:
            written = 0
            while True:
                kind, number = SYNC.unpack(self._read(SYNC.size))
                if kind == b"DONE":
                    return number
                if kind != b"DATA":
                    self._refuse("invalid data message")
                if number > LARGEST_BLOCK:
                    self._refuse("oversize data message")
                data = self._read(number)
                written += number
                self._phone.take(number)
                try:
                    self._phone.check_room(written)
                    target.write(data)
                except OSError as error:
                    self._fail(f"write failed: {error.strerror}")
                    self._skip()

    def _created(self, path: Path, mode: int) -> BinaryIO:
        doing = "couldn't create file"
        try:
            if not path.parent.exists() and not any(folder.is_file() for folder in path.parents):
                doing = "secure_mkdirs failed"
                for folder in reversed([folder for folder in path.parents if not folder.exists()]):
                    self._phone.check_writable(folder)
                    folder.mkdir()
                    folder.chmod(0o775)
                doing = "couldn't create file"
            self._phone.check_writable(path)
            target = path.open("wb", buffering=0)
            path.chmod(mode)
        except OSError as error:
            self._fail(f"{doing}: {error.strerror}")
            self._skip()
        return target

    def _skip(self) -> NoReturn:
        """After a refusal adbd throws away what an older host still sends, and ends with its DONE."""
        while True:
            kind, number = SYNC.unpack(self._read(SYNC.size))
            if kind != b"DATA" or number > LARGEST_BLOCK:
                raise EOFError("refused")
            self._read(number)

    def _receive(self, kind: bytes, name: str) -> None:
        try:
            source = os.open(self._phone.path(name), os.O_RDONLY)
        except OSError as error:
            self._refuse(f"open failed: {error.strerror}")
        try:
            while data := os.read(source, LARGEST_BLOCK - SYNC.size):
                self._say(SYNC.pack(b"DATA", len(data)))
                self._say(data)
        except OSError as error:
            self._refuse(f"read failed: {error.strerror}")
        finally:
            os.close(source)
        self._say(SYNC.pack(b"DONE", 0))


def numbers_of(s: os.stat_result) -> tuple[int, ...]:
    """What the second version of the sync protocol says of a file that is there."""
    owner = (s.st_mode, s.st_nlink, s.st_uid, s.st_gid)
    return (0, s.st_dev, s.st_ino, *owner, s.st_size, int(s.st_atime), int(s.st_mtime), int(s.st_ctime))
