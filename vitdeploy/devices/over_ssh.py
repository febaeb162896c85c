"""SSH connection by the system's OpenSSH: the user's own configuration, keys, jump hosts and known hosts hold.

Files lie below ``~/.cache/vitdeploy`` there, under their content hash. The worker travels in a zip of ours. What was
started on the device ends when the link does. The device is a stranger: each of its answers has a limit of time, a
limit of length and a schema, and whatever it says else is an error of the device.
"""

import contextlib
import json
import re
import secrets
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec

from vitdeploy.devices import agent, ssh_errors
from vitdeploy.devices.ssh_client import SshClient
from vitdeploy.errors import DeviceError, MissingPackage, UnreadableFile, UsageError
from vitdeploy.processes.connection import (
    CommandResult,
    Connection,
    cannot_start,
    command_words,
    timed_out,
    wrote_too_much,
)
from vitdeploy.processes.device_words import last_line, one_line

if TYPE_CHECKING:
    from vitdeploy.devices.inventory import Device

CONNECT_S = 10
"""How long a machine may take to answer."""

GRACE_S = 30.0
"""How much longer than a command's own limit the link may take to bring its answer."""

TRANSFER_BYTES_PER_S = 100_000
"""A slower link than this is a lost one; a file may take its size by this, and `GRACE_S`."""

LARGEST_FILE_BYTES = 8 * 2**30
"""No file of ours is larger; a device that says so is not believed."""

_ALIVE_S = 5
"""A silent link is asked so often whether it lives; three answers that do not come end it."""

_LONGEST_SOCKET_FOLDER = 40
"""A socket's path has at most 103 bytes (macOS), of which ssh takes 58 for its name and a suffix while it makes it."""

_HOST = re.compile(r"^(?!-)[A-Za-z0-9_.:%\[\]-]+$")
_USER = re.compile(r"^(?![-+])[\w.@+$-]+(?:\\[\w.@+$-]+)?$")
"""What a host and a user can be called; a dash in front would be an option. Users of a domain: ``DOMAIN\\user``."""


class _CommandAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `remote.run` answers with."""

    exit_code: Annotated[int, msgspec.Meta(ge=-255, le=255)]
    stdout: str = ""
    stderr: str = ""
    timed_out: bool = False
    too_much: bool = False
    failed: str | None = None
    """Why it could not be started; the other fields mean nothing then."""
    errno: int | None = None


class _LockAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `remote.hold` answers with."""

    held: bool
    power: dict[str, str] = {}
    refused: str = ""


