"""What would spoil a number or stop an export on this machine: findings from facts, nothing measured here."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vitdeploy import units
from vitdeploy.artifacts.engine_binding import OLDEST_TENSORRT
from vitdeploy.catalog.fact_table import NOT_VISIBLE, DeviceFacts, Fact, listed
from vitdeploy.catalog.packages import EXTRAS
from vitdeploy.errors import VitdeployError

BUSY_LOAD_PER_CORE = 0.2
"""A load average above this per core will be seen in the samples. Source: one runnable foreign
process in five samples is the share of unsteady trials at which a row becomes invalid."""

LEAST_FREE_BYTES = 5 * 2**30
"""The largest model's fp32 weights are 2.5 GiB, and an export holds two copies."""

LEAST_FREE_THERE_BYTES = 3 * 2**30
"""The largest model's half-precision graph and its engine have 1.2 GiB each (docs/fp16.md)."""

BUSY_GPU_PERCENT = 10
"""More is somebody else's work: nothing of ours runs while a machine is looked at. Source: choice of ours."""

TOOLS: Mapping[str, str] = {
    "ssh": "time and build on a Jetson or a server",
    "adb": "time on a phone",
    "trtexec": "time engines where TensorRT's Python package is absent",
}
"""Command-line tools and what each is for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    what: str
    found: str
    state: Literal["ok", "note", "problem"]
    advice: str = ""
    exit_code: int = 0
    """What the command ends with for it: a device that is not there leaves nothing to look at."""


def package_findings(missing: Mapping[str, str], names: Sequence[str]) -> list[Finding]:
    """One finding a package of ``names``; ``missing``: import name → why it cannot be imported."""
    return [
        Finding(
            what=f"package {name}",
            found=missing.get(name, "importable"),
            state="note" if name in missing else "ok",
            advice=f"pip install 'vitdeploy[{EXTRAS[name]}]'" if name in missing else "",
        )
        for name in names
    ]


def tool_findings() -> list[Finding]:
    """One finding a command-line tool."""
    found = {name: shutil.which(name) for name in TOOLS}
    return [
        Finding(
            what=f"tool {name}",
            found=path or "not found",
            state="ok" if path else "note",
            advice="" if path else f"only needed to {TOOLS[name]}",
        )
        for name, path in found.items()
    ]


def unreachable_finding(device: str, error: VitdeployError) -> Finding:
    """A device that cannot be looked at."""
    return Finding(
        what=f"device {device}",
        found=error.message,
        state="problem",
        advice=error.hint,
        exit_code=error.exit_code,
    )


def computer_findings(facts: DeviceFacts) -> list[Finding]:
    """What a computer's facts mean for a benchmark."""
    table = DeviceFacts
    return [
        *_shown(
            facts, table.python, table.cpu, table.cores_physical, table.memory_bytes, table.os, table.virtualization
        ),
        _governor(facts.governor),
        _load(facts.load_1min, facts.cores_logical or 1),
        *(_gpu(facts) if facts.compute_capability else ()),
    ]


def ssh_findings(facts: DeviceFacts, *, address: str, targets: Sequence[str], trtexec: str = "") -> list[Finding]:
    """What the facts of a machine behind SSH mean for the ``targets`` of its file; the link has just answered."""
    found = facts.packages or {}
    free = facts.disk_free_bytes
    names = listed({name: version for name, version in found.items() if name not in ("vitdeploy", "tensorrt")})
    return [
        Finding(what="link", found=f"ssh to {address}", state="ok"),
        *computer_findings(facts),
        Finding(what="packages", found=names or "none of those that count", state="ok"),
        *([_tensorrt(found.get("tensorrt"), trtexec)] if any(name.startswith("trt-") for name in targets) else ()),
        _judged(
            "free space",
            DeviceFacts.disk_free_bytes.shown(free),
            spoilt=free is not None and free < LEAST_FREE_THERE_BYTES,
            advice="Free space there.",
        ),
    ]


def _tensorrt(version: str | None, trtexec: str) -> Finding:
    if version is None:
        return Finding(
            what="tensorrt",
            found=f"no Python package; {trtexec} builds and times" if trtexec else "no Python package",
            state="ok" if trtexec else "note",
            advice=""
            if trtexec
            else "`sudo apt install python3-libnvinfer` there, or name `trtexec` in the device file",
        )
    old = tuple(int(word) for word in version.split(".")[:2] if word.isdigit()) < OLDEST_TENSORRT
    return _judged("tensorrt", version, spoilt=old, advice="Engines need 10.3: JetPack 6.1 or later.")


