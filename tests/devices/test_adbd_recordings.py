"""The stand-in for a phone's adbd held against what Google's own adbd and real phones said to the same hosts.

`tests/data/adbd` has the recordings and how they were made. A daemon may cut its bytes into messages anywhere, and
what two sides say at once has no order. So the host's side is played with its waits, not with its timing; compared
are all bytes of a stream together, without what is the folder's own (inodes, owners, times), and every message
keeps to rules that all the recordings keep to. Keys and tokens are not compared.
"""

import itertools
import json
import os
import re
import select
import socket
import stat
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.doubles import phone_folder
from tests.doubles.adb_daemon import HEADER, VERSION, PhoneDouble
from tests.doubles.adb_services import EXIT, SHELL, STDERR, STDIN, STDOUT

HOST, PHONE = "host", "phone"
PLANTED, PUSHED_AT = (1700000000, 1700000000), 1700000100
LAST_STREAM = 9999


class Message(NamedTuple):
    """One message of the transport protocol."""

    who: str
    name: str
    first: int
    second: int
    check: int
    data: bytes

    @property
    def stream(self) -> int:
        """The host's number of its stream."""
        return self.first if self.who == HOST else self.second


class Session(NamedTuple):
    """What one host and one daemon said to each other."""

    version: int
    most_bytes: int
    messages: list[Message]


def message(who: str, head: bytes, data: bytes) -> Message:
    """Without the data that belongs to it: a key or a token, of which only the length is kept."""
    command, first, second, length, check, magic = HEADER.unpack(head)
    assert magic == command ^ 0xFFFFFFFF
    assert len(data) in (0, length)
    assert check in (0, sum(data)) or not data
    return Message(who, head[:4].decode(), first, second, check, data or bytes(length))


def load(file: str) -> dict[str, Session]:
    def read(rows: list[Any]) -> list[Message]:
        return [message(who, bytes.fromhex(head), bytes.fromhex(data or "")) for who, head, data in rows]

    sessions: dict[str, Any] = json.loads((Path(__file__).parents[1] / "data/adbd" / file).read_text())["sessions"]
    return {key: Session(one["version"], one["most_bytes"], read(one["messages"])) for key, one in sessions.items()}


ADBD, PHONES = load("recordings.json"), load("phones.json")
STREAMS = [name for name in ADBD if name not in ("greeting", "hand_greeting", "hand_no_stream")]


class Host:
    """A host's side, played to the stand-in: it says OKAY and CLSE by itself, as the adb server does."""

    def __init__(self, phone: PhoneDouble, version: int = VERSION, most_bytes: int = 2**20) -> None:
        self._sock = socket.create_connection(("127.0.0.1", int(phone.serial.rpartition(":")[2])), timeout=10)
        self._sums = version < VERSION
        self.log: list[Message] = []
        self.say("CNXN", version, most_bytes, b"host::\0")
        self.greeting = self.hear()

    def say(self, name: str, first: int, second: int, data: bytes = b"") -> None:
        command = int.from_bytes(name.encode(), "little")
        check = sum(data) if self._sums else 0
        head = HEADER.pack(command, first, second, len(data), check, command ^ 0xFFFFFFFF)
        self.log.append(message(HOST, head, data))
        self._sock.sendall(head + data)

    def hear(self) -> Message:
        head = self._exactly(HEADER.size)
        self.log.append(message(PHONE, head, self._exactly(HEADER.unpack(head)[3])))
        return self.log[-1]

    def silent(self) -> bool:
        return not select.select([self._sock], [], [], 0.3)[0]

    def open(self, number: int, service: bytes) -> int:
        """The phone's number for it."""
        self.say("OPEN", number, 0, service + b"\0")
        return self.hear().first

    def play(self, recorded: list[Message]) -> None:
        """Say what the recorded host said, each when the phone had said as much as it had there."""
        number, due, written, closed_there = 0, 0, 0, False
        for said in recorded:
            if said.who == PHONE:
                due += len(said.data)
                closed_there = closed_there or said.name == "CLSE"
            elif said.name == "OPEN":
                number, due, written, closed_there = said.first, 0, 0, False
                self.say("OPEN", number, 0, said.data)
                self.answer(number, lambda heard: any(heard.values()))
            elif said.name == "WRTE":
                written += 1
                self.answer(number, lambda heard, due=due, written=written: ready(heard, due, written))
                if not ended(heard := self.heard(number)):
                    self.say("WRTE", number, heard["OKAY"][0].first, said.data)
            elif said.name == "CLSE":
                self.answer(number, ended if closed_there else lambda heard, due=due: size(heard["WRTE"]) >= due)
                self.close(number)
        self.answer(number, ended)
        # Whatever else it has to say, it says before it refuses this one.
        self.say("OPEN", LAST_STREAM, 0, b"nosuch:\0")
        self.answer(LAST_STREAM, ended)

    def answer(self, number: int, until: Callable[[dict[str, list[Message]]], bool]) -> None:
        """Say OKAY and CLSE where they are due, until the phone has said something on this stream."""
        while not until(self.heard(number)):
            said = self.hear()
            if said.name == "WRTE":
                self.say("OKAY", said.second, said.first)
            elif said.name == "CLSE" and said.first:
                self.close(said.second)

    def close(self, number: int) -> None:
        if (HOST, "CLSE", number) not in [(one.who, one.name, one.stream) for one in self.log]:
            self.say("CLSE", number, self.heard(number)["OKAY"][0].first)

    def heard(self, number: int) -> dict[str, list[Message]]:
        said = [one for one in self.log if one.who == PHONE and one.stream == number]
        return {name: [one for one in said if one.name == name] for name in ("OKAY", "WRTE", "CLSE")}

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            block = self._sock.recv(count - len(data))
            assert block, "the stand-in went away"
            data += block
        return data


