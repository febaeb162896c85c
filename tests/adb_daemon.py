"""TEST DOUBLE of a phone's adbd: no phone, no Android, only a folder that answers over adb's own protocol.

It speaks the transport protocol (CNXN, AUTH, OPEN, OKAY, WRTE, CLSE), shell v2 and sync, so that a real
``adb`` server, which knows nothing of us, connects to it on loopback: two sides written by different hands
must agree. Commands run here, in a shell whose paths of the phone are those of a folder.

Source: protocol.txt, SERVICES.TXT, SYNC.TXT and file_sync_protocol.h of packages/modules/adb
(android.googlesource.com); what becomes of a command whose stream ends: daemon/shell_service.cpp there;
recordings of real phones: `test_adbd_recordings`.
"""

import contextlib
import os
import queue
import re
import shutil
import signal
import socket
import stat
import struct
import subprocess
import threading
from pathlib import Path
from typing import IO

HEADER = struct.Struct("<6I")
VERSION = 0x01000001
MOST_BYTES = 256 * 1024
AUTH_TOKEN, AUTH_SIGNATURE = 1, 2
BANNER = (
    b"device::ro.product.name=double;ro.product.model=Test_Double;ro.product.device=double;"
    b"features=shell_v2,cmd,stat_v2,ls_v2,fixed_push_mkdir"
)
PHONE_PATHS = re.compile(r"(?<![\w.])(/data/local/tmp|/sys/|/dev/cpuset|/proc/(?!self/fd))")
SHELL, SYNC = struct.Struct("<BI"), struct.Struct("<4sI")
STDIN, STDOUT, STDERR, EXIT, CLOSE_STDIN = range(5)


def word(name: str) -> int:
    return int.from_bytes(name.encode(), "little")


class Stream:
    """One service that the host opened."""

    def __init__(self, link: "Link", local: int, remote: int) -> None:
        self.link, self.local, self.remote = link, local, remote
        self.inbox: queue.Queue[bytes | None] = queue.Queue()
        self.ready = threading.Semaphore(0)
        self.closed = threading.Event()
        self._unread = bytearray()

    def write(self, data: bytes) -> None:
        for start in range(0, len(data), MOST_BYTES):
            self.link.send("WRTE", self.local, self.remote, data[start : start + MOST_BYTES])
            self.ready.acquire()  # the host's OKAY, or the end
            if self.closed.is_set():
                raise ConnectionError

    def read(self, count: int) -> bytes:
        while len(self._unread) < count:
            data = self.inbox.get()
            if data is None:
                raise EOFError
            self._unread += data
        data = bytes(self._unread[:count])
        del self._unread[:count]
        return data

    def end(self) -> None:
        """The host closed it, or is gone."""
        self.closed.set()
        self.inbox.put(None)
        self.ready.release()


