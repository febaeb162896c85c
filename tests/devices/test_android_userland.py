"""The whole of `over_adb` through Google's own adbd, with Android's own shell and commands as the phone.

Nothing of a phone is written by hand here: adbd 34, mksh and toybox answer the real adb server. What they cannot do
(a key that is not trusted, a cable that comes loose) stays with the stand-in of `test_over_adb`.
"""

import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.doubles import android_userland, artifacts, phone_folder
from tests.doubles import compiled_model_double as double
from tests.doubles.adb_daemon import AdbServer
from tests.doubles.android_userland import NoUserland, Userland
from vitdeploy.artifacts.manifest import Artifact, digest_of
from vitdeploy.benchmarks import bench
from vitdeploy.benchmarks.trial.case_trials import Job
from vitdeploy.devices.inventory import Device
from vitdeploy.errors import DeviceError, UnreadableFile
from vitdeploy.results import record

pytest.importorskip("adbutils", reason="the package adbutils (extra adb) is not installed")
from vitdeploy.devices import over_adb
from vitdeploy.devices.over_adb import FOLDER, AdbConnection

pytestmark = pytest.mark.slow

TOOL = r"""#!/system/bin/sh
# TEST DOUBLE of LiteRT's CompiledModel benchmark_model: the times of a phone, which it did not measure.
case "$*" in *'--num_runs=?'*)
    printf '\t--num_runs=50\n\t--use_npu=false\n\t--input_layer_value_range=\n' >&2
    exit 1 ;;
esac
for word; do
    case $word in
        --graph=*) cat "${word#*=}" >/dev/null || exit 1 ;;
        --result_file_path=*) printf 'RESULT' >"${word#*=}" ;;
        --model_runtime_info_output_file=*) printf 'INFO' >"${word#*=}" ;;
    esac
done
echo "INFO: count=526 first=2125 curr=969 min=910 max=2125 avg=949.861 std=68 p5=915 median=939 p95=990"
echo "INFO: count=1054 first=1015 curr=942 min=910 max=1102 avg=947.132 std=23 p5=915 median=942 p95=991"
grep Cpus_allowed_list /proc/self/status
"""
INTERPRETER_TOOL = "VITDEPLOY_TEST_BENCHMARK_MODEL"
"""Names a statically linked build for Linux of Google's tool, which this project does not contain."""

