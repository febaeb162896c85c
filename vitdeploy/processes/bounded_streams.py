"""The pipes of a process, passed along with a limit of time and of bytes: nothing it prints can hold or fill us.

Standard library only: the agent carries this file to devices.
"""

import os
import selectors
import subprocess
import time
from collections.abc import Callable
from typing import IO

LARGEST_OUTPUT_BYTES = 128 * 2**20
"""More on stdout ends a command. The longest reply there is, the samples of ten minutes, has 20 MiB."""

LARGEST_LOG_BYTES = 8 * 2**20
"""Of stderr so much is kept, the last of it."""

_CHUNK_BYTES = 64 * 1024


class OutOfTime(Exception):
    """The deadline came first."""


class TooMuch(Exception):
    """More came on stdout than may."""


class Streams:
    """What a process with pipes gets and prints. Whoever made the process ends it."""

    def __init__(
        self,
        process: "subprocess.Popen[bytes]",
        *,
        largest_bytes: int = LARGEST_OUTPUT_BYTES,
        on_stdout: Callable[[bytes], None] | None = None,
    ) -> None:
        """Take over the pipes.

        Args:
            largest_bytes: the most that may come on stdout.
            on_stdout: is handed each block of stdout, which is not kept then.
        """
        self.stdout, self.stderr = bytearray(), bytearray()
        self._largest, self._on_stdout = largest_bytes, on_stdout
        self._received_bytes = 0
        self._unsent = memoryview(b"")
        self._close_stdin = False
        self._stdin = process.stdin
        self._selector = selectors.PollSelector()  # no descriptor of its own: they may have run out
        for pipe, take in ((process.stdout, self._take_stdout), (process.stderr, self._take_stderr)):
            if pipe is not None:
                os.set_blocking(pipe.fileno(), False)
                self._selector.register(pipe, selectors.EVENT_READ, take)
        if self._stdin is not None:
            os.set_blocking(self._stdin.fileno(), False)

    def send(self, data: bytes, *, close: bool) -> None:
        """Queue what the process reads from stdin, once; with ``close`` it sees the end of it afterwards."""
        self._unsent, self._close_stdin = memoryview(data), close
        if self._stdin is not None and (data or close):
            self._selector.register(self._stdin, selectors.EVENT_WRITE, None)

    def wait(self, deadline: float, *, until: Callable[[], bool] = lambda: False) -> None:
        """Pass data until both outputs have ended, or ``until`` says so.

        Args:
            deadline: on the clock of `time.monotonic`.

        Raises:
            OutOfTime: the deadline came first.
            TooMuch: more than the limit came on stdout.
        """
        while not until() and self._outputs_open():
            remaining_s = deadline - time.monotonic()
            if remaining_s <= 0:
                raise OutOfTime
            for key, _ in self._selector.select(remaining_s):
                if key.data is None:
                    self._write()
                else:
                    self._read(key)

    def close(self) -> None:
        """Let the pipes go; the process may still hold its ends."""
        self._selector.close()

    def _outputs_open(self) -> bool:
        return any(key.data is not None for key in self._selector.get_map().values())

    def _write(self) -> None:
        assert self._stdin is not None
        try:
            if self._unsent:
                self._unsent = self._unsent[os.write(self._stdin.fileno(), self._unsent[:_CHUNK_BYTES]) :]
        except BlockingIOError:
            return
        except OSError:  # it does not read its input: that is its business
            self._unsent = memoryview(b"")
        if not self._unsent:
            self._selector.unregister(self._stdin)
            if self._close_stdin:
                close_quietly(self._stdin)

    def _read(self, key: selectors.SelectorKey) -> None:
        try:
            block = os.read(key.fd, _CHUNK_BYTES)
        except BlockingIOError:
            return
        if block:
            key.data(block)
        else:
            self._selector.unregister(key.fileobj)

    def _take_stdout(self, block: bytes) -> None:
        self._received_bytes += len(block)
        if self._received_bytes > self._largest:
            raise TooMuch
        if self._on_stdout is None:
            self.stdout += block
        else:
            self._on_stdout(block)

    def _take_stderr(self, block: bytes) -> None:
        self.stderr += block
        if len(self.stderr) > 2 * LARGEST_LOG_BYTES:
            del self.stderr[:-LARGEST_LOG_BYTES]


def communicate(
    process: "subprocess.Popen[bytes]", data: bytes, *, timeout_s: float, largest_bytes: int = LARGEST_OUTPUT_BYTES
) -> tuple[bytes, bytes]:
    """Give a process its input and wait for its end; returns what it printed on stdout and stderr.

    Raises:
        OutOfTime: it, or what holds its pipes, did not end in time. It still runs.
        TooMuch: it printed more than ``largest_bytes``. It still runs.
    """
    deadline = time.monotonic() + timeout_s
    streams = Streams(process, largest_bytes=largest_bytes)
    try:
        streams.send(data, close=True)
        streams.wait(deadline)
        process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired as error:
        raise OutOfTime from error
    finally:
        streams.close()
    return bytes(streams.stdout), bytes(streams.stderr[-LARGEST_LOG_BYTES:])


def close_pipes(process: "subprocess.Popen[bytes]") -> None:
    """Close our ends of a process's pipes, whatever state they are in."""
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            close_quietly(pipe)


def close_quietly(pipe: IO[bytes]) -> None:
    """Close a pipe that nobody may read any more."""
    try:
        pipe.close()
    except OSError:
        return