class Link:
    """One connection of an adb server."""

    def __init__(self, phone: "PhoneDouble", sock: socket.socket) -> None:
        self.phone, self.sock = phone, sock
        self.streams: dict[int, Stream] = {}
        self._sending = threading.Lock()
        self._last = 0

    def send(self, name: str, first: int, second: int, data: bytes = b"") -> None:
        command = word(name)
        head = HEADER.pack(command, first, second, len(data), sum(data) & 0xFFFFFFFF, command ^ 0xFFFFFFFF)
        with self._sending:
            self.sock.sendall(head + data)

    def serve(self) -> None:
        try:
            while True:
                self._take(*HEADER.unpack(self._exactly(HEADER.size)))
        except (OSError, EOFError):
            pass
        finally:
            self.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()
        for stream in list(self.streams.values()):
            stream.end()

    def _exactly(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            block = self.sock.recv(count - len(data))
            if not block:
                raise EOFError
            data += block
        return bytes(data)

    def _take(self, command: int, first: int, second: int, length: int, check: int, magic: int) -> None:
        assert magic == command ^ 0xFFFFFFFF, "not adb's protocol"
        data = self._exactly(length)
        name = command.to_bytes(4, "little").decode()
        if name == "CNXN":
            assert data.startswith(b"host::"), data
            if self.phone.silent:
                return
            if not self.phone.authorized:
                self.send("AUTH", AUTH_TOKEN, 0, os.urandom(20))
                return
            self.send("CNXN", VERSION, MOST_BYTES, BANNER)
        elif name == "AUTH" and first == AUTH_SIGNATURE:  # after the last one comes a public key: nobody says yes
            self.send("AUTH", AUTH_TOKEN, 0, os.urandom(20))
        elif name == "OPEN":
            self._last += 1
            stream = self.streams[self._last] = Stream(self, self._last, first)
            service = data.rstrip(b"\0").decode()
            threading.Thread(target=self._run, args=(stream, service), daemon=True).start()
        elif name == "WRTE" and second in self.streams:
            self.streams[second].inbox.put(data)
            self.send("OKAY", second, first)
        elif name == "OKAY" and second in self.streams:
            self.streams[second].ready.release()
        elif name == "CLSE" and second in self.streams:
            self.streams[second].end()

    def _run(self, stream: Stream, service: str) -> None:
        kind, _, rest = service.partition(":")
        try:
            self.phone.services.append(service)
            if kind.split(",")[0] not in ("shell", "sync"):
                return
            self.send("OKAY", stream.local, stream.remote)
            if kind == "sync":
                Files(self.phone, stream).serve()
            else:
                Command(self.phone, stream, rest, framed="v2" in kind.split(",")).serve()
        except (OSError, EOFError):
            pass
        finally:
            self.streams.pop(stream.local, None)
            stream.end()
            with contextlib.suppress(OSError):
                self.send("CLSE", stream.local, stream.remote)


class Command:
    """One command, as adbd runs it: a session of its own, SIGHUP for its first process when the stream ends."""

    def __init__(self, phone: "PhoneDouble", stream: Stream, text: str, *, framed: bool) -> None:
        self.phone, self.stream, self.framed = phone, stream, framed
        self._sending = threading.Lock()
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", phone.inside(text)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if framed else subprocess.STDOUT,
            env=phone.environment,
            cwd=phone.root,
            start_new_session=True,
        )

    def serve(self) -> None:
        process = self.process
        assert process.stdout is not None
        sources = [(STDOUT, process.stdout)] + ([(STDERR, process.stderr)] if process.stderr else [])
        self.pumps = [threading.Thread(target=self._pump, args=source, daemon=True) for source in sources]
        feeder = threading.Thread(target=self._feed, daemon=True)
        for thread in (*self.pumps, feeder):
            thread.start()
        for thread in self.pumps:
            thread.join()
        if not self.stream.closed.is_set():
            code = process.wait()
            if self.framed:
                self._send(EXIT, bytes([128 - code if code < 0 else code]))

    def _send(self, kind: int, data: bytes) -> None:
        with self._sending:
            self.stream.write(SHELL.pack(kind, len(data)) + data if self.framed else data)

    def _pump(self, kind: int, source: IO[bytes]) -> None:
        with contextlib.suppress(OSError, ValueError):
            while data := os.read(source.fileno(), 65536):
                self._send(kind, data.replace(os.fsencode(self.phone.root), b""))

    def _feed(self) -> None:
        process = self.process
        assert process.stdin is not None
        with contextlib.suppress(EOFError):
            while True:
                kind, length = SHELL.unpack(self.stream.read(SHELL.size)) if self.framed else (STDIN, 1)
                data = self.stream.read(length)
                with contextlib.suppress(OSError, ValueError):
                    if kind == CLOSE_STDIN:
                        process.stdin.close()
                    elif kind == STDIN:
                        process.stdin.write(data)
                        process.stdin.flush()
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGHUP)
        with contextlib.suppress(OSError, ValueError):
            process.stdin.close()
        threading.Thread(target=self._end, daemon=True).start()

    def _end(self) -> None:
        """Leave no zombie and no open pipe."""
        self.process.wait()
        for thread in self.pumps:
            thread.join()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()


