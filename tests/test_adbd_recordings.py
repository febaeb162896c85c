"""The stand-in for a phone's adbd held against what real phones sent: the same messages, in the same order.

Recorded by others, on phones that we never had: the connection of a Galaxy S5 (github.com/cstyan/adbDocumentation,
adbCapture.pcapng, 2015), and commands on a Galaxy S20 with Android 11 and on an unnamed device
(github.com/JeffLIrion/adb_shell, issues 155 and 152). Keys and random tokens are not compared.
"""

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import phone_folder
from tests.adb_daemon import HEADER, PhoneDouble

HOST, PHONE = "host", "phone"

Message = tuple[str, bytes, bytes | None]
"""Who sent it, its 24 bytes, and its payload; None: the recording's own, of which only the length is compared."""

UNTRUSTED: tuple[Message, ...] = (
    (HOST, b"CNXN\x00\x00\x00\x01\x00\x10\x00\x00\x07\x00\x00\x002\x02\x00\x00\xbc\xb1\xa7\xb1", b"host::\x00"),
    (PHONE, b"AUTH\x01\x00\x00\x00\x00\x00\x00\x00\x14\x00\x00\x006\n\x00\x00\xbe\xaa\xab\xb7", None),
    (HOST, b"AUTH\x02\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\xcay\x00\x00\xbe\xaa\xab\xb7", None),
    (PHONE, b"AUTH\x01\x00\x00\x00\x00\x00\x00\x00\x14\x00\x00\x00\xa3\n\x00\x00\xbe\xaa\xab\xb7", None),
)
"""Galaxy S5: a key that it does not know; what comes next is its owner's word."""

TRUSTED: tuple[Message, ...] = (
    (HOST, b"CNXN\x00\x00\x00\x01\x00\x10\x00\x00\x07\x00\x00\x002\x02\x00\x00\xbc\xb1\xa7\xb1", b"host::\x00"),
    (
        PHONE,
        b"CNXN\x01\x00\x00\x01\x00\x00\x10\x00\xde\x00\x00\x00^T\x00\x00\xbc\xb1\xa7\xb1",
        (
            b"device::ro.product.name=x1sxx;ro.product.model=SM-G980F;ro.product.device=x1s;"
            b"features=sendrecv_v2_brotli,remount_shell,sendrecv_v2,abb_exec,fixed_push_mkdir,"
            b"fixed_push_symlink_timestamp,abb,shell_v2,cmd,ls_v2,apex,stat_v2"
        ),
    ),
)
"""The end of that, and how a Galaxy S20 says who it is."""

ECHO: tuple[Message, ...] = (
    (
        HOST,
        b"OPEN\x01\x00\x00\x00\x00\x00\x00\x00\x17\x00\x00\x00m\x08\x00\x00\xb0\xaf\xba\xb1",
        b"shell:echo hello world\x00",
    ),
    (PHONE, b"OKAY\n\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xb0\xb4\xbe\xa6", b""),
    (PHONE, b"WRTE\n\x00\x00\x00\x01\x00\x00\x00\x0c\x00\x00\x00f\x04\x00\x00\xa8\xad\xab\xba", b"hello world\n"),
    (HOST, b"OKAY\x01\x00\x00\x00\n\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xb0\xb4\xbe\xa6", b""),
    (PHONE, b"CLSE\n\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xbc\xb3\xac\xba", b""),
    (HOST, b"CLSE\x01\x00\x00\x00\n\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xbc\xb3\xac\xba", b""),
)
"""Galaxy S20: one command, its output, its end."""

SILENT_THEN_DATE: tuple[Message, ...] = (
    (
        HOST,
        b"OPEN\x01\x00\x00\x00\x00\x00\x00\x00\x17\x00\x00\x00\x84\x07\x00\x00\xb0\xaf\xba\xb1",
        b"shell:logcat -b all -c\x00",
    ),
    (PHONE, b"OKAY\xfc\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xb0\xb4\xbe\xa6", b""),
    (PHONE, b"CLSE\xfc\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xbc\xb3\xac\xba", b""),
    (HOST, b"CLSE\x01\x00\x00\x00\xfc\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xbc\xb3\xac\xba", b""),
    (
        HOST,
        b"OPEN\x01\x00\x00\x00\x00\x00\x00\x00\x13\x00\x00\x00\xa7\x05\x00\x00\xb0\xaf\xba\xb1",
        b"shell:date +%s.%3N\x00",
    ),
    (PHONE, b"OKAY\xfd\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xb0\xb4\xbe\xa6", b""),
    (
        PHONE,
        b"WRTE\xfd\x00\x00\x00\x01\x00\x00\x00\x0f\x00\x00\x00\xdd\x02\x00\x00\xa8\xad\xab\xba",
        b"1625162759.117\n",
    ),
    (HOST, b"OKAY\x01\x00\x00\x00\xfd\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xb0\xb4\xbe\xa6", b""),
)
"""A command that prints nothing, and the next one."""


