"""Phones over adb: a real adb server and a stand-in daemon that knows only adb's protocol; every fault has a name."""

import hashlib
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doubles import phone_folder
from tests.doubles.adb_daemon import AdbServer, PhoneDouble
from vitdeploy.devices import adb_host, inventory
from vitdeploy.devices.inventory import Device
from vitdeploy.errors import DeviceError, MissingPackage

pytest.importorskip("adbutils", reason="the package adbutils (extra adb) is not installed")
from vitdeploy.devices import over_adb, over_adb_server
from vitdeploy.devices.over_adb import FOLDER, AdbConnection

OURS = FOLDER.lstrip("/")


def pushed(link: AdbConnection, folder: Path, content: bytes = b"bytes") -> str:
    (folder / "file").write_bytes(content)
    return link.push(folder / "file", sha256=hashlib.sha256(content).hexdigest())


@pytest.fixture
def link(phone: PhoneDouble) -> AdbConnection:
    return AdbConnection("pixel", phone.serial)


@pytest.fixture
def second(adb_server: AdbServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PhoneDouble]:
    double = PhoneDouble(phone_folder.make(tmp_path_factory.mktemp("second")))
    adb_server.adb("connect", double.serial)
    yield double
    double.unplug()


def test_the_stand_in_answers_the_real_client_of_adb(adb_server: AdbServer, phone: PhoneDouble, tmp_path: Path):
    (tmp_path / "there").write_bytes(os.urandom(300_000))
    serial = phone.serial
    assert adb_server.states() == {serial: "device"}
    assert "1 file pushed" in adb_server.adb("-s", serial, "push", str(tmp_path / "there"), "/data/local/tmp/x")
    assert adb_server.adb("-s", serial, "ls", "/data/local/tmp").split()[-1] == "x"
    assert "1 file pulled" in adb_server.adb("-s", serial, "pull", "/data/local/tmp/x", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == (tmp_path / "there").read_bytes()
    assert adb_server.adb("-s", serial, "shell", "echo out; echo err >&2; exit 3") == "out\nerr\n"
    assert "[ro.board.platform]: [msmnile]" in adb_server.adb("-s", serial, "shell", "getprop")


def test_the_only_phone_needs_no_name(phone: PhoneDouble):
    assert AdbConnection("pixel").serial == phone.serial


def test_with_several_phones_one_must_be_named(phone: PhoneDouble, second: PhoneDouble):
    with pytest.raises(DeviceError, match="several phones are connected") as refused:
        AdbConnection("pixel")
    assert phone.serial in refused.value.message
    assert second.serial in refused.value.message
    assert AdbConnection("pixel", second.serial).run(["pwd"], timeout_s=10).exit_code == 0
    assert any("pwd" in service for service in second.services)
    assert not any("pwd" in service for service in phone.services)


def test_no_phone_at_all_is_said(adb_server: AdbServer):
    with pytest.raises(DeviceError, match="no phone is connected"):
        AdbConnection("pixel")


def test_a_serial_number_that_is_not_there_is_said_with_those_that_are(phone: PhoneDouble):
    with pytest.raises(DeviceError, match=f"no phone R58M is connected; adb sees: {phone.serial} .device"):
        AdbConnection("pixel", "R58M")


def test_an_unauthorized_phone_says_what_to_do(adb_server: AdbServer, tmp_path: Path):
    strange = PhoneDouble(tmp_path, authorized=False)
    adb_server.adb("connect", strange.serial)
    with pytest.raises(DeviceError, match="does not trust this computer") as refused:
        AdbConnection("pixel", strange.serial)
    assert "dialog" in refused.value.hint
    adb_server.adb("disconnect")
    strange.unplug()


def test_an_offline_phone_is_said(adb_server: AdbServer, phone: PhoneDouble):
    phone.unplug()
    deadline = time.monotonic() + 10
    while adb_server.states().get(phone.serial) != "offline" and time.monotonic() < deadline:
        time.sleep(0.05)
    with pytest.raises(DeviceError, match="is offline"):
        AdbConnection("pixel", phone.serial)


def test_without_any_adb_the_missing_tool_is_named(monkeypatch: pytest.MonkeyPatch):
    def no_tool() -> str:
        raise over_adb_server.adbutils.AdbError("No adb exe could be found")

    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", "1")
    monkeypatch.setattr(over_adb_server.adbutils, "adb_path", no_tool)
    with pytest.raises(MissingPackage, match="the tool adb is missing"):
        AdbConnection("pixel")


def test_a_server_that_cannot_start_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    broken = phone_folder.write(tmp_path / "adb", "#!/bin/sh\necho no room >&2; exit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", "1")
    monkeypatch.setattr(over_adb_server.adbutils, "adb_path", lambda: str(broken))
    with pytest.raises(DeviceError, match="cannot start the adb server: no room"):
        AdbConnection("pixel")


def test_what_is_there_is_not_pushed_again(link: AdbConnection, phone: PhoneDouble, tmp_path: Path):
    first = pushed(link, tmp_path)
    sent = phone.pushed_bytes
    assert pushed(link, tmp_path) == first
    assert phone.pushed_bytes == sent
    (phone.root / first.lstrip("/")).write_bytes(b"Bytes")
    assert pushed(link, tmp_path) == first
    assert phone.pushed_bytes == 2 * sent
    assert (phone.root / first.lstrip("/")).read_bytes() == b"bytes"


def test_a_pushed_file_can_be_run(link: AdbConnection, tmp_path: Path):
    remote = pushed(link, tmp_path, b"#!/bin/sh\necho runs $1\n")
    assert link.run([remote, "a  b"], timeout_s=10).stdout == "runs a b\n"


def test_everything_lies_below_one_folder_and_goes(link: AdbConnection, phone: PhoneDouble, tmp_path: Path):
    pushed(link, tmp_path, os.urandom(100_000))
    with link.lock(timeout_s=5):
        pass
    assert [path.name for path in (phone.root / "data/local/tmp").iterdir()] == ["vitdeploy"]
    assert link.size_bytes() >= 100_000
    assert link.remove_all() >= 100_000
    assert list((phone.root / "data/local/tmp").iterdir()) == []
    assert link.remove_all() == 0


def test_a_phone_in_use_is_not_swept(link: AdbConnection, phone: PhoneDouble, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(over_adb, "QUICK_S", 1.0)
    with link.lock(timeout_s=5), pytest.raises(DeviceError, match="in use by process"):
        AdbConnection("pixel", phone.serial).remove_all()
    assert (phone.root / OURS / "lock").exists()


def test_a_lock_taken_on_a_removed_file_does_not_count(link: AdbConnection, phone: PhoneDouble):
    with link.lock(timeout_s=5):
        (phone.root / OURS / "lock").unlink()
        with AdbConnection("other", phone.serial).lock(timeout_s=5):
            assert (phone.root / OURS / "lock").exists()


def test_a_phone_without_flock_is_said(link: AdbConnection, phone: PhoneDouble, tmp_path: Path):
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("sh", "mkdir", "cat"):
        (tools / name).symlink_to(f"/bin/{name}")
    phone.environment["PATH"] = str(tools)
    with pytest.raises(DeviceError, match="has no flock"), link.lock(timeout_s=1):
        pass


def test_unplugged_while_a_command_runs(link: AdbConnection, phone: PhoneDouble):
    threading.Timer(0.5, phone.unplug).start()
    started = time.monotonic()
    with pytest.raises(DeviceError, match=r"while sleep 30 ran|before the next command"):
        link.run(["sleep", "30"], timeout_s=25)
    assert time.monotonic() - started < 20


def test_unplugged_in_the_middle_of_a_push(link: AdbConnection, phone: PhoneDouble, tmp_path: Path):
    phone.unplug_after_bytes = 200_000
    with pytest.raises(DeviceError, match=r"offline|unplugged|closed the connection"):
        pushed(link, tmp_path, os.urandom(2_000_000))
    assert not [path for path in (phone.root / OURS / "files").iterdir() if not path.name.endswith(".part")]


def test_a_phone_that_is_gone_for_good_was_unplugged(link: AdbConnection, phone: PhoneDouble, adb_server: AdbServer):
    phone.unplug()
    adb_server.adb("disconnect", phone.serial)
    with pytest.raises(DeviceError, match="was unplugged before the next command") as lost:
        link.run(["true"], timeout_s=10)
    assert lost.value.exit_code == 7


def test_unplugged_while_locked_ends_with_the_works_own_error(link: AdbConnection, phone: PhoneDouble):
    def work() -> None:
        with link.lock(timeout_s=5):
            phone.unplug()
            raise RuntimeError("the work")

    with pytest.raises(RuntimeError, match="the work"):
        work()


def test_a_full_phone_is_refused_before_it_is_filled(link: AdbConnection, phone: PhoneDouble, tmp_path: Path):
    rows = "Filesystem 1K-blocks Used Available Use% Mounted on\n/dev/block/dm-5 100000 99000 1000 99% /data\n"
    phone_folder.write(phone.root / "df", rows)
    with pytest.raises(DeviceError, match="the storage of pixel is full: 0 MiB free, 64 MiB needed"):
        pushed(link, tmp_path)
    assert phone.pushed_bytes == 0


def test_a_phone_that_fills_up_meanwhile_keeps_no_half_file(link: AdbConnection, phone: PhoneDouble, tmp_path: Path):
    phone.storage_bytes = 100_000
    with pytest.raises(DeviceError, match="the storage of pixel is full: write failed: No space left on device"):
        pushed(link, tmp_path, os.urandom(1_000_000))
    assert list((phone.root / OURS / "files").iterdir()) == []


@pytest.mark.parametrize("size_bytes", [1, 3_000_000])
def test_a_refused_push_says_why(link: AdbConnection, phone: PhoneDouble, tmp_path: Path, size_bytes: int):
    phone.read_only = (f"{FOLDER}/files",)
    with pytest.raises(DeviceError, match="cannot write file: couldn't create file: Permission denied"):
        pushed(link, tmp_path, os.urandom(size_bytes))
    assert list((phone.root / OURS / "files").iterdir()) == []


def test_a_file_that_arrives_changed_is_refused(link: AdbConnection, phone: PhoneDouble, tmp_path: Path):
    (tmp_path / "file").write_bytes(b"bytes")
    with pytest.raises(DeviceError, match="arrived changed"):
        link.push(tmp_path / "file", sha256="0" * 64)
    assert list((phone.root / OURS / "files").iterdir()) == []


def test_a_killed_server_is_told_and_not_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    server = AdbServer(tmp_path / "home")
    if not server.tool:
        pytest.skip("the tool adb is not installed (apt-get install adb)")
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(server.port))
    phone = PhoneDouble(phone_folder.make(tmp_path / "phone"))
    try:
        server.adb("connect", phone.serial)
        link = AdbConnection("pixel", phone.serial)
        threading.Timer(0.5, server.adb, ["kill-server"]).start()
        with pytest.raises(DeviceError, match="the adb server died while sleep 30 ran"):
            link.run(["sleep", "30"], timeout_s=20)
        with pytest.raises(DeviceError, match="the adb server died before the next command"):
            link.run(["true"], timeout_s=20)
    finally:
        server.adb("kill-server")
        phone.unplug()


def test_a_server_that_resets_a_last_connection_died_too():
    with socket.create_server(("127.0.0.1", 0)) as ending:
        phone = over_adb_server.AdbPhone.__new__(
            over_adb_server.AdbPhone
        )  # its `__init__` asks the server for phones, and starts one
        phone._name, phone.serial = "pixel", "serial"  # pyright: ignore[reportPrivateUsage]
        environment = {"ANDROID_ADB_SERVER_PORT": str(ending.getsockname()[1])}
        phone._address = adb_host.server_address(environment)  # pyright: ignore[reportPrivateUsage]

        def end() -> None:
            ending.accept()[0].close()
            last, _ = ending.accept()
            last.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            last.close()
            ending.close()

        threading.Thread(target=end, daemon=True).start()
        assert "the adb server died while sleep ran" in str(phone.lost("while sleep ran"))


def test_names_never_reach_the_shell_unquoted(link: AdbConnection, phone: PhoneDouble):
    nasty = "a'b\"c`d$(touch /data/local/tmp/owned);e\nf"
    assert link.run(["printf", "%s", nasty], timeout_s=10).stdout == nasty
    with pytest.raises(DeviceError, match="cannot start"):
        link.run(["x; touch /data/local/tmp/owned"], timeout_s=10)
    assert not (phone.root / "data/local/tmp/owned").exists()


def test_a_device_file_opens_its_phone_and_gc_sweeps_it(
    phone: PhoneDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from vitdeploy.api import cache

    device = Device(
        name="pixel",
        title="a stand-in",
        link="adb",
        host=phone.serial,
        targets=("tflite-fp32",),
        benchmark_model=str(tmp_path / "benchmark_model"),
    )
    absent = Device(
        name="absent", title="-", link="adb", host="R58M", targets=("tflite-fp32",), benchmark_model="/some/file"
    )
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # what is swept is not the other tests' store
    monkeypatch.setattr(inventory, "devices", lambda: {"pixel": device, "absent": absent})
    with inventory.connect(device) as link:
        (tmp_path / "file").write_bytes(b"x" * 10_000)
        link.push(tmp_path / "file", sha256=hashlib.sha256(b"x" * 10_000).hexdigest())
    said: list[str] = []
    assert [row.name for row in cache.cache_gc(dry_run=True)] == ["everything on pixel"]
    assert (phone.root / OURS).exists()
    (row,) = cache.cache_gc(progress=said.append)
    assert row.size_bytes >= 10_000
    assert not (phone.root / OURS).exists()
    assert said == [
        f"absent keeps what is ours on it: absent: no phone R58M is connected; adb sees: {phone.serial} (device)"
    ]
