"""TEST DOUBLE of a phone's adbd: no phone, no Android, only a folder that answers over adb's own protocol.

It speaks the transport protocol (CNXN, AUTH, OPEN, OKAY, WRTE, CLSE), so that a real ``adb`` server, which knows
nothing of us, connects to it on loopback: two sides written by different hands must agree. Its services are
`adb_services`; commands run here, in a shell whose paths of the phone are those of a folder.

What it says, and in which order, is held against recordings of Google's own adbd, which we built from its source,
and of real phones: `test_adbd_recordings`. Source of what no recording shows: protocol.txt and SERVICES.TXT of
packages/modules/adb (android.googlesource.com).

Not here: services other than ``shell`` and ``sync``, and the features that the banner does not name; TLS; a public
key is never accepted; a second CNXN does not end the streams of the first.
"""

import contextlib
import errno
import os
import re
import select
import shutil
import socket
import struct
import subprocess
import threading
from pathlib import Path

from tests.doubles import adb_services

ENV = shutil.which("env") or "env"
HEADER = struct.Struct("<6I")
VERSION = 0x01000001
"""From this one on, on both sides, no sum of the bytes is sent."""
MOST_BYTES = 1024 * 1024
AUTH_TOKEN, AUTH_SIGNATURE = 1, 2
BANNER = (
    b"device::ro.product.name=double;ro.product.model=Test_Double;ro.product.device=double;"
    b"features=shell_v2,cmd,stat_v2,ls_v2,fixed_push_mkdir"
)
PHONE_PATHS = re.compile(r"(?<![\w.])(/data/local/tmp|/sys/|/dev/cpuset|/proc/(?!self/fd))")


class Stream:
    """One service that the host opened, its two numbers, and what is under way between them."""

    def __init__(self, local: int, remote: int, end: adb_services.End) -> None:
        self.local, self.remote, self.end = local, remote, end
        self.host_ready = True
        """The host said OKAY to all that it was sent."""
        self.unwritten = bytearray()
        """What the host sent and the service has not taken yet."""
        os.set_blocking(end.fileno(), False)

    def read(self, most: int) -> tuple[bytes, bool]:
        """All that the service has said so far, and whether that was its last."""
        data = bytearray()
        try:
            while len(data) < most:
                block = os.read(self.end.fileno(), most - len(data))
                if not block:
                    return bytes(data), True
                data += block
        except BlockingIOError:
            return bytes(data), False
        except OSError:  # so a terminal ends, and a service that did not read all
            return bytes(data), True
        return bytes(data), False

    def write(self) -> bool:
        """Hand on what the service takes; whether it took all."""
        try:
            while self.unwritten:
                del self.unwritten[: os.write(self.end.fileno(), self.unwritten)]
        except BlockingIOError:
            return False
        except OSError:  # nobody there any more: adbd says OKAY all the same
            self.unwritten.clear()
        return True


