"""The lock of a machine: one for all accounts, temporary folders and device files, whatever lies in its place."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from vitdeploy.errors import DeviceError
from vitdeploy.processes import machine_lock
from vitdeploy.processes.device_words import one_line
from vitdeploy.processes.local import LocalConnection
from vitdeploy.processes.machine_lock import FILE

ROOT = Path(__file__).parents[2]
HOLD = """
from vitdeploy.processes.local import LocalConnection
with LocalConnection("another").lock(timeout_s=0):
    print("held", flush=True)
    input()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lock folder as /tmp is one: everybody may write, nobody may remove what others have."""
    place = tmp_path / "lock"
    place.mkdir()
    place.chmod(0o1777)
    monkeypatch.setenv("VITDEPLOY_LOCK_DIR", str(place))
    return place


def in_use(name: str = "local") -> str:
    """The words with which the lock is refused."""
    with pytest.raises(DeviceError, match="is in use by process") as refused, LocalConnection(name).lock(timeout_s=0):
        pass
    return refused.value.message


def as_account(number: int, act: Callable[[], None]) -> str:
    """What ``act`` raises in a process of another account; empty where it raises nothing."""
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:  # never returns into the test
        with contextlib.suppress(BaseException):
            os.setgroups([])
            os.setgid(number)
            os.setuid(number)
            try:
                act()
                words = ""
            except BaseException as error:  # noqa: BLE001 (it is told through the pipe)
                words = f"{type(error).__name__}: {error}"
            os.write(send, words.encode())
        os._exit(0)
    os.close(send)
    with os.fdopen(receive) as stream:
        words = stream.read()
    os.waitpid(child, 0)
    return words


def take() -> None:
    with LocalConnection().lock(timeout_s=0):
        pass


def test_another_temporary_folder_and_another_device_file_see_the_same_lock(folder: Path, tmp_path: Path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        for name in ("local", "two"):
            message = in_use(name)
            assert message.startswith(f"{name} is in use by process {holder.pid} of ")
            assert " since 20" in message
        holder.communicate(b"\n")
    take()


def test_the_place_does_not_depend_on_the_temporary_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.delenv("VITDEPLOY_LOCK_DIR")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert machine_lock.lock_folder() == Path("/tmp")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become other accounts")
@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_every_account_can_take_the_lock_of_every_other(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, mask: int
):
    for parent in folder.parents:  # pytest's own folders are closed to other accounts
        if parent.stat().st_mode & 0o001 == 0:
            parent.chmod(0o711)
    before = os.umask(mask)
    try:
        for account in (4001, 4001, 4002):
            assert as_account(account, take) == ""
        take()
    finally:
        os.umask(before)
    assert (folder / FILE).stat().st_mode & 0o777 == 0o666
    (folder / FILE).chmod(0o644)  # as older versions left it
    assert as_account(4002, take) == ""
    with LocalConnection().lock(timeout_s=0):
        assert "is in use by process" in as_account(4002, take)
    (folder / FILE).chmod(0o600)
    assert "cannot open the lock" in as_account(4002, take)


@pytest.mark.parametrize("kind", ["link", "hard link", "pipe", "folder"])
def test_what_is_no_lock_file_is_refused_and_left_as_it_is(folder: Path, tmp_path: Path, kind: str):
    victim = tmp_path / "victim"
    victim.write_text("whole")
    place = folder / FILE
    {
        "link": lambda: place.symlink_to(victim),
        "hard link": lambda: place.hardlink_to(victim),
        "pipe": lambda: os.mkfifo(place),
        "folder": place.mkdir,
    }[kind]()
    with pytest.raises(DeviceError, match="the lock"):
        take()
    assert victim.read_text() == "whole"


def test_a_lock_folder_that_is_not_there_is_said_with_the_variable(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("VITDEPLOY_LOCK_DIR", str(folder / "none"))
    with pytest.raises(DeviceError, match="cannot open the lock") as refused:
        take()
    assert "VITDEPLOY_LOCK_DIR" in refused.value.hint


def test_a_file_that_was_cleaned_away_does_not_stay_a_lock(folder: Path):
    with LocalConnection().lock(timeout_s=0):
        (folder / FILE).unlink()
        with LocalConnection().lock(timeout_s=0):  # nobody can see the first one any more
            assert in_use()


def test_the_holders_words_are_a_strangers(folder: Path):
    with LocalConnection().lock(timeout_s=0):
        (folder / FILE).write_bytes(b"1\x1b[2J\n::stop-commands::\xe2\x80\xae" + b"x" * 9000)
        message = in_use()
    assert message.isprintable()
    assert len(message) < 300


def test_words_are_one_printable_bounded_line():
    assert one_line("a\x1b]0;b\x07\r\nc\u202e\u2028d") == "a ]0;b c d"
    assert len(one_line("x" * 10**6)) == 300


FEW_FILES = """
import resource, sys
from vitdeploy.errors import DeviceError
from vitdeploy.processes.local import LocalConnection
link = LocalConnection()
for limit in range(4, 24):
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, 64))
    try:
        link.run([sys.executable, "-c", "pass"], timeout_s=20)
    except DeviceError as error:
        assert "Too many open files" in error.message and "ulimit -n" in error.hint, (limit, error.message, error.hint)
        print(limit)
"""


def test_descriptors_that_run_out_are_not_a_missing_program():
    done = subprocess.run([sys.executable, "-c", FEW_FILES], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split(), "the limit was never felt"
