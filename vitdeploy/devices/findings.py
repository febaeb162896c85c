"""What would spoil a number or stop an export on this machine: findings from facts, nothing measured here."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vitdeploy import units
from vitdeploy.artifacts.engine_binding import OLDEST_TENSORRT
from vitdeploy.catalog import packages, registry
from vitdeploy.catalog.fact_table import NOT_VISIBLE, DeviceFacts, Fact, listed
from vitdeploy.catalog.spec import Target
from vitdeploy.devices import hosted
from vitdeploy.devices.inventory import Device
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

DISTRIBUTIONS: Mapping[str, str] = {
    "onnxruntime": "onnxruntime",
    "ai_edge_litert": "ai-edge-litert",
    "torch": "torch",
    "tensorrt_rtx": "tensorrt-rtx-cu12",
}
"""Import name of a runtime → the distribution that `computer_facts.PACKAGES` looks for."""

VERSION_OPTION: Mapping[str, str] = {"ssh": "-V", "adb": "version"}
"""How a tool is asked for its version; trtexec says its own only when it runs."""

TOOLS: Mapping[str, str] = {
    "ssh": "time and build on a Jetson or a server",
    "adb": "time on a phone",
    "trtexec": "time engines where TensorRT's Python package is absent",
}
"""Command-line tools and what each is for."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    found: str
    state: Literal["ok", "note", "problem"] = "ok"
    advice: str = ""
    exit_code: int = 0
    """What the command ends with for it: a device that is not there leaves nothing to look at."""


def package_findings(tested: packages.Tested, versions: Mapping[str, str], names: Sequence[str]) -> list[Finding]:
    """One finding a package of ``names``."""
    rows: list[Finding] = []
    for name in names:
        version = versions.get(name, "version not stated")
        if name in tested.absent:
            rows.append(Finding(f"package {name}", tested.absent[name], "note", packages.advice([name])))
        elif name in tested.untested:
            rows.append(Finding(f"package {name}", f"{version}, its import was not waited for", "note"))
        else:
            rows.append(Finding(f"package {name}", f"{version}, imports"))
    if tested.untested:
        advice = "The first command that needs one tests it; `vitdeploy targets` and `vitdeploy models` test most."
        rows.append(Finding("imports", f"{len(tested.untested)} packages were not imported yet", "note", advice))
    return rows


def tool_findings(versions: Mapping[str, str]) -> list[Finding]:
    """One finding a command-line tool; ``versions``: its name → what it says of its version."""
    return [
        Finding(f"tool {name}", ", ".join(filter(None, (path, versions.get(name)))))
        if (path := shutil.which(name))
        else Finding(f"tool {name}", "not found", "note", f"only needed to {purpose}")
        for name, purpose in TOOLS.items()
    ]


def unreachable_finding(device: str, error: VitdeployError) -> Finding:
    """A device that cannot be looked at."""
    return Finding(f"device {device}", error.message, "problem", error.hint, error.exit_code)


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
    versions = facts.packages or {}
    free = facts.disk_free_bytes
    names = listed({name: version for name, version in versions.items() if name not in ("vitdeploy", "tensorrt")})
    return [
        Finding("link", f"ssh to {address}"),
        *computer_findings(facts),
        Finding("packages", names or "none of those that count"),
        *([_tensorrt(versions.get("tensorrt"), trtexec)] if any(name.startswith("trt-") for name in targets) else ()),
        _judged(
            "free space",
            DeviceFacts.disk_free_bytes.shown(free),
            spoilt=free is not None and free < LEAST_FREE_THERE_BYTES,
            advice="Free space there.",
        ),
    ]


def target_findings(
    facts: DeviceFacts, *, targets: Sequence[str], login: str, python: str = "python3"
) -> list[Finding]:
    """One finding a package that targets need on a machine behind SSH and that is not there.

    TensorRT has a finding of its own: another tool can stand for it.

    Args:
        facts: of the machine.
        targets: of its file.
        login: USER@HOST, for the command that installs.
        python: its interpreter.
    """
    rows = [registry.find_target(name) for name in targets]
    needed = {name: [row.name for row in rows if name in runtime_packages(row)] for name in DISTRIBUTIONS}
    return [
        Finding(
            f"package {distribution}",
            f"missing there, for {', '.join(needed[name])}",
            "note",
            f"`ssh {login} {python} -m pip install {distribution}`",
        )
        for name, distribution in DISTRIBUTIONS.items()
        if needed[name] and distribution not in (facts.packages or {})
    ]


def runtime_packages(target: Target) -> tuple[str, ...]:
    """Import names of what runs a target's file; an engine is run by what builds it."""
    return target.run_packages or target.export_packages


def tool_finding(device: Device) -> Finding:
    """The measuring tool of a phone, as its file names it; a URL is not fetched."""
    if "://" in device.benchmark_model:
        return Finding("benchmark_model", f"fetched from {device.benchmark_model} when it is needed")
    if device.benchmark_model and Path(device.benchmark_model).expanduser().is_file():
        return Finding("benchmark_model", device.benchmark_model)
    words = f"there is none at {device.benchmark_model}" if device.benchmark_model else "its file names none"
    return Finding("benchmark_model", words, "problem", "Name it as `benchmark_model`; docs/phones.md says where it is")


