"""The SSH server double as the device ``board`` of a test's own folder."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doubles import ssh_server
from tests.doubles.ssh_server import SshServer


def serving(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *targets: str, python: str = sys.executable
) -> Iterator[SshServer]:
    """Start it, write ``devices/board.toml`` with these targets, and work in ``folder`` until it ends.

    Skips where no OpenSSH server and client are installed.

    Args:
        folder: the test's own.
        monkeypatch: of the test.
        targets: that the board runs.
        python: its interpreter.
    """
    if not ssh_server.available():
        pytest.skip("no OpenSSH server and client here")
    (folder / "sshd").mkdir()
    server = SshServer(folder / "sshd")
    monkeypatch.setenv("PATH", server.path)
    monkeypatch.chdir(folder)
    (folder / "devices").mkdir()
    listed = ", ".join(f'"{target}"' for target in targets)
    (folder / "devices" / "board.toml").write_text(
        f'title = "a board"\nlink = "ssh"\nhost = "127.0.0.1"\nuser = "{server.user}"\n'
        f'port = {server.port}\npython = "{python}"\ntargets = [{listed}]\n'
    )
    yield server
    server.stop()
