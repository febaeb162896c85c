"""What every link to a device promises: commands end in time and whole, locks are exclusive and mortal."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.doubles.adb_daemon import PhoneDouble
from vitdeploy.errors import DeviceError, UnreadableFile
from vitdeploy.processes.connection import Connection
from vitdeploy.processes.local import LocalConnection

ROOT = Path(__file__).parent.parent.parent
HOLDER = """
import sys, time
from pathlib import Path
{make}
with link.lock(timeout_s=1):
    print("held", flush=True)
    time.sleep(60)
"""


class Local:
    """This machine."""

    def __init__(self, folder: Path) -> None:
        self.place = str(folder)
        self.holder = HOLDER.format(
            make="from vitdeploy.processes.local import LocalConnection as L; link = L(lock_folder=Path(sys.argv[1]))"
        )

    def open(self) -> Connection:
        return LocalConnection(lock_folder=Path(self.place))


class Adb:
    """A stand-in for a phone, through a real adb server."""

    def __init__(self, phone: PhoneDouble) -> None:
        self.place = phone.serial
        self.holder = HOLDER.format(
            make="from vitdeploy.devices.over_adb import AdbConnection as A; link = A('phone', sys.argv[1])"
        )

    def open(self) -> Connection:
        from vitdeploy.devices.over_adb import AdbConnection

        return AdbConnection("phone", self.place)


@pytest.fixture(params=["local", "adb"])
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> Local | Adb:
    return Local(tmp_path) if request.param == "local" else Adb(request.getfixturevalue("phone"))


@pytest.fixture
def link(kind: Local | Adb) -> Connection:
    return kind.open()


def alive(pid: int) -> bool:
    try:
        return b") Z" not in Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False


def wait_for_end(pid: int) -> None:
    deadline = time.monotonic() + 5
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(pid)


def test_a_command_gets_stdin_and_gives_back_both_streams_and_its_code(link: Connection):
    done = link.run(["sh", "-c", "cat; echo oops >&2; exit 3"], stdin="söme text", timeout_s=10)
    assert (done.exit_code, done.stdout, done.stderr) == (3, "söme text", "oops\n")


def test_no_shell_reads_the_words(link: Connection):
    assert link.run(["echo", "$HOME; rm -rf *"], timeout_s=10).stdout == "$HOME; rm -rf *\n"


def test_a_command_that_died_of_a_signal_is_told_by_a_negative_code(link: Connection):
    assert link.run(["sh", "-c", "kill -9 $$"], timeout_s=10).exit_code == -9


def test_bytes_that_are_no_text_are_no_error(link: Connection):
    assert "\ufffd" in link.run(["printf", r"\377"], timeout_s=10).stdout


def test_a_command_that_does_not_read_its_stdin_is_no_error(link: Connection):
    assert link.run(["true"], stdin="x" * 1_000_000, timeout_s=10).exit_code == 0


def test_a_command_that_is_not_there_is_a_device_error(link: Connection):
    with pytest.raises(DeviceError, match="cannot start no-such-tool"):
        link.run(["no-such-tool"], timeout_s=10)


def test_time_is_up_for_all_that_a_command_started(link: Connection, tmp_path: Path):
    script = f"sleep 60 & echo $! > {tmp_path / 'child'}; wait"
    started = time.monotonic()
    with pytest.raises(DeviceError, match=r"was killed after 0\.5 s"):
        link.run(["sh", "-c", script], timeout_s=0.5)
    assert time.monotonic() - started < 10
    wait_for_end(int((tmp_path / "child").read_text()))


def test_a_child_that_holds_the_pipe_after_its_parents_end_is_ended_too(link: Connection):
    with pytest.raises(DeviceError):
        link.run(["sh", "-c", "sleep 60 &"], timeout_s=0.5)


def test_an_interruption_ends_the_command(link: Connection, tmp_path: Path):
    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.4)
    try:
        with pytest.raises(KeyboardInterrupt):
            link.run(["sh", "-c", f"echo $$ > {tmp_path / 'pid'}; exec sleep 60"], timeout_s=30)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    wait_for_end(int((tmp_path / "pid").read_text()))


def test_a_pushed_file_lies_there_and_comes_back(link: Connection, tmp_path: Path):
    (tmp_path / "model").write_bytes(b"bytes")
    remote = link.push(tmp_path / "model", sha256=hashlib.sha256(b"bytes").hexdigest())
    assert link.run(["cat", remote], timeout_s=10).stdout == "bytes"
    link.pull(remote, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"bytes"


def test_a_pull_that_fails_leaves_nothing(link: Connection, tmp_path: Path):
    with pytest.raises(UnreadableFile):
        link.pull(str(tmp_path / "none"), tmp_path / "back")
    assert list(tmp_path.iterdir()) == []


def test_a_held_lock_is_refused_and_the_holder_named(kind: Local | Adb, link: Connection):
    other = kind.open()
    with (
        link.lock(timeout_s=1),
        pytest.raises(DeviceError, match=f"in use by process {os.getpid()}"),
        other.lock(timeout_s=0.1),
    ):
        pass
    with other.lock(timeout_s=0.1):
        pass


def test_a_lock_is_waited_for(kind: Local | Adb, link: Connection):
    with link.lock(timeout_s=1):
        code = kind.holder.replace("timeout_s=1", "timeout_s=20").replace("time.sleep(60)", "")
        waiting = subprocess.Popen([sys.executable, "-c", code, kind.place], stdout=subprocess.PIPE, cwd=ROOT)
        time.sleep(1.0)
        assert waiting.poll() is None
    with waiting:
        assert waiting.communicate(timeout=20)[0] == b"held\n"


def test_the_lock_of_a_dead_holder_does_not_count(kind: Local | Adb, link: Connection):
    with subprocess.Popen([sys.executable, "-c", kind.holder, kind.place], stdout=subprocess.PIPE, cwd=ROOT) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(DeviceError, match=f"process {holder.pid}"), link.lock(timeout_s=0.1):
            pass
        holder.kill()
    with link.lock(timeout_s=1):
        pass


def test_closing_twice_is_no_error(link: Connection):
    link.close()
    link.close()