def _gpu(facts: DeviceFacts) -> list[Finding]:
    """A GPU and its state now."""
    board = f"{facts.board}, " if facts.board else ""
    highest, busy, heat = facts.gpu_clock_max_hz, facts.gpu_percent, facts.gpu_temperature_c
    system = f"Linux for Tegra {facts.l4t}" if facts.l4t else facts.driver
    shown_heat = "" if heat is None else f", {DeviceFacts.gpu_temperature_c.shown(heat)}"
    return [
        Finding(what="gpu", found=f"{board}{facts.gpu}, capability {facts.compute_capability}", state="ok"),
        Finding(what="driver", found=system or NOT_VISIBLE, state="ok"),
        Finding(what="power mode", found=facts.power_mode or NOT_VISIBLE, state="ok" if facts.power_mode else "note"),
        Finding(
            what="gpu clock",
            found=NOT_VISIBLE if highest is None else f"up to {highest / 1e6:.0f} MHz",
            state="ok" if highest is not None else "note",
        ),
        Finding(what="gpu now", found=f"its load is not visible{shown_heat}", state="note")
        if busy is None
        else _judged(
            "gpu now",
            f"{busy:.0f} % busy{shown_heat}",
            spoilt=busy > BUSY_GPU_PERCENT,
            advice="Stop other work before timing.",
        ),
    ]


def phone_findings(facts: DeviceFacts) -> list[Finding]:
    """What a phone's facts mean for a benchmark."""
    table = DeviceFacts
    temperature, status, battery = facts.temperature_c, facts.thermal_status, facts.battery_percent
    hidden = temperature is None
    charging = "" if facts.charging is None else ", charging" if facts.charging else ", not charging"
    return [
        *_shown(
            facts,
            *(table.phone, table.os, table.cpu, table.cores_big, table.governor, table.cpuset, table.memory_bytes),
        ),
        Finding(
            what="temperature",
            found=NOT_VISIBLE if temperature is None else f"{temperature:.1f} °C, thermal status {status}",
            state="note" if hidden or status else "ok",
            advice="the cool-down gate cannot see heat here" if hidden else "Let it cool." if status else "",
        ),
        Finding(what="battery", found=NOT_VISIBLE if battery is None else f"{battery} %{charging}", state="ok"),
        _judged(
            "power mode",
            facts.power_mode or NOT_VISIBLE,
            spoilt=facts.power_mode == "battery saver",
            advice="Switch the battery saver off before timing.",
        ),
    ]


def _judged(what: str, found: str, *, spoilt: bool, advice: str) -> Finding:
    """A problem with its advice where a figure or an export would be spoilt, else fine."""
    return Finding(what=what, found=found, state="problem" if spoilt else "ok", advice=advice if spoilt else "")


def _shown(facts: DeviceFacts, *shown: Fact[Any]) -> list[Finding]:
    """One finding for each of these facts that the device tells."""
    return [
        Finding(what=fact.words, found=fact.shown(facts[fact.name]), state="ok")
        for fact in shown
        if facts.get(fact.name) is not None
    ]


def space_finding(folder: Path) -> Finding:
    """Free space where artifacts are stored."""
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    return _judged(
        f"free space at {folder}",
        units.size_bytes(free),
        spoilt=free < LEAST_FREE_BYTES,
        advice="Run `vitdeploy cache gc`, or free space.",
    )


def _governor(governor: str | None) -> Finding:
    if governor is None:
        return Finding(
            what="frequency governor",
            found=NOT_VISIBLE,
            state="note",
            advice="a virtual machine hides its clocks",
        )
    steady = governor == "performance"
    return Finding(
        what="frequency governor",
        found=governor,
        state="ok" if steady else "note",
        advice="" if steady else "`cpupower frequency-set -g performance` makes figures steadier",
    )


def _load(load: float | None, cores: int) -> Finding:
    if load is None:
        return Finding(what="load", found=NOT_VISIBLE, state="note")
    return _judged(
        "load of the last minute",
        f"{load:.2f} on {cores} cores",
        spoilt=load > BUSY_LOAD_PER_CORE * cores,
        advice="Stop other work before timing.",
    )
