"""The NVIDIA GPU that CUDA computes on, asked of its driver without any package; none is an answer.

Standard library only: the agent carries it.
"""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")

DRIVER = "libcuda.so.1"
"""What every NVIDIA driver on Linux installs, JetPack's too."""

MAJOR, MINOR, MULTIPROCESSORS = 75, 76, 16
"""``CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR`` and ``_MINOR``, ``CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT``.

Source: https://docs.nvidia.com/cuda/cuda-driver-api/group__CUDA__TYPES.html
"""

_NAME_BYTES = 256
_BUS_ID_BYTES = 32
_UUID_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU, or the slice of one that MIG gives to this process."""

    name: str
    """As the driver calls it: ``Orin``, ``NVIDIA A100-SXM4-40GB``, ``NVIDIA A100-SXM4-40GB MIG 1g.5gb``."""
    compute_capability: str
    """``8.7`` for an Orin."""
    uuid: str | None = field(default=None, compare=False, repr=False)
    """Of the GPU, or of the slice, without the prefix: ``8f2c5d9e-…``."""
    bus_id: str | None = field(default=None, compare=False, repr=False)
    """Of the GPU on PCI, a slice's GPU too: ``0000:3b:00.0``."""
    multiprocessors: int | None = field(default=None, compare=False, repr=False)
    """How many this process may use: a slice has fewer."""


def first_gpu() -> Gpu | None:
    """CUDA's device 0, which everything of ours computes on; None where there is no driver or no GPU that it may use.

    Which GPU that is follows from ``CUDA_VISIBLE_DEVICES`` and ``CUDA_DEVICE_ORDER``: the driver reads them.
    """
    try:
        driver = ctypes.CDLL(DRIVER)
    except OSError:
        return None
    device, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    name = ctypes.create_string_buffer(_NAME_BYTES)
    failed = (
        driver.cuInit(0)
        or driver.cuDeviceGet(ctypes.byref(device), 0)
        or driver.cuDeviceGetName(name, _NAME_BYTES, device)
        or driver.cuDeviceGetAttribute(ctypes.byref(major), MAJOR, device)
        or driver.cuDeviceGetAttribute(ctypes.byref(minor), MINOR, device)
    )
    if failed:
        return None
    return Gpu(
        name=name.value.decode(errors="replace"),
        compute_capability=f"{major.value}.{minor.value}",
        uuid=_optional(_uuid, driver, device),
        bus_id=_optional(_bus_id, driver, device),
        multiprocessors=_optional(_multiprocessors, driver, device),
    )


def driver_version() -> tuple[int, int] | None:
    """The newest CUDA that the driver here supports, ``(12, 6)``; None where there is no driver."""
    version = ctypes.c_int()
    try:
        failed = ctypes.CDLL(DRIVER).cuDriverGetVersion(ctypes.byref(version))
    except (OSError, AttributeError):
        return None
    return None if failed else (version.value // 1000, version.value % 1000 // 10)


def _optional(ask: Callable[[Any, ctypes.c_int], T], driver: Any, device: ctypes.c_int) -> T | None:
    """What is good to know: a driver that cannot be asked for it still has a name and a compute capability."""
    try:
        return ask(driver, device)
    except Exception:  # noqa: BLE001 (whatever an old driver, or a stand-in for one, does)
        return None


def _multiprocessors(driver: Any, device: ctypes.c_int) -> int | None:
    count = ctypes.c_int()
    failed = driver.cuDeviceGetAttribute(ctypes.byref(count), MULTIPROCESSORS, device)
    return None if failed or count.value <= 0 else count.value


def _uuid(driver: Any, device: ctypes.c_int) -> str | None:
    """Source: ``cuDeviceGetUuid_v2`` (since CUDA 11.4) gives a MIG slice's own UUID, ``cuDeviceGetUuid`` its GPU's."""
    raw = (ctypes.c_ubyte * _UUID_BYTES)()
    for function in ("cuDeviceGetUuid_v2", "cuDeviceGetUuid"):
        call = getattr(driver, function, None)  # an old driver has neither
        if call is not None and call(ctypes.byref(raw), device) == 0 and any(raw):
            digits = bytes(raw).hex()
            return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
    return None


def _bus_id(driver: Any, device: ctypes.c_int) -> str | None:
    call = getattr(driver, "cuDeviceGetPCIBusId", None)
    text = ctypes.create_string_buffer(_BUS_ID_BYTES)
    if call is None or call(text, _BUS_ID_BYTES, device) != 0:
        return None
    return text.value.decode(errors="replace") or None
