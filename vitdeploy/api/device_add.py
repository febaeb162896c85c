"""`devices add`: connect to a device, read what it is, and write its device file."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from vitdeploy import documents
from vitdeploy.artifacts.manifest import digest_of
from vitdeploy.catalog.fact_table import NOT_VISIBLE, DeviceFacts
from vitdeploy.catalog.shown import Shown
from vitdeploy.devices import device_facts, device_file, findings, inventory
from vitdeploy.devices.findings import Finding
from vitdeploy.devices.inventory import Device, Link
from vitdeploy.errors import DeviceError, Impossible, UsageError
from vitdeploy.processes.connection import Connection
from vitdeploy.processes.progress import Progress, silent

FOLDER = Path("devices")
"""Where a device file goes by default: the first folder that is searched after those that ship."""

TOOLS = ("trtexec", "nvpmodel", "jetson_clocks", "tegrastats", "nvidia-smi")
"""Programs of a board that measurements use. Source: vitdeploy.devices, trtexec, jetson_power, nvidia_facts."""

_TOOL_FOLDERS = "/usr/src/tensorrt/bin:/usr/sbin:/sbin"
"""Where they lie outside of PATH. Source: packages libnvinfer-bin and nvidia-l4t-tools."""

_TOOLS_LIMIT_S = 20.0
_THREADS: Mapping[Link, str | int] = {
    "ssh": "physical-cores",
    "adb": "big-cores",
    "hub": inventory.HUB_THREADS,
}
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_PATH = re.compile(r"/[\w./+-]{1,200}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AddRequest:
    """The name of a device and the options of `devices add`."""

    name: str
    ssh: str | None = None
    """``[USER@]HOST[:PORT]``."""
    adb: str | None = None
    """Serial number of a phone."""
    hub: str | None = None
    """Name of a hosted phone."""
    from_device: str | None = None
    """Device whose targets, facts and settings it has; None: that of the same name that ships, if one does."""
    python: str | None = None
    """Interpreter on a device over SSH."""
    benchmark_model: Path | None = None
    """Measuring tool for a phone's processor."""
    out: Path | None = None
    """Folder of the file; None: `FOLDER`."""
    force: bool = False
    """Replace an existing file."""

    @property
    def path(self) -> Path:
        """The device file."""
        return (self.out or FOLDER) / f"{self.name}.toml"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class AddedDevice(Shown):
    """A device file that was written, and what was seen of its machine."""

    shown_by: ClassVar = "vitdeploy.cli.devices:added_output"
    path: Path
    device: Device
    facts: DeviceFacts
    tools: Mapping[str, str]
    """Program → its path there."""
    missing: tuple[Finding, ...]
    """What would spoil a number or stop an export there."""
    notices: tuple[str, ...]
    """What a later file or the environment changes of it."""

    @property
    def seen(self) -> list[tuple[str, str]]:
        """Label and text of what the machine shows of itself, whatever its state."""
        return device_file.shown(self.facts)

    @property
    def hint(self) -> str | None:
        """What its file still needs before a measurement; None: nothing."""
        why_not = inventory.unreachable(self.device)
        return None if why_not is None else inventory.unreachable_error(self.device, why_not).hint

    @property
    def first_target(self) -> str:
        """A target that can be measured there as it is now."""
        has_tensorrt = "tensorrt" in (self.facts.packages or {}) or self.device.trtexec
        engines = [name for name in self.device.targets if name == "trt-fp16" and has_tensorrt]
        return (*engines, *self.device.targets)[0]


def add_plan(request: AddRequest) -> list[str]:
    """What `devices add` would do. Raises as `add` does for what needs no connection."""
    device = _configured(request)
    address = _address(device)
    base = "" if (named := _base(request, device.link)) is None else f", as {named.name} is described"
    return [
        f"connect to {address} by {device.link}, and read its facts{base}",
        f"write {request.path}{', in place of the one there' if request.path.exists() else ''}",
    ]


