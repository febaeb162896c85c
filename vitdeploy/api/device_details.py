"""`devices show`: everything that is known of a device, where each value is from, and what the device can run."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from vitdeploy.catalog import packages, registry
from vitdeploy.catalog.shown import Shown
from vitdeploy.catalog.spec import Target
from vitdeploy.devices import findings, hosted, inventory
from vitdeploy.devices.inventory import Device
from vitdeploy.devices.phone import prepared_phone
from vitdeploy.errors import entry


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceValue:
    """One key of a device file, as it is in force."""

    key: str
    """Of a fact that is checked: ``facts.NAME``."""
    value: Any
    origin: str
    """A file, an environment variable, or ``default``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetOnDevice:
    """One target that runs on a device."""

    name: str
    made: str
    """Where its file is made."""
    needs: str
    """What runs it there."""
    missing: str | None = None
    """Why it does not run; None: it does, or the device was not contacted."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class DeviceDetails(Shown):
    """What is known of a device without contacting it."""

    shown_by: ClassVar = "vitdeploy.cli.devices:details_output"
    name: str
    title: str
    values: tuple[DeviceValue, ...]
    targets: tuple[TargetOnDevice, ...]
    not_configured: str | None
    """What its file lacks; None: it can be contacted."""
    hint: str
    """What to do about that."""
    notices: tuple[str, ...]


def device_details(name: str) -> DeviceDetails:
    """Everything known of a device; it is not contacted.

    Raises:
        UsageError: there is none of that name.
        UnreadableFile: a device file is not valid.
    """
    loaded = inventory.load()
    named = inventory.hosted(name) if name.startswith(inventory.HUB) else None
    device = named or entry("device", name, loaded.devices, "vitdeploy devices")
    origins = loaded.origins.get(name, {})
    why_not = inventory.unreachable(device)
    return DeviceDetails(
        name=name,
        title=device.title,
        values=tuple(_values(device, origins)),
        targets=tuple(_target(registry.find_target(target), device) for target in device.targets),
        not_configured=why_not,
        hint=inventory.unreachable_error(device, why_not).hint if why_not else "",
        notices=loaded.notices_of(name),
    )


def _values(device: Device, origins: Mapping[str, Path | str]) -> list[DeviceValue]:
    fields: dict[str, Any] = {**msgspec.to_builtins(device), "targets": list(device.targets)}
    checked: dict[str, Any] = fields.pop("facts")
    fields.pop("name")
    flat = {**fields, **{f"facts.{name}": value for name, value in checked.items()}}
    return [DeviceValue(key=key, value=value, origin=_origin_words(origins.get(key))) for key, value in flat.items()]


def _origin_words(origin: Path | str | None) -> str:
    if origin is None:
        return "default"
    if isinstance(origin, Path):
        return f"shipped {origin.name}" if origin.parent == inventory.SHIPPED else str(origin)
    return f"environment variable {origin}"


def _target(target: Target, device: Device) -> TargetOnDevice:
    made, missing = "on this machine", None
    needs = ", ".join(findings.DISTRIBUTIONS.get(name, name) for name in findings.runtime_packages(target))
    if device.link == "adb":
        needs = "benchmark_model" if target.name == prepared_phone.TARGET else "nothing runs it on a phone"
    elif device.link == "hub":
        needs = "an account of Qualcomm AI Hub" if target.name == hosted.TARGET else "nothing runs it on a hosted phone"
    elif target.deferrable:
        made = f"graph on this machine, engine on {device.name}"
        needs = device.trtexec or needs
    if device.link == "local" and (lacking := list(packages.missing(target.run_packages))):
        missing = f"{', '.join(lacking)} missing: `{packages.advice(lacking)}`"
    return TargetOnDevice(name=target.name, made=made, needs=needs, missing=missing)
