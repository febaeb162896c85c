"""A device over SSH is a stranger: whatever it answers, the command ends in time with an error of the device."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.doubles import lying_ssh
from vitdeploy.devices import over_ssh, ssh_client, ssh_errors
from vitdeploy.devices.inventory import Device
from vitdeploy.devices.over_ssh import SshConnection, open_connection
from vitdeploy.errors import DeviceError, VitdeployError
from vitdeploy.processes import child_reply

LIMIT_S = 8.0
"""Of one lie. The limits of the connection itself are below a second here; the rest is this machine's load."""

DEEP = "[" * 200_000
JSON_LIES = [
    *("", " ", "null", "true", "1", "[]", "{}", '"x"', "{", "}", "not JSON", "NaN", "[[", DEEP, '{"a":' * 50_000),
    '{"exit_code": "0"}',
    '{"exit_code": 1e400}',
    '{"exit_code": ' + "9" * 400 + "}",
    '{"exit_code": -999}',
    '{"exit_code": 1.5}',
    '{"exit_code": null}',
    '{"exit_code": true}',
    '{"exit_code": [0]}',
    '{"exit_code": 0, "stdout": 1}',
    '{"exit_code": 0, "stdout": null}',
    '{"exit_code": 0, "stdout": ["a"]}',
    '{"exit_code": 0, "stdout": "\\ud800"}',
    '{"exit_code": 0, "stderr": {}}',
    '{"exit_code": 0, "timed_out": "no"}',
    '{"exit_code": 0, "timed_out": true}',
    '{"exit_code": 0, "too_much": true}',
    '{"exit_code": 0, "extra": 1}',
    '{"exit_code": 0} trailing',
    '{"stdout": "", "stderr": ""}',
    '{"exit_code": 0, "failed": "gone\\u001b[2J\\u202e\\n::stop-commands::x"}',
    '{"exit_code": 0, "failed": 1}',
    '{"exit_code": 0, "failed": "x", "errno": "EMFILE"}',
    '{"held": 1}',
    '{"held": "yes"}',
    '{"held": false}',
    '{"held": false, "refused": "local is in use by \\u001b]0;x\\u0007\\u2028process 1"}',
    '{"held": false, "refused": 7}',
    '{"held": true, "power": []}',
    '{"held": true, "power": {"a": 1}}',
    '{"held": true, "power": null}',
    '{"held": true, "more": 1}',
]
LIES: list[dict[str, Any]] = [
    *({"text": f"MARK{text}\n"} for text in JSON_LIES),
    {"text": "MARK" * 1000},
    {"text": "\n" * 1000},
    {"text": "MARK{"},
    {"text": "a greeting and nothing else\n"},
    {"hex": "ff" * 100},
    {"hex": "00" * 100},
    {"hex": "7b22657869745f636f6465223a20ff7d"},
    {"endless": "x"},
    {"endless": "\n"},
    {"endless": "x", "marked": True},
    {"endless": "x", "endless_on": "stderr"},
    {"sleep_s": 30},
    {"sleep_s": 30, "greeting": "MAR"},
    *({"exit_code": code} for code in (0, 1, 2, 126, 127, 137, 139, 254, 255)),
    *({"exit_code": 255, "stderr": text} for text in ("", "\x1b[2J\x9b\u202e", "x" * 100_000, "\n" * 1000)),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the double as ``ssh``."""
    folder = tmp_path_factory.mktemp("liar")
    source = Path(lying_ssh.__file__).read_text()
    (folder / "ssh").write_text(f"#!{sys.executable} -ISE\n{source}")
    (folder / "ssh").chmod(0o755)
    return folder


@pytest.fixture
def lie(place: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Any]], None]:
    """Says what the device answers from now on."""
    monkeypatch.setenv("PATH", f"{place}:/usr/bin:/bin")
    monkeypatch.setattr(over_ssh, "GRACE_S", 0.3)
    monkeypatch.setattr(ssh_client, "LARGEST_ANSWER_BYTES", 4 * 2**20)
    monkeypatch.setattr(ssh_client, "_END_S", 0.3)

    def write(words: dict[str, Any]) -> None:
        (place / "lie.json").write_text(json.dumps({"verb": "question", **words}))

    write({})
    return write


@pytest.fixture
def link(lie: Callable[[dict[str, Any]], None]) -> Iterator[SshConnection]:
    device = Device(name="liar", title="-", link="ssh", host="liar", targets=("onnx-fp32",))
    connection = open_connection(device)
    assert isinstance(connection, SshConnection)
    with connection:
        yield connection


def check(act: Callable[[], object]) -> str:
    """The words of a device's error; they came in time, and a terminal can show them."""
    started = time.monotonic()
    with pytest.raises(VitdeployError) as raised:
        act()
    assert time.monotonic() - started < LIMIT_S
    error = raised.value
    assert error.exit_code == 7, error
    assert error.message.isprintable(), repr(error.message)
    assert error.hint.isprintable(), repr(error.hint)
    assert len(error.message) < 800
    return error.message


@pytest.mark.parametrize("verb", ["run", "lock"])
def test_wrong_answers_are_errors_of_the_device(link: SshConnection, lie: Callable[[dict[str, Any]], None], verb: str):
    """About a hundred and thirty: every lie to each of the two questions."""

    def lock() -> None:
        with link.lock(timeout_s=0.1):
            pass

    for words in LIES:
        lie(words)
        message = check(lock if verb == "lock" else lambda: link.run(["true"], timeout_s=0.2))
        if words.get("text", "").startswith("MARK{") and words["text"].endswith("\n"):
            assert "runs no command" not in message, words  # the answer was seen, and is what was refused


@pytest.mark.parametrize(
    "words",
    [
        {"text": ""},
        {"text": "MARK"},
        {"text": "MARK12"},
        {"text": "MARKKRAM"},
        {"text": "MARKKRAM x\n"},
        {"text": "MARKKRAM 0000000\n"},
        {"text": "KRAM 0\nMARK"},
        {"endless": "x"},
        {"endless": "x", "marked": True},
        {"endless": "x", "endless_on": "stderr"},
        {"sleep_s": 30},
        {"text": "This account is currently not available.\n", "exit_code": 1},
        {"exit_code": 255},
        {"exit_code": 127},
    ],
)
def test_wrong_answers_of_its_shell_are_errors_of_the_device(
    link: SshConnection, lie: Callable[[dict[str, Any]], None], words: dict[str, Any], tmp_path: Path
):
    lie({"verb": "shell", **words})
    (tmp_path / "file").write_bytes(b"x" * 1000)
    client = link._client  # pyright: ignore[reportPrivateUsage]
    check(lambda: client.shell("true", timeout_s=0.3))
    if not {"sleep_s", "endless_on"} & words.keys():  # its limit is a minute there
        check(lambda: link.push(tmp_path / "file", sha256="0" * 64))
    try:
        assert not client.fetch("file", 1000, lambda block: None, timeout_s=0.3)
    except DeviceError as error:
        assert error.message.isprintable()  # noqa: PT017 (either is right: an error, or a file that is not whole)


@pytest.mark.parametrize("size", ["", "x", "-1", "9" * 400, "²", "1e3", "[]", str(10**14)])
def test_a_size_that_cannot_be_is_an_error_of_the_device(
    link: SshConnection, lie: Callable[[dict[str, Any]], None], size: str, tmp_path: Path
):
    lie({"verb": "shell", "text": f"MARK{size}\nKRAM 0\n"})
    check(lambda: link.pull("/some/file", tmp_path / "file"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["MARK" + "x" * 241 + "KRAM 0\n", "MARK" + "x" * 243 + "KRAM 0\n"])
def test_another_size_than_was_said_is_never_kept(
    link: SshConnection, lie: Callable[[dict[str, Any]], None], text: str
):
    received = bytearray()
    lie({"verb": "shell", "text": text})
    client = link._client  # pyright: ignore[reportPrivateUsage]
    assert not client.fetch("file", 242, received.extend, timeout_s=2)
    assert len(received) <= 242
    lie({"verb": "shell", "endless": "x", "marked": True})
    received.clear()
    check(lambda: client.fetch("file", 242, received.extend, timeout_s=5))
    assert len(received) <= 242


def test_a_download_has_just_the_bytes_that_were_said(link: SshConnection, lie: Callable[[dict[str, Any]], None]):
    received = bytearray()
    lie({"verb": "shell", "greeting": "Welcome, 3 updates\n", "text": "MARK" + "x" * 242 + "KRAM 0\n"})
    client = link._client  # pyright: ignore[reportPrivateUsage]
    assert client.fetch("file", 242, received.extend, timeout_s=5)
    assert received == b"x" * 242


def test_a_greeting_and_a_stderr_that_stays_open_change_no_answer(
    link: SshConnection, lie: Callable[[dict[str, Any]], None]
):
    answer = 'MARK{"exit_code": 3, "stdout": "out", "stderr": "err"}\n'
    lie({"greeting": "Welcome to orin\n" * 100, "text": answer, "leaves_stderr_open": 20, "stderr": "hm\n"})
    started = time.monotonic()
    result = link.run(["true"], timeout_s=5)
    assert (result.exit_code, result.stdout, result.stderr, result.device) == (3, "out", "err", "liar")
    assert time.monotonic() - started < LIMIT_S


@pytest.mark.parametrize("home", ["", "relative", "/a\x1b[2J", "/" + "x" * 5000])
def test_a_home_that_cannot_be_is_an_error_of_the_device(lie: Callable[[dict[str, Any]], None], home: str):
    lie({"verb": "shell", "text": f"MARK{home}KRAM 0\n"})
    device = Device(name="liar", title="-", link="ssh", host="liar", targets=("onnx-fp32",))
    check(lambda: open_connection(device))


DENIED = "lab@orin: Permission denied (publickey).\r\n"
CLOSED = "Connection closed by UNKNOWN port 65535\r\n"
SIGNING = 'sign_and_send_pubkey: signing failed for ED25519 "/home/me/id" from agent: agent refused operation\r\n'
REPLIES = [
    *('{"reply": 1}', '{"reply": null}', '{"reply": []}', '{"reply": "x"}', '{"error": null}', "{}", "[]", "1", DEEP),
    *('{"error": 1}', '{"error": {"kind": 1}}', '{"answer": {}}', '{"reply": {"x": 1}}', '{"reply": {"a": ', "\x00"),
    '{"reply": {"a": ' + "9" * 400 + "}}",
    "",
]


@pytest.mark.parametrize("reply", REPLIES)
def test_a_reply_that_fits_nothing_is_an_error_of_the_device(
    link: SshConnection, lie: Callable[[dict[str, Any]], None], reply: str
):
    lie({"text": "MARK" + json.dumps({"exit_code": 0, "stdout": reply}) + "\n"})
    check(lambda: child_reply.ask(link, "some.module", {}, dict[str, str], what="the worker", timeout_s=2))


@pytest.mark.parametrize("kind", ["Interrupted", "Regression", "NothingToCompare", "VitdeployError", "SystemExit"])
def test_an_error_that_no_device_can_have_is_the_devices(
    link: SshConnection, lie: Callable[[dict[str, Any]], None], kind: str
):
    error = {"kind": kind, "message": "m\x1b[2J\u2028" + "x" * 9000, "hint": "h\n::error::"}
    lie({"text": "MARK" + json.dumps({"exit_code": 0, "stdout": json.dumps({"error": error})}) + "\n"})
    with pytest.raises(VitdeployError) as raised:
        child_reply.ask(link, "some.module", {}, dict[str, str], what="the worker", timeout_s=2)
    assert raised.value.exit_code == 7
    assert raised.value.message.isprintable()
    assert raised.value.hint == "h ::error::"
    assert len(raised.value.message) <= child_reply.LONGEST_MESSAGE


@pytest.mark.parametrize(
    ("stderr", "meaning"),
    [
        ("ssh: connect to host orin port 22: Connection refused\r\n", "nothing listens"),
        ("ssh: connect to host orin port 22: Connection timed out\r\n", "does not answer"),
        ("Connection timed out during banner exchange\r\n", "does not answer"),
        ("ssh: Could not resolve hostname orin: Name or service not known\r\n", "name is not known"),
        ("ssh: connect to host orin port 22: No route to host\r\n", "no route"),
        ("lab@orin: Permission denied (publickey).\r\n", "refused the key"),
        ("john.doe@corp.example@orin: Permission denied (publickey,password).\r\n", "refused the key"),
        (
            "Idle sessions are timed out after 10 minutes.\n" + DENIED,
            "refused the key",
        ),
        (
            SIGNING + DENIED,
            "agent refused to sign",
        ),
        (
            "@@@@@@\r\nPermissions 0644 for '/home/me/key' are too open.\r\nIt will be ignored.\r\n" + DENIED,
            "/home/me/key can be read by other accounts",
        ),
        (
            "ssh: connect to host jump port 22: Connection refused\r\n" + CLOSED,
            "its jump host (or proxy command) failed: ssh: connect to host jump port 22: Connection refused",
        ),
        (
            "channel 0: open failed: connect failed: Connection refused\r\nstdio forwarding failed\r\n" + CLOSED,
            "its jump host cannot reach it: connect failed: Connection refused",
        ),
        ("Received disconnect from 10.0.0.2 port 22:2: Too many authentication failures\r\n", "too many keys"),
        ("kex_exchange_identification: Connection closed by remote host\r\n", "closed the connection before the login"),
        ("Unable to negotiate with 10.0.0.2: no matching host key type found.\r\n", "no host key type in common"),
        (
            "Welcome to the jump host.\nHost key verification failed.\n" + CLOSED,
            "its jump host (or proxy command) failed: Host key verification failed.",
        ),
        (
            "/home/me/.ssh/config: line 1: Bad configuration option: bogus\r\n",
            "refused by ssh: /home/me/.ssh/config: line 1: Bad configuration option: bogus",
        ),
        (
            "Bad owner or permissions on /home/me/.ssh/config\r\n",
            "configuration is refused by ssh: /home/me/.ssh/config",
        ),
        ("No ED25519 host key is known for orin and you have requested strict checking.\r\n", "host key is not known"),
    ],
)
def test_each_cause_of_ssh_has_its_own_words(stderr: str, meaning: str):
    cause = ssh_errors.cause_of(stderr, "lab@orin")
    assert cause is not None
    assert meaning in cause[0]
    assert "{" not in cause[1]


@pytest.mark.parametrize("stderr", ["", "Sessions are timed out after 10 minutes. Permission denied to others.\n"])
def test_a_banner_is_no_cause(stderr: str):
    assert ssh_errors.cause_of(stderr, "lab@orin") is None


@pytest.mark.parametrize("user", ["CORP\\jdoe", "john.doe@corp.example", "jörg", "svc_gpu$"])
def test_users_of_a_domain_are_users(user: str, lie: Callable[[dict[str, Any]], None]):
    device = Device(name="liar", title="-", link="ssh", host="liar", user=user, targets=("onnx-fp32",))
    open_connection(device).close()