class Host:
    """The recorded host's side, played to the stand-in."""

    def __init__(self, phone: PhoneDouble) -> None:
        address, _, port = phone.serial.rpartition(":")
        self.sock = socket.create_connection((address, int(port)), timeout=20)
        self.stream = 0
        """The stand-in's number for what the recorded phone gave another one."""

    def say(self, head: bytes, payload: bytes | None) -> None:
        command, first, second, length, check, magic = HEADER.unpack(head)
        second = self.stream if second else second
        self.sock.sendall(HEADER.pack(command, first, second, length, check, magic))
        self.sock.sendall(bytes(length) if payload is None else payload)

    def hear(self) -> tuple[bytes, bytes]:
        head = self._exactly(HEADER.size)
        return head, self._exactly(HEADER.unpack(head)[3])

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            block = self.sock.recv(count - len(data))
            assert block, "the stand-in went away"
            data += block
        return data


@pytest.fixture
def phone(tmp_path: Path) -> Iterator[PhoneDouble]:
    double = PhoneDouble(phone_folder.make(tmp_path))
    silent = tmp_path / "bin" / "logcat"
    silent.write_text("#!/bin/sh\n")
    silent.chmod(0o755)
    yield double
    double.unplug()


def replay(host: Host, recording: tuple[Message, ...]) -> None:
    for who, head, payload in recording:
        if who == HOST:
            host.say(head, payload)
            continue
        said, data = host.hear()
        ours, theirs = HEADER.unpack(said), HEADER.unpack(head)
        assert said[:4] == head[:4]
        assert ours[5] == theirs[5], "the command, inverted"
        assert ours[4] == sum(data), "a sum of the bytes for a host of version 0x01000000, as the recorded ones have"
        if head[:4] == b"OKAY":
            host.stream = ours[1]
        if head[:4] in (b"OKAY", b"WRTE", b"CLSE"):
            assert (ours[1], ours[2]) == (host.stream, theirs[2]), "its own number first, the host's second"
        if payload is None:
            assert (ours[1:4], len(data)) == (theirs[1:4], theirs[3])
        elif head[:4] != b"CNXN":
            as_shape = re.sub(rb"\d", b"0", payload)
            assert re.sub(rb"\d", b"0", data) == as_shape


@pytest.mark.parametrize("recording", [UNTRUSTED, TRUSTED, ECHO, SILENT_THEN_DATE])
def test_the_recordings_are_read_by_the_same_rules(recording: tuple[Message, ...]):
    for _, head, payload in recording:
        command, _, _, length, check, magic = HEADER.unpack(head)
        assert magic == command ^ 0xFFFFFFFF
        if payload is not None:
            assert (length, check) == (len(payload), sum(payload))


def test_an_unknown_key_is_asked_for_again(phone: PhoneDouble):
    phone.authorized = False
    replay(Host(phone), UNTRUSTED)


def test_the_stand_in_says_who_it_is_as_a_phone_does(phone: PhoneDouble):
    host = Host(phone)
    (_, asked, identity), (_, head, theirs) = TRUSTED
    assert theirs is not None
    host.say(asked, identity)
    said, ours = host.hear()
    version, most = HEADER.unpack(said)[1:3]
    assert version == HEADER.unpack(head)[1]
    assert most <= HEADER.unpack(head)[2]
    form = rb"device::ro\.product\.name=[^;]+;ro\.product\.model=[^;]+;ro\.product\.device=[^;]+;features=([\w,]+)"
    features = [re.fullmatch(form, banner) for banner in (ours, theirs)]
    assert features[0]
    assert features[1]
    assert set(features[0][1].split(b",")) <= set(features[1][1].split(b",")), "nothing that a phone of 2020 had not"


@pytest.mark.parametrize("recording", [ECHO, SILENT_THEN_DATE])
def test_a_command_is_answered_message_by_message(phone: PhoneDouble, recording: tuple[Message, ...]):
    host = Host(phone)
    replay(host, TRUSTED)
    replay(host, recording)
