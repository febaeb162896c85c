"""NVIDIA's real CUDA runtime libraries and cuda-python where no GPU is: each way ends in exit 3 or 7, and says why.

The packages are downloaded once (50 MB, kept in the user's cache folder) and never installed. The driver of two of the
three cases is a stand-in; the words and numbers are those of NVIDIA's libraries.
"""

import ctypes
import importlib.util
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.doubles import nvidia_driver
from tests.doubles.nvidia_bindings import wheel
from vitdeploy.devices import gpu
from vitdeploy.errors import DeviceError, MissingPackage, ToolchainFailed
from vitdeploy.runtimes import cuda, on_cuda_python, on_cudart

ROOT = Path(__file__).parent.parent.parent

LIBRARIES = (
    ("nvidia-cuda-runtime-cu12", "12.6.77"),
    ("nvidia-cuda-runtime-cu12", "12.9.79"),
    ("nvidia-cuda-runtime", "13.5.37"),
)
"""libcudart of JetPack 6's CUDA, and the last of 12 and of 13. Source: the package index, November 2026."""

CUDA_PYTHON = (
    (("cuda-python", "12.6.0"),),
    (("cuda-bindings", "12.9.10"), ("cuda-pathfinder", "1.9.0")),
    (("cuda-bindings", "13.5.0"), ("cuda-pathfinder", "1.9.0")),
)
"""The last with ``cuda.cudart`` of its own, and the last of 12 and of 13."""

NO_DRIVER = "no CUDA GPU answers: no NVIDIA driver is installed here (libcuda.so.1 does not load)"

ASK = """
import json, sys
from vitdeploy.errors import VitdeployError
from vitdeploy.runtimes import cuda
try:
    cuda.open_cuda(ways=sys.argv[1:])
    print(json.dumps([0, "a GPU answers", ""]))
except VitdeployError as error:
    print(json.dumps([error.exit_code, error.message, error.hint]))
"""

DESCRIBE = """
import inspect, json
from vitdeploy.runtimes import on_cuda_python, on_cudart
api = on_cuda_python._api()
print(json.dumps({
    "parameters": {name: list(inspect.signature(getattr(api, name)).parameters) for name in on_cudart.CALLS},
    "enumerations": {name: str(inspect.signature(getattr(api, name))) for name in on_cuda_python.ENUMS},
    "handles": [int(getattr(api, kind)(5)) for kind in
                ("cudaStream_t", "cudaEvent_t", "cudaGraph_t", "cudaGraphExec_t")],
}))
"""

WITHOUT_DRIVER = pytest.mark.skipif(gpu.driver_version() is not None, reason="an NVIDIA driver is here")


def unpacked(packages: Sequence[tuple[str, str]], folder: Path) -> Path:
    """The content of wheels in one folder."""
    for name, version in packages:
        with zipfile.ZipFile(wheel(name, version)) as archive:
            archive.extractall(folder)
    return folder


def library_of(package: tuple[str, str], folder: Path) -> Path:
    """The CUDA runtime library in a wheel."""
    (library,) = unpacked([package], folder).rglob("libcudart.so.1[0-9]")
    return library


def told(way: str, *, libraries: Sequence[Path] = (), packages: Sequence[Path] = ()) -> tuple[int, str, str]:
    """Exit code, message and hint of a fresh process that opens CUDA that way."""
    variables = {
        **os.environ,
        "LD_LIBRARY_PATH": os.pathsep.join(map(str, libraries)),
        "PYTHONPATH": os.pathsep.join((*map(str, (*packages, ROOT)), os.environ.get("PYTHONPATH", ""))),
    }
    code, message, hint = answered([sys.executable, "-c", ASK, f"vitdeploy.runtimes.{way}"], variables)
    return code, message, hint


