"""A real OpenSSH server on loopback with keys of its own: a device for tests, and its faults."""

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"


def available() -> bool:
    """Whether this machine has an OpenSSH server and client."""
    return Path(SSHD).exists() and shutil.which("ssh") is not None and shutil.which("ssh-keygen") is not None


class SshServer:
    """sshd on a free port. ``path`` has an ``ssh`` that knows its key; the user's own configuration stays out."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.user = getpass.getuser()
        self.home = folder / "home"
        self.home.mkdir()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        for name in ("host", "user"):
            self._keygen(name)
        shutil.copyfile(folder / "user.pub", folder / "authorized_keys")
        self._trust()
        self._write_client()
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(
        self, *, environment: Mapping[str, str] | None = None, login: str = "", banner: Path | None = None
    ) -> None:
        """Listen.

        Args:
            environment: what every command on the device finds set.
            banner: a file that is shown before the login.
            login: a script that is run in place of the account's login shell; the command is in ``$1``.
        """
        # A lock folder of its own: tests run beside each other, and the machine has one lock.
        own = {name: str(self.home) for name in ("HOME", "TMPDIR", "VITDEPLOY_LOCK_DIR")}
        variables = {**own, **(environment or {})}
        lines = [
            f"Port {self.port}",
            "ListenAddress 127.0.0.1",
            f"HostKey {self.folder / 'host'}",
            f"AuthorizedKeysFile {self.folder / 'authorized_keys'}",
            f"PidFile {self.folder / 'sshd.pid'}",
            "StrictModes no",
            "UsePAM no",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "PermitRootLogin prohibit-password",
            "SetEnv " + " ".join(f'"{name}={value}"' for name, value in variables.items()),
        ]
        if banner is not None:
            lines.append(f"Banner {banner}")
        if login:
            shell = self.folder / "login"
            shell.write_text(f'#!/bin/sh\nset -- "$SSH_ORIGINAL_COMMAND"\n{login}\n')
            shell.chmod(0o755)
            lines.append(f"ForceCommand {shell}")
        (self.folder / "sshd_config").write_text("\n".join(lines) + "\n")
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        log = (self.folder / "sshd.log").open("ab")
        self._process = subprocess.Popen(
            [SSHD, "-D", "-e", "-f", str(self.folder / "sshd_config")], stderr=log, start_new_session=True
        )
        self._wait()

    def stop(self) -> None:
        """Stop listening; open sessions go on."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def cut(self) -> None:
        """Kill the children that serve sessions: the link is gone in the middle of whatever runs."""
        assert self._process is not None
        for child in _descendants(self._process.pid):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ended with a session before it
                if (Path("/proc") / str(child) / "comm").read_text().startswith("sshd"):
                    os.kill(child, signal.SIGKILL)

    def change_host_key(self) -> None:
        """Come back as another machine under the same name."""
        self.stop()
        self._keygen("host")
        self.start()

    def forget_user(self) -> None:
        """Accept no key any more."""
        (self.folder / "authorized_keys").write_text("")

    @property
    def path(self) -> str:
        """A PATH whose ``ssh`` uses this server's keys."""
        return f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"

    def _keygen(self, name: str) -> None:
        for old in (self.folder / name, self.folder / f"{name}.pub"):
            old.unlink(missing_ok=True)
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / name)], check=True, timeout=20
        )

    def _trust(self) -> None:
        key = (self.folder / "host.pub").read_text().split()
        (self.folder / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {key[0]} {key[1]}\n")

    def _write_client(self) -> None:
        config = self.folder / "client_config"
        config.write_text(
            f"IdentityFile {self.folder / 'user'}\nIdentitiesOnly yes\n"
            f"UserKnownHostsFile {self.folder / 'known_hosts'}\nGlobalKnownHostsFile /dev/null\n"
            "StrictHostKeyChecking no\n"  # a careless user's: ours has to be stricter
        )
        wrapper = self.folder / "bin" / "ssh"
        wrapper.parent.mkdir()
        wrapper.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {config} "$@"\n')
        wrapper.chmod(0o755)

    def _wait(self) -> None:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise AssertionError((self.folder / "sshd.log").read_text())


def _descendants(parent: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found, waiting = list[int](), [parent]
    while waiting:
        born = children.get(waiting.pop(), [])
        found += born
        waiting += born
    return found
