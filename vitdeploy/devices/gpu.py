"""The NVIDIA GPU of this machine, asked of its driver without any package; none is an answer.

Standard library only: the agent carries it.
"""

import ctypes
from dataclasses import dataclass

DRIVER = "libcuda.so.1"
"""What every NVIDIA driver on Linux installs, JetPack's too."""

MAJOR, MINOR = 75, 76
"""``CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR`` and ``_MINOR``.

Source: https://docs.nvidia.com/cuda/cuda-driver-api/group__CUDA__TYPES.html
"""

_NAME_BYTES = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU."""

    name: str
    """As the driver calls it: ``Orin``, ``NVIDIA A100-SXM4-40GB``."""
    compute_capability: str
    """``8.7`` for an Orin."""


def first_gpu() -> Gpu | None:
    """The first GPU; None where there is no driver or no GPU that it may use."""
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
    return Gpu(name=name.value.decode(errors="replace"), compute_capability=f"{major.value}.{minor.value}")