def answered(command: Sequence[str], variables: dict[str, str]) -> Any:
    """The JSON that a process writes."""
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.slow  # downloads 50 MB the first time
@pytest.mark.parametrize("package", LIBRARIES, ids=lambda package: package[1])
def test_the_real_library_has_every_function_that_is_called(package: tuple[str, str], tmp_path: Path):
    library = ctypes.CDLL(str(library_of(package, tmp_path)))
    assert [name for name in on_cudart.CALLS if not hasattr(library, name)] == []
    assert on_cudart.major_version(library) == int(package[1].partition(".")[0])
    words = {code: on_cudart.words(library, code) for code in cuda.NO_GPU}
    assert words[35] == "CUDA driver version is insufficient for CUDA runtime version"
    assert words[100] == "no CUDA-capable device is detected"
    assert "unrecognized error code" not in words.values()


@pytest.mark.slow  # downloads 50 MB the first time
@WITHOUT_DRIVER
@pytest.mark.parametrize("package", LIBRARIES, ids=lambda package: package[1])
def test_a_missing_driver_an_old_one_and_no_gpu_are_told_apart_by_the_real_library(
    package: tuple[str, str], tmp_path: Path
):
    folder = library_of(package, tmp_path / "wheel").parent
    assert told("on_cudart", libraries=[folder])[:2] == (7, NO_DRIVER)
    old = nvidia_driver.make(tmp_path / "old", version=9020)
    code, message, hint = told("on_cudart", libraries=[folder, old])
    assert (code, "driver is too old, it supports CUDA 9.2 (CUDA driver version is insuff" in message) == (7, True)
    assert hint == "Update the driver, or install a runtime library of CUDA 9."
    new = nvidia_driver.make(tmp_path / "new", version=13060)
    code, message, hint = told("on_cudart", libraries=[folder, new])
    assert (code, "shows no GPU (no CUDA-capable device is detected, 100)" in message) == (7, True)
    assert "CUDA_VISIBLE_DEVICES" in hint


@pytest.mark.slow  # downloads 50 MB the first time
@WITHOUT_DRIVER
def test_of_two_real_libraries_the_one_is_taken_that_the_driver_is_new_enough_for(tmp_path: Path):
    folders = [library_of(package, tmp_path / package[1]).parent for package in LIBRARIES[1:]]
    driver = nvidia_driver.make(tmp_path / "driver", version=12090)
    assert "shows no GPU" in told("on_cudart", libraries=[*folders, driver])[1]
    assert "driver is too old" in told("on_cudart", libraries=[folders[1], driver])[1]


@pytest.mark.slow  # downloads 50 MB the first time
@WITHOUT_DRIVER
@pytest.mark.parametrize("packages", CUDA_PYTHON, ids=lambda packages: packages[0][1])
def test_a_missing_driver_is_told_by_the_real_cuda_python(packages: Sequence[tuple[str, str]], tmp_path: Path):
    folder = unpacked(packages, tmp_path / "wheels")
    assert told("on_cuda_python", packages=[folder])[:2] == (7, NO_DRIVER)
    if packages[0][0] == "cuda-bindings":  # 12.6 looks functions up that the stand-in has not
        new = nvidia_driver.make(tmp_path / "new", version=13060)
        code, message, _ = told("on_cuda_python", packages=[folder], libraries=[new])
        assert (code, "shows no GPU (no CUDA-capable device is detected, 100)" in message) == (7, True)
        old = nvidia_driver.make(tmp_path / "old", version=9020)
        code, message, _ = told("on_cuda_python", packages=[folder], libraries=[old])
        assert (code, "too old, it supports CUDA 9.2" in message) == (7, True)


@pytest.mark.slow  # downloads 50 MB the first time
@pytest.mark.parametrize("packages", CUDA_PYTHON, ids=lambda packages: packages[0][1])
def test_the_real_cuda_python_has_every_function_that_is_called(packages: Sequence[tuple[str, str]], tmp_path: Path):
    folder = unpacked(packages, tmp_path)
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join((str(folder), str(ROOT)))}
    answer = answered([sys.executable, "-c", DESCRIBE], variables)
    assert {name: len(taken) for name, taken in answer["parameters"].items()} == {
        name: len(given) for name, (given, _, _) in on_cudart.CALLS.items()
    }
    for name, (place, kind) in on_cuda_python.ENUMS.items():
        assert kind in answer["enumerations"][name].split(",")[place]
    assert answer["handles"] == [5, 5, 5, 5]


