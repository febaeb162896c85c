"""A TEST DOUBLE of a file server on 127.0.0.1: the hub's resolve addresses and plain ones, with faults."""

import hashlib
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "4cc87bb5e21a17712fbb69ba42bbf9a594084c8a"
_BLOCK_BYTES = 2**14


@dataclass(kw_only=True)
class Served:
    """One file and what goes wrong with it."""

    content: bytes
    status: int = 200
    """Of GET; of HEAD as well, but for `get_status`."""
    get_status: int | None = None
    digest: str | None = None
    """What the server says of its content; None: the truth."""
    size_bytes: int | None = None
    """What HEAD says; None: the truth."""
    cuts: list[int] = field(default_factory=list[int])
    """Each GET takes the first: so many bytes of the body, and the connection ends."""
    redirect_to: str | None = None
    """The beginning of another server's addresses; GET and HEAD are sent there."""
    pause_s: float = 0.0
    """Between blocks."""
    ranges: bool = True
    content_type: str = "application/octet-stream"

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: Mapping[str, str]
    """By their names in small letters."""


class HubDouble:
    """The server: its address, its files by path, and the requests that came."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.files: dict[str, Served] = {}
        self.requests: list[Request] = []
        handler = type("_Handler", (_Handler,), {"double": self})
        self.server = _Server(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.url = f"http://{host}:{self.server.server_port}"

    def add(self, path: str, content: bytes, **faults: Any) -> Served:
        self.files[path] = Served(content=content, **faults)
        return self.files[path]

    def add_to_hub(self, repository: str, file: str, content: bytes, revision: str = COMMIT, **faults: Any) -> Served:
        return self.add(f"/{repository}/resolve/{revision}/{file}", content, **faults)

    def gets(self) -> list[Request]:
        return [request for request in self.requests if request.method == "GET"]


@contextmanager
def served(host: str = "127.0.0.1") -> Iterator[HubDouble]:
    double = HubDouble(host)
    thread = threading.Thread(target=double.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield double
    finally:
        double.server.shutdown()
        double.server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    double: HubDouble

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        self.double.requests.append(
            Request(self.command, self.path, {name.lower(): value for name, value in self.headers.items()})
        )
        file = self.double.files.get(self.path)
        if file is None:
            self._plain(404, {"X-Error-Code": "EntryNotFound"})
            return
        status = file.get_status if self.command == "GET" and file.get_status else file.status
        if status != 200:
            self._plain(status, {})
            return
        digest = file.digest or file.sha256
        said_bytes = len(file.content) if file.size_bytes is None else file.size_bytes
        headers = {
            "X-Repo-Commit": COMMIT,
            "X-Linked-Size": str(said_bytes),
            "X-Linked-Etag": f'"{digest}"',
            "ETag": f'"{digest}"',
            "Accept-Ranges": "bytes",
            "Content-Type": file.content_type,
        }
        if file.redirect_to is not None:
            self._plain(302, {**headers, "Location": file.redirect_to + self.path})
            return
        self._body(file, headers, said_bytes, digest)

    def _body(self, file: Served, headers: Mapping[str, str], said_bytes: int, digest: str) -> None:
        start, status = 0, 200
        wanted = self.headers.get("Range", "")
        same = self.headers.get("If-Range", f'"{digest}"') == f'"{digest}"'
        if file.ranges and same and wanted.startswith("bytes="):
            start, status = int(wanted.removeprefix("bytes=").partition("-")[0]), 206
            if start >= len(file.content):
                self._plain(416, {"Content-Range": f"bytes */{len(file.content)}"})
                return
        body = file.content[start:]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{len(file.content) - 1}/{len(file.content)}")
        self.send_header("Content-Length", str(said_bytes if self.command == "HEAD" else len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        limit = file.cuts.pop(0) if file.cuts else len(body)
        for place in range(0, min(limit, len(body)), _BLOCK_BYTES):
            self.wfile.write(body[place : min(place + _BLOCK_BYTES, limit)])
            if file.pause_s:
                time.sleep(file.pause_s)
        if limit < len(body):
            self.wfile.flush()
            self.connection.close()
            self.close_connection = True

    def _plain(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()
