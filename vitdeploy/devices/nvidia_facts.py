"""Device facts of an NVIDIA GPU, from its tools and a Jetson's files: name, compute capability, driver, power mode.

Standard library only: the agent carries it. Nothing is told where there is no NVIDIA hardware.
"""

import os
import re
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vitdeploy.devices import gpu, gpu_choice, probe_jetson
from vitdeploy.devices.gpu_choice import ListedGpu
from vitdeploy.devices.system_files import integer_of, text_of

ROOT = Path("/")

QUERY: tuple[str, ...] = (
    *("name", "compute_cap", "driver_version", "clocks.max.sm", "power.limit", "persistence_mode"),
    *("utilization.gpu", "temperature.gpu"),
)
"""Fields of ``nvidia-smi --query-gpu``. Source: ``nvidia-smi --help-query-gpu``."""

IDENTITY: tuple[str, ...] = ("uuid", "pci.bus_id")
"""Fields of a query of their own: a tool that does not know one of its fields answers none of them."""

TEGRA = {
    "nvidia,tegra264": ("Thor", "11.0"),
    "nvidia,tegra234": ("Orin", "8.7"),
    "nvidia,tegra194": ("Xavier", "7.2"),
    "nvidia,tegra186": ("TX2", "6.2"),
    "nvidia,tegra210": ("Nano", "5.3"),
}
"""Part of the device tree → chip and compute capability, where the driver does not tell it.

Source: developer.nvidia.com/cuda-gpus, Jetson products; a Thor is 10.1 to CUDA 12 and 11.0 to CUDA 13, which JetPack 7
has.
"""

_SYSTEM_FOLDERS = "/usr/sbin:/sbin:/usr/lib/wsl/lib"
"""Where nvpmodel and WSL's nvidia-smi lie; a command over SSH may not have them in its PATH."""

_LIMIT_S = 20.0


def gpu_facts() -> dict[str, Any]:
    """Facts of the GPU that CUDA computes on, and how many there are; empty where there is none."""
    computing = gpu.first_gpu()
    if jetson := jetson_facts(ROOT, computing):
        return jetson
    if gpu_choice.first_entry(os.environ) == "":
        return {}
    rows, identities = _query(QUERY), _query(IDENTITY)
    facts = server_facts(rows, identities, _output("nvidia-smi", "-L"), computing, os.environ)
    return facts or driver_facts(computing)


def driver_facts(device: gpu.Gpu | None) -> dict[str, Any]:
    """Facts of what the driver alone tells; empty where there is no GPU."""
    if device is None:
        return {}
    return {
        "gpu": device.name,
        "compute_capability": device.compute_capability,
        "power_mode": None,
        "gpu_slice": gpu_choice.slice_profile((), device, os.environ),
        "gpu_multiprocessors": device.multiprocessors,
    }


def jetson_facts(root: Path, computing: gpu.Gpu | None = None) -> dict[str, Any]:
    """Facts of a Jetson, from its device tree, release file and ``nvpmodel -q``; empty on another machine."""
    parts = text_of(root / "proc/device-tree/compatible").split("\0")
    chip = next((TEGRA[part] for part in parts if part in TEGRA), None)
    board, release = _board(root), text_of(root / "etc/nv_tegra_release")
    # Containers hide the device tree, and a chip may be newer than the table: each of the others is enough.
    if chip is None and not release and "Jetson" not in (board or ""):
        return {}
    name = f"{chip[0]} integrated GPU" if chip else computing.name if computing else "integrated GPU"
    capability = computing.compute_capability if computing else chip[1] if chip else None
    mode = _output("nvpmodel", "-q")
    now = probe_jetson.tegrastats(_line("tegrastats", "--interval", "100"))
    row = next(iter(_table(_query(QUERY), QUERY)), dict[str, str]())  # JetPack 7 has nvidia-smi too
    percent, heat, cap = (_number(row.get(key, "")) for key in ("utilization.gpu", "temperature.gpu", "power.limit"))
    return {
        "board": board,
        "gpu": name,
        "gpus": 1,
        "gpu_multiprocessors": computing.multiprocessors if computing else None,
        "compute_capability": capability,
        "l4t": l4t_release(release) or l4t_package(_output("dpkg-query", "--show", "-f=${Version}", "nvidia-l4t-core")),
        "power_mode": power_mode(mode),
        "power_mode_id": power_mode_id(mode),
        "power_cap": None if cap is None else f"{cap:g} W",
        "gpu_clock_max_hz": next(map(integer_of, probe_jetson.gpu_clock_files(root, "max_freq")), None),
        "gpu_percent": now.get("gpu_percent", percent),
        "gpu_temperature_c": now.get("gpu_c", heat),
    }


def _board(root: Path) -> str | None:
    """The board's name in the device tree, or in the DMI tables of a machine that starts by ACPI."""
    for place in ("proc/device-tree/model", "sys/class/dmi/id/product_name"):
        name = text_of(root / place).strip("\0\n ")
        if "jetson" in name.lower() or (name and place.startswith("proc")):
            return name
    return None


