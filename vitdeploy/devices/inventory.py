"""Which devices there are: one TOML file each, strictly read, and the link to each.

Devices that ship, then ``./devices/*.toml``, then ``$XDG_CONFIG_HOME/vitdeploy/devices/*.toml``; a
later file of the same name is merged over the earlier one, key by key, and that is announced.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, cast

import msgspec

from vitdeploy import documents
from vitdeploy.catalog import packages, registry
from vitdeploy.catalog.fact_table import DeviceFacts
from vitdeploy.errors import DeviceError, UnreadableFile, UsageError, unknown_name
from vitdeploy.processes.connection import Connection
from vitdeploy.processes.local import LocalConnection

Link = Literal["local", "ssh", "adb", "hub"]
Threads = Literal["physical-cores", "big-cores"] | Annotated[int, msgspec.Meta(ge=1)]

LINKS: Final[Mapping[str, str]] = {
    "local": "vitdeploy.devices.inventory:open_local",
    "ssh": "vitdeploy.devices.over_ssh:open_connection",
    "adb": "vitdeploy.devices.over_adb:open_connection",
    "hub": "vitdeploy.devices.over_hub:open_connection",
}
"""Link → what opens it."""

NEEDED: Final[Mapping[str, str]] = {"adb": "adbutils", "hub": "qai_hub"}
"""Link → the package that it needs here."""

SHIPPED = Path(__file__).parent

HUB = "hub:"
"""How the names of hosted phones begin; they have no device file."""

HUB_THREADS = 4
"""Default of ``--threads`` on a hosted phone, whose cores are not told. Source: a choice; Snapdragons have four big
or middle cores."""


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
    python: str = "python3"
    """Interpreter on a device over SSH: its name there, or its path."""
    targets: tuple[str, ...]
    """Targets that run on it."""
    threads: Threads = "physical-cores"
    """Default of ``--threads``."""
    facts: Mapping[str, str | int | float | bool] = {}
    """What must be found on the machine behind the link; anything else is the wrong machine."""
    source: str = ""
    """Where the facts come from."""
    trtexec: str = ""
    """Its path there: it builds and times engines in place of TensorRT's Python package; empty: it does not."""
    power_mode: str | None = None
    """Jetsons: ``MAXN``, ``MODE_30W``, … is set for a run and put back afterwards; None: it stays as it is."""
    hold_clocks: bool = False
    """Jetsons: the highest clocks are held for a run and put back afterwards."""
    cool_c: Annotated[float, msgspec.Meta(gt=0)] | None = None
    """A trial starts only below this, on the hottest sensor; None: 15 degrees below the machine's own limits."""
    benchmark_model: str = ""
    """Phones: path or URL of Google's ``benchmark_model`` for their processor; nothing is fetched unasked."""
    benchmark_model_sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")] | None = None
    """What that file must be; a URL needs it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """All devices, and what a user should know of where they come from."""

    devices: Mapping[str, Device]
    files: Mapping[str, Path]
    origins: Mapping[str, Mapping[str, Path | str]]
    """Device → key (of a fact ``facts.NAME``) → the file or the environment variable that it is from; none: default."""
    notices: tuple[str, ...]
    """One line for each file that changes a device of an earlier one; for stderr."""

    def notices_of(self, name: str) -> tuple[str, ...]:
        """Those of one device."""
        return tuple(notice for notice in self.notices if notice.startswith(f"device {name}:"))


def device_folders() -> tuple[Path, ...]:
    """Folders of device files, weakest first."""
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return SHIPPED, Path("devices"), config / "vitdeploy" / "devices"


def load(folders: Sequence[Path] | None = None) -> Inventory:
    """All devices of ``folders`` (default: `device_folders`).

    Raises:
        UnreadableFile: a device file is not valid; the message names the field.
    """
    devices: dict[str, Device] = {}
    tables: dict[str, Mapping[str, Any]] = {}
    files: dict[str, Path] = {}
    origins: dict[str, dict[str, Path | str]] = {}
    notices: list[str] = []
    for folder in device_folders() if folders is None else folders:
        for path in sorted(folder.glob("*.toml")):
            name, table = path.stem, _table(path)
            origins.setdefault(name, {}).update(dict.fromkeys(_leaves(table), path))
            if name in files:
                notices.append(f"device {name}: {path} sets {_keys(table)}; the rest is from {files[name]}")
                table = _merged(tables[name], table)
            tables[name], files[name] = table, path
            devices[name] = _with_environment(_device(table, path))
    for name, device in devices.items():
        origins[name].update(_variables(device.name))
    return Inventory(devices=devices, files=files, origins=origins, notices=tuple(notices))


def read(path: Path) -> Device:
    """One device file, by itself.

    Raises:
        UnreadableFile: it cannot be read, has unknown fields or wrong types, or names a target that is none.
    """
    return _device(_table(path), path)


def read_text(text: str, path: Path) -> Device:
    """A device from the text that is to become the file ``path``. Raises as `read` does."""
    return _device(_decoded(text.encode(), path), path)


def _table(path: Path) -> dict[str, Any]:
    """The keys and values of a device file; its name is that of the file where it says none."""
    return _decoded(documents.read_bytes(path, what="device", most_bytes=documents.LARGEST_TEXT_BYTES), path)


def _decoded(data: bytes, path: Path) -> dict[str, Any]:
    try:
        table = msgspec.toml.decode(data, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableFile(f"{path} is not a valid device file: {error}", "Correct that line.") from error
    return {"name": path.stem, **table}


def _merged(earlier: Mapping[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of both; where both have one the later value, of tables (``facts``) their keys in the same way."""
    merged = {**earlier, **later}
    for key, value in later.items():
        before = earlier.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            merged[key] = {**before, **value}
    return merged