def size(messages: list[Message]) -> int:
    return sum(len(said.data) for said in messages)


def ended(heard: dict[str, list[Message]]) -> bool:
    return bool(heard["CLSE"])


def ready(heard: dict[str, list[Message]], due: int, okays: int) -> bool:
    return ended(heard) or (size(heard["WRTE"]) >= due and len(heard["OKAY"]) == okays)


def streams(messages: list[Message]) -> list[list[Message]]:
    """What was said on each stream, in the order in which the host opened them."""
    opened = [said.first for said in messages if said.who == HOST and said.name == "OPEN" and said.first != LAST_STREAM]
    return [[said for said in messages if said.stream == number] for number in opened]


def check_rules(stream: list[Message], session: Session) -> None:
    """What adbd keeps to, however it cuts what it says."""
    said = [one for one in stream if one.who == PHONE]
    for one in said:
        assert one.check == (sum(one.data) if session.version < VERSION else 0), "a sum only for an old host"
        assert len(one.data) <= session.most_bytes
        assert bool(one.data) == (one.name == "WRTE")
    if stream[0].data.startswith(b"nosuch"):
        assert [(one.name, one.first) for one in said] == [("CLSE", 0)], "with its own number a host ignores it"
        return
    assert {one[2:4] for one in said} == {(said[0].first, stream[0].first)}, "its own number first, the host's second"
    names = [one.name for one in said]
    assert names[0] == "OKAY"
    end = names.index("CLSE")
    assert set(names[:end]) <= {"OKAY", "WRTE"}
    assert set(names[end:]) == {"CLSE"}, "nothing after the end"
    sent = [one.name for one in stream if one.who == HOST]
    written, taken = sum(name in ("OPEN", "WRTE") for name in sent), names.count("OKAY")
    assert taken == written if stream[0].data.startswith(b"sync:") else 1 <= taken <= written
    # What the host said before a WRTE that was taken came in time.
    late = list(itertools.takewhile(lambda name: name != "WRTE", reversed(sent))) if taken == written else sent
    assert len(names) - end - 1 <= late.count("OKAY"), "CLSE again only for an OKAY that came too late"


def told(stream: list[Message]) -> Any:
    """What the service said, without how it was cut and what is its folder's own."""
    data = b"".join(said.data for said in stream if said.who == PHONE)
    if stream[0].data.startswith(b"sync:"):
        return in_any_order(sync_answers(data))
    if not stream[0].data.startswith(b"shell,v2"):
        return data
    outputs = {STDOUT: b"", STDERR: b"", EXIT: b""}
    while data:
        kind, length = SHELL.unpack_from(data)
        assert not outputs[EXIT], "nothing after the exit code"
        outputs[kind] += data[SHELL.size : SHELL.size + length]
        data = data[SHELL.size + length :]
    return tuple(outputs.values())


