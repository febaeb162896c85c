"""A device over SSH: a real OpenSSH server on loopback, real ONNX Runtime behind it, and every fault by name."""

import os
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import msgspec
import pytest

from tests.doubles import artifacts, ssh_server
from tests.doubles.ssh_server import SshServer
from vitdeploy.artifacts.manifest import digest_of
from vitdeploy.benchmarks import bench
from vitdeploy.benchmarks.trial.case_trials import Job
from vitdeploy.benchmarks.yardstick.files import Yardsticks
from vitdeploy.cli.main import main
from vitdeploy.devices import agent, inventory, over_ssh
from vitdeploy.devices.inventory import Device
from vitdeploy.devices.over_ssh import SshConnection, open_connection
from vitdeploy.errors import DeviceError, MissingPackage, UsageError
from vitdeploy.results import record

pytestmark = pytest.mark.skipif(not ssh_server.available(), reason="no OpenSSH server and client here")


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SshServer]:
    folder = tmp_path / "sshd"
    folder.mkdir()
    made = SshServer(folder)
    monkeypatch.setenv("PATH", made.path)
    yield made
    made.stop()


def device_of(server: SshServer) -> Device:
    return msgspec.structs.replace(
        inventory.find("orin"),
        host="127.0.0.1",
        user=server.user,
        port=server.port,
        python=sys.executable,
        facts={},
    )


def connected(server: SshServer) -> SshConnection:
    link = open_connection(device_of(server))
    assert isinstance(link, SshConnection)
    return link


def job_in(folder: Path) -> Job:
    made = artifacts.conv_relu(folder / "artifact")
    return Job(case=artifacts.case_of(made, device="orin"), compute="cpu", artifact=made)


def timed(server: SshServer, tmp_path: Path, *, trials: int = 2, min_time_s: float = 0.1, resume: bool = False):
    return bench.run(
        [job_in(tmp_path)],
        device=device_of(server),
        protocol=bench.make_protocol(trials=trials, min_time_s=min_time_s, warmup_limit_s=0.3),
        out=tmp_path / "run.json",
        resume=resume,
    )


def test_a_bench_runs_on_the_device_by_the_agent_alone(server: SshServer, tmp_path: Path):
    run = timed(server, tmp_path)
    (row,) = run.results
    assert len(row.trials) == 2
    assert row.trials[0].facts["runtime"].startswith("onnxruntime")
    assert run.device.facts["link"] == "ssh"
    files = [path.name for path in (server.home / ".cache" / "vitdeploy" / "files").rglob("*") if path.is_file()]
    assert len(files) == 2
    assert "model.onnx" in files
    with connected(server) as link:
        assert isinstance(link, SshConnection)
        link.clear()
    assert not (server.home / ".cache" / "vitdeploy" / "files").exists()