HOLDER = """
import sys
from vitdeploy.devices.over_adb import AdbConnection
with AdbConnection("pixel", sys.argv[1]).lock(timeout_s=5):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def root() -> Path:
    try:
        return android_userland.root_folder()
    except NoUserland as error:
        pytest.skip(f"Android's userland cannot be had here: {error}")


@pytest.fixture
def start(root: Path, adb_server: AdbServer) -> Iterator[Callable[..., Userland]]:
    """What starts a phone and connects it to the real adb server."""
    started: list[Userland] = []

    def phone(**options: Any) -> Userland:
        started.append(Userland(root, **options))
        said = adb_server.adb("connect", started[-1].serial)
        assert "connected to" in said, said
        return started[-1]

    yield phone
    adb_server.adb("disconnect")
    for each in started:
        each.switch_off()


@pytest.fixture
def phone(start: Callable[..., Userland]) -> Userland:
    return start()


@pytest.fixture
def link(phone: Userland) -> AdbConnection:
    return AdbConnection("pixel", phone.serial)


def pushed(link: AdbConnection, folder: Path, content: bytes) -> str:
    (folder / "file").write_bytes(content)
    return link.push(folder / "file", sha256=hashlib.sha256(content).hexdigest())


def processes(link: AdbConnection) -> list[str]:
    return link.run(["ps", "-A", "-o", "NAME"], timeout_s=10).stdout.split()[1:]


def test_the_shell_the_commands_and_the_user_are_androids(link: AdbConnection, adb_server: AdbServer, phone: Userland):
    assert link.run(["sh", "-c", "echo $KSH_VERSION"], timeout_s=10).stdout.startswith("@(#)MIRBSD KSH")
    assert link.run(["toybox", "--version"], timeout_s=10).stdout.startswith("toybox 0.")
    assert link.run(["id", "-u"], timeout_s=10).stdout == "2000\n"
    assert link.run(["sh", "-c", "echo $PATH"], timeout_s=10).stdout == "/system/bin\n"
    targets = {path.resolve().name for path in (phone.root / "system/bin").iterdir()}
    assert targets == {"mksh", "toybox"}
    assert {"shell_v2", "stat_v2", "ls_v2"} <= set(adb_server.adb("-s", phone.serial, "features").split())


@pytest.mark.parametrize("size_bytes", [0, 1, 65_536, 3_000_001])
def test_a_file_goes_there_once_and_comes_back(link: AdbConnection, phone: Userland, tmp_path: Path, size_bytes: int):
    content = os.urandom(size_bytes)
    remote = pushed(link, tmp_path, content)
    assert remote == f"{FOLDER}/files/{hashlib.sha256(content).hexdigest()}"
    there = phone.inside(remote)
    assert there.read_bytes() == content
    assert there.stat().st_mode & 0o100  # adbd gives everybody what it gives the owner
    number = there.stat().st_ino
    assert pushed(link, tmp_path, content) == remote
    assert there.stat().st_ino == number  # not written again
    link.pull(remote, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == content


def test_a_file_that_was_changed_there_is_written_again(link: AdbConnection, phone: Userland, tmp_path: Path):
    remote = pushed(link, tmp_path, b"bytes")
    phone.inside(remote).write_bytes(b"Bytes")
    assert pushed(link, tmp_path, b"bytes") == remote
    assert phone.inside(remote).read_bytes() == b"bytes"


def test_a_file_that_arrives_changed_is_refused(link: AdbConnection, phone: Userland, tmp_path: Path):
    (tmp_path / "file").write_bytes(b"bytes")
    with pytest.raises(DeviceError, match="arrived changed"):
        link.push(tmp_path / "file", sha256="0" * 64)
    assert list(phone.inside(f"{FOLDER}/files").iterdir()) == []


def test_a_pushed_program_runs_with_its_words_streams_and_code(link: AdbConnection, tmp_path: Path):
    remote = pushed(link, tmp_path, b'#!/system/bin/sh\ncat\nprintf "%s|" "$@"\necho err >&2\nexit 3\n')
    result = link.run([remote, "a  b", "", "$HOME", "c\nd"], stdin="in\n", timeout_s=10)
    assert (result.exit_code, result.stdout, result.stderr) == (3, "in\na  b||$HOME|c\nd|", "err\n")


def test_names_never_reach_the_shell_unquoted(link: AdbConnection, phone: Userland):
    nasty = "a'b\"c`d$(touch /data/local/tmp/owned);e\nf\\"
    assert link.run(["printf", "%s", nasty], timeout_s=10).stdout == nasty
    with pytest.raises(DeviceError, match="cannot start"):
        link.run(["x; touch /data/local/tmp/owned"], timeout_s=10)
    assert not phone.inside("/data/local/tmp/owned").exists()


def test_long_output_arrives_whole(link: AdbConnection):
    result = link.run(["sh", "-c", "seq 1 200000; seq 1 50000 >&2"], timeout_s=60)
    assert result.stdout == "".join(f"{number}\n" for number in range(1, 200_001))
    assert result.stderr == "".join(f"{number}\n" for number in range(1, 50_001))


def test_a_command_that_takes_too_long_is_killed_with_all_that_it_started(link: AdbConnection):
    script = "trap '' HUP TERM; sleep 300 & sleep 301 & wait"
    with pytest.raises(DeviceError, match=r"sh -c .* was killed after 1 s on pixel"):
        link.run(["sh", "-c", script], timeout_s=1)
    deadline = time.monotonic() + 20  # a signal that was sent is taken when its process next runs
    while "sleep" in processes(link) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert "sleep" not in processes(link)


def test_a_signal_that_ended_a_command_is_seen(link: AdbConnection):
    result = link.run(["sh", "-c", "kill -SEGV $$"], timeout_s=10)
    assert result.exit_code != 0


def test_the_lock_is_held_refused_with_its_holder_and_given_back(link: AdbConnection, phone: Userland):
    other = AdbConnection("other", phone.serial)
    with link.lock(timeout_s=5):
        with (
            pytest.raises(DeviceError, match=rf"other is in use by process {os.getpid()} on "),
            other.lock(timeout_s=1),
        ):
            pass
        assert f"{os.getpid()} on " in phone.inside(f"{FOLDER}/lock").read_text()
    with other.lock(timeout_s=5):
        pass
    assert processes(link).count("sh") == 0


def test_the_lock_of_a_killed_process_holds_nothing(link: AdbConnection, phone: Userland):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, phone.serial], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(DeviceError, match=rf"in use by process {holder.pid} on"), link.lock(timeout_s=0.5):
        pass
    holder.kill()
    holder.communicate()
    with link.lock(timeout_s=10):
        pass


def test_a_lock_taken_on_a_removed_file_does_not_count(link: AdbConnection, phone: Userland):
    with link.lock(timeout_s=5):
        phone.inside(f"{FOLDER}/lock").unlink()
        with AdbConnection("other", phone.serial).lock(timeout_s=5):
            assert phone.inside(f"{FOLDER}/lock").exists()


def test_everything_lies_below_one_folder_and_goes(
    link: AdbConnection, phone: Userland, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pushed(link, tmp_path, os.urandom(100_000))
    with link.lock(timeout_s=5):
        monkeypatch.setattr(over_adb, "QUICK_S", 1.0)
        with pytest.raises(DeviceError, match="in use by process"):
            AdbConnection("other", phone.serial).remove_all()
        monkeypatch.undo()
    assert [path.name for path in phone.inside("/data/local/tmp").iterdir()] == ["vitdeploy"]
    assert link.size_bytes() >= 100_000
    assert link.remove_all() >= 100_000
    assert list(phone.inside("/data/local/tmp").iterdir()) == []
    assert (link.remove_all(), link.size_bytes()) == (0, 0)


def test_what_cannot_be_read_or_written_there_says_why(link: AdbConnection, phone: Userland, tmp_path: Path):
    with pytest.raises(UnreadableFile, match="No such file or directory"):
        link.pull(f"{FOLDER}/none", tmp_path / "back")
    assert not (tmp_path / "back").exists()
    pushed(link, tmp_path, b"first")
    folder = phone.inside(f"{FOLDER}/files")
    os.chown(folder, 0, 0)
    folder.chmod(0o755)
    for size_bytes in (1, 3_000_000):
        with pytest.raises(DeviceError, match=r"cannot write file: .*Permission denied"):
            pushed(link, tmp_path, os.urandom(size_bytes))
    assert len(list(folder.iterdir())) == 1


def test_a_storage_that_would_be_filled_is_refused_before(start: Callable[..., Userland], tmp_path: Path):
    link = AdbConnection("pixel", start(storage_mib=70).serial)
    pushed(link, tmp_path, os.urandom(2**20))
    with pytest.raises(DeviceError, match=r"the storage of pixel is full: \d+ MiB free, 72 MiB needed"):
        pushed(link, tmp_path, os.urandom(8 * 2**20))


def test_a_storage_that_fills_up_meanwhile_keeps_no_half_file(
    start: Callable[..., Userland], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    small = start(storage_mib=2)
    link = AdbConnection("pixel", small.serial)
    monkeypatch.setattr(over_adb, "RESERVE_BYTES", -(2**30))  # something else fills it after it was looked at
    with pytest.raises(DeviceError, match=r"the storage of pixel is full: .*No space left on device"):
        pushed(link, tmp_path, os.urandom(8 * 2**20))
    assert list(small.inside(f"{FOLDER}/files").iterdir()) == []


def test_a_phone_that_goes_off_while_a_command_runs_is_an_error_with_a_name(link: AdbConnection, phone: Userland):
    threading.Timer(0.5, phone.switch_off).start()
    began = time.monotonic()
    with pytest.raises(DeviceError, match=r"while sleep 30 ran|before the next command"):
        link.run(["sleep", "30"], timeout_s=25)
    assert time.monotonic() - began < 20


def test_a_phone_that_goes_off_while_it_is_locked_ends_with_the_works_own_error(link: AdbConnection, phone: Userland):
    def work() -> None:
        with link.lock(timeout_s=5):
            phone.switch_off()
            raise RuntimeError("the work")

    with pytest.raises(RuntimeError, match="the work"):
        work()


def test_a_phone_that_goes_off_in_the_middle_of_a_push_is_an_error_with_a_name(
    link: AdbConnection, phone: Userland, tmp_path: Path
):
    def push_until_it_fails() -> None:
        for number in range(400):
            pushed(link, tmp_path, number.to_bytes(2, "big") * 2**19)

    threading.Timer(0.3, phone.switch_off).start()
    with pytest.raises(DeviceError, match=r"offline|unplugged|closed the connection"):
        push_until_it_fails()


def octal(data: bytes) -> str:
    """Bytes as mksh's ``printf`` takes them."""
    return "".join(f"\\{byte:03o}" for byte in data)


