"""Connection: the protocol of every link to a device: run, push, pull, lock, close.

Every wait has a timeout; a lost link is a `DeviceError` with a name, never a hang.
"""

import contextlib
import errno
import os
import signal
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, TypeVar

from vitdeploy.errors import DeviceError
from vitdeploy.processes.bounded_streams import LARGEST_OUTPUT_BYTES
from vitdeploy.processes.device_words import one_line

ConnectionT = TypeVar("ConnectionT", bound="Connection")


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """What a command on the device returned."""

    exit_code: int
    """Negative: killed by that signal."""
    stdout: str
    stderr: str
    device: str = ""
    """Who says so: the device behind the link; empty: a process of this computer."""


class Connection(Protocol):
    """A machine that runs commands; a context manager. Connections derive from it, which closes them with the block."""

    def __enter__(self: ConnectionT) -> ConnectionT:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def interpreter(self) -> tuple[str, ...]:
        """The words that run a module of ours on the device, before its ``-m``.

        Raises:
            vitdeploy.errors.Impossible: the device runs no Python.
        """
        ...

    def run(self, argv: Sequence[str], *, stdin: str = "", timeout_s: float) -> CommandResult:
        """Run ``argv`` (never through a shell) and wait for its end.

        Raises:
            vitdeploy.errors.DeviceError: the device was lost or the time is up; the command is killed.
        """
        ...

    def push(self, path: Path, *, sha256: str) -> str:
        """Put a file there under its content hash, unless it lies there; returns where it lies."""
        ...

    def pull(self, remote: str, path: Path) -> None:
        """Fetch ``remote`` into ``path``, whole or not at all."""
        ...

    def lock(self, *, timeout_s: float) -> AbstractContextManager[None]:
        """Hold the device alone; the lock of a dead holder does not count.

        Raises:
            vitdeploy.errors.DeviceError: somebody else holds it; the message says who.
        """
        ...

    def close(self) -> None:
        """Release the link; idempotent."""
        ...


def command_words(argv: Sequence[str]) -> str:
    """A command in a message: its program and the two words after it, without variables that `env` sets."""
    words = list(argv[1:]) if Path(argv[0]).name == "env" else list(argv)
    while len(words) > 1 and "=" in words[0]:
        words.pop(0)
    return one_line(" ".join([Path(words[0]).name, *words[1:3]]), 120)


def timed_out(argv: Sequence[str], timeout_s: float, device: str = "") -> DeviceError:
    """The error of a command that was killed at its limit."""
    words, place = command_words(argv), f" on {device}" if device else ""
    return DeviceError(f"{words} was killed after {timeout_s:g} s{place}", "Raise the limit, or choose a smaller case.")


def wrote_too_much(argv: Sequence[str], device: str = "") -> DeviceError:
    """The error of a command that was killed because its output had no end."""
    words, place = command_words(argv), f" on {device}" if device else ""
    return DeviceError(
        f"{words}{place} printed more than {LARGEST_OUTPUT_BYTES // 2**20} MiB and was killed",
        "Run it by hand, and look at what it prints.",
    )


def cannot_start(program: str, why: str, number: int | None, device: str = "") -> DeviceError:
    """The error of a program that could not be started.

    Args:
        why: the system's words.
        number: its ``errno``, where it is known.
        device: where; empty: here.
    """
    hints = {
        errno.EMFILE: "Too many files are open: raise the limit, `ulimit -n 4096`.",
        errno.ENFILE: "Too many files are open on that machine: close what holds them.",
        errno.EAGAIN: "Too many processes run: raise the limit, `ulimit -u`, or end some.",
        errno.ENOMEM: "Free memory on that machine.",
        errno.EACCES: "Make it executable.",
        errno.ENOEXEC: "Use a program that is built for that machine.",
    }
    missing = "Install it there." if device else "Install it, or check its path."
    place = f" on {device}" if device else ""
    return DeviceError(f"cannot start {program}{place}: {why}", hints.get(number or 0, missing))


def kill_group(leader: int) -> None:
    """Kill the process group of ``leader``, which was started in a session of its own."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
