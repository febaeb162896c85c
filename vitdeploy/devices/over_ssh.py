"""SSH connection by the system's OpenSSH: the user's own configuration, keys, jump hosts and known hosts hold.

Files lie below ``~/.cache/vitdeploy`` there, under their content hash. The worker travels in a zip of ours. Every
wait is bounded; what was started on the device ends when the link does.
"""

import contextlib
import json
import re
import shlex
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vitdeploy.devices import agent, remote
from vitdeploy.errors import DeviceError, MissingPackage, UnreadableFile, UsageError
from vitdeploy.processes.connection import CommandResult, Connection, timed_out

if TYPE_CHECKING:
    from vitdeploy.devices.inventory import Device

CONNECT_S = 10
"""How long a machine may take to answer."""

GRACE_S = 30.0
"""How much longer than a command's own limit the link may take to bring its answer."""

TRANSFER_BYTES_PER_S = 100_000
"""A slower link than this is a lost one; a file may take its size by this, and `GRACE_S`."""

_ALIVE_S = 5
"""A silent link is asked so often whether it lives; three answers that do not come end it."""

_NAME = re.compile(r"^[A-Za-z0-9_.:%\[\]-]+$")
"""What a host or a user can be called; a dash in front would be an option."""

_SSH_ERRORS: Final = (
    (
        "REMOTE HOST IDENTIFICATION HAS CHANGED",
        "its host key changed",
        "Find out why, then correct ~/.ssh/known_hosts.",
    ),
    ("Host key verification failed", "its host key is not known", "Connect once by hand: `ssh {target}`."),
    ("Permission denied", "it refused the key", "Put your public key there: `ssh-copy-id {target}`."),
    ("Could not resolve hostname", "its name is not known", "Check `host` in the device file."),
    ("Connection refused", "nothing listens on its SSH port", "Start sshd there, or correct `port`."),
    ("timed out", "it does not answer", "Check that it is on and in reach."),
    ("No route to host", "there is no route to it", "Check the network."),
)
"""What OpenSSH says, what that means, and what to do."""


