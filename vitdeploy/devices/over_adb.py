"""ADB connection: commands, files and a lock on a phone over the adb server; all our files there lie in one folder.

The lock is the phone's own kernel's: a shell that holds a ``flock`` there and ends with its connection, so a
holder that died, on whatever computer, holds nothing. Names never reach the phone's shell unquoted.
"""

import contextlib
import os
import re
import secrets
import shlex
import socket
import stat
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vitdeploy.devices.adb_services import OutOfTime, Refused, Shell, StreamLost, Sync, TooMuch
from vitdeploy.devices.over_adb_server import QUICK_S, AdbPhone
from vitdeploy.errors import DeviceError, Impossible, UnreadableFile
from vitdeploy.processes.connection import CommandResult, Connection, timed_out, wrote_too_much
from vitdeploy.processes.device_words import one_line

if TYPE_CHECKING:
    from vitdeploy.devices.inventory import Device

FOLDER: Final = "/data/local/tmp/vitdeploy"
"""Everything of ours on a phone. Source: /data/local/tmp is where adb's user may write and run files."""

SLOWEST_BYTES_PER_S = 2**20
"""A link that is slower for a whole file is as good as lost: USB 2 carries thirty times as much."""

RESERVE_BYTES = 64 * 2**20
"""So much stays free on the phone: Android's own services fail on a full /data."""

LARGEST_FILE_BYTES = 8 * 2**30
"""No file of ours is larger; a phone that says so is not believed."""

LARGEST_UNKNOWN_BYTES = 2**30
"""Of a file whose size the phone does not tell."""

LOCK_POLL_S = 0.1
_NUMBER = re.compile(r"[0-9]{1,15}")
_RELEASE_S = 5.0
_KILL_WAIT_S = 10.0

_HOLD = """
command -v flock >/dev/null || exit 77
mkdir -p "$1" || exit 74
{
  flock -n 9 || { cat "$1/lock"; exit 75; }
  [ "$1/lock" -ef /proc/self/fd/9 ] || exit 76
  echo "$2" > "$1/lock"
  echo held
  exec cat >/dev/null
} 9>>"$1/lock"
"""
"""Take the lock of folder $1 for $2, say so, and hold it until stdin ends; 76: the file was removed meanwhile.

Source: flock(1) has the form with a group; in Android's mksh a descriptor opened by ``exec`` would not reach ``flock``.
"""


