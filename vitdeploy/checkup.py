"""What would spoil a number or stop an export on this machine: findings from facts, nothing measured here."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vitdeploy import units
from vitdeploy.catalog import EXTRAS
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

OLDEST_TENSORRT = (10, 3)
"""Source: `vitdeploy.exporters.build_engine.OLDEST`, which is in a room."""

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


def packages(missing: Mapping[str, str], names: Sequence[str]) -> list[Finding]:
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


def tools() -> list[Finding]:
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


def absent(device: str, error: VitdeployError) -> Finding:
    """A device that cannot be looked at."""
    return Finding(
        what=f"device {device}",
        found=error.message,
        state="problem",
        advice=error.hint,
        exit_code=error.exit_code,
    )


def machine(facts: Mapping[str, Any]) -> list[Finding]:
    """What the host's facts mean for a benchmark (keys as `benchmarks.host` names them)."""
    findings: list[Finding] = []
    for key in ("python", "cpu", "cores_physical", "memory_bytes", "os", "virtualization"):
        if facts.get(key) is not None:
            value = units.size_bytes(facts[key]) if key.endswith("_bytes") else str(facts[key])
            findings.append(Finding(what=key.removesuffix("_bytes").replace("_", " "), found=value, state="ok"))
    findings.append(_governor(facts.get("governor")))
    findings.append(_load(facts.get("load_1min"), facts.get("cores_logical") or 1))
    return [*findings, *(_gpu(facts) if facts.get("compute_capability") else ())]


def over_ssh(facts: Mapping[str, Any], *, address: str, targets: Sequence[str], trtexec: str = "") -> list[Finding]:
    """What the facts of a machine behind SSH mean for the ``targets`` of its file; the link has just answered."""
    found: Mapping[str, str] = facts.get("packages") or {}
    free = facts.get("disk_free_bytes")
    names = ", ".join(f"{name} {version}" for name, version in found.items() if name not in ("vitdeploy", "tensorrt"))
    return [
        Finding(what="link", found=f"ssh to {address}", state="ok"),
        *machine(facts),
        Finding(what="packages", found=names or "none of those that count", state="ok"),
        *([_tensorrt(found.get("tensorrt"), trtexec)] if any(name.startswith("trt-") for name in targets) else ()),
        Finding(
            what="free space",
            found="not visible" if free is None else units.size_bytes(free),
            state="problem" if free is not None and free < LEAST_FREE_THERE_BYTES else "ok",
            advice="Free space there." if free is not None and free < LEAST_FREE_THERE_BYTES else "",
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
    return Finding(
        what="tensorrt",
        found=version,
        state="problem" if old else "ok",
        advice="Engines need 10.3: JetPack 6.1 or later." if old else "",
    )


def _gpu(facts: Mapping[str, Any]) -> list[Finding]:
    """A GPU and its state now."""
    made_by = f"{facts['board']}, " if facts.get("board") else ""
    highest, busy, heat = (facts.get(key) for key in ("gpu_clock_max_hz", "gpu_percent", "gpu_temperature_c"))
    system = f"Linux for Tegra {facts['l4t']}" if facts.get("l4t") else facts.get("driver")
    used = busy is not None and busy > BUSY_GPU_PERCENT
    now = ["its load is not visible" if busy is None else f"{busy:.0f} % busy"]
    now += [] if heat is None else [f"{heat:.0f} °C"]
    return [
        Finding(what="gpu", found=f"{made_by}{facts.get('gpu')}, capability {facts['compute_capability']}", state="ok"),
        Finding(what="driver", found=str(system or "not visible"), state="ok"),
        Finding(
            what="power mode",
            found=str(facts.get("power_mode") or "not visible"),
            state="ok" if facts.get("power_mode") else "note",
        ),
        Finding(
            what="gpu clock",
            found="not visible" if highest is None else f"up to {highest / 1e6:.0f} MHz",
            state="ok" if highest is not None else "note",
        ),
        Finding(
            what="gpu now",
            found=", ".join(now),
            state="problem" if used else "ok" if busy is not None else "note",
            advice="Stop other work before timing." if used else "",
        ),
    ]


def phone(facts: Mapping[str, Any]) -> list[Finding]:
    """What a phone's facts mean for a benchmark (keys as `benchmarks.probe_android` names them)."""
    told = ("phone", "os", "cpu", "cores_big", "governor", "cpuset", "memory_bytes")
    findings = [
        Finding(
            what=key.removesuffix("_bytes").replace("_", " "),
            found=units.size_bytes(facts[key]) if key.endswith("_bytes") else str(facts[key]),
            state="ok",
        )
        for key in told
        if facts.get(key) is not None
    ]
    temperature, status, battery = (facts.get(key) for key in ("temperature_c", "thermal_status", "battery_percent"))
    findings.append(
        Finding(
            what="temperature",
            found="not visible" if temperature is None else f"{temperature:.1f} °C, thermal status {status}",
            state="note" if temperature is None or status else "ok",
            advice="the cool-down gate cannot see heat here"
            if temperature is None
            else "Let it cool."
            if status
            else "",
        )
    )
    charging = "" if facts.get("charging") is None else ", charging" if facts["charging"] else ", not charging"
    findings.append(
        Finding(what="battery", found="not visible" if battery is None else f"{battery} %{charging}", state="ok")
    )
    saving = facts.get("power_mode") == "battery saver"
    findings.append(
        Finding(
            what="power mode",
            found=str(facts.get("power_mode") or "not visible"),
            state="problem" if saving else "ok",
            advice="Switch the battery saver off before timing." if saving else "",
        )
    )
    return findings


def space(folder: Path) -> Finding:
    """Free space where artifacts are stored."""
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    return Finding(
        what=f"free space at {folder}",
        found=units.size_bytes(free),
        state="ok" if free >= LEAST_FREE_BYTES else "problem",
        advice="" if free >= LEAST_FREE_BYTES else "Run `vitdeploy cache gc`, or free space.",
    )


def _governor(governor: str | None) -> Finding:
    if governor is None:
        return Finding(
            what="frequency governor", found="not visible", state="note", advice="a virtual machine hides its clocks"
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
        return Finding(what="load", found="not visible", state="note")
    busy = load > BUSY_LOAD_PER_CORE * cores
    return Finding(
        what="load of the last minute",
        found=f"{load:.2f} on {cores} cores",
        state="problem" if busy else "ok",
        advice="Stop other work before timing." if busy else "",
    )