def _leaves(table: Mapping[str, Any]) -> list[str]:
    """Its keys but the name, of a table in it each one's: ``facts.compute_capability``."""
    keys: list[str] = []
    for key, value in table.items():
        if isinstance(value, Mapping):
            keys += [f"{key}.{inner}" for inner in cast("Mapping[str, Any]", value)]
        elif key != "name":
            keys.append(key)
    return keys


def _keys(table: Mapping[str, Any]) -> str:
    return ", ".join(key for key in table if key != "name") or "nothing"


def _device(table: Mapping[str, Any], path: Path) -> Device:
    """The device of a table, checked; ``path`` is the file that an error names."""
    try:
        device = msgspec.convert(table, Device)
    except msgspec.ValidationError as error:
        raise UnreadableFile(f"{path} is not a valid device file: {error}", "Correct that field.") from error
    for name, value in msgspec.structs.asdict(device).items():
        if isinstance(value, str) and not value.isprintable():
            raise UnreadableFile(
                f"{path} is not a valid device file: a control character - at `$.{name}`", "Take it out."
            )
    if device.name != path.stem:
        raise UnreadableFile(
            f"{path} is not a valid device file: it names {device.name!r}", f"Name it {path.stem!r}, as the file."
        )
    if "://" in device.benchmark_model and device.benchmark_model_sha256 is None:
        raise UnreadableFile(
            f"{path} is not a valid device file: a URL without `benchmark_model_sha256` - at `$.benchmark_model`",
            "Add the digest of the file you mean.",
        )
    unknown = [name for name in device.targets if name not in registry.targets()]
    if unknown:
        raise UnreadableFile(
            f"{path} is not a valid device file: no target {unknown[0]!r} - at `$.targets`",
            "`vitdeploy targets` lists them all.",
        )
    return device


def _with_environment(device: Device) -> Device:
    """The device with what the environment says of its address: an address is often nobody else's business."""
    values = {field: os.environ[variable] for field, variable in _variables(device.name).items()}
    try:
        return msgspec.convert({**msgspec.to_builtins(device), **values}, Device, strict=False) if values else device
    except msgspec.ValidationError as error:
        names = ", ".join(_variables(device.name).values())
        raise UnreadableFile(f"{names} do not fit the device {device.name}: {error}", "Correct them.") from error


def _variables(device: str) -> dict[str, str]:
    """Field → the environment variable that is set for it."""
    names = {field: environment_variable(device, field) for field in ("host", "user", "port")}
    return {field: name for field, name in names.items() if os.environ.get(name)}


def devices() -> Mapping[str, Device]:
    """All devices by name; `load` tells besides where they come from."""
    return load().devices


