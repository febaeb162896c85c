"""A phone and its adb server are strangers: whatever they answer, the command ends in time with an error in words."""

import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.doubles.lying_adb import Answer, LyingAdb, endless, hangs, packet, sends, text
from vitdeploy.devices import adb_host, adb_services
from vitdeploy.errors import UsageError, VitdeployError

pytest.importorskip("adbutils", reason="the package adbutils (extra adb) is not installed")
from vitdeploy.devices import over_adb, over_adb_server
from vitdeploy.devices.over_adb import AdbConnection

LIMIT_S = 8.0
"""Of one lie. The limits of the connection itself are below a second here; the rest is this machine's load."""

SHELL_LIES: list[Answer] = [
    *map(sends, (b"", b"O", b"FAIL", b"FAILzzzz", b"FAIL-001x", b"FAIL0004\x1b[2J", b"FAIL0005x", b"OKAYOKAY")),
    *map(sends, (b"WHAT", b"\0" * 100, b"OKAY", b"OKAY\1", b"OKAY\1\0\0\0", b"OKAY" + b"\xff" * 100)),
    sends(b"OKAY" + packet(1, b"", 2**32 - 1)),
    sends(b"OKAY" + packet(1, b"x" * 10, 2**31)),
    sends(b"OKAY" + packet(9, b"what") * 1000),
    sends(b"OKAY" + packet(2, b"17\n") + packet(1, b"out")),
    sends(b"OKAY" + packet(2, b"absent\n") + packet(3, b"\0")),
    hangs(b""),
    hangs(b"OKAY"),
    hangs(b"OKAY\1\0"),
    hangs(b"OKAY" + packet(2, b"17\n")),
    hangs(b"FAIL0fff"),
    endless(b"OKAY", packet(1, b"x" * 60_000)),
    endless(b"OKAY", packet(2, b"x" * 60_000)),
    endless(b"OKAY", packet(1, b"")),
    endless(b"OKAY", packet(9, b"x" * 1000)),
    endless(b"OKAY", packet(4, b"")),
]


def done(stdout: bytes, code: int = 0) -> Answer:
    """A command that printed this and ended."""
    return sends(b"OKAY" + packet(2, b"17\n") + packet(1, stdout) + packet(3, bytes([code])))


SYNC_LIES: list[bytes] = [
    *(b"", b"D", b"WHAT\0\0\0\0", b"DATA" + struct.pack("<I", 2**32 - 1), b"DATA" + struct.pack("<I", 70_000)),
    b"DATA" + struct.pack("<I", 10) + b"xy",
    b"DATA" + struct.pack("<I", 300) + b"x" * 300 + b"DONE\0\0\0\0",
    b"FAIL" + struct.pack("<I", 2**32 - 1) + b"no",
    b"FAIL" + struct.pack("<I", 9) + b"no\x1b[2J\n\n\0",
    b"DONE",
]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LyingAdb]:
    for name in ("ADB_SERVER_SOCKET", "ANDROID_ADB_SERVER_ADDRESS", "ANDROID_SERIAL"):
        monkeypatch.delenv(name, raising=False)
    for module in (over_adb, over_adb_server):
        monkeypatch.setattr(module, "QUICK_S", 0.4)
    monkeypatch.setattr(over_adb, "_KILL_WAIT_S", 0.2)
    monkeypatch.setattr(over_adb_server, "_SERVER_END_S", 0.1)
    monkeypatch.setattr(adb_services, "LARGEST_OUTPUT_BYTES", 2**20)
    lying = LyingAdb()
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(lying.port))
    yield lying
    lying.end()


@pytest.fixture
def link(server: LyingAdb) -> AdbConnection:
    return AdbConnection("pixel")


def check(act: Callable[[], object], *codes: int) -> str:
    """The words of an error with one of these codes; they came in time, and a terminal can show them."""
    started = time.monotonic()
    with pytest.raises(VitdeployError) as raised:
        act()
    assert time.monotonic() - started < LIMIT_S
    assert raised.value.exit_code in (codes or (7,)), raised.value
    assert raised.value.message.isprintable(), repr(raised.value.message)
    assert len(raised.value.message) < 800
    return raised.value.message