def test_a_tflite_file_runs_there_and_its_run_becomes_a_page(server: SshServer, tmp_path: Path):
    """Push, bench, pull and report, with the other runtime of devices without a GPU."""
    pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed")
    made = artifacts.conv_relu_tflite(tmp_path / "artifact")
    out = tmp_path / "run.json"
    run = bench.run(
        [Job(case=artifacts.case_of(made, device="orin"), compute="cpu", artifact=made)],
        device=device_of(server),
        protocol=bench.make_protocol(trials=2, min_time_s=0.1, warmup_limit_s=0.3),
        out=out,
    )
    assert [trial.facts["runtime"].split()[0] for trial in run.results[0].trials] == ["ai-edge-litert"] * 2
    assert main(["report", str(out), "--format", "html", "--out", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text()
    assert "orin" in page
    assert "tflite-fp32" in page


def test_the_yardstick_is_sent_there_and_takes_turns_with_the_case(server: SshServer, tmp_path: Path):
    run = bench.run(
        [job_in(tmp_path)],
        device=device_of(server),
        protocol=bench.make_protocol(trials=2, min_time_s=0.1, warmup_limit_s=0.3),
        out=tmp_path / "run.json",
        yardsticks=Yardsticks("on"),
    )
    assert run.yardstick is not None
    assert run.yardstick.off == {}
    assert all(trial.yardstick_ns for trial in run.results[0].trials)
    (there,) = (server.home / ".cache" / "vitdeploy" / "files").rglob(
        f"{run.yardstick.networks['onnx-fp32'][:16]}.onnx"
    )
    assert digest_of(there) == run.yardstick.networks["onnx-fp32"]


def test_the_agent_is_the_same_for_the_same_sources_and_holds_no_parent():
    assert agent.content() == agent.content()
    names = agent.modules()
    assert "vitdeploy.benchmarks.trial.loop" in names
    assert (
        not {"vitdeploy.api.bench", "vitdeploy.cli.main", "vitdeploy.results.record", "vitdeploy.results.stats"}
        & names.keys()
    )


def test_a_file_is_sent_once_and_comes_back_whole_whatever_its_name(server: SshServer, tmp_path: Path):
    file = tmp_path / "a 'b\" $(touch owned); .onnx"
    file.write_bytes(os.urandom(300_000))
    with connected(server) as link:
        place = link.push(file, sha256=digest_of(file))
        before = Path(place).stat().st_mtime_ns
        assert link.push(file, sha256=digest_of(file)) == place
        assert Path(place).stat().st_mtime_ns == before
        link.pull(place, tmp_path / "back")
        assert link.run(["printf", "%s", "$(touch owned); 'x'"], timeout_s=10).stdout == "$(touch owned); 'x'"
    assert digest_of(tmp_path / "back") == digest_of(file)
    assert not list(tmp_path.rglob("owned"))


def test_what_was_damaged_on_the_way_is_not_left_there(server: SshServer, tmp_path: Path):
    file = tmp_path / "f"
    file.write_bytes(b"whole")
    with connected(server) as link, pytest.raises(DeviceError, match="cannot copy f "):
        link.push(file, sha256="0" * 64)
    assert not [path for path in (server.home / ".cache").rglob("*f") if path.is_file()]


def test_a_full_disk_is_named(server: SshServer, tmp_path: Path):
    """Planted: the device's `cat` writes this one file to /dev/full, whose every write ends with ENOSPC."""
    made = artifacts.conv_relu(tmp_path / "artifact")
    place = server.home / ".cache" / "vitdeploy" / "files" / made.manifest.sha256
    cat = tmp_path / "tools" / "cat"
    cat.parent.mkdir()
    case = f"case $(readlink /proc/$$/fd/1) in *{made.manifest.sha256}*) exec /bin/cat > /dev/full;; esac"
    cat.write_text(f'#!/bin/sh\n{case}\nexec /bin/cat "$@"\n')
    cat.chmod(0o755)
    server.stop()
    server.start(environment={"PATH": f"{cat.parent}:{os.environ['PATH']}"})
    run = timed(server, tmp_path, trials=1)
    (row,) = run.results
    assert row.status == "failed"
    assert [reason.code for reason in row.reasons][:1] == ["device-error"]
    assert "cannot copy model.onnx" in row.reasons[0].message
    assert "No space left on device" in row.reasons[0].message
    assert not list(place.iterdir()), "nothing half-written is left"
    cat.unlink()
    assert len(timed(server, tmp_path / "freed", trials=1).results[0].trials) == 1


CSH = shutil.which("tcsh") or shutil.which("csh") or ""
FISH = shutil.which("fish") or ""


@pytest.mark.parametrize(
    "login",
    [
        pytest.param('echo "Welcome to orin, 3 updates"; exec /bin/sh -c "$1"', id="a greeting on stdout"),
        pytest.param('yes "a long greeting" | head -20000; exec /bin/sh -c "$1"', id="a long greeting"),
        pytest.param('/bin/sh -c "$1"; code=$?; echo "Good bye"; exit $code', id="a good-bye on stdout"),
        pytest.param(
            f'exec {CSH} -c "$1"', id="csh", marks=pytest.mark.skipif(not CSH, reason="no csh is installed here")
        ),
        pytest.param(
            f'exec {FISH} -c "$1"', id="fish", marks=pytest.mark.skipif(not FISH, reason="no fish is installed here")
        ),
    ],
)
def test_any_login_shell_will_do(server: SshServer, tmp_path: Path, login: str):
    server.stop()
    server.start(login=login)
    file = tmp_path / "a !1 'b\" \\$HOME\n%s.onnx"
    file.write_bytes(os.urandom(100_000))
    with connected(server) as link:
        place = link.push(file, sha256=digest_of(file))
        link.pull(place, tmp_path / "back")
        with link.lock(timeout_s=1):
            assert link.run(["printf", "%s", "!! $x 'y'\n"], timeout_s=10).stdout == "!! $x 'y'\n"
    assert (tmp_path / "back").read_bytes() == file.read_bytes()


def test_a_login_that_runs_no_command_says_so_in_its_own_words(server: SshServer):
    server.stop()
    server.start(login="echo 'This account is currently not available.'; exit 1")
    with pytest.raises(DeviceError, match=r"runs no command for us.*currently not available"):
        connected(server)


def test_a_jump_host_that_is_not_there_is_the_cause(server: SshServer):
    config = server.folder / "client_config"
    config.write_text(f"Host 127.0.0.1\n  ProxyJump 127.0.0.3:9\nHost *\n{config.read_text()}")
    with pytest.raises(
        DeviceError, match=r"its jump host .* failed: ssh: connect to host 127.0.0.3 port 9: Connection"
    ):
        connected(server)


def test_a_private_key_that_others_can_read_is_the_cause(server: SshServer):
    (server.folder / "user").chmod(0o644)
    with pytest.raises(DeviceError, match="can be read by other accounts") as refused:
        connected(server)
    assert refused.value.hint == f"Run `chmod 600 {server.folder / 'user'}`."


def test_a_banner_with_our_signs_in_it_is_no_cause(server: SshServer, tmp_path: Path):
    (tmp_path / "banner").write_text("Idle sessions are timed out after 10 minutes.\nPermission denied to others.\n")
    server.forget_user()
    server.stop()
    server.start(banner=tmp_path / "banner")
    with pytest.raises(DeviceError, match="it refused the key"):
        connected(server)


def test_a_long_temporary_folder_leaves_the_sockets_path_short(
    server: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / ("a" * 60)
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    with connected(server) as link:
        assert link.run(["true"], timeout_s=10).exit_code == 0


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        ("echo 3 10; echo 'ImportError: libopenblas.so.0: no such file' >&2; exit 1", MissingPackage, "numpy .*broken"),
        (
            "echo 3 10; echo \"ModuleNotFoundError: No module named 'numpy'\" >&2; exit 1",
            MissingPackage,
            "numpy is missing",
        ),
        ("echo 3 10; kill -ILL $$", DeviceError, "was killed by SIGILL while it imported numpy"),
        ("kill -KILL $$", DeviceError, "was killed by SIGKILL at its start"),
        ("echo 'OSError: Too many open files' >&2; exit 1", DeviceError, "does not run: OSError: Too many open files"),
    ],
)
def test_a_broken_python_is_not_a_missing_one(
    server: SshServer, tmp_path: Path, body: str, kind: type[Exception], words: str
):
    fake = tmp_path / "python-of-the-device"
    fake.write_text(f"#!/bin/sh\n{body}\n")
    fake.chmod(0o755)
    with pytest.raises(kind, match=words):
        open_connection(msgspec.structs.replace(device_of(server), python=str(fake)))


def test_the_agent_killed_by_the_system_is_not_a_lost_link(server: SshServer, tmp_path: Path):
    fake = tmp_path / "python-of-the-device"
    fake.write_text(f'#!/bin/sh\ncase "$*" in *remote*run*) kill -KILL $$;; esac\nexec {sys.executable} "$@"\n')
    fake.chmod(0o755)
    device = msgspec.structs.replace(device_of(server), python=str(fake))
    with open_connection(device) as link, pytest.raises(DeviceError, match=r"killed by SIGKILL .*out of memory"):
        link.run(["true"], timeout_s=10)


def test_a_lock_is_held_against_others_and_let_go(server: SshServer):
    with connected(server) as first, connected(server) as second:
        in_use = pytest.raises(DeviceError, match=r"orin is in use by process \d+")
        with first.lock(timeout_s=1), in_use, second.lock(timeout_s=0.2):
            pass
        with second.lock(timeout_s=5):
            pass


def test_a_command_that_takes_too_long_is_killed_there(server: SshServer):
    with connected(server) as link, pytest.raises(DeviceError, match=r"was killed after 0\.5 s on orin"):
        link.run(["sleep", "30.125"], timeout_s=0.5)
    assert not running("30.125")


def test_a_cut_link_ends_what_runs_there_and_lets_the_lock_go(server: SshServer):
    with connected(server) as link:
        with link.lock(timeout_s=1):
            threading.Timer(0.7, server.cut).start()
            with pytest.raises(DeviceError, match="was lost"):
                link.run(["sleep", "30.25"], timeout_s=20)
            with pytest.raises(DeviceError, match="its lock with it"):
                link.run(["true"], timeout_s=20)
        deadline = time.monotonic() + 5
        while running("30.25") and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not running("30.25")
        with link.lock(timeout_s=5):
            assert link.run(["true"], timeout_s=20).exit_code == 0


def test_a_link_cut_in_a_trial_loses_that_trial_and_resume_makes_it_good(server: SshServer, tmp_path: Path):
    cutter = threading.Timer(4.0, server.cut)
    cutter.start()
    broken = timed(server, tmp_path, trials=5, min_time_s=1.5)
    assert len(broken.results[0].trials) < 5
    assert {reason.code for reason in broken.results[0].reasons} & {"trial-lost", "device-error"}
    whole = timed(server, tmp_path, trials=5, min_time_s=1.5, resume=True)
    ids = [trial.id for trial in whole.results[0].trials]
    assert len(ids) == len(set(ids)) == 5
    assert {trial.id for trial in broken.results[0].trials} <= set(ids)
    assert record.load(tmp_path / "run.json") == whole


def running(word: str) -> list[Path]:
    found = list[Path]()
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = line.read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"sleep") and word.encode() in words:
            found.append(line)
    return found


