"""One phone of an adb server: which one, streams to its services, what became of it. adbutils, untyped, brings adb."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import contextlib
import os
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from typing import Final

import adbutils

from vitdeploy.devices import adb_host
from vitdeploy.devices.adb_services import OutOfTime, Refused, StreamLost
from vitdeploy.errors import DeviceError, MissingPackage
from vitdeploy.processes.device_words import one_line

QUICK_S: Final = 30.0
"""Limit of everything that is no work on the phone: opening a stream, removing, hashing, moving."""

_SERVER_START_S = 20.0
_SERVER_END_S = 1.0
_FAULTS = (OSError, Refused, StreamLost, OutOfTime)
"""What a conversation with the server can end in."""

_NO_PERMISSIONS = "no permissions"

_STATES: Mapping[str, tuple[str, str]] = {
    "offline": ("is offline", "Unlock it and plug it in again, or run `adb reconnect offline`."),
    "unauthorized": (
        "does not trust this computer (unauthorized)",
        "Unlock it, and allow USB debugging for this computer in the dialog.",
    ),
    "authorizing": ("is still being authorized", "Allow USB debugging in the dialog on its screen."),
    "connecting": ("is still connecting", "Try again in a moment."),
    _NO_PERMISSIONS: ("may not be opened by this user (no permissions)", "Add a udev rule for it, or a group."),
}


class AdbPhone:
    """A phone that can be used now, by its serial number, or the only one there."""

    def __init__(self, name: str, serial: str = "") -> None:
        self._name = name
        self._address = adb_host.server_address(os.environ)
        self._start_server()
        self.serial = _chosen(name, serial or os.environ.get("ANDROID_SERIAL", ""), self._phones())

    @contextlib.contextmanager
    def open(self, service: str) -> Generator[socket.socket]:
        """A stream to a service of the phone.

        Raises:
            DeviceError: the server or the phone is gone, or refuses.
        """
        if len(service.encode()) > adb_host.LONGEST_SERVICE_BYTES:
            raise DeviceError(f"a command for {self._name} is longer than adb carries", "Report it: this is a bug.")
        deadline = time.monotonic() + QUICK_S
        try:
            stream = adb_host.connect(self._address, QUICK_S)
        except OSError as error:
            raise self.lost("before the next command", _words(error)) from error
        with stream:
            try:
                for request in (adb_host.transport(self.serial), service):
                    adb_host.ask(stream, request, deadline)
            except _FAULTS as error:
                raise self.lost("before the next command", _words(error)) from error
            yield stream

    def _phones(self) -> list[tuple[str, str]]:
        """Serial number and state of all that the server sees."""
        try:
            return adb_host.phones(self._address, QUICK_S)
        except _FAULTS as error:
            raise DeviceError(
                f"the adb server at {self._address.words} does not answer: {_words(error)}", "Run `adb kill-server`."
            ) from error

    def lost(self, when: str, reason: str = "no reason given") -> DeviceError:
        """What became of the phone, as far as the server can tell."""
        died = DeviceError(f"the adb server died {when}", "Run `adb start-server`, then the same command again.")
        if not self._server_answers():
            return died
        try:
            state = dict(self._phones()).get(self.serial)
        except DeviceError as error:
            # A server that is just ending still takes a connection, and resets it.
            time.sleep(_SERVER_END_S)
            return error if self._server_answers() else died
        shown = one_line(self.serial, 80)
        if state is None:
            return DeviceError(f"{self._name} ({shown}) was unplugged {when}", "Plug it in, then go on.")
        if state != "device":
            words, hint = _state_words(state)
            return DeviceError(f"{self._name} ({shown}) {words}, lost {when}", hint)
        return DeviceError(f"{self._name} ({shown}) closed the connection {when}: {reason}", "Plug it in again.")

    def _server_answers(self) -> bool:
        try:
            adb_host.connect(self._address, QUICK_S).close()
        except OSError:
            return False
        return True

    def _start_server(self) -> None:
        if self._server_answers():
            return
        if not self._address.local:
            raise DeviceError(
                f"no adb server answers at {self._address.words}",
                "Start it on that machine, or unset ADB_SERVER_SOCKET and ANDROID_ADB_SERVER_ADDRESS.",
            )
        try:
            tool = adbutils.adb_path()
        except adbutils.AdbError as error:
            raise MissingPackage("the tool adb is missing here", "Run `apt-get install adb`.") from error
        try:
            result = subprocess.run(  # it reads the same variables as we do
                [tool, "start-server"],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_SERVER_START_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise DeviceError(f"cannot start the adb server: {_words(error)}", "Run `adb start-server`.") from error
        if result.returncode:
            message = one_line(result.stderr or result.stdout)
            raise DeviceError(f"cannot start the adb server: {message}", "Run `adb start-server`.")


def _chosen(name: str, serial: str, phones: Sequence[tuple[str, str]]) -> str:
    """The serial number of the one phone that is meant, and can be used."""
    rows = one_line(", ".join(f"{number} ({state})" for number, state in phones)) or "none"
    if not serial:
        if not phones:
            raise DeviceError(f"{name}: no phone is connected", "Plug it in and allow USB debugging on it.")
        # As adb does: a phone that may not be opened is no choice, unless there is no other.
        choices = [phone for phone in phones if not phone[1].startswith(_NO_PERMISSIONS)] or list(phones)
        if len(choices) > 1:
            raise DeviceError(
                f"{name}: several phones are connected: {rows}", "Name one serial number as `host` in the device file."
            )
        serial = choices[0][0]
    shown = one_line(serial, 80)
    state = dict(phones).get(serial)
    if state is None:
        hint = f"Plug it in, or run `adb connect {shown}`." if ":" in serial else "Plug it in, or correct `host`."
        raise DeviceError(f"{name}: no phone {shown} is connected; adb sees: {rows}", hint)
    if Counter(number for number, _ in phones)[serial] > 1:
        raise DeviceError(f"{name}: several phones have the serial number {shown}", "Unplug all but one of them.")
    if state != "device":
        words, hint = _state_words(state)
        raise DeviceError(f"{name} ({shown}) {words}", hint)
    return serial


def _state_words(state: str) -> tuple[str, str]:
    """What a state means, and what to do; a state may go on with an advice of adb's own."""
    for start, words in _STATES.items():
        if state.startswith(start):
            return words
    return f"is in the state {one_line(state, 80)!r}", "Start Android on it, and see `adb devices`."


def _words(error: BaseException) -> str:
    return one_line(str(error)) or {"OutOfTime": "no answer in time", "StreamLost": "it closed the connection"}.get(
        type(error).__name__, type(error).__name__
    )