def find(name: str) -> Device:
    """The device of that name, or a hosted phone; an unknown one is a `UsageError` with the nearest ones."""
    if name.startswith(HUB):
        return hosted(name)
    by_name = devices()
    if name not in by_name:
        raise unknown_name("device", name, by_name, "vitdeploy devices")
    return by_name[name]


def hosted(name: str) -> Device:
    """The hosted phone ``hub:NAME``: NAME is its chipset, ``snapdragon-8gen1``, or the phone, ``samsung-galaxy-s23``.

    Raises:
        UsageError: no name, or one that cannot be.
    """
    wanted = name.removeprefix(HUB)
    if not re.fullmatch(r"[a-z0-9][a-z0-9._+-]{0,100}", wanted):
        raise UsageError(f"{name!r} names no hosted phone", "Name it as hub:snapdragon-8gen1.")
    return Device(
        name=name,
        title=f"{wanted}, hosted by Qualcomm AI Hub",
        link="hub",
        host=wanted,
        targets=("tflite-fp32",),
        threads=HUB_THREADS,
    )


def unreachable(device: Device) -> str | None:
    """Why the device cannot be reached as it is configured; None when nothing stands against it."""
    if device.link == "ssh" and not device.host:
        return "it is not configured: its file names no host"
    if device.link == "hub" and not device.host:
        return "it is not configured: its file names no hosted phone"
    if device.link == "adb" and not device.benchmark_model:
        return "it is not configured: its file names no benchmark_model"
    return None


def unreachable_error(device: Device, why_not: str) -> DeviceError:
    """The error for a device that cannot be reached, with the line to write."""
    variable = environment_variable(device.name, "host")
    hints = {
        "hub": f'Write `host = "snapdragon-8gen1"` into ./devices/{device.name}.toml.',
        "ssh": f'Set {variable}, or write `host = "ADDRESS"` into ./devices/{device.name}.toml.',
        "adb": f'Write `benchmark_model = "PATH"` into ./devices/{device.name}.toml, as docs/phones.md says.',
    }
    return DeviceError(f"cannot reach {device.name}: {why_not}", hints.get(device.link, "Use `--device local`."))


def environment_variable(device: str, field: str) -> str:
    """The environment variable that sets a field of a device: ``VITDEPLOY_ORIN_HOST``."""
    return f"VITDEPLOY_{device}_{field}".upper().replace("-", "_").replace(".", "_")


def connect(device: Device, *, limit_s: float | None = None) -> Connection:
    """Open the link to a device.

    Args:
        device: where.
        limit_s: the link ends so long after it was opened, whatever it does then; None: each wait has its own limit.

    Raises:
        DeviceError: the device is not configured, or does not answer.
        MissingPackage: what the link needs is not installed here.
    """
    if (why_not := unreachable(device)) is not None:
        raise unreachable_error(device, why_not)
    return open_link(device, limit_s=limit_s)


def open_link(device: Device, *, limit_s: float | None = None) -> Connection:
    """Open the link as `connect` does, to a device whose file may lack what a measurement needs."""
    if (package := NEEDED.get(device.link)) is not None:
        packages.require((package,))
    connection: Connection = registry.load(LINKS[device.link])(device, limit_s=limit_s)
    return connection


def open_local(device: Device, *, limit_s: float | None = None) -> Connection:
    """The connection to this machine, which is there at once."""
    del limit_s
    return LocalConnection(device.name)


def clean_phone(device: Device, *, dry_run: bool = False) -> int:
    """Remove everything of ours from a phone; returns how many bytes that are, with ``dry_run`` of what is still there.

    Raises:
        DeviceError: it is not there, or in use.
        MissingPackage: what the link needs is not installed here.
    """
    assert device.link == "adb", device.link
    packages.require(("adbutils",))
    with registry.load(LINKS["adb"])(device) as phone:
        size_bytes: int = phone.size_bytes() if dry_run else phone.remove_all()
    return size_bytes


def threads_of(device: Device, facts: DeviceFacts) -> int:
    """How many threads a case takes when the user names none.

    Args:
        device: whose rule counts.
        facts: of the machine behind its link.
    """
    if isinstance(device.threads, int):
        return device.threads
    return max(1, (facts.cores_big if device.threads == "big-cores" else facts.cores_physical) or 1)
