"""TEST DOUBLE of an adb server and the phone behind it: it answers the first questions, and then as it is told to."""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable

Answer = Callable[[socket.socket, str], None]


def text(data: str) -> bytes:
    """An answer with its length before it."""
    return b"OKAY" + f"{len(data.encode()):04x}".encode() + data.encode()


def packet(kind: int, data: bytes, length: int | None = None) -> bytes:
    """One packet of the shell protocol; ``length`` is what it says of itself."""
    return struct.pack("<BI", kind, len(data) if length is None else length) + data


class LyingAdb:
    """A server on a free port. What it lists and how it answers a service of the phone may be changed at any time."""

    def __init__(self) -> None:
        self.listing = text("R58M123ABC\tdevice\n")
        self.transport = b"OKAY"
        self.answer: Answer = lambda stream, service: None
        """Called with each service of the phone, after the transport; the stream is closed afterwards."""
        self.asked: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def end(self) -> None:
        """Listen no more."""
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                stream, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(stream,), daemon=True).start()

    def _serve(self, stream: socket.socket) -> None:
        with stream, contextlib.suppress(OSError, ValueError):
            joined = False
            while True:
                length = stream.recv(4)
                if len(length) < 4:
                    return
                service = stream.recv(int(length, 16)).decode()
                self.asked.append(service)
                if joined:
                    self.answer(stream, service)
                    return
                if service.startswith("host:transport"):
                    stream.sendall(self.transport)
                    joined = True
                else:
                    stream.sendall(self.listing)
                    return


def sends(data: bytes) -> Answer:
    """Send these bytes, then close."""
    return lambda stream, service: stream.sendall(data)


def hangs(data: bytes, seconds: float = 30.0) -> Answer:
    """Send these bytes, then say nothing for a long time."""

    def answer(stream: socket.socket, service: str) -> None:
        stream.sendall(data)
        time.sleep(seconds)

    return answer


def endless(start: bytes, block: bytes) -> Answer:
    """Send these blocks until the other side has had enough."""

    def answer(stream: socket.socket, service: str) -> None:
        stream.sendall(start)
        while True:
            stream.sendall(block)

    return answer
