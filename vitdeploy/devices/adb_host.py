"""The adb server's own services: where it listens, which phones it lists, streams to a phone. Standard library only.

Source: OVERVIEW.TXT and SERVICES.TXT of packages/modules/adb; the variables: adb(1), ``adb --help``.
"""

import re
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from vitdeploy.devices.adb_services import Refused, StreamLost, read_exactly, write_all
from vitdeploy.errors import UsageError

DEFAULT_PORT: Final = 5037
NO_SERIAL: Final = "(no serial number)"
"""What the server lists a phone as that names none."""

LONGEST_SERVICE_BYTES: Final = 0xFFFF
"""A service's name has its length in four hexadecimal digits."""

_LOCAL: Final = frozenset(("localhost", "127.0.0.1", "::1", ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAddress:
    """Where the adb server listens."""

    family: socket.AddressFamily
    place: tuple[str, int] | str
    local: bool
    """Whether adb starts a server there where none is."""
    words: str


def server_address(environment: Mapping[str, str]) -> ServerAddress:
    """The server that adb itself would use: ADB_SERVER_SOCKET, else ANDROID_ADB_SERVER_ADDRESS and …_PORT.

    Raises:
        UsageError: a variable names no address.
    """
    spec = environment.get("ADB_SERVER_SOCKET", "")
    if not spec:
        host = environment.get("ANDROID_ADB_SERVER_ADDRESS", "") or "localhost"
        port = environment.get("ANDROID_ADB_SERVER_PORT", "") or str(DEFAULT_PORT)
        return _tcp(host, port, "ANDROID_ADB_SERVER_PORT", port)
    kind, _, rest = spec.partition(":")
    if kind == "tcp":
        host, _, port = rest.rpartition(":")
        return _tcp(host, port, "ADB_SERVER_SOCKET", spec)
    if kind in ("local", "localfilesystem", "localabstract") and rest:
        place = f"\0{rest}" if kind == "localabstract" else rest
        return ServerAddress(family=socket.AF_UNIX, place=place, local=True, words=spec)
    raise UsageError(f"ADB_SERVER_SOCKET is {spec!r}, which is not understood", "Write it as tcp:HOST:PORT.")


def _tcp(host: str, port: str, variable: str, value: str) -> ServerAddress:
    host = host.strip("[]")
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        raise UsageError(f"{variable} is {value!r}, which has no port", "Write it as a number below 65536.")
    return ServerAddress(
        family=socket.AF_INET6 if ":" in host else socket.AF_INET,
        place=("127.0.0.1" if host in ("localhost", "") else host, int(port)),
        local=host in _LOCAL,
        words=f"{host or 'localhost'}:{port}",
    )


def connect(address: ServerAddress, timeout_s: float) -> socket.socket:
    """A stream to the server.

    Raises:
        OSError: nobody listens there.
    """
    if isinstance(address.place, tuple):
        return socket.create_connection(address.place, timeout=timeout_s)
    stream = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        stream.settimeout(timeout_s)
        stream.connect(address.place)
    except BaseException:
        stream.close()
        raise
    return stream


def ask(stream: socket.socket, service: str, deadline: float) -> None:
    """Ask for a service; the stream is joined to it afterwards.

    Raises:
        Refused: the server or the phone will not; the words are its own.
        StreamLost: it is gone, or answers what is no answer.
        OutOfTime: the deadline came first.
    """
    name = service.encode(errors="surrogateescape")
    write_all(stream, b"%04x" % len(name) + name, deadline)
    status = read_exactly(stream, 4, deadline)
    if status == b"FAIL":
        raise Refused(read_text(stream, deadline))
    if status != b"OKAY":
        raise StreamLost(f"it answered {status!r}")


def read_text(stream: socket.socket, deadline: float) -> str:
    """A text with its length before it, of at most 64 KiB.

    Raises:
        StreamLost: it is gone, or names no length.
        OutOfTime: the deadline came first.
    """
    length = read_exactly(stream, 4, deadline)
    if not re.fullmatch(rb"[0-9a-fA-F]{4}", length):
        raise StreamLost(f"it answered the length {length!r}")
    return read_exactly(stream, int(length, 16), deadline).decode(errors="surrogateescape")


def phones(address: ServerAddress, timeout_s: float) -> list[tuple[str, str]]:
    """Serial number and state of all that the server sees. Both may hold blanks.

    Raises:
        OSError: nobody listens there.
        Refused: the server does not tell.
        StreamLost: it is gone, or answers what is no answer.
        OutOfTime: it says nothing in time.
    """
    deadline = time.monotonic() + timeout_s
    with connect(address, timeout_s) as stream:
        ask(stream, "host:devices", deadline)
        rows = (line.partition("\t") for line in read_text(stream, deadline).split("\n"))
        return [(serial, state.strip()) for serial, tab, state in rows if tab]


def transport(serial: str) -> str:
    """The service that joins a stream to a phone."""
    return "host:transport-any" if serial == NO_SERIAL else f"host:transport:{serial}"
