"""What would spoil a number or stop an export on this machine: findings from facts, nothing measured here."""

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vitdeploy import units
from vitdeploy.catalog import EXTRAS

BUSY_LOAD_PER_CORE = 0.2
"""A load average above this per core will be seen in the samples. Source: one runnable foreign
process in five samples is the share of unsteady trials at which a row becomes invalid."""

LEAST_FREE_BYTES = 5 * 2**30
"""The largest model's fp32 weights are 2.5 GiB, and an export holds two copies."""

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


def machine(facts: Mapping[str, Any]) -> list[Finding]:
    """What the host's facts mean for a benchmark (keys as `benchmarks.host` names them)."""
    findings = [Finding(what="python", found=sys.version.split()[0], state="ok")]
    for key in ("cpu", "cores_physical", "memory_bytes", "os", "virtualization"):
        if facts.get(key) is not None:
            value = units.size_bytes(facts[key]) if key.endswith("_bytes") else str(facts[key])
            findings.append(Finding(what=key.removesuffix("_bytes").replace("_", " "), found=value, state="ok"))
    findings.append(_governor(facts.get("governor")))
    findings.append(_load(facts.get("load_1min"), facts.get("cores_logical") or 1))
    return findings


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