@pytest.fixture
def tool(tmp_path: Path) -> Path:
    times_ms = {1: 0.947132, 5: 0.942, 8: 5.757, 9: 2.125, 10: 0.949861}
    result = double.result_bytes(times_ms, runs=1054, warmup_runs=526, memory_kb=7240)
    info = double.runtime_info_bytes(60, {0: list(range(58))})
    path = tmp_path / "benchmark_model"
    path.write_text(TOOL.replace("RESULT", octal(result)).replace("INFO'", f"{octal(info)}'"))
    return path


@pytest.fixture
def two_cores(tmp_path: Path) -> Path:
    """The clocks of a phone with one small and one big core, which this machine's first two cores stand for."""
    if not {0, 1} <= os.sched_getaffinity(0):
        pytest.skip("this process may not use the cores 0 and 1")
    return phone_folder.make(tmp_path / "phone", clocks_khz=(1785600, 2841600)) / "sys"


def timed(phone: Userland, made: Artifact, tool: str, out: Path) -> record.Result:
    """The row of a small file on one big core."""
    device = Device(
        name="userland",
        title="Android's userland",
        link="adb",
        host=phone.serial,
        targets=("tflite-fp32",),
        facts={"soc_model": "SM8150", "cores": "1+1"},
        benchmark_model=tool,
    )
    case = artifacts.case_of(made, device="userland", boundary="compute", threads=1)
    job = Job(case=case, compute="phone", artifact=made)
    protocol = bench.make_protocol(trials=3, min_time_s=0.05)
    (result,) = bench.run([job], device=device, protocol=protocol, out=out).results
    return result


