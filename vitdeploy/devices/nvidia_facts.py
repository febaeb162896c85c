"""Device facts of an NVIDIA GPU, from its tools and a Jetson's files: name, compute capability, driver, power mode.

Standard library only: the agent carries it. Nothing is told where there is no NVIDIA hardware.
"""

import re
import subprocess
import threading
from pathlib import Path
from typing import Any

from vitdeploy.devices import gpu, probe_jetson
from vitdeploy.devices.system_files import integer_of, text_of

ROOT = Path("/")

QUERY: tuple[str, ...] = (
    *("name", "compute_cap", "driver_version", "clocks.max.sm", "power.limit", "persistence_mode"),
    *("utilization.gpu", "temperature.gpu"),
)
"""Fields of ``nvidia-smi --query-gpu``. Source: ``nvidia-smi --help-query-gpu``."""

TEGRA = {"nvidia,tegra234": ("Orin", "8.7"), "nvidia,tegra194": ("Xavier", "7.2"), "nvidia,tegra210": ("Nano", "5.3")}
"""Part of the device tree → chip and compute capability. Source: developer.nvidia.com/cuda-gpus, Jetson products."""

_LIMIT_S = 20.0


def gpu_facts() -> dict[str, Any]:
    """Facts of the first GPU, and how many there are; empty where there is none."""
    smi = _output("nvidia-smi", f"--query-gpu={','.join(QUERY)}", "--format=csv,noheader,nounits")
    return jetson_facts(ROOT) or server_facts(smi) or driver_facts(gpu.first_gpu())


def driver_facts(device: gpu.Gpu | None) -> dict[str, Any]:
    """Facts of what the driver alone tells; empty where there is no GPU."""
    if device is None:
        return {}
    return {"gpu": device.name, "compute_capability": device.compute_capability, "power_mode": None}


def jetson_facts(root: Path) -> dict[str, Any]:
    """Facts of a Jetson, from its device tree, release file and ``nvpmodel -q``; empty on another machine."""
    parts = text_of(root / "proc/device-tree/compatible").split("\0")
    chip = next((TEGRA[part] for part in parts if part in TEGRA), None)
    if chip is None:
        return {}
    return {
        "board": text_of(root / "proc/device-tree/model").strip("\0\n ") or None,
        "gpu": f"{chip[0]} integrated GPU",
        "gpus": 1,
        "compute_capability": chip[1],
        "l4t": l4t_release(text_of(root / "etc/nv_tegra_release")),
        "power_mode": power_mode(_output("nvpmodel", "-q")),
        "gpu_clock_max_hz": next(map(integer_of, sorted(root.glob("sys/class/devfreq/*gpu*/max_freq"))), None),
        "gpu_percent": (now := probe_jetson.tegrastats(_line("tegrastats", "--interval", "100"))).get("gpu_percent"),
        "gpu_temperature_c": now.get("gpu_c"),
    }


def l4t_release(text: str) -> str | None:
    """``36.3.0`` of ``# R36 (release), REVISION: 3.0, GCID: …``: Linux for Tegra, which a JetPack belongs to."""
    version = re.search(r"R(\d+)\s*\(release\),\s*REVISION:\s*([\d.]+)", text)
    return f"{version[1]}.{version[2]}" if version else None


def power_mode(text: str) -> str | None:
    """``MAXN`` of what ``nvpmodel -q`` says."""
    mode = re.search(r"^NV Power Mode:\s*(\S+)", text, re.MULTILINE)
    return mode[1] if mode else None


def server_facts(text: str) -> dict[str, Any]:
    """Facts of what ``nvidia-smi`` lists, a line a GPU; empty where it lists none."""
    lines = [[cell.strip() for cell in line.split(",")] for line in text.splitlines() if line.strip()]
    rows: list[dict[str, str]] = [dict(zip(QUERY, line, strict=True)) for line in lines if len(line) == len(QUERY)]
    if not rows:
        return {}
    first = rows[0]
    clock = re.fullmatch(r"\d+", first["clocks.max.sm"])
    return {
        "gpu": first["name"],
        "gpus": len(rows),
        "compute_capability": first["compute_cap"],
        "driver": first["driver_version"],
        "power_mode": None if first["power.limit"].startswith("[") else f"{first['power.limit']} W limit",
        "gpu_clock_max_hz": int(clock[0]) * 1_000_000 if clock else None,
        "persistence_mode": first["persistence_mode"],
        "gpu_percent": _number(first["utilization.gpu"]),
        "gpu_temperature_c": _number(first["temperature.gpu"]),
    }


def _output(*command: str) -> str:
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return result.stdout if result.returncode == 0 else ""


def _line(*command: str) -> str:
    """The first line of a tool that prints one after another until it is stopped."""
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
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


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\d+(\.\d+)?", text) else None