def add(request: AddRequest, *, progress: Progress = silent) -> AddedDevice:
    """Connect to a device, read its facts and write its device file; nothing is written where that fails.

    Raises:
        UsageError: a name or address that is none, or the file exists and is not to be replaced.
        Impossible: the device that it is made from has another link, or the link is not built yet.
        DeviceError: it is not reachable, or not what the device that it is made from is.
        MissingPackage: what the link needs is missing, here or there.
        UnreadableFile: the place cannot be written.
    """
    configured = _configured(request)
    documents.check_place(request.path)
    progress(f"connecting to {_address(configured)}")
    with inventory.open_link(configured) as link:
        facts = device_facts.read_facts(msgspec.structs.replace(configured, facts={}), link)
        tools = _tools(link) if configured.link == "ssh" else {}
    if (name := device_facts.mismatch(facts, configured.facts)) is not None:
        raise DeviceError(
            f"the machine at {_address(configured)} has {name} {facts.get(name)!r}, "
            f"{request.from_device or request.name} has {configured.facts[name]!r}: it is another kind of machine",
            "Name a device of its kind with --from, or choose another name and leave --from out.",
        )
    device = _described(configured, facts, tools)
    now = datetime.now(timezone.utc).strftime("%Y-%m-%d")
    head = (
        f"{device.title}: written on {now} by `vitdeploy devices add`, from what it says of itself over {device.link}.",
        "Edit it as you like; `vitdeploy devices show` says where each value is from.",
    )
    text = device_file.text_of(device, facts, head=head)
    inventory.read_text(text, request.path)
    documents.write_bytes(request.path, text.encode())
    return AddedDevice(
        path=request.path,
        device=device,
        facts=facts,
        tools=tools,
        missing=_missing(device, facts),
        notices=_notices(request),
    )


def _configured(request: AddRequest) -> Device:
    """The device as far as the options and the one that it is made from say it.

    Raises:
        UsageError: a name or address that is none, or the file exists and is not to be replaced.
        Impossible: as of `add`.
    """
    if not _NAME.fullmatch(request.name) or request.name == "local":
        raise UsageError(
            f"{request.name!r} cannot be the name of a device", "Use small letters, digits, dots and dashes: my-orin."
        )
    given = [name for name in ("ssh", "adb", "hub") if getattr(request, name) is not None]
    if len(given) != 1:
        words = " and ".join(f"--{name}" for name in given) or "no link"
        raise UsageError(
            f"{words} given for {request.name}, which has one link", "Give --ssh USER@HOST, --adb SERIAL or --hub NAME."
        )
    link: Link = "ssh" if request.ssh is not None else "adb" if request.adb is not None else "hub"
    address = _ssh_address(request.ssh) if request.ssh is not None else {"host": request.adb or request.hub or ""}
    if link == "adb" and not re.fullmatch(r"[\w.:\[\]%-]{1,200}", address["host"]):
        raise UsageError(f"--adb {request.adb!r} is no serial number", "Run `adb devices`: it is in the first column.")
    if link == "hub":
        inventory.hosted(f"{inventory.HUB}{address['host']}")
    if request.path.exists() and not request.force:
        raise UsageError(f"{request.path} exists already", "Replace it with --force, or choose another name.")
    base = _base(request, link)
    settings: dict[str, Any] = {"threads": _THREADS[link]}
    if base is not None:
        settings |= {**msgspec.to_builtins(base), "port": None, "user": ""}
    if request.python is not None:
        settings["python"] = request.python
    if request.benchmark_model is not None:
        settings |= _tool_file(request.benchmark_model)
    try:
        return msgspec.convert(
            {"title": request.name, "targets": (), **settings, **address, "name": request.name, "link": link}, Device
        )
    except msgspec.ValidationError as error:
        raise UsageError(f"{request.name} cannot be configured so: {error}", "Correct that option.") from error