class Link:
    """One connection of an adb server: one loop, as in adbd, so that what is said has an order."""

    def __init__(self, phone: "PhoneDouble", sock: socket.socket) -> None:
        self.phone, self.sock = phone, sock
        self.streams: dict[int, Stream] = {}
        self._by_number: dict[int, Stream] = {}
        """By the number of its service's descriptor."""
        self._poll = select.poll()
        self._last = 0
        self._online = False
        self._most, self._sums = MOST_BYTES, True

    def serve(self) -> None:
        self._poll.register(self.sock, select.POLLIN)
        try:
            while True:
                for number, events in self._poll.poll():
                    if number == self.sock.fileno():
                        self._take(*HEADER.unpack(self._exactly(HEADER.size)))
                    elif stream := self._by_number.get(number):
                        self._pass(stream, events)
        except (OSError, EOFError):
            pass
        finally:
            self.sock.close()
            for stream in self.streams.values():
                threading.Thread(target=adb_services.let_go, args=(stream.end,), daemon=True).start()

    def close(self) -> None:
        """From any thread: the connection is lost, and the loop ends."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)

    def _say(self, name: str, first: int, second: int, data: bytes = b"") -> None:
        command = int.from_bytes(name.encode(), "little")
        check = sum(data) & 0xFFFFFFFF if self._sums else 0
        self.sock.sendall(HEADER.pack(command, first, second, len(data), check, command ^ 0xFFFFFFFF) + data)

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
            self._greet(first, second, data)
        elif name == "AUTH" and first == AUTH_SIGNATURE:  # after the last one comes a public key: nobody says yes
            self._say("AUTH", AUTH_TOKEN, 0, os.urandom(20))
        elif not self._online or (not first and name != "CLSE"):
            return
        elif name == "OPEN":
            self._open(first, data)
        elif stream := self.streams.get(second):
            if first != stream.remote and (first or name != "CLSE"):
                return
            if name == "WRTE":
                stream.unwritten += data
                self._pass(stream, select.POLLOUT)
            elif name == "OKAY":
                stream.host_ready = True
                self._watch(stream)
            elif name == "CLSE":
                self._close(stream)
        elif name == "OKAY":
            self._say("CLSE", second, first)

    def _greet(self, version: int, most: int, identity: bytes) -> None:
        assert identity.startswith(b"host::"), identity
        self._sums, self._most = version < VERSION, min(most, MOST_BYTES)
        if self.phone.silent:
            return
        if not self.phone.authorized:
            self._say("AUTH", AUTH_TOKEN, 0, os.urandom(20))
            return
        self._online = True
        self._say("CNXN", VERSION, self._most, BANNER)

    def _open(self, remote: int, data: bytes) -> None:
        service = data.rstrip(b"\0").decode()
        self.phone.services.append(service)
        end = adb_services.start(self.phone, service)
        if end is None:
            self._say("CLSE", 0, remote)
            return
        self._last += 1
        stream = self.streams[self._last] = self._by_number[end.fileno()] = Stream(self._last, remote, end)
        self._say("OKAY", stream.local, stream.remote)
        self._watch(stream)

    def _pass(self, stream: Stream, events: int) -> None:
        if events & select.POLLOUT and stream.write():
            self._say("OKAY", stream.local, stream.remote)
        if events & ~select.POLLOUT:
            data, ended = stream.read(self._most)
            if data:
                stream.host_ready = False
                self._say("WRTE", stream.local, stream.remote, data)
            if ended:
                self._close(stream)
                return
        self._watch(stream)

    def _watch(self, stream: Stream) -> None:
        """A service is not read before the host's OKAY; but once it has ended, adbd waits for no OKAY any more."""
        events = select.POLLIN * stream.host_ready | select.POLLOUT * bool(stream.unwritten)
        self._poll.register(stream.end, events | select.POLLRDHUP)

    def _close(self, stream: Stream) -> None:
        self._say("CLSE", stream.local, stream.remote)
        del self.streams[stream.local], self._by_number[stream.end.fileno()]
        self._poll.unregister(stream.end)
        threading.Thread(target=adb_services.let_go, args=(stream.end,), daemon=True).start()


class PhoneDouble:
    """TEST DOUBLE of a phone on a loopback port; what it is like is planted in its folder and its attributes."""

    def __init__(self, root: Path, *, authorized: bool = True) -> None:
        self.root = root
        self.authorized = authorized
        self.silent = False
        """Takes connections and says nothing."""
        self.read_only: tuple[str, ...] = ()
        """Folders of the phone in which adb may make nothing."""
        self.storage_bytes: int | None = None
        self.unplug_after_bytes: int | None = None
        self.pushed_bytes = 0
        self.services: list[str] = []
        """Every service that was opened, in order."""
        self.environment = {
            "PATH": f"{root / 'bin'}:{os.environ['PATH']}",
            "VITDEPLOY_TEST_ROOT": str(root),
            "HOME": str(root),
            "HOSTNAME": "double",
            "LOGNAME": "shell",
            "SHELL": "/bin/sh",
            "TMPDIR": str(root / "data/local/tmp"),
            "USER": "shell",
        }
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.serial = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._links: list[Link] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def inside(self, text: str) -> str:
        """The phone's paths as those of its folder."""
        return PHONE_PATHS.sub(lambda found: f"{self.root}{found[0]}", text)

    def outside(self, data: bytes) -> bytes:
        """The paths of its folder as the phone's."""
        return re.sub(re.escape(os.fsencode(self.root)) + b"/?", b"/", data)

    def path(self, name: str) -> Path:
        """A path of the phone, whichever, as one in its folder."""
        return self.root / name.lstrip("/")

    def check_writable(self, path: Path) -> None:
        """Refuse what adb's user may not do there; whoever runs the tests may do more.

        Raises:
            PermissionError: it may make nothing in that folder.
        """
        if any(self.path(folder) in path.parents for folder in self.read_only):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    def check_room(self, count: int) -> None:
        """Refuse a file larger than what the storage was planned to have left.

        Raises:
            OSError: there is no space.
        """
        if self.storage_bytes is not None and count > self.storage_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def take(self, count: int) -> None:
        """Count what is pushed; pull the plug where that was planned.

        Raises:
            EOFError: it was.
        """
        self.pushed_bytes += count
        if self.unplug_after_bytes is not None and self.pushed_bytes > self.unplug_after_bytes:
            self.unplug()
            raise EOFError

    def start(self, argv: list[str], terminal: str, *, data: int, errors: int) -> subprocess.Popen[bytes]:
        """A process as adbd starts it: a session of its own, in the phone's topmost folder, with nothing masked."""
        return subprocess.Popen(
            [ENV, "--default-signal=HUP", *argv],  # under nohup it would be ignored, and a shell could not trap it
            stdin=data,
            stdout=data,
            stderr=errors,
            env={**self.environment, "TERM": terminal},
            cwd=self.root,
            start_new_session=True,
            umask=0,
        )

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
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
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
