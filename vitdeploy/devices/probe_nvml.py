"""Look at an NVIDIA GPU's state during a trial through NVML: clock, heat, power, throttling, and who else computes.

A leaf over ``nvidia-ml-py`` (imported as ``pynvml``), which only wraps the driver's library. What a GPU does not show
is None, and so is everything where the package is not there. Tested on a double; no GPU was used yet.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingImports=false, reportMissingTypeStubs=false, reportMissingModuleSource=false

import importlib
import os
from collections.abc import Callable
from functools import cache
from typing import Any

from vitdeploy.devices import probe_cpu

SLOWING = 0x8 | 0x20 | 0x40 | 0x80
"""Reasons that slow a GPU down against its will: hardware slowdown, software and hardware heat, power brake.

Source: ``nvmlClocksEventReason*`` in nvml.h. A power cap (0x4) is how a server GPU runs at full load, and no fault.
"""

THERMAL = 1
"""``NVML_PERF_POLICY_THERMAL``. Source: nvml.h."""
SM_CLOCK = 1
"""``NVML_CLOCK_SM``. Source: nvml.h."""
CORE = 0
"""``NVML_TEMPERATURE_GPU``, and of thresholds ``NVML_TEMPERATURE_THRESHOLD_SLOWDOWN`` is 1. Source: nvml.h."""
SLOWDOWN = 1

busy_ns = probe_cpu.busy_ns
foreign_cores = probe_cpu.foreign_cores
peak_memory_bytes = probe_cpu.peak_memory_bytes
forget_peak = probe_cpu.forget_peak

_slowed = [0]
"""How often a look found the GPU slowed down; for GPUs that do not count the time themselves."""


def clock_hz() -> int | None:
    """The multiprocessors' clock now."""
    mhz = _query("nvmlDeviceGetClockInfo", SM_CLOCK)
    return None if mhz is None else int(mhz) * 1_000_000


def temperature_c() -> float | None:
    """Of the GPU's core."""
    celsius = _query("nvmlDeviceGetTemperature", CORE)
    return None if celsius is None else float(celsius)


def headroom_c() -> float | None:
    """How far the core is below where the GPU slows itself down."""
    limit, now = _query("nvmlDeviceGetTemperatureThreshold", SLOWDOWN), temperature_c()
    return None if limit is None or now is None else float(limit) - now


def power_mw() -> int | None:
    """What the GPU draws now."""
    milliwatts = _query("nvmlDeviceGetPowerUsage")
    return None if milliwatts is None else int(milliwatts)


def throttle_count() -> int | None:
    """Nanoseconds for which heat slowed the GPU down, or how often a look found it slowed down; it only grows."""
    status = _query("nvmlDeviceGetViolationStatus", THERMAL)
    reasons = _query("nvmlDeviceGetCurrentClocksThrottleReasons")
    if reasons is not None and int(reasons) & SLOWING:
        _slowed[0] += 1
    if status is None and reasons is None:
        return None
    return (int(status.violationTime) if status is not None else 0) + _slowed[0]


def others() -> int | None:
    """How many other processes compute on the GPU."""
    processes = _query("nvmlDeviceGetComputeRunningProcesses")
    return None if processes is None else sum(process.pid != os.getpid() for process in processes)


@cache
def _gpu() -> tuple[Any, Any] | None:
    """The package and the first GPU; None where either is not there."""
    try:
        nvml = importlib.import_module("pynvml")
        nvml.nvmlInit()
        return nvml, nvml.nvmlDeviceGetHandleByIndex(0)
    except Exception:  # noqa: BLE001 (a package without its driver raises errors of its own)
        return None


def _query(name: str, *arguments: Any) -> Any:
    """What NVML answers; None where the GPU does not support the question."""
    opened = _gpu()
    if opened is None:
        return None
    nvml, handle = opened
    call: Callable[..., Any] = getattr(nvml, name)
    try:
        return call(handle, *arguments)
    except nvml.NVMLError:
        return None