class SshConnection(Connection):
    """One device, over one shared connection."""

    def __init__(self, device: "Device") -> None:
        for word in filter(None, (device.host, device.user)):
            if not _NAME.match(word) or word.startswith("-"):
                raise UsageError(f"{word!r} is no name of a host or user", f"Correct the device file of {device.name}.")
        self._name = device.name
        self._target = f"{device.user}@{device.host}" if device.user else device.host
        self._python = device.python
        self._folder = Path(tempfile.mkdtemp(prefix="vd-"))  # short: a socket's path has at most 107 bytes
        self._ssh = [
            *("ssh", "-T", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT_S}"),
            *("-o", "StrictHostKeyChecking=yes"),  # ours comes first: no configuration of the user loosens it
            *("-o", f"ServerAliveInterval={_ALIVE_S}", "-o", "ServerAliveCountMax=3"),
            *("-o", "ControlMaster=auto", "-o", f"ControlPath={self._folder}/%C", "-o", "ControlPersist=60"),
            *(("-p", str(device.port)) if device.port else ()),
        ]
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
        self._home = self._shell('printf %s "$HOME"', timeout_s=2 * CONNECT_S).stdout
        if not self._home.startswith("/"):
            raise DeviceError(f"{self._name} has no home folder: {self._home!r}", "Log in there and check $HOME.")
        source = "import sys; print(*sys.version_info[:2]); import numpy"
        result = self._shell(f"{shlex.quote(self._python)} -c {shlex.quote(source)}", timeout_s=60)
        version = tuple(int(word) for word in result.stdout.split() if word.isdigit())
        oldest = ".".join(map(str, agent.OLDEST_PYTHON))
        if not version:
            raise MissingPackage(f"{self._name} has no {self._python}", f"Install Python {oldest} or newer there.")
        if version < agent.OLDEST_PYTHON:
            shown = ".".join(map(str, version))
            raise MissingPackage(
                f"{self._python} on {self._name} is {shown}, older than {oldest}", "Name a newer one as `python`."
            )
        if result.exit_code:
            raise MissingPackage(
                f"numpy is missing on {self._name}", f"Run `ssh {self._target} {self._python} -m pip install numpy`."
            )
        path, sha256 = agent.build(self._folder)
        self._agent = self.push(path, sha256=sha256)

    def interpreter(self) -> tuple[str, ...]:
        """What runs a module of ours there."""
        return ("env", f"PYTHONPATH={self._agent}", self._python)

    def run(self, argv: Sequence[str], *, stdin: str = "", timeout_s: float) -> CommandResult:
        """Run ``argv`` there in a process group of its own, which ends with its time or with the link.

        Raises:
            DeviceError: it cannot be started, took too long, or the link was lost.
        """
        if self._holder is not None and self._holder.poll() is not None:
            raise DeviceError(f"the link to {self._name} was lost, and its lock with it", "Go on with --resume.")
        data = stdin.encode()
        header = {"argv": list(argv), "stdin_bytes": len(data), "timeout_s": timeout_s}
        command = shlex.join([*self.interpreter(), "-m", "vitdeploy.devices.remote", "run"])
        with self._started(command) as process:
            answer = _conversation(process, json.dumps(header).encode() + b"\n" + data, timeout_s + GRACE_S)
            stderr = process.stderr.read().decode(errors="replace") if process.stderr else ""
        if answer is None:
            if self._holder is not None:  # what cut this one cuts the lock's too, a moment later
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._holder.wait(timeout=2)
            raise self._lost(stderr, f"{Path(argv[0]).name} {' '.join(argv[1:3])}")
        if "failed" in answer:
            raise DeviceError(f"cannot start {argv[0]} on {self._name}: {answer['failed']}", "Install it there.")
        if answer["timed_out"]:
            raise timed_out(argv, timeout_s, self._name)
        return CommandResult(exit_code=answer["exit_code"], stdout=answer["stdout"], stderr=answer["stderr"])

    def push(self, path: Path, *, sha256: str) -> str:
        """Put a file there under its content hash, unless it lies there whole; returns where.

        Raises:
            DeviceError: the link was lost, or the device cannot write it (full, read-only).
        """
        folder = f"{self._home}/.cache/vitdeploy/files/{sha256}"
        place, part = shlex.quote(f"{folder}/{path.name}"), shlex.quote(f"{folder}/.{path.name}.part")
        size = path.stat().st_size
        # Files get their name only when they are whole, so a name with the right size is the file.
        if self._shell(f'[ "$(wc -c < {place})" -eq {size} ]', timeout_s=60).exit_code == 0:
            return f"{folder}/{path.name}"
        check = f'[ "$(sha256sum {part} | cut -d" " -f1)" = {shlex.quote(sha256)} ]'
        script = f"mkdir -p {shlex.quote(folder)} && cat > {part} && {check} && mv -f {part} {place}"
        result = self._shell(f"{script} || {{ rm -f {part}; exit 1; }}", source=path, timeout_s=self._limit_s(size))
        if result.exit_code:
            reason = next(reversed(result.stderr.strip().splitlines()), "its digest is wrong")
            raise DeviceError(
                f"cannot copy {path.name} ({size} bytes) to {self._name}: {reason}",
                "Free space there, or check its disk.",
            )
        return f"{folder}/{path.name}"

    def pull(self, remote: str, path: Path) -> None:
        """Fetch ``remote`` into ``path``, whole or not at all.

        Raises:
            DeviceError: it is not there, or the link was lost.
            UnreadableFile: ``path`` cannot be written.
        """
        part = path.with_name(f".{path.name}.part")
        size = self._shell(f"wc -c < {shlex.quote(remote)}", timeout_s=60)
        if size.exit_code or not size.stdout.strip().isdigit():
            raise DeviceError(f"{self._name} has no {remote}", "Run the command again.")
        expected = int(size.stdout)
        try:
            with part.open("wb") as target:
                self._shell(f"cat {shlex.quote(remote)}", target=target, timeout_s=self._limit_s(expected))
            if part.stat().st_size != expected:
                raise DeviceError(f"{remote} was copied from {self._name} incompletely", "Check the link. Try again.")
            part.replace(path)
        except OSError as error:
            raise UnreadableFile(f"cannot write {path}: {error.strerror}", "Choose another place.") from error
        finally:
            part.unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove all files of ours from the device."""
        self._shell(f"rm -rf {shlex.quote(f'{self._home}/.cache/vitdeploy/files')}", timeout_s=60)

    def close(self) -> None:
        """End the shared connection; idempotent."""
        if self._folder.exists():
            with contextlib.suppress(subprocess.TimeoutExpired):
                subprocess.run(
                    [*self._ssh, "-O", "exit", self._target], capture_output=True, timeout=CONNECT_S, check=False
                )
            shutil.rmtree(self._folder, ignore_errors=True)

    @contextlib.contextmanager
    def lock(self, *, timeout_s: float) -> Generator[None]:
        """Hold the device alone, among all processes there and all links to it; a lost link holds nothing.

        Raises:
            DeviceError: another process holds it; the message says which.
        """
        command = [*self.interpreter(), "-m", "vitdeploy.devices.remote", "hold", f"{timeout_s:g}", *self._power]
        with self._started(shlex.join(command)) as process:
            reply = _line(process, timeout_s + GRACE_S)
            if reply != remote.HELD:
                message = reply or self._lost(_rest(process), "taking the lock").message
                raise DeviceError(message.replace("local is", f"{self._name} is"), "Wait for it, or stop it.")
            self.power = json.loads(_line(process, GRACE_S) or "{}")
            self._holder = process
            try:
                yield
            finally:
                self._holder = None

    @contextlib.contextmanager
    def _started(self, command: str) -> "Generator[subprocess.Popen[bytes]]":
        """A command there with pipes; it is ended with the block."""
        process = subprocess.Popen(
            [*self._ssh, self._target, command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is ours: the far side ends with its stdin
        )
        try:
            yield process
        finally:
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()
            try:
                process.wait(timeout=2)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _shell(self, script: str, *, source: Path | None = None, target: Any = None, timeout_s: float) -> CommandResult:
        """A line for the device's own shell: before the agent is there, and for files."""
        try:
            with source.open("rb") if source else contextlib.nullcontext(subprocess.DEVNULL) as stream:
                result = subprocess.run(
                    [*self._ssh, self._target, script],
                    stdin=stream,
                    stdout=target or subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    timeout=timeout_s,
                    check=False,
                )
        except FileNotFoundError as error:
            raise MissingPackage("ssh is not here", "Install OpenSSH's client.") from error
        except OSError as error:
            raise UnreadableFile(f"cannot read {source}: {error.strerror}", "Check the file.") from error
        except subprocess.TimeoutExpired as error:
            raise DeviceError(f"{self._name} did not answer in {timeout_s:.0f} s", "Check the link.") from error
        stderr = result.stderr.decode(errors="replace")
        if result.returncode == 255:  # what ssh itself ends with, ssh(1)
            raise self._lost(stderr, "a command")
        return CommandResult(
            exit_code=result.returncode, stdout=(result.stdout or b"").decode(errors="replace"), stderr=stderr
        )

    def _lost(self, stderr: str, what: str) -> DeviceError:
        for sign, meaning, hint in _SSH_ERRORS:
            if sign in stderr:
                return DeviceError(f"{self._name} ({self._target}): {meaning}", hint.format(target=self._target))
        last = next(reversed(stderr.strip().splitlines()), "no output")
        return DeviceError(f"the link to {self._name} was lost during {what}: {last}", "Go on with --resume.")

    @staticmethod
    def _limit_s(size: int) -> float:
        return GRACE_S + size / TRANSFER_BYTES_PER_S