def l4t_release(text: str) -> str | None:
    """``36.3.0`` of ``# R36 (release), REVISION: 3.0, GCID: …``: Linux for Tegra, which a JetPack belongs to."""
    version = re.search(r"R(\d+)\s*\(release\),\s*REVISION:\s*([\d.]+)", text)
    return f"{version[1]}.{version[2]}" if version else None


def l4t_package(text: str) -> str | None:
    """``38.2.0`` of ``38.2.0-20250821174705``: the package's version, where there is no release file."""
    version = re.match(r"\d+(\.\d+)+", text.strip())
    return version[0] if version else None


def power_mode(text: str) -> str | None:
    """``MAXN`` of what ``nvpmodel -q`` prints, ``mode 2`` where it has the number only."""
    mode = re.search(r"^NV Power Mode:[ \t]*(\S+)", text, re.MULTILINE)
    number = power_mode_id(text)
    return mode[1] if mode else None if number is None else f"mode {number}"


def power_mode_id(text: str) -> int | None:
    """The number of the mode, which ``nvpmodel -q`` prints in a line of its own."""
    number = re.search(r"^[ \t]*(\d+)[ \t]*$", text, re.MULTILINE)
    return int(number[1]) if number else None


def server_facts(
    text: str,
    identities: str = "",
    listing: str = "",
    computing: gpu.Gpu | None = None,
    environment: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Facts of that GPU of ``nvidia-smi``'s, a line each, which CUDA computes on; empty where that is not known.

    Args:
        identities: UUID and bus of each, in the same order; empty: not told.
        listing: what ``nvidia-smi -L`` prints.
        computing: the GPU that the driver gives to CUDA.
        environment: where ``CUDA_VISIBLE_DEVICES`` may stand.
    """
    rows, environment = _table(text, QUERY), environment or {}
    known, parts = _table(identities, IDENTITY), {part.index: part for part in gpu_choice.listed_slices(listing)}
    if len(known) != len(rows):
        known = [dict[str, str]() for _ in rows]
    gpus = [
        ListedGpu(
            index=place,
            name=_value(row["name"]),
            uuid=(_value(identity.get("uuid", "")) or "").removeprefix("GPU-") or None,
            bus_id=_value(identity.get("pci.bus_id", "")),
            slices=parts[place].slices if place in parts else None,
        )
        for place, (row, identity) in enumerate(zip(rows, known, strict=True))
    ]
    chosen = gpu_choice.choose(gpus, computing, environment)
    if chosen is None:
        return {}
    row = rows[chosen.index]
    limit, clock = _number(row["power.limit"]), _number(row["clocks.max.sm"])
    return {
        "gpu": _value(row["name"]) or (computing.name if computing else None),
        "gpus": len(rows),
        "gpu_slice": gpu_choice.slice_profile(gpus, computing, environment),
        "gpu_multiprocessors": computing.multiprocessors if computing else None,
        "compute_capability": _value(row["compute_cap"]) or (computing.compute_capability if computing else None),
        "driver": _value(row["driver_version"]),
        "power_mode": None if limit is None else f"{row['power.limit']} W limit",
        "gpu_clock_max_hz": None if clock is None else int(clock) * 1_000_000,
        "persistence_mode": _value(row["persistence_mode"]),
        "gpu_percent": _number(row["utilization.gpu"]),
        "gpu_temperature_c": _number(row["temperature.gpu"]),
    }


def _query(fields: tuple[str, ...]) -> str:
    return _output("nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits")


def _table(text: str, fields: tuple[str, ...]) -> list[dict[str, str]]:
    """A row a line; lines that are no rows are left out."""
    lines = [[cell.strip() for cell in line.split(",")] for line in text.splitlines() if line.strip()]
    return [dict(zip(fields, line, strict=True)) for line in lines if len(line) == len(fields)]


def _value(text: str) -> str | None:
    """A cell's value; None for ``[N/A]``, ``[Unknown Error]``, ``ERR!`` and the like, which say that there is none."""
    words = text.strip()
    if not words or words.startswith("[") or words.rstrip("!").upper() in _NO_VALUES:
        return None
    return words


def _output(*command: str) -> str:
    """What a tool printed, whatever its exit code: nvpmodel prints the mode, then fails on a file of root's."""
    try:
        result = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_LIMIT_S,
            check=False,
            env=environment(),
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return result.stdout


def environment() -> dict[str, str]:
    """Ours, with the folders in which a board's tools lie."""
    return {**os.environ, "PATH": f"{os.environ.get('PATH', os.defpath)}:{_SYSTEM_FOLDERS}"}


def _line(*command: str) -> str:
    """The first line of a tool that prints one after another until it is stopped."""
    try:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment()
        )
    except OSError:
        return ""
    timer = threading.Timer(_LIMIT_S, process.kill)
    timer.start()
    with process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.kill()
    timer.cancel()
    return line


_NO_VALUES = frozenset(
    {"N/A", "ERR", "UNKNOWN", "UNKNOWN ERROR", "NOT SUPPORTED", "NOT AVAILABLE", "INSUFFICIENT PERMISSIONS", "NULL"}
)
"""Source: nvml.h, ``nvmlErrorString``, and outputs of nvidia-smi 390 to 580 in public reports."""


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\d+(\.\d+)?", text) else None