def test_a_changed_host_key_is_refused(server: SshServer):
    server.change_host_key()
    with pytest.raises(DeviceError, match="its host key changed") as refused:
        connected(server)
    assert "known_hosts" in refused.value.hint


def test_an_unknown_host_key_is_never_taken_unasked(server: SshServer):
    (server.folder / "known_hosts").write_text("")
    with pytest.raises(DeviceError, match="its host key is not known"):
        connected(server)
    assert not (server.folder / "known_hosts").read_text()


def test_a_refused_key_is_told_with_what_to_do(server: SshServer):
    server.forget_user()
    with pytest.raises(DeviceError, match="it refused the key") as refused:
        connected(server)
    assert "ssh-copy-id" in refused.value.hint


def test_a_refused_connection_is_told(server: SshServer):
    server.stop()
    with pytest.raises(DeviceError, match="nothing listens"):
        connected(server)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        pytest.param("exit 127", "has no", id="no python3"),
        pytest.param("echo 3 8", "is 3.8, older than 3.10", id="old python3"),
        pytest.param("echo 3 10; exit 1", "numpy is missing on orin", id="no numpy"),
    ],
)
def test_a_machine_without_what_the_worker_needs_is_told_before_any_work(
    server: SshServer, tmp_path: Path, body: str, words: str
):
    fake = tmp_path / "python-of-the-device"
    fake.write_text(f"#!/bin/sh\n{body}\n")
    fake.chmod(0o755)
    with pytest.raises(MissingPackage, match=words):
        open_connection(msgspec.structs.replace(device_of(server), python=str(fake)))
    assert not (server.home / ".cache").exists(), "nothing was sent"


