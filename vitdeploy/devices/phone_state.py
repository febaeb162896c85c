"""Look at an Android phone over its connection: what it is, how it is now, and whether it is cool enough to time.

Everything is read by commands that every phone since Android 8 has; what a phone does not show is None, never a
guess. Thermal zones and limits are read where the shell may, else what Android's own thermal service tells.
"""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vitdeploy.catalog.fact_table import DeviceFacts
from vitdeploy.devices import phone_cores, phone_heat
from vitdeploy.errors import DeviceError
from vitdeploy.processes.connection import Connection

READ_LIMIT_S = 30.0
"""Limit of one command."""

COOL_C = 45.0
"""A block starts only below this, on the hottest CPU sensor. Source: a choice; idle in a room it shows 30 to 40."""

COOL_WAIT_S = 300.0
"""A phone that is not cool by then is too hot. Source: a choice; the MLPerf Mobile app pauses for minutes, too."""

COOL_POLL_S = 5.0
LEAST_BATTERY_PERCENT = 20
"""Below this, not charging, Android saves power. Source: a choice, above the 15 % at which it offers to."""

_PLATFORMS: Mapping[str, str] = {"msmnile": "SM8150", "kona": "SM8250", "lahaina": "SM8350", "taro": "SM8450"}
"""``ro.board.platform`` → model of the SoC. Source: android.googlesource.com, kernel/msm, device trees of each."""

_SOC_IDS: Mapping[str, str] = {"339": "SM8150", "356": "SM8250", "415": "SM8350", "457": "SM8450"}
"""``/sys/devices/soc0/soc_id`` → model. Source: Linux, include/dt-bindings/arm/qcom,ids.h."""