class Files:
    """The sync service."""

    def __init__(self, phone: "PhoneDouble", stream: Stream) -> None:
        self.phone, self.stream = phone, stream

    def serve(self) -> None:
        while True:
            kind, length = SYNC.unpack(self.stream.read(SYNC.size))
            if kind == b"QUIT":
                return
            name = self.stream.read(length).decode()
            {
                b"STAT": self._stat,
                b"LST2": self._stat2,
                b"STA2": self._stat2,
                b"LIST": self._list,
                b"LIS2": self._list2,
                b"SEND": self._send,
                b"RECV": self._receive,
            }[kind](kind, name)

    def _path(self, name: str) -> Path:
        return Path(self.phone.inside(name))

    def _fail(self, what: str, error: OSError) -> None:
        words = f"{what}: {error.strerror}".encode()
        self.stream.write(SYNC.pack(b"FAIL", len(words)) + words)

    def _stat(self, kind: bytes, name: str) -> None:
        try:
            found = self._path(name).lstat()
            numbers = (found.st_mode, found.st_size & 0xFFFFFFFF, int(found.st_mtime))
        except OSError:
            numbers = (0, 0, 0)
        self.stream.write(struct.pack("<4sIII", b"STAT", *numbers))

    def _stat2(self, kind: bytes, name: str) -> None:
        form = "<4sIQQIIIIQqqq"
        try:
            path = self._path(name)
            s = path.stat() if kind == b"STA2" else path.lstat()
        except OSError as error:
            self.stream.write(struct.pack(form, kind, error.errno or 1, *([0] * 10)))
            return
        owner = (s.st_mode, s.st_nlink, s.st_uid, s.st_gid)
        times = (int(s.st_atime), int(s.st_mtime), int(s.st_ctime))
        self.stream.write(struct.pack(form, kind, 0, s.st_dev, s.st_ino, *owner, s.st_size, *times))

    def _list(self, kind: bytes, name: str) -> None:
        for path in sorted(self._path(name).iterdir()) if self._path(name).is_dir() else []:
            s, entry = path.lstat(), path.name.encode()
            self.stream.write(
                struct.pack("<4sIIII", b"DENT", s.st_mode, s.st_size, int(s.st_mtime), len(entry)) + entry
            )
        self.stream.write(struct.pack("<4sIIII", b"DONE", 0, 0, 0, 0))

    def _list2(self, kind: bytes, name: str) -> None:
        form = "<4sIQQIIIIQqqqI"
        for path in sorted(self._path(name).iterdir()) if self._path(name).is_dir() else []:
            s, entry = path.lstat(), path.name.encode()
            owner = (s.st_mode, s.st_nlink, s.st_uid, s.st_gid)
            times = (int(s.st_atime), int(s.st_mtime), int(s.st_ctime))
            numbers = (0, s.st_dev, s.st_ino, *owner, s.st_size, *times, len(entry))
            self.stream.write(struct.pack(form, b"DNT2", *numbers) + entry)
        self.stream.write(struct.pack(form, b"DONE", *([0] * 12)))

    def _send(self, kind: bytes, name: str) -> None:
        remote, _, mode = name.rpartition(",")
        path, failure, written = self._path(remote), None, 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            target = path.open("wb")
        except OSError as error:
            failure, target = error, Path(os.devnull).open("wb")  # noqa: SIM115
        with target:
            while True:  # after a failure the rest is read and thrown away, as adbd does
                kind, number = SYNC.unpack(self.stream.read(SYNC.size))
                if kind == b"DONE":
                    break
                data = self.stream.read(number)
                written += len(data)
                self.phone.pushed_bytes += len(data)
                if (
                    self.phone.unplug_after_bytes is not None
                    and self.phone.pushed_bytes > self.phone.unplug_after_bytes
                ):
                    self.phone.unplug()
                    raise EOFError
                if self.phone.storage_bytes is not None and written > self.phone.storage_bytes:
                    failure = failure or OSError(28, os.strerror(28))
                elif failure is None:
                    target.write(data)
        if failure is not None:
            path.unlink(missing_ok=True)
            self._fail("write failed", failure)
            return
        path.chmod(stat.S_IMODE(int(mode)))
        self.stream.write(SYNC.pack(b"OKAY", 0))

    def _receive(self, kind: bytes, name: str) -> None:
        try:
            data = self._path(name).read_bytes()
        except OSError as error:
            self._fail("open failed", error)
            return
        for start in range(0, len(data), 65536):
            block = data[start : start + 65536]
            self.stream.write(SYNC.pack(b"DATA", len(block)) + block)
        self.stream.write(SYNC.pack(b"DONE", 0))


class PhoneDouble:
    """TEST DOUBLE of a phone on a loopback port; what it is like is planted in its folder and its attributes."""

    def __init__(self, root: Path, *, authorized: bool = True) -> None:
        self.root = root
        self.authorized = authorized
        self.silent = False
        """Takes connections and says nothing."""
        self.storage_bytes: int | None = None
        self.unplug_after_bytes: int | None = None
        self.pushed_bytes = 0
        self.services: list[str] = []
        """Every service that was opened, in order."""
        self.environment = {
            "PATH": f"{root / 'bin'}:{os.environ['PATH']}",
            "VITDEPLOY_TEST_ROOT": str(root),
            "HOME": str(root),
        }
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.serial = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._links: list[Link] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def inside(self, text: str) -> str:
        """The phone's paths as those of its folder."""
        return PHONE_PATHS.sub(lambda found: f"{self.root}{found[0]}", text)

    def unplug(self) -> None:
        """Gone, in the middle of whatever was going on, and not coming back."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for link in self._links:
            link.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                link = Link(self, sock)
                self._links.append(link)
                threading.Thread(target=link.serve, daemon=True).start()


class AdbServer:
    """A real adb server of our own, on a port of its own, with a home of its own; the user's is never touched."""

    def __init__(self, home: Path) -> None:
        home.mkdir(exist_ok=True)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.tool = shutil.which("adb") or ""
        self.environment = {
            **os.environ,
            "ANDROID_ADB_SERVER_PORT": str(self.port),
            "ANDROID_USER_HOME": str(home),
            "HOME": str(home),
            "ADB_MDNS": "0",
        }

    def adb(self, *words: str, timeout_s: float = 30.0) -> str:
        """The real client; returns what it said."""
        done = subprocess.run(
            [self.tool, *words],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        return done.stdout + done.stderr

    def states(self) -> dict[str, str]:
        rows = [line.split("\t") for line in self.adb("devices").splitlines() if "\t" in line]
        return {row[0]: row[1] for row in rows}
