"""Standard output and error that never fail: closed, full, a pipe without a reader, or of an encoding without ×.

What a command found is decided before it is printed. A stream that cannot be written is remembered and changes no
exit code of a verdict; a character that the encoding lacks is replaced.
"""

import contextlib
import errno
import io
import os
import sys
from typing import TextIO

_READER_LEFT = frozenset({errno.EPIPE, errno.ESHUTDOWN, errno.ECONNRESET})
"""Errors of a reader that has read what it wanted: nothing that is missed."""


class _Descriptor(io.RawIOBase):
    """An open file whose first failure is remembered, not raised; what comes later is dropped."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number
        self.fault: OSError | None = None

    def fileno(self) -> int:
        return self.number

    def isatty(self) -> bool:
        return os.isatty(self.number)

    def writable(self) -> bool:
        return True

    def write(self, data: object, /) -> int:
        view = memoryview(data)  # pyright: ignore[reportArgumentType] (any buffer)
        if self.fault is None:
            try:
                os.set_blocking(self.number, True)  # whoever shares the pipe may have changed that
                return os.write(self.number, view)
            except OSError as error:
                self.fault = error
        return view.nbytes


_descriptors: dict[str, _Descriptor] = {}
_settings = {"verdict": False}


def install() -> None:
    """Put streams that never fail in the place of stdout and stderr; descriptors that are closed lead nowhere."""
    _fill_standard_descriptors()
    for name, number in (("stdout", 1), ("stderr", 2)):
        before: TextIO | None = getattr(sys, name)
        encoding = before.encoding if before is not None else "utf-8"
        raw = _Descriptor(number)
        buffered = io.BufferedWriter(raw)
        stream = io.TextIOWrapper(buffered, encoding=encoding, errors="replace", line_buffering=number == 2)
        if number == 1 and raw.isatty():
            stream.reconfigure(line_buffering=True)
        setattr(sys, name, stream)
        _descriptors[name] = raw


def fault() -> OSError | None:
    """Why stdout could not be written whole, where that loses something; None: it could, or nobody reads it."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    descriptor = _descriptors.get("stdout")
    error = descriptor.fault if descriptor is not None else None
    return None if error is None or error.errno in _READER_LEFT else error


def keep_verdict() -> None:
    """The exit code that follows is a verdict: it holds whether or not it can be printed."""
    _settings["verdict"] = True


def verdict_stands() -> bool:
    """Whether `keep_verdict` was called."""
    return _settings["verdict"]


def _fill_standard_descriptors() -> None:
    """Open what is closed of 0, 1 and 2: the next file that is opened would otherwise be written to as stdout."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)