def _base(request: AddRequest, link: Link) -> Device | None:
    """The device that it is made from: the named one, or that of the same name that ships."""
    if request.from_device is not None:
        base = inventory.find(request.from_device)
    else:
        base = inventory.load([inventory.SHIPPED]).devices.get(request.name)
    if base is not None and base.link != link:
        raise Impossible(
            f"{base.name} is a device behind {base.link}, and {request.name} is given as one behind {link}",
            "Choose another name, or another device with --from.",
        )
    return base


def _ssh_address(text: str) -> dict[str, Any]:
    """User, host and port of ``[USER@]HOST[:PORT]``; an IPv6 address with a port stands in brackets."""
    user, _, place = text.rpartition("@")
    bracketed = re.fullmatch(r"\[([^\]]+)\](?::(\d+))?", place)
    plain = re.fullmatch(r"([^:]+):(\d+)", place)
    match = bracketed or plain
    host, port = (match[1], match[2]) if match else (place, None)
    if not host or host.startswith("-") or user.startswith("-") or not (host + user).isprintable() or " " in host:
        raise UsageError(f"--ssh {text!r} is no address", "Give it as USER@HOST or USER@HOST:PORT.")
    return {"user": user, "host": host, "port": int(port) if port else None}


def _tool_file(path: Path) -> dict[str, Any]:
    """The keys for a phone's tool.

    Raises:
        UnreadableFile: it is not there.
    """
    place = path.expanduser().absolute()
    return {"benchmark_model": str(place), "benchmark_model_sha256": digest_of(place)}


def _tools(link: Connection) -> dict[str, str]:
    """Where the board's programs lie, of those that are there; a program says no more here than its path."""
    script = f'PATH="$PATH:{_TOOL_FOLDERS}"; for name in {" ".join(TOOLS)}; do command -v "$name"; done; true'
    lines = link.run(["sh", "-c", script], timeout_s=_TOOLS_LIMIT_S).stdout.splitlines()
    return {name: line for line in lines for name in TOOLS if _PATH.fullmatch(line) and line.endswith(f"/{name}")}


def _described(configured: Device, facts: DeviceFacts, tools: Mapping[str, str]) -> Device:
    """The device with what was read of its machine."""
    targets = configured.targets or device_file.targets_for(facts, configured.link)
    settings: dict[str, Any] = {
        "title": device_file.title_for(facts, configured.title),
        "targets": targets,
        "threads": configured.threads,
        "facts": {**configured.facts, **device_file.identity_of(facts, configured.link)},
        "source": "",
    }
    has_python_package = "tensorrt" in (facts.packages or {})
    if "trtexec" in tools and not has_python_package and any(name.startswith("trt-") for name in targets):
        settings["trtexec"] = configured.trtexec or tools["trtexec"]
    return msgspec.structs.replace(configured, **settings)


def _missing(device: Device, facts: DeviceFacts) -> tuple[Finding, ...]:
    """Those of the doctor's findings that somebody can do something about."""
    return tuple(
        finding
        for finding in findings.of_device(device, facts)
        if finding.state != "ok" and finding.advice and finding.found != NOT_VISIBLE
    )


def _notices(request: AddRequest) -> tuple[str, ...]:
    """What is in force in place of a value of the new file."""
    folders = inventory.device_folders()
    if request.path.parent.absolute() not in [folder.absolute() for folder in folders]:
        return (f"{request.path.parent} is not searched for device files: {folders[1]} and {folders[2]} are",)
    loaded = inventory.load()
    if request.name not in loaded.devices:
        raise DeviceError(f"{request.path} is not there any more", "Add it again.")
    ours = request.path.absolute()
    return tuple(
        f"{key} is taken from {origin}"
        for key, origin in loaded.origins[request.name].items()
        if isinstance(origin, str) or (origin.absolute() != ours and origin.parent != inventory.SHIPPED)
    )


def _address(device: Device) -> str:
    user = f"{device.user}@" if device.user else ""
    return f"{user}{device.host}{f':{device.port}' if device.port else ''}"
