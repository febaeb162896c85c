"""One phone of an adb server, through adbutils (untyped): which it is, streams to its services, what became of it."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import contextlib
import socket
import subprocess
import time
from collections.abc import Generator, Mapping, Sequence
from typing import Any, Final

import adbutils

from vitdeploy.errors import DeviceError, MissingPackage

QUICK_S: Final = 30.0
"""Limit of everything that is no work on the phone: opening a stream, removing, hashing, moving."""

_SERVER_START_S = 20.0
_SERVER_END_S = 1.0
_ADB_FAULTS = (adbutils.AdbError, OSError, EOFError, ValueError)
"""What adbutils lets through when a server dies, says nothing, or says something else."""

_STATES: Mapping[str, tuple[str, str]] = {
    "offline": ("is offline", "Unlock it and plug it in again, or run `adb reconnect offline`."),
    "unauthorized": (
        "does not trust this computer (unauthorized)",
        "Unlock it, and allow USB debugging for this computer in the dialog.",
    ),
    "authorizing": ("is still being authorized", "Allow USB debugging in the dialog on its screen."),
    "connecting": ("is still connecting", "Try again in a moment."),
    "no": ("may not be opened by this user (no permissions)", "Add a udev rule for it, or a group."),
}


class AdbPhone:
    """A phone that can be used now, by its serial number, or the only one there."""

    def __init__(self, name: str, serial: str = "") -> None:
        self._name = name
        self._client: Any = adbutils.AdbClient(socket_timeout=QUICK_S)
        self._start_server()
        self.serial = _chosen(name, serial, self._phones())

    @contextlib.contextmanager
    def open(self, service: str) -> Generator[socket.socket]:
        """A stream to a service of the phone.

        Raises:
            DeviceError: the server or the phone is gone, or refuses.
        """
        if len(service.encode()) > 0xFFFF:
            raise DeviceError(f"a command for {self._name} is longer than adb carries", "Report it: this is a bug.")
        if not self._server_answers():  # adbutils would start another one, without a word
            raise self.lost("before the next command")
        try:
            opened: Any = self._client.make_connection(timeout=QUICK_S)
        except _ADB_FAULTS as error:
            raise self.lost("before the next command", _words(error)) from error
        try:
            try:
                # Not adbutils' own `open_transport`: it asks for the server's version each time, with a pause after.
                for request in (f"host:transport:{self.serial}", service):
                    opened.send_command(request)
                    opened.check_okay()
            except _ADB_FAULTS as error:
                raise self.lost("before the next command", _words(error)) from error
            yield opened.conn
        finally:
            with contextlib.suppress(Exception):  # whatever closing meets, the stream is over
                opened.conn.close()

    def _phones(self) -> list[tuple[str, str]]:
        """Serial number and state of all that the server sees."""
        try:
            return [(str(phone.serial), str(phone.state)) for phone in self._client.list()]
        except _ADB_FAULTS as error:
            raise DeviceError(f"the adb server does not answer: {_words(error)}", "Run `adb kill-server`.") from error

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
        if state is None:
            return DeviceError(f"{self._name} ({self.serial}) was unplugged {when}", "Plug it in, then go on.")
        if state != "device":
            words, hint = _STATES.get(state, (f"is in the state {state!r}", "Start Android on it."))
            return DeviceError(f"{self._name} ({self.serial}) {words}, lost {when}", hint)
        return DeviceError(f"{self._name} ({self.serial}) closed the connection {when}: {reason}", "Plug it in again.")

    def _server_answers(self) -> bool:
        try:
            with socket.create_connection((self._client.host, self._client.port), timeout=QUICK_S):
                return True
        except OSError:
            return False

    def _start_server(self) -> None:
        if self._server_answers():
            return
        try:
            tool = adbutils.adb_path()
        except adbutils.AdbError as error:
            raise MissingPackage("the tool adb is missing here", "Run `apt-get install adb`.") from error
        try:
            result = subprocess.run(
                [tool, "-P", str(self._client.port), "start-server"],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_SERVER_START_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise DeviceError(f"cannot start the adb server: {_words(error)}", "Run `adb start-server`.") from error
        if result.returncode:
            message = " ".join((result.stderr or result.stdout).split())
            raise DeviceError(f"cannot start the adb server: {message}", "Run `adb start-server`.")


def _chosen(name: str, serial: str, phones: Sequence[tuple[str, str]]) -> str:
    """The serial number of the one phone that is meant, and can be used."""
    rows = ", ".join(f"{number} ({state})" for number, state in phones) or "none"
    if not serial:
        if not phones:
            raise DeviceError(f"{name}: no phone is connected", "Plug it in and allow USB debugging on it.")
        if len(phones) > 1:
            raise DeviceError(
                f"{name}: several phones are connected: {rows}", "Name one serial number as `host` in the device file."
            )
        serial = phones[0][0]
    state = dict(phones).get(serial)
    if state is None:
        hint = f"Plug it in, or run `adb connect {serial}`." if ":" in serial else "Plug it in, or correct `host`."
        raise DeviceError(f"{name}: no phone {serial} is connected; adb sees: {rows}", hint)
    if state != "device":
        words, hint = _STATES.get(state, (f"is in the state {state!r}", "Start Android on it, and see `adb devices`."))
        raise DeviceError(f"{name} ({serial}) {words}", hint)
    return serial


def _words(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
