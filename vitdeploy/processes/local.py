"""Local connection: this machine as a device: commands in process groups that never outlive their time, and one lock.

The lock is the kernel's (``flock``), so a holder that died holds nothing; the file only says who it is.
"""

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from pathlib import Path

from vitdeploy.errors import DeviceError, UnreadableFile
from vitdeploy.processes.connection import CommandResult, Connection, kill_group, timed_out

LOCK_POLL_S = 0.05
"""How often a held lock is asked for again."""


class LocalConnection(Connection):
    """This machine, without a link."""

    def __init__(self, name: str = "local", lock_folder: Path | None = None) -> None:
        self._name = name
        # One place for all users of the machine: they share its cores.
        self._lock_file = (lock_folder or Path(tempfile.gettempdir())) / f"vitdeploy-{name}.lock"
        self._lock: int | None = None

    def interpreter(self) -> tuple[str, ...]:
        """This Python."""
        return (sys.executable,)

    def run(self, argv: Sequence[str], *, stdin: str = "", timeout_s: float) -> CommandResult:
        """Run ``argv`` in a process group of its own, which is killed whole when time is up or we are interrupted.

        Raises:
            DeviceError: it cannot be started, or took longer than ``timeout_s``.
        """
        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                start_new_session=True,
                # If we are killed, what we started goes on for a while: it holds the machine until it ends.
                pass_fds=() if self._lock is None else (self._lock,),
            )
        except OSError as error:
            raise DeviceError(f"cannot start {argv[0]}: {error.strerror}", "Install it, or check its path.") from error
        try:
            stdout, stderr = process.communicate(stdin, timeout=timeout_s)
        except BaseException as error:
            _end(process)
            if isinstance(error, subprocess.TimeoutExpired):
                raise timed_out(argv, timeout_s) from error
            raise
        return CommandResult(exit_code=process.returncode, stdout=stdout, stderr=stderr)

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
        """Hold this machine alone, among all processes on it.

        Raises:
            DeviceError: another process holds it; the message names it.
        """
        with _held(self._lock_file, self._name, timeout_s) as descriptor:
            self._lock = descriptor
            try:
                yield
            finally:
                self._lock = None

    def close(self) -> None:
        """Nothing is held open."""


@contextlib.contextmanager
def _held(file: Path, name: str, timeout_s: float) -> Generator[int]:
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise DeviceError(f"cannot open the lock {file}: {error.strerror}", "Check its permissions.") from error
    try:
        deadline = time.monotonic() + timeout_s
        while not _try_lock(descriptor):
            if time.monotonic() >= deadline:
                holder = os.pread(descriptor, 64, 0).decode(errors="replace").strip() or "unknown"
                raise DeviceError(f"{name} is in use by process {holder}", "Wait for it, or stop it.")
            time.sleep(LOCK_POLL_S)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)  # releases the lock; the file stays, or two could hold two files of one name


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _end(process: "subprocess.Popen[str]") -> None:
    """End the process and all it started.

    The leader is not waited for first: while it is a zombie its number, and the group's, cannot be another's.
    """
    kill_group(process.pid)
    process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
