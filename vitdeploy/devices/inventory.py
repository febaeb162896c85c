"""Which devices there are: one TOML file each, strictly read, and the link to each.

Devices that ship, then ``./devices/*.toml``, then ``$XDG_CONFIG_HOME/vitdeploy/devices/*.toml``; a
later one takes the place of an earlier one of the same name, and that is announced.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec

from vitdeploy import catalog
from vitdeploy.devices.connection import Connection
from vitdeploy.errors import DeviceError, UnreadableFile, unknown_name

Link = Literal["local", "ssh", "adb"]
Threads = Literal["physical-cores", "big-cores"] | Annotated[int, msgspec.Meta(ge=1)]

LINKS: Final[Mapping[str, str | None]] = {
    "local": "vitdeploy.devices.local:open_connection",
    "ssh": None,
    "adb": None,
}
"""Link → what opens it; None: not built in this version."""

SHIPPED = Path(__file__).parent


class Device(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One device file. Secrets have no field: links use the user's own keys."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
    """The file's name without ``.toml``."""
    title: str
    """For people: what machine this is."""
    link: Link
    host: str = ""
    """Address or serial number; empty: not configured."""
    user: str = ""
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] | None = None
    targets: tuple[str, ...]
    """Targets that run on it."""
    threads: Threads = "physical-cores"
    """Default of ``--threads``."""
    facts: Mapping[str, str | int | float | bool] = {}
    """What must be found on the machine behind the link; anything else is the wrong machine."""
    source: str = ""
    """Where the facts come from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """All devices, and what a user should know of where they come from."""

    devices: Mapping[str, Device]
    files: Mapping[str, Path]
    notices: tuple[str, ...]
    """One line for each device that took the place of another; for stderr."""


def places() -> tuple[Path, ...]:
    """Folders of device files, weakest first."""
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return SHIPPED, Path("devices"), config / "vitdeploy" / "devices"


def load(folders: Sequence[Path] | None = None) -> Inventory:
    """All devices of ``folders`` (default: `places`).

    Raises:
        UnreadableFile: a device file is not valid; the message names the field.
    """
    devices: dict[str, Device] = {}
    files: dict[str, Path] = {}
    notices: list[str] = []
    for folder in places() if folders is None else folders:
        for path in sorted(folder.glob("*.toml")):
            device = read(path)
            if device.name in devices:
                notices.append(f"device {device.name} is taken from {path}, not from {files[device.name]}")
            devices[device.name], files[device.name] = device, path
    return Inventory(devices=devices, files=files, notices=tuple(notices))


def read(path: Path) -> Device:
    """One device file.

    Raises:
        UnreadableFile: it cannot be read, has unknown fields or wrong types, or names a target that is none.
    """
    try:
        device = msgspec.toml.decode(path.read_bytes(), type=Device)
    except OSError as error:
        raise UnreadableFile(
            f"cannot read the device file {path}: {error.strerror}", "Check its permissions."
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnreadableFile(f"{path} is not a valid device file: {error}", "Correct that field.") from error
    if device.name != path.stem:
        raise UnreadableFile(
            f"{path} is not a valid device file: it names {device.name!r}", f"Name it {path.stem!r}, as the file."
        )
    unknown = [name for name in device.targets if name not in catalog.targets()]
    if unknown:
        raise UnreadableFile(
            f"{path} is not a valid device file: no target {unknown[0]!r} - at `$.targets`",
            "`vitdeploy targets` lists them all.",
        )
    return device


def devices() -> Mapping[str, Device]:
    """All devices by name; `load` tells besides where they come from."""
    return load().devices


def find(name: str) -> Device:
    """The device of that name; an unknown one is a `UsageError` with the nearest ones."""
    known = devices()
    if name not in known:
        raise unknown_name("device", name, known, "vitdeploy devices")
    return known[name]


def unreachable(device: Device) -> str | None:
    """Why the device cannot be reached with this version and configuration; None when nothing stands against it."""
    if LINKS[device.link] is not None:
        return None
    configured = f"its host is {device.host}" if device.host else "its file names no host"
    return f"links over {device.link} are not built in this version, and {configured}"


def unreachable_error(device: Device, why_not: str) -> DeviceError:
    """The error for a device that cannot be reached."""
    return DeviceError(f"cannot reach {device.name}: {why_not}", "Use `--device local`.")


def connect(device: Device) -> Connection:
    """Open the link to a device.

    Raises:
        DeviceError: the link is not built in this version.
    """
    opener = LINKS[device.link]
    if opener is None:
        raise unreachable_error(device, unreachable(device) or "")
    connection: Connection = catalog.load(opener)(device.name)
    return connection


def threads_of(device: Device, found: Mapping[str, Any]) -> int:
    """How many threads a case takes when the user names none.

    Args:
        device: whose rule counts.
        found: facts of the machine, with ``cores_physical`` and, on phones, ``cores_big``.
    """
    if isinstance(device.threads, int):
        return device.threads
    key = "cores_big" if device.threads == "big-cores" else "cores_physical"
    return max(1, int(found.get(key) or 1))