def open_connection(device: "Device") -> Connection:
    """The connection to a device file's machine, which is reached and ready.

    Raises:
        DeviceError: it is not configured or not reachable.
        MissingPackage: ssh is missing here, or Python there.
    """
    if shutil.which("ssh") is None:
        raise MissingPackage("ssh is not here", "Install OpenSSH's client: `apt install openssh-client`.")
    connection = SshConnection(device)
    try:
        connection.open()
    except BaseException:
        connection.close()
        raise
    return connection


def _conversation(process: "subprocess.Popen[bytes]", data: bytes, limit_s: float) -> dict[str, Any] | None:
    """Send ``data`` and wait for the answer, keeping stdin open; None where none came."""
    lines: list[str] = []

    def ask() -> None:
        with contextlib.suppress(OSError, ValueError):
            assert process.stdin is not None
            process.stdin.write(data)
            process.stdin.flush()
            lines.append(_line(process, None))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(limit_s)
    if thread.is_alive():
        process.kill()
        thread.join()
    try:
        answer: dict[str, Any] = json.loads(lines[0]) if lines else {}
    except ValueError:
        return None
    return answer or None


def _line(process: "subprocess.Popen[bytes]", limit_s: float | None) -> str:
    """One line of what it says; empty where it ended, or said nothing in time."""
    assert process.stdout is not None
    timer = threading.Timer(limit_s, process.kill) if limit_s is not None else None
    if timer is not None:
        timer.start()
    try:
        return process.stdout.readline().decode(errors="replace").rstrip("\n")
    finally:
        if timer is not None:
            timer.cancel()


def _rest(process: "subprocess.Popen[bytes]") -> str:
    assert process.stderr is not None
    return process.stderr.read().decode(errors="replace")
