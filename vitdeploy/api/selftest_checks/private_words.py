"""Private words: host name, user name, serial number, address and folders, taken out of what a self-test says."""

import contextlib
import getpass
import re
import socket
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from vitdeploy.devices.inventory import Device
from vitdeploy.errors import DeviceError
from vitdeploy.processes.connection import Connection

SAYS_NOTHING = frozenset({"", "localhost", "local", "android", "127.0.0.1", "::1", "(none)"})
"""Names that many machines have."""

ASK_S = 20.0
_SERIAL = re.compile(r"\b(?:GPU|MIG)-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b")
"""Numbers of GPUs and network cards."""


def of_device(device: Device, link: Connection) -> dict[str, str]:
    """Private word → what stands in its place, of the device and of this machine."""
    commands = {("uname", "-n"): "HOST", ("id", "-un"): "USER", ("sh", "-c", 'echo "$HOME"'): "HOME"}
    if device.link == "adb":
        commands = {("uname", "-n"): "HOST", ("getprop", "ro.serialno"): "SERIAL"}
    words = here() | {device.user: "USER", device.host: "SERIAL" if device.link == "adb" else "HOST"}
    for argv, mark in commands.items():
        with contextlib.suppress(DeviceError):  # a device that does not say it cannot have told it elsewhere either
            words[link.run(argv, timeout_s=ASK_S).stdout.strip()] = mark
    return {word: mark for word, mark in words.items() if word not in SAYS_NOTHING}


def here() -> dict[str, str]:
    """Those of this machine."""
    words = {socket.gethostname(): "HOST", str(Path.home()): "HOME", tempfile.gettempdir(): "TMP"}
    words[socket.gethostname().partition(".")[0]] = "HOST"
    with contextlib.suppress(KeyError, OSError):  # a container's user without a name
        words[getpass.getuser()] = "USER"
    return {word: mark for word, mark in words.items() if word not in SAYS_NOTHING}


def without(text: str, words: Mapping[str, str]) -> str:
    """The text with each private word replaced, the longest first; a word inside of a longer one stays."""
    for word in sorted(words, key=len, reverse=True):
        text = re.sub(rf"(?<![\w]){re.escape(word)}(?![\w])", words[word], text)
    return _SERIAL.sub("SERIAL", text)


def cleaned(value: Any, words: Mapping[str, str]) -> Any:
    """Plain data with every text in it cleaned so."""
    if isinstance(value, str):
        return without(value, words)
    if isinstance(value, Mapping):
        entries = cast("Mapping[str, Any]", value).items()
        return {key: cleaned(entry, words) for key, entry in entries}
    if isinstance(value, list | tuple):
        return [cleaned(entry, words) for entry in cast("list[Any]", value)]
    return value