def sync_answers(data: bytes) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []
    while data:
        kind, name, facts = data[:4], b"", ()
        if kind in (b"STAT", b"DENT"):
            used, facts = 16, struct.unpack_from("<III", data, 4)
        elif kind in (b"LST2", b"STA2", b"DNT2"):
            error, _, _, mode, links, _, _, length, _, mtime, _ = struct.unpack_from("<IQQIIIIQqqq", data, 4)
            used, facts = 72, (mode, length, mtime, error, 0 if stat.S_ISDIR(mode) else links)
        elif kind in (b"DATA", b"FAIL"):
            used = 4
        else:  # in listings DONE is as long as an entry
            assert kind in (b"OKAY", b"DONE"), data
            used = len(data) - len(data[4:].lstrip(b"\0"))
            name = data[4:used]
        if kind in (b"DENT", b"DNT2", b"DATA", b"FAIL"):
            start = used + 4
            used = start + int.from_bytes(data[used:start], "little")
            name = data[start:used]
        found.append((kind, name, *of_its_own(name, facts)))
        data = data[used:]
    return found


def of_its_own(name: bytes, facts: tuple[int, ...]) -> tuple[int, ...]:
    """The facts of a file without those that are the folder's: sizes of folders, times that nobody set."""
    if not facts:
        return ()
    mode, length, mtime, *rest = facts
    kept = mtime if mtime in (0, *PLANTED, PUSHED_AT) else 1
    return (stat.S_IFMT(mode) if name == b".." else mode, 0 if stat.S_ISDIR(mode) else length, kept, *rest)