def test_the_wrong_machine_is_refused(server: SshServer, tmp_path: Path):
    device = msgspec.structs.replace(device_of(server), facts={"compute_capability": "8.7"})
    with pytest.raises(DeviceError, match="compute_capability"):
        bench.run([job_in(tmp_path)], device=device, protocol=bench.make_protocol(), out=tmp_path / "run.json")


@pytest.mark.parametrize("host", ["-oProxyCommand=touch owned", "a b", "a;b", "$(b)"])
def test_a_host_is_never_an_option_or_a_command(host: str):
    with pytest.raises(UsageError, match="no name of a host"):
        SshConnection(Device(name="orin", title="", link="ssh", host=host, targets=()))


def test_an_unconfigured_device_is_exit_7_with_the_line_to_write(capsys: pytest.CaptureFixture[str]):
    assert main(["bench", "--device", "orin"]) == 7
    said = capsys.readouterr().err
    assert "VITDEPLOY_ORIN_HOST" in said
    assert 'host = "ADDRESS"' in said


def test_the_environment_names_the_host(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("VITDEPLOY_ORIN_HOST", "10.0.0.5")
    monkeypatch.setenv("VITDEPLOY_ORIN_PORT", "2222")
    found = inventory.find("orin")
    assert (found.host, found.port) == ("10.0.0.5", 2222)
    monkeypatch.setenv("VITDEPLOY_ORIN_PORT", "99999")
    with pytest.raises(Exception, match="VITDEPLOY_ORIN_HOST, VITDEPLOY_ORIN_PORT"):
        inventory.find("orin")


def test_an_unreachable_machine_is_told_in_bounded_time(server: SshServer, monkeypatch: pytest.MonkeyPatch):
    """A listener that takes the connection and says nothing: a machine that hangs."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(1)
        monkeypatch.setattr(over_ssh, "CONNECT_S", 1)
        device = msgspec.structs.replace(device_of(server), port=silent.getsockname()[1])
        started = time.monotonic()
        with pytest.raises(DeviceError, match=r"it does not answer|did not answer in|was lost"):
            open_connection(device)
        assert time.monotonic() - started < 20


def test_a_name_that_is_unknown_is_told(server: SshServer):
    with pytest.raises(DeviceError, match="its name is not known"):
        open_connection(msgspec.structs.replace(device_of(server), host="no-such-board.invalid"))


def test_a_clock_that_is_wrong_there_changes_no_time(server: SshServer, tmp_path: Path):
    """Planted: the board's wall clock is two years behind; every time is a difference of its own monotonic clock."""
    (tmp_path / "skew").mkdir()
    (tmp_path / "skew" / "sitecustomize.py").write_text(
        "import datetime, time\n"
        "real, behind = time.time, 2 * 365 * 86400\n"
        "time.time = lambda: real() - behind\n"
        "class Skewed(datetime.datetime):\n"
        "    @classmethod\n"
        "    def now(cls, tz=None):\n"
        "        return datetime.datetime.fromtimestamp(real() - behind, tz)\n"
        "datetime.datetime = Skewed\n"
    )
    python = tmp_path / "python-of-the-board"
    python.write_text(
        f'#!/bin/sh\nPYTHONPATH="$PYTHONPATH:{tmp_path / "skew"}"; export PYTHONPATH\nexec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    run = bench.run(
        [job_in(tmp_path)],
        device=msgspec.structs.replace(device_of(server), python=str(python)),
        protocol=bench.make_protocol(trials=2, min_time_s=0.1, warmup_limit_s=0.3),
        out=tmp_path / "run.json",
    )
    (row,) = run.results
    assert len(row.trials) == 2
    assert [trial.order for trial in row.trials] == [0, 1]
    assert datetime.fromisoformat(row.trials[0].started_utc) < datetime.fromisoformat(run.started_utc)
    assert all(0 < trial.wall_ns < 60e9 for trial in row.trials)
    assert row.summary is not None
    assert record.load(tmp_path / "run.json") == run


def test_two_benches_at_once_do_not_share_the_machine(
    server: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(bench, "LOCK_WAIT_S", 0.2)
    found: list[object] = []

    def first() -> None:
        found.append(timed(server, tmp_path, trials=1, min_time_s=5.0))

    thread = threading.Thread(target=first)
    thread.start()
    deadline = time.monotonic() + 30
    while not (tmp_path / "run.json").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    with pytest.raises(DeviceError, match=r"orin is in use by process \d+"):
        bench.run(
            [job_in(tmp_path / "second")],
            device=device_of(server),
            protocol=bench.make_protocol(trials=1, min_time_s=0.1),
            out=tmp_path / "second.json",
        )
    thread.join()
    assert not (tmp_path / "second.json").exists()
    (run,) = found
    assert isinstance(run, record.Run)
    assert len(run.results[0].trials) == 1
