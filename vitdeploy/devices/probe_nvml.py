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
from pathlib import Path
from typing import Any

from vitdeploy.devices import gpu, gpu_choice, probe_cpu
from vitdeploy.devices.gpu_choice import ListedGpu

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

NOT_AVAILABLE = (2**32 - 1, 2**64 - 1)
"""``NVML_VALUE_NOT_AVAILABLE`` (-1) as an unsigned number. Source: nvml.h."""

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
    """How many other processes compute on the GPU, or on the slice of it that is ours; None: it is not known.

    A container sees the numbers that processes have on its host: one that does not exist here may be our own.
    """
    instance = _instance()
    processes = _query("nvmlDeviceGetComputeRunningProcesses", handle=instance)
    if processes is None:
        return None
    numbers = {int(process.pid) for process in processes} - {os.getpid()}
    return len(numbers) if all(Path("/proc", str(number)).exists() for number in numbers) else None


@cache
def _gpu() -> tuple[Any, Any] | None:
    """The package and the GPU that CUDA computes on; None where the package is not there or the GPU is not known."""
    try:
        nvml = importlib.import_module("pynvml")
        nvml.nvmlInit()
        handle = _computing_handle(nvml)
    except Exception:  # noqa: BLE001 (a package without its driver raises errors of its own)
        return None
    return None if handle is None else (nvml, handle)


@cache
def _instance() -> Any:
    """The MIG slice that CUDA computes on; None: it is a whole GPU, or not known."""
    opened, computing = _gpu(), gpu.first_gpu()
    if opened is None or computing is None or computing.uuid is None:
        return None
    try:
        return opened[0].nvmlDeviceGetHandleByUUID(f"MIG-{computing.uuid}")
    except Exception:  # noqa: BLE001 (as above)
        return None


def _computing_handle(nvml: Any) -> Any:
    """NVML counts by the bus, whatever ``CUDA_VISIBLE_DEVICES`` says."""
    count = _told(nvml, "nvmlDeviceGetCount")
    handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(_MOST if count is None else int(count))]
    listed = [
        ListedGpu(
            index=index,
            name=_text(_told(nvml, "nvmlDeviceGetName", handle)),
            uuid=(_text(_told(nvml, "nvmlDeviceGetUUID", handle)) or "").removeprefix("GPU-") or None,
            bus_id=_text(getattr(_told(nvml, "nvmlDeviceGetPciInfo", handle), "busId", None)),
        )
        for index, handle in enumerate(handles)
    ]
    chosen = gpu_choice.choose(listed, gpu.first_gpu(), os.environ)
    return None if chosen is None else handles[chosen.index]


_MOST = 8
"""GPUs that are looked at where their count is not told."""


def _told(nvml: Any, name: str, *arguments: Any) -> Any:
    try:
        return getattr(nvml, name)(*arguments)
    except Exception:  # noqa: BLE001 (not in this version, or not supported by this GPU)
        return None


def _text(value: Any) -> str | None:
    """Older versions of the package return bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _query(name: str, *arguments: Any, handle: Any = None) -> Any:
    """What NVML answers of a handle, else of the GPU; None where the GPU does not support the question."""
    opened = _gpu()
    if opened is None:
        return None
    nvml, whole = opened
    try:
        call: Callable[..., Any] = getattr(nvml, name)
        value = call(whole if handle is None else handle, *arguments)
    except (AttributeError, nvml.NVMLError):  # renamed in this version, or not supported by this GPU
        return None
    return None if value in NOT_AVAILABLE else value