def in_any_order(answers: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The entries of a folder by name: their order is the system's."""
    parts = itertools.groupby(answers, key=lambda answer: answer[0] in (b"DENT", b"DNT2"))
    return [answer for entries, part in parts for answer in (sorted(part) if entries else part)]


@pytest.fixture
def phone(tmp_path: Path) -> Iterator[PhoneDouble]:
    double = PhoneDouble(phone_folder.make(tmp_path))
    for tool, script in {"logcat": "", "getprop": '[ "$1" = sys.boot_completed ] && echo 1'}.items():
        phone_folder.write(tmp_path / "bin" / tool, f"#!/bin/sh\n{script}\n").chmod(0o755)
    tmp = tmp_path / "data/local/tmp"
    planted = {"file.txt": "what a phone keeps\n", "two/a.txt": "a\n", "two/b.txt": "bb\n", "empty": ""}
    for name, text in planted.items():
        phone_folder.write(tmp / name, text)
    for name in (*planted, "two"):
        (tmp / name).chmod(0o755 if name == "two" else 0o644)
        os.utime(tmp / name, PLANTED)
    (tmp / "link").symlink_to("file.txt")
    (tmp_path / "system").mkdir()
    double.read_only = ("/system",)
    yield double
    double.unplug()


@pytest.mark.parametrize("name", STREAMS)
def test_googles_adbd_keeps_to_the_rules(name: str):
    for stream in streams(ADBD[name].messages):
        check_rules(stream, ADBD[name])


@pytest.mark.parametrize("name", STREAMS)
def test_the_stand_in_says_what_googles_adbd_said(phone: PhoneDouble, name: str):
    session = ADBD[name]
    phone.storage_bytes = 0 if name == "sync_push_full" else None
    host = Host(phone, session.version, session.most_bytes)
    host.play(session.messages)
    for ours, theirs in zip(streams(host.log), streams(session.messages), strict=True):
        check_rules(ours, session)
        left = next(said.who for said in theirs if said.name == "CLSE") == HOST
        if left and theirs[0].data.startswith(b"shell"):  # it may have said more until that came through
            assert told(ours)[STDOUT - 1].startswith(told(theirs)[STDOUT - 1])
        else:
            assert told(ours) == told(theirs)


def test_what_belongs_to_no_stream_is_answered_as_googles_adbd_does(phone: PhoneDouble):
    session = ADBD["hand_no_stream"]
    host = Host(phone, session.version, session.most_bytes)
    for said in session.messages:  # the host says all before it hears anything
        if said.who == HOST:
            host.say(said.name, said.first, said.second, said.data)
        else:
            assert host.hear() == said
    assert host.silent()


def identity(said: Message) -> set[bytes]:
    form = rb"^device::ro\.product\.name=[^;]+;ro\.product\.model=[^;]+;ro\.product\.device=[^;]+;features=([\w,]+)$"
    return set(re.findall(form, said.data)[0].split(b","))


@pytest.mark.parametrize("name", ["greeting", "hand_greeting"])
def test_the_stand_in_says_who_it_is_as_googles_adbd_and_phones_do(phone: PhoneDouble, name: str):
    asked, theirs = ADBD[name].messages
    ours = Host(phone, asked.first, asked.second).greeting
    assert ours[:4] == theirs[:4], "its version, and never more bytes than the host takes"
    for one in (ours, theirs):
        assert one.check == (sum(one.data) if asked.first < VERSION else 0)
    assert identity(ours) <= identity(theirs)
    assert identity(ours) <= identity(PHONES["trusted"].messages[1]), "nothing that a phone of 2020 had not"


def test_an_unknown_key_is_asked_for_again(phone: PhoneDouble):
    phone.authorized = False
    _, first, key, second = PHONES["untrusted"].messages
    host = Host(phone, *PHONES["untrusted"][:2])
    host.say(key.name, key.first, key.second, key.data)
    for ours, theirs in ((host.greeting, first), (host.hear(), second)):
        assert (*ours[:4], len(ours.data)) == (*theirs[:4], len(theirs.data))
        assert ours.check == sum(ours.data)


@pytest.mark.parametrize("name", ["echo", "silent_then_date"])
def test_a_plain_command_is_answered_as_a_phone_does(phone: PhoneDouble, name: str):
    session = PHONES[name]
    starts = [at for at, said in enumerate(session.messages) if said.name == "OPEN"]
    for start, end in itertools.pairwise([*starts, None]):
        recorded = session.messages[start:end]
        host = Host(phone, session.version, session.most_bytes)
        host.play(recorded)
        (ours,) = streams(host.log)
        check_rules(ours, session)
        assert re.sub(rb"\d", b"0", told(ours)) == re.sub(rb"\d", b"0", told(recorded))


def test_a_framed_command_is_answered_as_a_phone_does(phone: PhoneDouble):
    """As a device answered in github.com/cocool97/adb_client, issue 171."""
    host = Host(phone)
    host.open(1, b"shell,v2,raw:getprop sys.boot_completed")
    host.answer(1, ended)
    assert b"".join(said.data for said in host.heard(1)["WRTE"]) == bytes([1, 2, 0, 0, 0, 49, 10, 3, 1, 0, 0, 0, 0])


WAIT = b"while ! [ -e /data/local/tmp/go ]; do sleep 0.05; done"


def test_a_service_that_lives_is_not_passed_on_before_the_hosts_okay_and_one_that_ended_is(phone: PhoneDouble):
    host = Host(phone, most_bytes=4096)
    host.open(1, b"shell,v2,raw:head -c 10000 /dev/zero; " + WAIT)
    assert len(host.hear().data) == 4096
    assert host.silent()
    phone_folder.write(phone.root / "data/local/tmp/go", "")
    while host.hear().name != "CLSE":
        pass
    assert len(told(host.log[2:])[STDOUT - 1]) == 10000
    assert told(host.log[2:])[EXIT - 1] == b"\0"


def test_stdin_that_is_not_read_is_not_okayed(phone: PhoneDouble):
    host = Host(phone)
    number = host.open(1, b"shell,v2,raw:" + WAIT + b"; echo end; exit 5")
    host.say("WRTE", 1, number, (SHELL.pack(STDIN, 65000) + bytes(65000)) * 16)
    assert host.silent()
    phone_folder.write(phone.root / "data/local/tmp/go", "")
    host.answer(1, ended)
    assert told(host.log[2:]) == (b"end\n", b"", b"\5")


def test_a_file_comes_in_blocks_as_large_as_adbds(phone: PhoneDouble):
    phone_folder.write(phone.root / "data/local/tmp/large", "x" * 100_000)
    host = Host(phone)
    name = b"/data/local/tmp/large"
    number = host.open(1, b"sync:")
    host.say("WRTE", 1, number, struct.pack("<4sI", b"RECV", len(name)) + name)
    host.answer(1, lambda heard: size(heard["WRTE"]) == 100_000 + 3 * 8)
    answers = sync_answers(b"".join(said.data for said in host.heard(1)["WRTE"]))
    assert [len(data) for _, data in answers] == [65528, 100_000 - 65528, 4]  # Google's: 45 of 65528 and one of 51240


def test_a_terminal_is_hung_up_a_second_after_the_host_left(phone: PhoneDouble):
    host = Host(phone)
    got = phone.root / "data/local/tmp/got"
    number = host.open(1, b"shell:trap '> /data/local/tmp/got; exit' HUP; echo started; " + WAIT)
    assert host.hear().data == b"started\n"
    host.say("CLSE", 1, number)
    left = time.monotonic()
    assert host.hear().name == "CLSE"
    while not got.exists():
        time.sleep(0.02)
        assert time.monotonic() < left + 20
    assert time.monotonic() > left + 0.5
