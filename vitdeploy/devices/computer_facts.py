"""Device facts of this computer: what decides a figure, and the state it is in now.

    python -m vitdeploy.devices.computer_facts

replies with them as JSON, here or on a device. Standard library only. What a machine does not show is
None, never a guess.
"""

import os
import platform
import re
import shutil
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from vitdeploy.catalog.spec import Cpu
from vitdeploy.devices import arm_cpu, nvidia_facts, probe_cpu
from vitdeploy.devices.system_files import integer_of, text_of
from vitdeploy.processes import child_process

PACKAGES = ("vitdeploy", "numpy", "torch", "onnxruntime", "ai-edge-litert", "tensorrt", "tensorrt-rtx-cu12")
"""Distributions whose version can change a figure."""

ARM = ("aarch64", "arm64", "arm64-v8a")
"""How Linux, macOS and Android call 64-bit ARM."""

_CPU = Path("/sys/devices/system/cpu")


def read_facts() -> dict[str, Any]:
    """Everything about this machine that a figure can depend on; `fact_table` describes each."""
    memory, limit_khz = _memory_bytes(), integer_of(_CPU / "cpu0/cpufreq/cpuinfo_max_freq")
    return {
        "cpu": _cpu_name(),
        "vector_instructions": vector_instructions(),
        "cores_physical": cores_physical(),
        "cores_logical": cores_logical(),
        "memory_bytes": memory.get("MemTotal"),
        "memory_free_bytes": memory.get("MemAvailable"),
        "disk_free_bytes": _disk_free_bytes(),
        "governor": text_of(_CPU / "cpu0/cpufreq/scaling_governor") or None,
        "clock_max_hz": None if limit_khz is None else 1000 * limit_khz,
        "clock_hz": probe_cpu.clock_hz(),
        "turbo": _turbo(),
        "temperature_c": probe_cpu.temperature_c(),
        "throttle": "counted" if probe_cpu.throttle_count() is not None else "not visible",
        "load_1min": _load_1min(),
        "virtualization": _virtualization(),
        "container": _container(),
        "kernel": platform.release(),
        "os": _os_name(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "packages": package_versions(),
        **nvidia_facts.gpu_facts(),
    }


def package_versions() -> dict[str, str]:
    """Version of each installed distribution of `PACKAGES`; nothing is imported."""
    versions = {name: _version(name) for name in PACKAGES}
    return {name: version for name, version in versions.items() if version is not None}


def vector_instructions() -> Cpu | None:
    """The vector instructions of this CPU; None: an older x86, another architecture, or a system that shows no flags.

    Source: ``MLAS_PLATFORM`` of https://github.com/microsoft/onnxruntime takes its AVX-512 kernels by ``avx512f``, and
    those of AVX2 by ``avx2`` and ``fma``; every 64-bit ARM has NEON.
    """
    if platform.machine().lower() in ARM:
        return "neon"
    lines = re.findall(r"^flags\s*: (.*)$", text_of(Path("/proc/cpuinfo")), flags=re.MULTILINE)
    flags = set(lines[0].split()) if lines else set[str]()
    if "avx512f" in flags:
        return "avx512"
    return "avx2" if {"avx2", "fma"} <= flags else None


def cores_logical() -> int:
    """Logical processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cores_physical() -> int:
    """Physical cores that this process may use: hyper-threads of one core count once, a cgroup's quota counts."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    siblings = {text_of(_CPU / f"cpu{number}/topology/thread_siblings_list") or str(number) for number in allowed}
    quota = _quota_cores()
    return max(1, len(siblings) if quota is None else min(len(siblings), quota))


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _quota_cores() -> int | None:
    """Whole cores that a container's CPU quota allows.

    Source: kernel.org/doc, cgroup-v2, ``cpu.max``; in version 1 ``cpu.cfs_quota_us`` over the period.
    """
    words = text_of(Path("/sys/fs/cgroup/cpu.max")).split()
    if len(words) != 2:
        words = [
            text_of(Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")),
            text_of(Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us")),
        ]
    if not all(word.isdigit() and int(word) > 0 for word in words):
        return None
    return max(1, int(words[0]) // int(words[1]))


def _cpu_name() -> str | None:
    text = text_of(Path("/proc/cpuinfo"))
    fields = dict(re.findall(r"^([^\t:]+)\s*: (.*)$", text, flags=re.MULTILINE))
    name = fields.get("model name") or fields.get("Hardware") or arm_cpu.name_of(text) or platform.processor() or None
    if name and "cpu family" in fields:  # clouds call many processors by one name
        return f"{name} (family {fields['cpu family']} model {fields.get('model', '?')})"
    return name


def _memory_bytes() -> dict[str, int]:
    pairs = re.findall(r"^(\w+):\s+(\d+) kB", text_of(Path("/proc/meminfo")), flags=re.MULTILINE)
    return {key: int(value) * 1024 for key, value in pairs}


def _disk_free_bytes() -> int | None:
    """Where a device keeps our files: below the home folder."""
    try:
        return shutil.disk_usage(Path.home()).free
    except (OSError, RuntimeError):
        return None


def _turbo() -> str | None:
    for name, on in (("intel_pstate/no_turbo", "0"), ("cpufreq/boost", "1")):
        if switch := text_of(_CPU / name):
            return "on" if switch == on else "off"
    return None


def _load_1min() -> float | None:
    try:
        return round(os.getloadavg()[0], 2)
    except OSError:
        return None


def _virtualization() -> str:
    """A virtual machine's maker where it shows, else ``none visible``."""
    vendor = text_of(Path("/sys/class/dmi/id/sys_vendor"))
    if "hypervisor" in text_of(Path("/proc/cpuinfo")):
        return f"virtual machine ({vendor})" if vendor else "virtual machine"
    return "none visible"


def _container() -> str | None:
    if Path("/.dockerenv").exists():
        return "docker"
    if Path("/run/.containerenv").exists():
        return "podman"
    return os.environ.get("container")  # noqa: SIM112 (systemd's own spelling)


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        return f"{platform.system()} {platform.version()}"


if __name__ == "__main__":
    sys.exit(child_process.answer(lambda _: read_facts()))
