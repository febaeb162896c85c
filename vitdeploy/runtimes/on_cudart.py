"""CUDA through ctypes on the runtime library, for machines that have no package for it: a stock JetPack."""

import contextlib
import ctypes
import ctypes.util
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from vitdeploy.devices import gpu
from vitdeploy.runtimes.cuda import Cuda, cuda_error

_POINTER, _INT, _UINT, _SIZE = ctypes.c_void_p, ctypes.c_int, ctypes.c_uint, ctypes.c_size_t

CALLS: Final[dict[str, tuple[tuple[Any, ...], Any, int]]] = {
    "cudaSetDeviceFlags": ((_UINT,), None, 0),
    "cudaSetDevice": ((_INT,), None, 0),
    "cudaRuntimeGetVersion": ((), _INT, 0),
    "cudaHostAlloc": ((_SIZE, _UINT), _POINTER, 0),
    "cudaFreeHost": ((_POINTER,), None, 0),
    "cudaMalloc": ((_SIZE,), _POINTER, 0),
    "cudaFree": ((_POINTER,), None, 0),
    "cudaMemcpyAsync": ((_POINTER, _POINTER, _SIZE, _INT, _POINTER), None, 0),
    "cudaStreamCreateWithFlags": ((_UINT,), _POINTER, 0),
    "cudaStreamDestroy": ((_POINTER,), None, 0),
    "cudaStreamSynchronize": ((_POINTER,), None, 0),
    "cudaStreamBeginCapture": ((_POINTER, _INT), None, 0),
    "cudaStreamEndCapture": ((_POINTER,), _POINTER, 1),
    "cudaGraphInstantiateWithFlags": ((_POINTER, ctypes.c_ulonglong), _POINTER, 0),
    "cudaGraphLaunch": ((_POINTER, _POINTER), None, 0),
    "cudaGraphDestroy": ((_POINTER,), None, 0),
    "cudaGraphExecDestroy": ((_POINTER,), None, 0),
    "cudaEventCreateWithFlags": ((_UINT,), _POINTER, 0),
    "cudaEventDestroy": ((_POINTER,), None, 0),
    "cudaEventRecord": ((_POINTER, _POINTER), None, 0),
    "cudaEventElapsedTime": ((_POINTER, _POINTER), ctypes.c_float, 0),
}
"""Function → types of its inputs, type of its output or None, and the output's place among the parameters.

Source: cuda_runtime_api.h; ``cudaGraphInstantiateWithFlags`` is there from CUDA 11.4 on.
"""


def open_cuda() -> Cuda:
    """CUDA through the library that is here.

    Raises:
        ImportError: there is none.
        DeviceError: there is one, and no GPU.
    """
    library = load()

    def prepared(name: str) -> Callable[..., Any]:
        argument_types, returned, place = CALLS[name]
        function = getattr(library, name)
        types = list(argument_types)
        if returned is not None:
            types.insert(place, ctypes.POINTER(returned))
        function.argtypes, function.restype = types, _INT
        return function

    functions = {name: prepared(name) for name in CALLS}

    def call(name: str, *arguments: Any) -> Any:
        _, returned, place = CALLS[name]
        output = None if returned is None else returned()
        pointers = () if output is None else (ctypes.byref(output),)
        code = functions[name](*arguments[:place], *pointers, *arguments[place:])
        if code:
            raise cuda_error(name, code, words(library, code))
        return None if output is None else output.value or 0

    return Cuda(call, "ctypes")


def load() -> ctypes.CDLL:
    """The library, from where the loader, JetPack or NVIDIA's wheels put it.

    Where there are several, it is the first that the driver is new enough for.

    Raises:
        ImportError: it is nowhere.
    """
    driver, first = gpu.driver_version(), None
    for place in _library_paths():
        with contextlib.suppress(OSError):
            library = ctypes.CDLL(place)
            if driver is None or major_version(library) <= driver[0]:
                return library
            first = first or library
    if first is None:
        raise ImportError("libcudart is not found")
    return first


def major_version(library: ctypes.CDLL) -> int:
    """Of the library's version of CUDA; it can be asked without a driver."""
    version = _INT()
    library.cudaRuntimeGetVersion(ctypes.byref(version))
    return version.value // 1000


def words(library: ctypes.CDLL, code: int) -> str:
    """What the library calls an error."""
    library.cudaGetErrorString.argtypes, library.cudaGetErrorString.restype = [_INT], ctypes.c_char_p
    return (library.cudaGetErrorString(code) or b"").decode(errors="replace")


def _library_paths() -> Iterator[str]:
    yield from ("libcudart.so", "libcudart.so.13", "libcudart.so.12")
    if library := ctypes.util.find_library("cudart"):
        yield library
    wheels = Path(sysconfig.get_path("purelib")) / "nvidia"
    for folder in (Path("/usr/local/cuda/lib64"), *sorted(wheels.glob("*/lib"))):
        yield from (str(path) for path in sorted(folder.glob("libcudart.so.*"), reverse=True))
