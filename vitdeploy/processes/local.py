"""Local connection: this machine as a device: commands in process groups that end with their time, and its lock."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Generator, Sequence
from pathlib import Path

from vitdeploy.errors import UnreadableFile
from vitdeploy.processes.bounded_streams import OutOfTime, TooMuch, close_pipes, communicate
from vitdeploy.processes.connection import (
    CommandResult,
    Connection,
    cannot_start,
    kill_group,
    timed_out,
    wrote_too_much,
)
from vitdeploy.processes.machine_lock import machine_lock


class LocalConnection(Connection):
    """This machine, without a link."""

    def __init__(self, name: str = "local", lock_folder: Path | None = None) -> None:
        self._name = name
        self._lock_folder = lock_folder
        self._lock: int | None = None

    def interpreter(self) -> tuple[str, ...]:
        """This Python."""
        return (sys.executable,)

    def run(self, argv: Sequence[str], *, stdin: str = "", timeout_s: float) -> CommandResult:
        """Run ``argv`` in a process group of its own, which is killed whole when time is up or we are interrupted.

        Raises:
            DeviceError: it cannot be started, took longer than ``timeout_s``, or printed without end.
        """
        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                # If we are killed, what we started goes on for a while: it holds the machine until it ends.
                pass_fds=() if self._lock is None else (self._lock,),
            )
        except OSError as error:
            raise cannot_start(argv[0], error.strerror or str(error), error.errno) from error
        try:
            stdout, stderr = communicate(process, stdin.encode(), timeout_s=timeout_s)
        except OutOfTime as error:
            raise timed_out(argv, timeout_s) from error
        except TooMuch as error:
            raise wrote_too_much(argv) from error
        finally:
            _end(process)
        return CommandResult(
            exit_code=process.returncode,
            stdout=stdout.decode(errors="replace"),
            stderr=stderr.decode(errors="replace"),
        )

    def push(self, path: Path, *, sha256: str) -> str:
        """Nothing is copied: what lies here lies on the device."""
        del sha256
        return str(path.resolve())

    def pull(self, remote: str, path: Path) -> None:
        """Copy ``remote`` to ``path``, whole or not at all.

        Raises:
            UnreadableFile: it cannot be read, or ``path`` cannot be written.
        """
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            shutil.copyfile(remote, part)
            part.replace(path)
        except OSError as error:
            raise UnreadableFile(f"cannot copy {remote} to {path}: {error.strerror}", "Check both paths.") from error
        finally:
            part.unlink(missing_ok=True)

    @contextlib.contextmanager
    def lock(self, *, timeout_s: float) -> Generator[None]:
        """Hold this machine alone, among all processes and accounts on it, whatever device files call it.

        Raises:
            DeviceError: another process holds it; the message names it.
        """
        with machine_lock(self._name, timeout_s=timeout_s, folder=self._lock_folder) as descriptor:
            self._lock = descriptor
            try:
                yield
            finally:
                self._lock = None

    def close(self) -> None:
        """Nothing is held open."""


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the process and all it started, unless it has ended.

    The leader is not waited for first: while it is a zombie its number, and the group's, cannot be another's.
    """
    if process.returncode is None:
        kill_group(process.pid)
        process.wait()
    close_pipes(process)