@pytest.mark.slow  # downloads 50 MB the first time
def test_a_cuda_python_that_lacks_a_package_says_which(tmp_path: Path):
    folder = unpacked([("cuda-bindings", "13.5.0")], tmp_path)
    if importlib.util.find_spec("cuda") is not None:
        pytest.skip("cuda-python is installed here")
    code, message, _ = told("on_cuda_python", packages=[folder])
    assert (code, "cuda_python: No module named 'cuda.pathfinder'" in message) == (3, True)


@WITHOUT_DRIVER
@pytest.mark.skipif(importlib.util.find_spec("pycuda") is None, reason="pycuda is not installed: it has no wheels")
def test_a_missing_driver_is_told_by_the_real_pycuda():
    assert told("on_pycuda")[:2] == (7, NO_DRIVER)


def test_a_pycuda_that_does_not_import_says_whether_the_driver_is_missing(tmp_path: Path):
    """Real pycuda is linked with libcuda: without a driver it does not import, which was told as a missing package."""
    package = tmp_path / "pycuda"
    package.mkdir()
    (package / "__init__.py").write_text("VERSION_TEXT = '2026.1'\n")
    words = "libcuda.so.1: cannot open shared object file: No such file or directory"
    (package / "driver.py").write_text(f"raise ImportError({words!r})\n")
    assert told("on_pycuda", packages=[tmp_path])[:2] == (7, NO_DRIVER)
    (package / "driver.py").write_text("raise ImportError('libcurand.so.10: cannot open')\n")
    code, message, _ = told("on_pycuda", packages=[tmp_path])
    assert (code, "pycuda: libcurand.so.10: cannot open" in message) == (3, True)


def _double_of_cuda_python(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    class Api:
        class cudaError_t:  # noqa: N801 (NVIDIA's name)
            cudaSuccess = 0  # noqa: N815

        cudaSetDeviceFlags = staticmethod(answer)  # noqa: N815

        @staticmethod
        def cudaGetErrorString(code: int) -> tuple[int, bytes]:  # noqa: N802
            return 0, f"words of {code}".encode()

    monkeypatch.setattr(on_cuda_python, "_api", lambda: Api)


@pytest.mark.parametrize(
    ("words", "kind"),
    [("Failed to dlopen libcuda.so.1", DeviceError), ('Function "cudaX" not found', ToolchainFailed)],
)
def test_what_old_cuda_python_raises_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch, words: str, kind: Any):
    """cuda-python up to 12.6 raises where newer ones return error 35."""

    def raising(flags: int) -> tuple[int]:
        raise RuntimeError(words)

    _double_of_cuda_python(monkeypatch, raising)
    with pytest.raises(kind):
        cuda.open_cuda(ways=("vitdeploy.runtimes.on_cuda_python",))


@pytest.mark.parametrize(
    ("code", "driver", "words"),
    [
        (35, None, "no NVIDIA driver is installed here"),
        (35, (12, 2), "driver is too old, it supports CUDA 12.2 (words of 35, 35)"),
        (100, (12, 2), "NVIDIA's driver is here and shows no GPU (words of 100, 100)"),
        (804, (12, 2), "no CUDA GPU answers: words of 804 (804)"),
    ],
)
def test_no_driver_an_old_one_and_no_gpu_are_told_apart(
    monkeypatch: pytest.MonkeyPatch, code: int, driver: tuple[int, int] | None, words: str
):
    _double_of_cuda_python(monkeypatch, lambda flags: (code,))
    monkeypatch.setattr(gpu, "driver_version", lambda: driver)
    with pytest.raises(DeviceError) as caught:
        cuda.open_cuda(ways=("vitdeploy.runtimes.on_cuda_python",))
    assert caught.value.exit_code == 7
    assert words in caught.value.message


def test_what_each_way_lacks_is_said_under_its_own_name(monkeypatch: pytest.MonkeyPatch):
    def nowhere() -> Any:
        raise ImportError("it is nowhere")

    monkeypatch.setattr(on_cuda_python, "_api", nowhere)
    monkeypatch.setattr(on_cudart, "load", nowhere)
    with pytest.raises(MissingPackage, match=r"cuda_python: it is nowhere; cudart: it is nowhere"):
        cuda.open_cuda(ways=cuda.BINDINGS[:2])
