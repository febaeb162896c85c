"""TEST DOUBLE of the NVIDIA driver's library, for processes of a stand-in board: one GPU, an Orin's."""

import ctypes
from typing import Any

_real = ctypes.CDLL


class Driver:
    """Answers what `vitdeploy.devices.gpu` asks."""

    def __getattr__(self, name: str) -> Any:
        def call(*given: Any) -> int:
            if name == "cuDeviceGetAttribute":
                given[0]._obj.value = {75: 8, 76: 7, 16: 16}[given[1]]
            if name == "cuDeviceGetName":
                given[0].value = b"Orin (test double)"
            return 0

        return call


def _opened(name: Any, *given: Any, **options: Any) -> Any:
    return Driver() if name == "libcuda.so.1" else _real(name, *given, **options)


ctypes.CDLL = _opened  # type: ignore[misc,assignment]