@pytest.mark.parametrize("verb", ["run", "lock", "push", "remove_all"])
def test_wrong_answers_of_the_shell_are_errors_of_the_device(
    server: LyingAdb, link: AdbConnection, verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """More than a hundred: every lie to each verb."""
    monkeypatch.setattr(over_adb, "QUICK_S", 0.05)
    (tmp_path / "file").write_bytes(b"bytes")

    def lock() -> None:
        with link.lock(timeout_s=0):
            pass

    verbs: dict[str, Callable[[], object]] = {
        "run": lambda: link.run(["true"], timeout_s=0.3),
        "lock": lock,
        "push": lambda: link.push(tmp_path / "file", sha256="0" * 64),
        "remove_all": link.remove_all,
    }
    for answer in SHELL_LIES:
        server.answer = answer
        check(verbs[verb])


@pytest.mark.parametrize("sent", SYNC_LIES)
def test_wrong_answers_to_a_pull_leave_nothing(server: LyingAdb, link: AdbConnection, sent: bytes, tmp_path: Path):
    def answer(stream: object, service: str) -> None:
        (done(b"242\n") if service.startswith("shell") else sends(b"OKAY" + sent))(stream, service)  # pyright: ignore[reportArgumentType]

    server.answer = answer
    check(lambda: link.pull("/some/file", tmp_path / "file"), 7, 9)
    assert list(tmp_path.iterdir()) == []


def test_a_download_never_has_more_than_was_said(server: LyingAdb, link: AdbConnection, tmp_path: Path):
    block = b"DATA" + struct.pack("<I", 60_000) + b"x" * 60_000

    def answer(stream: object, service: str) -> None:
        (done(b"242\n") if service.startswith("shell") else endless(b"OKAY", block))(stream, service)  # pyright: ignore[reportArgumentType]

    server.answer = answer
    assert "sends more of /some/file than the 242 bytes it said" in check(
        lambda: link.pull("/some/file", tmp_path / "file")
    )
    server.answer = done(str(10**15 - 1).encode())
    assert "more than any file of ours" in check(lambda: link.pull("/some/file", tmp_path / "file"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("said", ["", "x", "-1", "²", "9" * 4400, "\x1b[2J", "1\t2\t3", "٣"])
def test_sizes_that_are_no_numbers_count_nothing(server: LyingAdb, link: AdbConnection, said: str):
    server.answer = done(said.encode())
    assert link.size_bytes() in (0, 1024)


@pytest.mark.parametrize(
    "listing",
    [
        *(b"", b"OKAY", b"OKAYzzzz", b"OKAY-001", b"OKAY00ffshort", b"FAIL0003no\x1b", b"NOPE0000", b"OKAYffff"),
        *map(text, ("", "no tab\n", "\t\n", "a\tdevice\na\tdevice\n", "a\tdevice\nb\tdevice\n", "\x1b[2J\t\x9b31m\n")),
        *map(text, ("a\tunauthorized\n", "a\tno permissions (missing udev rules?); see [http://x]\n", "a\trecovery\n")),
        text("(no serial number)\tno permissions; see [http://developer.android.com/tools/device.html]\n"),
        text("x" * 60_000 + "\toffline\n"),
    ],
)
def test_wrong_lists_of_phones_are_errors_in_words(server: LyingAdb, listing: bytes):
    server.listing = listing
    check(lambda: AdbConnection("pixel"))


@pytest.mark.parametrize(
    ("listing", "host", "serial"),
    [
        (
            "adb-2233fd19-9mU6UL (2)._adb-tls-connect._tcp\tdevice\n",
            "",
            "adb-2233fd19-9mU6UL (2)._adb-tls-connect._tcp",
        ),
        ("a (2)\tdevice\nb\tdevice\n", "a (2)", "a (2)"),
        ("????????????\tno permissions\nR58M123ABC\tdevice\n", "", "R58M123ABC"),
        ("(no serial number)\tdevice\n", "", "(no serial number)"),
    ],
)
def test_serials_with_blanks_and_brackets_are_serials(server: LyingAdb, listing: str, host: str, serial: str):
    server.listing = text(listing)
    link = AdbConnection("pixel", host)
    assert link.serial == serial
    server.answer = done(b"out\n", 3)
    result = link.run(["true"], timeout_s=2)
    assert (result.exit_code, result.stdout, result.device) == (3, "out\n", "pixel")
    assert adb_host.transport(serial) in server.asked


def test_a_phone_without_permissions_has_its_own_words(server: LyingAdb):
    server.listing = text("863276c1\tno permissions (missing udev rules?); see [http://x]\n")
    assert "may not be opened by this user (no permissions)" in check(lambda: AdbConnection("pixel"))


def test_the_server_is_where_adb_looks_for_it(server: LyingAdb, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("ANDROID_ADB_SERVER_PORT")
    monkeypatch.setenv("ADB_SERVER_SOCKET", f"tcp:127.0.0.1:{server.port}")
    assert AdbConnection("pixel").serial == "R58M123ABC"
    monkeypatch.setenv("ADB_SERVER_SOCKET", f"tcp:localhost:{server.port}")
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", "9")  # the socket wins, as in adb
    assert AdbConnection("pixel").serial == "R58M123ABC"


def test_a_server_elsewhere_is_never_started_here(server: LyingAdb, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ANDROID_ADB_SERVER_ADDRESS", "127.0.0.2")
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", "9")
    assert "no adb server answers at 127.0.0.2:9" in check(lambda: AdbConnection("pixel"))


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({}, ("127.0.0.1", 5037)),
        ({"ANDROID_ADB_SERVER_PORT": "5038"}, ("127.0.0.1", 5038)),
        ({"ANDROID_ADB_SERVER_ADDRESS": "10.0.0.2"}, ("10.0.0.2", 5037)),
        ({"ADB_SERVER_SOCKET": "tcp:5039"}, ("127.0.0.1", 5039)),
        ({"ADB_SERVER_SOCKET": "tcp:host.docker.internal:5037"}, ("host.docker.internal", 5037)),
        ({"ADB_SERVER_SOCKET": "tcp:[::1]:5037"}, ("::1", 5037)),
        ({"ADB_SERVER_SOCKET": "localfilesystem:/run/adb.sock"}, "/run/adb.sock"),
        ({"ADB_SERVER_SOCKET": "localabstract:adb"}, "\0adb"),
    ],
)
def test_variables_name_the_server_as_for_adb(variables: dict[str, str], place: object):
    assert adb_host.server_address(variables).place == place


@pytest.mark.parametrize(
    "value", ["tcp:", "tcp:host:", "tcp:host:99999", "vsock:2:5037", "5037", "tcp:host:²", "local:"]
)
def test_a_variable_that_names_no_server_is_said(value: str):
    with pytest.raises(UsageError, match="ADB_SERVER_SOCKET is"):
        adb_host.server_address({"ADB_SERVER_SOCKET": value})