class SshConnection(Connection):
    """One device, over one shared connection."""

    def __init__(self, device: "Device", *, limit_s: float | None = None) -> None:
        for word, names in ((device.host, _HOST), (device.user, _USER)):
            if word and not names.match(word):
                raise UsageError(f"{word!r} is no name of a host or user", f"Correct the device file of {device.name}.")
        self._name = device.name
        self._target = shlex.quote(f"{device.user}@{device.host}" if device.user else device.host)
        self._python = device.python
        connect_s = CONNECT_S if limit_s is None else max(1, min(CONNECT_S, int(limit_s)))
        self._folder = _socket_folder()
        self._ssh = [
            *("ssh", "-T", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={connect_s}"),
            *("-o", "StrictHostKeyChecking=yes"),  # ours comes first: no configuration of the user loosens it
            *("-o", "LogLevel=INFO"),  # what a failure is called needs it, whatever the user's configuration says
            *("-o", "RemoteCommand=none", "-o", "RequestTTY=no", "-o", "ClearAllForwardings=yes"),
            *("-o", f"ServerAliveInterval={_ALIVE_S}", "-o", "ServerAliveCountMax=3"),
            *("-o", "ControlMaster=auto", "-o", f"ControlPath={self._folder}/%C", "-o", "ControlPersist=60"),
            *(("-p", str(device.port)) if device.port else ()),
            *(("-l", device.user) if device.user else ()),  # not USER@HOST: the user of a domain has an @ of its own
            device.host,
        ]
        self._client = SshClient(self._name, self._target, self._ssh, limit_s=limit_s)
        self._home = ""
        self._agent = ""
        self._holder: subprocess.Popen[bytes] | None = None
        self._power = (device.power_mode or "-", "clocks" if device.hold_clocks else "-")
        self.power: dict[str, str] = {}
        """What is held beside the lock, or why not; filled when the lock is taken."""

    def open(self) -> None:
        """Reach the device, see that it can run the worker, and bring that there.

        Raises:
            DeviceError: it is not reachable, refuses us, or is full.
            MissingPackage: it has no python3, too old a one, or no numpy.
        """
        self._home = self._client.shell('printf %s "$HOME"', timeout_s=2 * CONNECT_S).stdout
        if not re.fullmatch(r"/[^\x00-\x1f\x7f]{0,1000}", self._home):
            raise DeviceError(
                f"{self._name} has no home folder: {one_line(self._home)!r}", "Log in there and check $HOME."
            )
        self._check_python()
        path, sha256 = agent.build(self._folder)
        self._agent = self.push(path, sha256=sha256)

    def interpreter(self) -> tuple[str, ...]:
        """What runs a module of ours there."""
        return ("env", f"PYTHONPATH={self._agent}", self._python)

    def run(self, argv: Sequence[str], *, stdin: str = "", timeout_s: float) -> CommandResult:
        """Run ``argv`` there in a process group of its own, which ends with its time or with the link.

        Raises:
            DeviceError: it cannot be started, took too long or printed too much, or the link was lost.
        """
        if self._holder is not None and self._holder.poll() is not None:
            raise DeviceError(f"the link to {self._name} was lost, and its lock with it", "Go on with --resume.")
        what = command_words(argv)
        data = stdin.encode()
        header = {"argv": list(argv), "stdin_bytes": len(data), "timeout_s": timeout_s}
        with self._client.question(self._remote("run"), json.dumps(header).encode() + b"\n" + data) as question:
            try:
                answer = question.answer(_CommandAnswer, what, timeout_s=timeout_s + GRACE_S)
            except DeviceError:
                if self._holder is not None:  # what cut this one cuts the lock's too, a moment later
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        self._holder.wait(timeout=2)
                raise
        if answer.failed is not None:
            raise cannot_start(argv[0], one_line(answer.failed), answer.errno, self._name)
        if answer.timed_out:
            raise timed_out(argv, timeout_s, self._name)
        if answer.too_much:
            raise wrote_too_much(argv, self._name)
        return CommandResult(exit_code=answer.exit_code, stdout=answer.stdout, stderr=answer.stderr, device=self._name)

    def push(self, path: Path, *, sha256: str) -> str:
        """Put a file there under its content hash, unless it lies there whole; returns where.

        Raises:
            DeviceError: the link was lost, or the device cannot write it (full, read-only).
        """
        folder = f"{self._home}/.cache/vitdeploy/files/{sha256}"
        place = shlex.quote(f"{folder}/{path.name}")
        # Each push writes a file of its own: two clients may bring the same one at once.
        part = shlex.quote(f"{folder}/.{secrets.token_hex(6)}.part")
        size = path.stat().st_size
        # Files get their name only when they are whole, so a name with the right size is the file.
        if self._client.shell(f'[ "$(wc -c < {place})" -eq {size} ]', timeout_s=60).exit_code == 0:
            return f"{folder}/{path.name}"
        check = f'[ "$(sha256sum {part} | cut -d" " -f1)" = {shlex.quote(sha256)} ]'
        script = f"mkdir -p {shlex.quote(folder)} && cat > {part} && {check} && mv -f {part} {place}"
        result = self._client.shell(
            f"{script} || {{ rm -f {part}; exit 1; }}", source=path, timeout_s=self._limit_s(size)
        )
        if result.exit_code:
            reason = last_line(result.stderr, "its digest is wrong")
            raise DeviceError(
                f"cannot copy {path.name} ({size} bytes) to {self._name}: {reason}",
                "Free space there, or check its disk.",
            )
        return f"{folder}/{path.name}"

    def pull(self, remote: str, path: Path) -> None:
        """Fetch ``remote`` into ``path``, whole or not at all, and never more than the device said it has.

        Raises:
            DeviceError: it is not there, another size than was said, or the link was lost.
            UnreadableFile: ``path`` cannot be written.
        """
        size = self._client.shell(f"wc -c < {shlex.quote(remote)}", timeout_s=60)
        shown = size.stdout.strip()
        if size.exit_code or not re.fullmatch(r"\d{1,15}", shown):
            raise DeviceError(f"{self._name} has no {remote}", "Run the command again.")
        expected = int(shown)
        part = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
        try:
            if expected > min(LARGEST_FILE_BYTES, shutil.disk_usage(part.parent).free):
                raise DeviceError(
                    f"{remote} on {self._name} has {expected} bytes, it says: more than fits here",
                    "Free space here, or look at that file.",
                )
            with part.open("wb") as target:
                whole = self._client.fetch(remote, expected, target.write, timeout_s=self._limit_s(expected))
            if not whole:
                raise DeviceError(
                    f"{remote} was copied from {self._name} with another size than the {expected} bytes it said",
                    "Check the link. Try again.",
                )
            part.replace(path)
        except OSError as error:
            raise UnreadableFile(f"cannot write {path}: {error.strerror}", "Choose another place.") from error
        finally:
            part.unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove all files of ours from the device."""
        self._client.shell(f"rm -rf {shlex.quote(f'{self._home}/.cache/vitdeploy/files')}", timeout_s=60)

    def close(self) -> None:
        """End the shared connection; idempotent."""
        if self._folder.exists():
            with contextlib.suppress(subprocess.TimeoutExpired, OSError):
                subprocess.run(
                    [*self._ssh[:-1], "-O", "exit", self._ssh[-1]],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    timeout=CONNECT_S,
                    check=False,
                )
            shutil.rmtree(self._folder, ignore_errors=True)

    @contextlib.contextmanager
    def lock(self, *, timeout_s: float) -> Generator[None]:
        """Hold the device alone, among all processes there and all links to it; a lost link holds nothing.

        Raises:
            DeviceError: another process holds it; the message says which.
        """
        command = self._remote("hold", f"{timeout_s:g}", *self._power)
        with self._client.question(command, b"") as question:
            answer = question.answer(_LockAnswer, "taking the lock", timeout_s=timeout_s + GRACE_S)
            if not answer.held:
                message = one_line(answer.refused) or "its lock was refused, without a reason"
                raise DeviceError(message.replace("local is", f"{self._name} is"), "Wait for it, or stop it.")
            self.power = {one_line(name, 40): one_line(words) for name, words in list(answer.power.items())[:8]}
            self._holder = question.process
            try:
                yield
            finally:
                self._holder = None

    def _check_python(self) -> None:
        """See that the interpreter is there, new enough, and has a numpy that works."""
        source = "import sys; print(*sys.version_info[:2], flush=True); import numpy"
        result = self._client.shell(f"{shlex.quote(self._python)} -c {shlex.quote(source)}", timeout_s=60)
        shown = re.search(r"^(\d{1,2}) (\d{1,3})$", result.stdout, re.MULTILINE)
        signal = ssh_errors.signal_of(result.exit_code)
        oldest = ".".join(map(str, agent.OLDEST_PYTHON))
        last = last_line(result.stderr, "")
        if signal is not None:
            during = "while it imported numpy" if shown else "at its start"
            raise DeviceError(
                f"{self._python} on {self._name} was killed by {signal} {during}",
                "Free memory there."
                if signal == "SIGKILL"
                else "Install a numpy that is built for its processor; on a Jetson, set OPENBLAS_CORETYPE=ARMV8.",
            )
        if shown is None and result.exit_code == 127:
            raise MissingPackage(f"{self._name} has no {self._python}", f"Install Python {oldest} or newer there.")
        if shown is None:
            raise DeviceError(
                f"{self._python} on {self._name} does not run: {last or f'exit code {result.exit_code}'}",
                f"Try `ssh {self._target} {self._python} -V`.",
            )
        if (int(shown[1]), int(shown[2])) < agent.OLDEST_PYTHON:
            raise MissingPackage(
                f"{self._python} on {self._name} is {shown[1]}.{shown[2]}, older than {oldest}",
                "Name a newer one as `python`.",
            )
        if result.exit_code and (not last or "No module named 'numpy'" in last):
            raise MissingPackage(
                f"numpy is missing on {self._name}", f"Run `ssh {self._target} {self._python} -m pip install numpy`."
            )
        if result.exit_code:
            raise MissingPackage(
                f"numpy on {self._name} is broken: {last}",
                f"Run `ssh {self._target} {self._python} -m pip install --force-reinstall numpy`.",
            )

    def _remote(self, verb: str, *words: str) -> Callable[[str], Sequence[str]]:
        """The words that start our remote side there, from the mark of its answer."""
        return lambda mark: [*self.interpreter(), "-m", "vitdeploy.devices.remote", verb, mark, *words]

    @staticmethod
    def _limit_s(size: int) -> float:
        return GRACE_S + size / TRANSFER_BYTES_PER_S


def _socket_folder() -> Path:
    """A folder for the shared connection's socket, whose path must be short; TMPDIR may be long (macOS)."""
    parent = Path(tempfile.gettempdir())
    if len(str(parent)) > _LONGEST_SOCKET_FOLDER - len("/vd-12345678"):
        parent = Path("/tmp")  # noqa: S108 (a folder of our own in it, closed to others)
    try:
        return Path(tempfile.mkdtemp(prefix="vd-", dir=parent))
    except OSError as error:
        raise UnreadableFile(f"cannot make a folder in {parent}: {error.strerror}", "Free space there.") from error


def open_connection(device: "Device", *, limit_s: float | None = None) -> Connection:
    """The connection to a device file's machine, which is reached and ready.

    Args:
        device: where.
        limit_s: the link ends so long after now; None: each wait has its own limit.

    Raises:
        DeviceError: it is not configured or not reachable.
        MissingPackage: ssh is missing here, or Python there.
    """
    if shutil.which("ssh") is None:
        raise MissingPackage("ssh is not here", "Install OpenSSH's client: `apt install openssh-client`.")
    connection = SshConnection(device, limit_s=limit_s)
    try:
        connection.open()
    except BaseException:
        connection.close()
        raise
    return connection