def _tensorrt(version: str | None, trtexec: str) -> Finding:
    if version is not None:
        old = tuple(int(word) for word in version.split(".")[:2] if word.isdigit()) < OLDEST_TENSORRT
        return _judged("tensorrt", version, spoilt=old, advice="Engines need 10.3: JetPack 6.1 or later.")
    if trtexec:
        return Finding("tensorrt", f"no Python package; {trtexec} builds and times")
    advice = "`sudo apt install python3-libnvinfer` there, or name `trtexec` in the device file"
    return Finding("tensorrt", "no Python package", "note", advice)


def _gpu(facts: DeviceFacts) -> list[Finding]:
    """A GPU and its state now."""
    board = f"{facts.board}, " if facts.board else ""
    part = f", MIG slice {facts.gpu_slice}" if facts.gpu_slice else ""
    one_of = f", the one of {facts.gpus} that CUDA takes" if (facts.gpus or 1) > 1 else ""
    highest, busy, heat = facts.gpu_clock_max_hz, facts.gpu_percent, facts.gpu_temperature_c
    system = f"Linux for Tegra {facts.l4t}" if facts.l4t else facts.driver
    shown_heat = "" if heat is None else f", {DeviceFacts.gpu_temperature_c.shown(heat)}"
    return [
        Finding("gpu", f"{board}{facts.gpu}{part}{one_of}, capability {facts.compute_capability}"),
        Finding("driver", system or NOT_VISIBLE),
        _visible("power mode", facts.power_mode),
        _visible("gpu clock", None if highest is None else f"up to {highest / 1e6:.0f} MHz"),
        Finding("gpu now", f"its load is not visible{shown_heat}", "note")
        if busy is None
        else _judged(
            "gpu now",
            f"{busy:.0f} % busy{shown_heat}",
            spoilt=busy > BUSY_GPU_PERCENT,
            advice="Stop other work before timing.",
        ),
    ]


def of_device(device: Device, facts: DeviceFacts) -> list[Finding]:
    """What the facts of a device behind a link mean for what its file says that it is for."""
    if device.link == "adb":
        return [*phone_findings(facts), tool_finding(device)]
    if device.link == "hub":
        seen = _shown(facts, DeviceFacts.phone, DeviceFacts.os, DeviceFacts.cpu)
        return [*seen, Finding("control", hosted.NOT_CONTROLLED, "note", "Use a phone of your own for a verdict.")]
    login = f"{device.user}@{device.host}" if device.user else device.host
    return [
        *ssh_findings(facts, address=login, targets=device.targets, trtexec=device.trtexec),
        *target_findings(facts, targets=device.targets, login=login, python=device.python),
    ]


def phone_findings(facts: DeviceFacts) -> list[Finding]:
    """What a phone's facts mean for a benchmark."""
    table = DeviceFacts
    temperature, status, battery = facts.temperature_c, facts.thermal_status, facts.battery_percent
    charging = "" if facts.charging is None else ", charging" if facts.charging else ", not charging"
    return [
        *_shown(
            facts,
            *(table.phone, table.os, table.cpu, table.cores_big, table.governor, table.cpuset, table.memory_bytes),
        ),
        _visible("temperature", None, "the cool-down gate cannot see heat here")
        if temperature is None
        else _judged(
            "temperature",
            f"{temperature:.1f} °C, thermal status {status}",
            spoilt=bool(status),
            advice="Let it cool.",
            state="note",
        ),
        Finding("battery", NOT_VISIBLE if battery is None else f"{battery} %{charging}"),
        _judged(
            "power mode",
            facts.power_mode or NOT_VISIBLE,
            spoilt=facts.power_mode == "battery saver",
            advice="Switch the battery saver off before timing.",
        ),
    ]


def _judged(
    what: str, value: str, *, spoilt: bool, advice: str, state: Literal["note", "problem"] = "problem"
) -> Finding:
    """With its advice where a figure or an export would be spoilt, else fine."""
    return Finding(what, value, state, advice) if spoilt else Finding(what, value)


def _visible(what: str, value: str | None, advice: str = "") -> Finding:
    """Fine where it is visible, else a note with its advice."""
    return Finding(what, value) if value else Finding(what, NOT_VISIBLE, "note", advice)


def _shown(facts: DeviceFacts, *shown: Fact[Any]) -> list[Finding]:
    """One finding for each of these facts that the device tells."""
    return [Finding(fact.words, fact.shown(facts[fact.name])) for fact in shown if facts.get(fact.name) is not None]


def space_finding(folder: Path) -> Finding:
    """Free space where artifacts are stored."""
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    return _judged(
        "free space",
        f"{units.size_bytes(free)} at {folder}",
        spoilt=free < LEAST_FREE_BYTES,
        advice="Run `vitdeploy cache gc`, or free space.",
    )


def _governor(governor: str | None) -> Finding:
    if governor is None:
        return _visible("frequency governor", None, "a virtual machine hides its clocks")
    advice = "`cpupower frequency-set -g performance` makes figures steadier"
    return _judged("frequency governor", governor, spoilt=governor != "performance", advice=advice, state="note")


def _load(load: float | None, cores: int) -> Finding:
    if load is None:
        return _visible("load", None)
    return _judged(
        "load of the last minute",
        f"{load:.2f} on {cores} cores",
        spoilt=load > BUSY_LOAD_PER_CORE * cores,
        advice="Stop other work before timing.",
    )