class AdbConnection(Connection):
    """One phone, by serial number, through the adb server of this computer."""

    def __init__(self, name: str, serial: str = "", *, limit_s: float | None = None) -> None:
        self._end = None if limit_s is None else time.monotonic() + limit_s
        self._phone = AdbPhone(name, serial)
        self._name = name
        self.serial = self._phone.serial

    def interpreter(self) -> tuple[str, ...]:
        """A phone runs no Python: what is timed there is a program of its own.

        Raises:
            Impossible: always.
        """
        raise Impossible(f"{self._name} runs no Python", "Time TFLite files on it with `vitdeploy bench`.")

    def run(self, argv: Sequence[str], *, stdin: str = "", timeout_s: float) -> CommandResult:
        """Run ``argv`` on the phone; it and all that it started are killed when time is up or we are interrupted.

        Raises:
            DeviceError: it cannot be started, took longer than ``timeout_s``, or the phone was lost.
        """
        # The shell says its number first, then becomes the command: so it can be killed with its whole group.
        lookup = f"command -v {shlex.quote(argv[0])} >/dev/null 2>&1"
        script = f"if {lookup}; then echo $$ >&2; exec {shlex.join(argv)}; else echo absent >&2; fi"
        deadline = time.monotonic() + timeout_s
        if self._end is not None:
            deadline = min(deadline, self._end)
        with self._phone.open(f"shell,v2,raw:{script}") as stream:
            shell = Shell(stream)
            shell.send(stdin.encode())
            shell.close_stdin()
            try:
                shell.wait(deadline)
            except OutOfTime as error:
                self._kill(shell)
                raise timed_out(argv, timeout_s, self._name) from error
            except TooMuch as error:
                with contextlib.suppress(DeviceError):
                    self._kill(shell)
                raise wrote_too_much(argv, self._name) from error
            except StreamLost as error:
                words = " ".join([argv[0].rpartition("/")[2], *argv[1:3]])
                raise self._lost(f"while {words} ran", error) from error
            except BaseException:
                with contextlib.suppress(DeviceError):
                    self._kill(shell)
                raise
        first, _, rest = shell.stderr.decode(errors="replace").partition("\n")
        if first == "absent":
            raise DeviceError(f"cannot start {argv[0]} on {self._name}: not found", "Install it, or check its path.")
        assert shell.exit_code is not None
        return CommandResult(
            exit_code=shell.exit_code,
            stdout=shell.stdout.decode(errors="replace"),
            stderr=rest,
            device=self._name,
        )

    def push(self, path: Path, *, sha256: str) -> str:
        """Put a file on the phone under its digest, executable, whole or not at all; returns where it lies.

        Raises:
            DeviceError: the phone is full, refuses, or was lost.
            UnreadableFile: ``path`` cannot be read.
        """
        assert re.fullmatch(r"[0-9a-f]{64}", sha256), sha256
        remote = f"{FOLDER}/files/{sha256}"
        if self._digest(remote) == sha256:
            return remote
        try:
            size_bytes = path.stat().st_size
            source = path.open("rb")
        except OSError as error:
            raise UnreadableFile(f"cannot read {path}: {error.strerror}", "Export the model again.") from error
        with source:
            self._make_room(size_bytes)
            self._run_checked(["mkdir", "-p", f"{FOLDER}/files"])
            part = f"{remote}.{os.getpid()}.{secrets.token_hex(4)}.part"
            deadline = time.monotonic() + QUICK_S + size_bytes / SLOWEST_BYTES_PER_S
            try:
                with self._phone.open("sync:") as stream:
                    Sync(stream, deadline).send(source, part, mode=stat.S_IFREG | 0o755)
                self._check_arrived(part, sha256)
                self._run_checked(["mv", "-f", part, remote])
            except Refused as error:
                self._remove(part)
                raise self._refused(f"cannot write {path.name}", str(error)) from error
            except StreamLost as error:
                raise self._lost(f"while {path.name} was pushed", error) from error
            except OutOfTime as error:
                raise DeviceError(f"pushing {path.name} to {self._name} took too long", "Use another cable.") from error
            except BaseException:
                self._remove(part)
                raise
        return remote

    def pull(self, remote: str, path: Path) -> None:
        """Fetch ``remote`` into ``path``, whole or not at all.

        Raises:
            UnreadableFile: it cannot be read there, or ``path`` cannot be written.
            DeviceError: the phone was lost.
        """
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        largest_bytes = self._size(remote)
        deadline = time.monotonic() + 10 * QUICK_S
        try:
            with part.open("wb") as target, self._phone.open("sync:") as stream:
                Sync(stream, deadline).receive(remote, target, largest_bytes=largest_bytes)
            part.replace(path)
        except Refused as error:
            words = one_line(str(error))
            raise UnreadableFile(f"cannot copy {remote} from {self._name}: {words}", "Check that path.") from error
        except TooMuch as error:
            raise DeviceError(
                f"{self._name} sends more of {remote} than the {largest_bytes} bytes it said", "Plug it in again."
            ) from error
        except StreamLost as error:
            raise self._lost(f"while {path.name} was pulled", error) from error
        except OutOfTime as error:
            raise DeviceError(f"pulling {path.name} from {self._name} took too long", "Use another cable.") from error
        except OSError as error:
            raise UnreadableFile(f"cannot write {path}: {error.strerror}", "Free space there.") from error
        finally:
            part.unlink(missing_ok=True)

    def remove_all(self) -> int:
        """Remove everything of ours from the phone, unless it is in use; returns how many bytes that were.

        Raises:
            DeviceError: it is in use, or was lost.
        """
        if self.run(["test", "-e", FOLDER], timeout_s=QUICK_S).exit_code:
            return 0
        with self.lock(timeout_s=QUICK_S):
            size_bytes = self.size_bytes()
            self._run_checked(["rm", "-rf", FOLDER])
        return size_bytes

    def size_bytes(self) -> int:
        """How much of the phone's storage is ours."""
        result = self.run(["du", "-sk", FOLDER], timeout_s=QUICK_S)
        word = result.stdout.split("\t")[0].split(" ")[0].strip()
        return int(word) * 1024 if result.exit_code == 0 and _NUMBER.fullmatch(word) else 0

    def close(self) -> None:
        """Nothing is held open: every stream is closed where it was opened, and the adb server is not ours."""

    @contextlib.contextmanager
    def lock(self, *, timeout_s: float) -> Generator[None]:
        """Hold the phone alone, among all computers that are connected to it.

        Raises:
            DeviceError: another process holds it; the message names it and its computer.
        """
        deadline = time.monotonic() + timeout_s
        holder = f"{os.getpid()} on {socket.gethostname()}"
        script = shlex.join(["exec", "sh", "-c", _HOLD, "sh", FOLDER, holder])
        while True:
            with self._phone.open(f"shell,v2,raw:{script}") as stream:
                shell = Shell(stream)
                if self._has_lock(shell):
                    try:
                        yield
                    finally:
                        # It is over when the shell there has ended; a phone that is gone holds nothing either.
                        shell.close_stdin()
                        with contextlib.suppress(OutOfTime, StreamLost, TooMuch):
                            shell.wait(time.monotonic() + _RELEASE_S)
                    return
            if time.monotonic() >= deadline:
                owner = one_line(shell.stdout.decode(errors="replace"), 120) or "unknown"
                raise DeviceError(f"{self._name} is in use by process {owner}", "Wait for it, or stop it.")
            time.sleep(LOCK_POLL_S)

    def _has_lock(self, shell: Shell) -> bool:
        """Whether the lock is ours; another holder, or a lock file that was just removed, is to be waited for."""
        try:
            shell.wait(time.monotonic() + QUICK_S, until=lambda: shell.stdout.endswith(b"held\n"))
        except StreamLost as error:
            raise self._lost("while it was locked", error) from error
        except (OutOfTime, TooMuch) as error:
            raise DeviceError(f"{self._name} does not answer", "Unlock it, or plug it in again.") from error
        if shell.exit_code is None:
            return True
        if shell.exit_code == 77:
            raise DeviceError(f"{self._name} has no flock", "Use a phone with Android 8 or later.")
        if shell.exit_code not in (75, 76):
            raise self._refused(f"cannot lock {FOLDER}", shell.stderr.decode(errors="replace"))
        return False

    def _lost(self, when: str, error: StreamLost) -> DeviceError:
        """The error of a stream that ended, or brought what is no answer."""
        return self._phone.lost(when, one_line(str(error)) or "no reason given")

    def _kill(self, shell: Shell) -> None:
        """End the command and all in its group; adbd alone would only send SIGHUP, and only to the first process."""
        # It says its number at once; a phone that did not say it in this time does not answer.
        with contextlib.suppress(OutOfTime, StreamLost, TooMuch):
            shell.wait(time.monotonic() + _KILL_WAIT_S, until=lambda: b"\n" in shell.stderr)
        number = shell.stderr.split(b"\n")[0]
        if shell.exit_code is None and number.isdigit():
            with (
                self._phone.open(f"shell,v2,raw:kill -KILL -{number.decode()}") as stream,
                contextlib.suppress(OutOfTime, TooMuch),
            ):
                try:
                    Shell(stream).wait(time.monotonic() + _KILL_WAIT_S)
                except StreamLost as error:
                    raise self._lost("while a command was killed", error) from error

    def _check_arrived(self, part: str, sha256: str) -> None:
        if self._digest(part) != sha256:
            raise DeviceError(f"a file arrived changed on {self._name}", "Use another cable or port.")

    def _size(self, remote: str) -> int:
        """The most that a file there may send: its size, as the phone says it, if that fits here."""
        result = self.run(["stat", "-c", "%s", remote], timeout_s=QUICK_S)
        word = result.stdout.strip()
        size_bytes = int(word) if result.exit_code == 0 and _NUMBER.fullmatch(word) else LARGEST_UNKNOWN_BYTES
        if size_bytes > LARGEST_FILE_BYTES:
            raise DeviceError(
                f"{remote} on {self._name} has {size_bytes} bytes, it says: more than any file of ours",
                "Look at that file.",
            )
        return size_bytes

    def _digest(self, remote: str) -> str | None:
        result = self.run(["sha256sum", remote], timeout_s=10 * QUICK_S)
        return result.stdout.split(" ")[0] if result.exit_code == 0 else None

    def _make_room(self, size_bytes: int) -> None:
        result = self.run(["df", "-k", FOLDER.rpartition("/")[0]], timeout_s=QUICK_S)
        rows = result.stdout.strip().splitlines()
        fields = rows[-1].split() if result.exit_code == 0 and rows else []
        if len(fields) >= 4 and _NUMBER.fullmatch(fields[3]):
            free_bytes = int(fields[3]) * 1024
            if free_bytes < size_bytes + RESERVE_BYTES:
                raise DeviceError(
                    f"the storage of {self._name} is full: {free_bytes // 2**20} MiB free, "
                    f"{(size_bytes + RESERVE_BYTES) // 2**20} MiB needed",
                    "Free space on the phone, or run `vitdeploy cache gc`.",
                )

    def _run_checked(self, argv: Sequence[str]) -> None:
        result = self.run(argv, timeout_s=QUICK_S)
        if result.exit_code:
            raise self._refused(f"{argv[0]} failed", result.stderr)

    def _remove(self, remote: str) -> None:
        with contextlib.suppress(DeviceError):
            self.run(["rm", "-f", remote], timeout_s=QUICK_S)

    def _refused(self, what: str, words: str) -> DeviceError:
        text = one_line(words)
        if "space" in text:
            return DeviceError(
                f"the storage of {self._name} is full: {text}", "Free space on the phone, or run `vitdeploy cache gc`."
            )
        return DeviceError(f"{self._name}: {what}: {text or 'no reason given'}", "Look at the phone's storage.")


def open_connection(device: "Device", *, limit_s: float | None = None) -> AdbConnection:
    """The connection to the phone that a device file names by its serial number; the only one there, if it names none.

    Args:
        device: which.
        limit_s: no command is waited for longer than this after now; None: each has its own limit.

    Raises:
        DeviceError: there is no such phone, or it cannot be used now; with several and none named, all are listed.
        MissingPackage: there is no adb here.
    """
    return AdbConnection(device.name, device.host, limit_s=limit_s)