def test_a_bench_with_the_compiled_model_tool_runs_through_it(
    start: Callable[..., Userland], tmp_path: Path, tool: Path, two_cores: Path
):
    pytest.importorskip("ai_edge_litert", reason="ai-edge-litert (extra tflite) is not installed")
    phone = start(binds=[(two_cores, "/sys")])
    made = artifacts.conv_relu_tflite(tmp_path / "artifact")
    result = timed(phone, made, str(tool), tmp_path / "run.json")
    assert result.status == "valid", result.reasons
    assert [trial.samples_ns for trial in result.trials] == [(942_000,)] * 3
    assert result.trials[0].facts["provider"] == "XNNPACK, CPU, took 58 of 60 nodes in 1 partition"
    assert result.trials[0].facts["cores"] == "mask 2"
    assert result.trials[0].telemetry[0].temp_c == 39.5
    assert "Cpus_allowed_list:\t1" in (tmp_path / "run.log").read_text()  # toybox's taskset took the mask
    assert [reason.code for reason in result.reasons] == ["not-compared"]
    left = {path.name for path in phone.inside(f"{FOLDER}/files").iterdir()}
    assert left == {digest_of(tool), made.manifest.sha256}


def test_a_bench_with_googles_own_interpreter_tool_compares_its_outputs(
    start: Callable[..., Userland], tmp_path: Path, two_cores: Path
):
    pytest.importorskip("ai_edge_litert", reason="ai-edge-litert (extra tflite) is not installed")
    build = os.environ.get(INTERPRETER_TOOL)
    if not build:
        pytest.skip(f"{INTERPRETER_TOOL} names no Linux build of Google's benchmark_model (Interpreter)")
    phone = start(binds=[(two_cores, "/sys")])
    made = artifacts.conv_relu_tflite(tmp_path / "artifact")
    result = timed(phone, made, build, tmp_path / "run.json")
    assert result.status == "valid", result.reasons
    assert all(trial.parity is not None and trial.parity.passed for trial in result.trials)
    assert [trial.facts["provider"] for trial in result.trials] == ["XNNPACK, CPU, took all"] * 3


def test_threads_are_put_on_the_cores_of_a_mask(link: AdbConnection):
    result = link.run(["taskset", "1", "grep", "Cpus_allowed_list", "/proc/self/status"], timeout_s=10)
    assert result.stdout.split() == ["Cpus_allowed_list:", "0"]