# "file=contents", a line each; a file that may not be read is left out.
_CAT = 'for f in {patterns}; do [ -r "$f" ] && echo "$f=$(cat "$f" 2>/dev/null)"; done; true'
_CPU = "/sys/devices/system/cpu/cpu[0-9]*/cpufreq"
_WHAT = (
    *phone_cores.PATTERNS,
    f"{_CPU}/scaling_governor",
    "/sys/devices/soc0/machine",
    "/sys/devices/soc0/soc_id",
    "/proc/self/cpuset",
    "/proc/version",
)
_HOW = (
    f"{_CPU}/scaling_cur_freq",
    f"{_CPU}/scaling_max_freq",
    "/sys/class/thermal/thermal_zone*/type",
    "/sys/class/thermal/thermal_zone*/temp",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PhoneState:
    """How the phone is at one moment."""

    clocks_hz: Mapping[int, int]
    """Core → clock now."""
    limits_hz: Mapping[int, int]
    """Core → the clock it may reach now: heat lowers it."""
    temperature_c: float | None
    """The hottest CPU sensor; None where none is shown."""
    thermal_status: int | None
    """Android's own: 0 none, 1 light, 2 moderate, 3 severe, …; None before Android 10."""
    battery_percent: int | None
    charging: bool | None

    def clock_hz(self, cores: Sequence[int]) -> int | None:
        """Mean clock of these cores."""
        clocks = [self.clocks_hz[core] for core in cores if core in self.clocks_hz]
        return sum(clocks) // len(clocks) if clocks else None


def phone_facts(link: Connection) -> DeviceFacts:
    """Everything about the phone that a figure can depend on.

    Raises:
        DeviceError: the phone was lost, or shows too little of itself to be timed.
    """
    props = _properties(_output(link, ["getprop"]))
    files = _files(link, _WHAT)
    cores = phone_cores.phone_cores(files)
    limits, big = cores.limits_hz, cores.big
    allowed = _allowed_cores(_output(link, ["cat", "/proc/self/status"]))
    if allowed is not None and not set(big) <= allowed:
        raise DeviceError(
            f"adb's shell may use the cores {sorted(allowed)}, not all big ones of {sorted(limits)}",
            "Wake the phone up, and switch its power saving off.",
        )
    soc, told_by = soc_model(props, files)
    kinds = phone_cores.topology(limits)
    if cores.offline:
        kinds += f", offline: {phone_cores.core_words(cores.offline)}"
    governors = {
        core: words for core, words in phone_cores.texts_per_core(files, "scaling_governor").items() if core in big
    }
    state = read_state(link)
    facts: dict[str, Any] = {
        "cpu": f"{soc or 'unknown SoC'} ({kinds} cores)",
        "soc_model": soc,
        "soc_told_by": told_by,
        "cores": kinds,
        "cores_physical": len(limits),
        "cores_logical": len(limits),
        "cores_big": len(big),
        "big_mask": phone_cores.core_mask(big),
        "clock_max_hz": max(limits.values()),
        "governor": " ".join(sorted(set(governors.values()))) or None,
        "cpuset": files.get("/proc/self/cpuset"),
        "memory_bytes": _memory_bytes(_output(link, ["cat", "/proc/meminfo"])),
        "power_mode": _power_mode(_output(link, ["settings", "get", "global", "low_power"])),
        "phone": " ".join(filter(None, (props.get("ro.product.manufacturer"), props.get("ro.product.model")))) or None,
        "os": f"Android {props.get('ro.build.version.release', '?')}",
        "build": props.get("ro.build.fingerprint"),
        "machine": props.get("ro.product.cpu.abi"),
        "kernel": (files.get("/proc/version") or "").partition(" (")[0].removeprefix("Linux version ") or None,
        "battery_percent": state.battery_percent,
        "charging": state.charging,
        "temperature_c": state.temperature_c,
        "thermal_status": state.thermal_status,
    }
    return DeviceFacts(facts)


def read_state(link: Connection) -> PhoneState:
    """How the phone is now."""
    files = _files(link, _HOW)
    battery = dict(re.findall(r"^\s*([A-Za-z ]+?):\s*(\S+)\s*$", _output(link, ["dumpsys", "battery"]), re.MULTILINE))
    service = _output(link, ["dumpsys", "thermalservice"])
    status = re.search(r"Thermal Status:\s*([0-9]{1,2})\b", service)
    level = re.fullmatch(r"[0-9]{1,3}", battery.get("level", ""))
    powered = [
        battery[key] for key in ("AC powered", "USB powered", "Wireless powered", "Dock powered") if key in battery
    ]
    return PhoneState(
        clocks_hz={core: khz * 1000 for core, khz in phone_cores.per_core(files, "scaling_cur_freq").items()},
        limits_hz={core: khz * 1000 for core, khz in phone_cores.per_core(files, "scaling_max_freq").items()},
        temperature_c=phone_heat.temperature_c(files, service),
        thermal_status=int(status[1]) if status else None,
        battery_percent=int(level[0]) if level else None,
        charging="true" in powered if powered else None,
    )


def wait_until_cool(
    link: Connection,
    *,
    below_c: float = COOL_C,
    wait_s: float = COOL_WAIT_S,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> PhoneState:
    """Wait until the phone may be timed; returns how it is then.

    Raises:
        DeviceError: it is still hot after ``wait_s``, its battery is nearly empty, or it was lost.
    """
    deadline = clock() + wait_s
    while True:
        state = read_state(link)
        percent = state.battery_percent
        if percent is not None and percent < LEAST_BATTERY_PERCENT and not state.charging:
            raise DeviceError(f"the phone's battery is at {percent} %", "Charge it, then go on.")
        hot = state.temperature_c is not None and state.temperature_c >= below_c
        if not hot and not state.thermal_status:
            return state
        if clock() >= deadline:
            shown = "no temperature" if state.temperature_c is None else f"{state.temperature_c:.1f} °C"
            raise DeviceError(
                f"the phone is too hot: {shown}, thermal status {state.thermal_status}, after {wait_s:g} s of waiting",
                "Let it cool down out of its case, unplugged from a fast charger.",
            )
        sleep(COOL_POLL_S)


def throttled(before: PhoneState, after: PhoneState, cores: Sequence[int]) -> bool:
    """Whether heat slowed these cores down in between: a limit was lowered, a core went off, or Android says so."""
    limits = after.limits_hz  # a phone that shows none any more tells nothing
    lowered = bool(limits) and any(
        limits.get(core, 0) < limit for core, limit in before.limits_hz.items() if core in cores
    )
    return lowered or (after.thermal_status or 0) > (before.thermal_status or 0)


def soc_model(props: Mapping[str, str], files: Mapping[str, str]) -> tuple[str | None, str | None]:
    """The SoC's model and where it is told: newer phones say it, older ones are known by platform or kernel."""
    if props.get("ro.soc.model"):
        return props["ro.soc.model"], "ro.soc.model"
    platform = props.get("ro.board.platform", "")
    if platform in _PLATFORMS:
        return _PLATFORMS[platform], "ro.board.platform"
    machine = re.search(r"\bS[MD][A-Z]?\d{3,4}\b", files.get("/sys/devices/soc0/machine", ""))
    if machine:
        return machine[0], "/sys/devices/soc0/machine"
    number = files.get("/sys/devices/soc0/soc_id", "")
    if number in _SOC_IDS:
        return _SOC_IDS[number], "/sys/devices/soc0/soc_id"
    return (platform or None), ("ro.board.platform" if platform else None)


def _output(link: Connection, argv: Sequence[str]) -> str:
    """What a command says; nothing where it fails or is not there: it is no fact then."""
    result = link.run(["sh", "-c", '"$@" 2>/dev/null; true', "sh", *argv], timeout_s=READ_LIMIT_S)
    return result.stdout.replace("\r", "")


def _files(link: Connection, patterns: Sequence[str]) -> dict[str, str]:
    result = link.run(["sh", "-c", _CAT.format(patterns=" ".join(patterns))], timeout_s=READ_LIMIT_S)
    pairs = (line.partition("=") for line in result.stdout.replace("\r", "").splitlines() if line.startswith("/"))
    return {name: value.strip() for name, _, value in pairs}


def _properties(text: str) -> dict[str, str]:
    return {key: value for key, value in re.findall(r"^\[([^]]+)\]: \[(.*)\]$", text, re.MULTILINE) if value}


def _allowed_cores(status: str) -> set[int] | None:
    allowed = re.search(r"^Cpus_allowed_list:\s*([0-9,-]+)", status, re.MULTILINE)
    return phone_cores.core_list(allowed[1]) if allowed else None


def _memory_bytes(meminfo: str) -> int | None:
    total = re.search(r"^MemTotal:\s+([0-9]{1,12}) kB", meminfo, re.MULTILINE)
    return int(total[1]) * 1024 if total else None


def _power_mode(word: str) -> str | None:
    return {"0": "normal", "1": "battery saver", "null": "normal"}.get(word.strip())
