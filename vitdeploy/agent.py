"""The zip of our own pure Python that carries the worker to a device, where nothing of ours is installed.

It holds what the worker, the host's facts and the runtimes import of ours, found by reading the imports, and needs
Python 3.10 and numpy there, besides the runtime's own package. The same sources make the same bytes.
"""

import ast
import hashlib
import io
import os
import zipfile
from pathlib import Path

from vitdeploy.runtimes import cuda

PACKAGE = Path(__file__).parent

ENTRIES = (
    "vitdeploy.benchmarks.worker",
    "vitdeploy.benchmarks.infer",
    "vitdeploy.benchmarks.expected",
    "vitdeploy.benchmarks.host",
    "vitdeploy.benchmarks.operator_times",
    "vitdeploy.benchmarks.probe_jetson",
    "vitdeploy.benchmarks.probe_nvml",
    "vitdeploy.devices.remote",
    "vitdeploy.exporters.build_engine",
    "vitdeploy.runtimes.on_ort",
    "vitdeploy.runtimes.on_tflite",
    "vitdeploy.runtimes.on_torch",
    "vitdeploy.runtimes.on_torch_cuda",
    "vitdeploy.runtimes.on_trt",
    *cuda.WAYS,
    *(f"vitdeploy.models.{path.stem}" for path in sorted((PACKAGE / "models").glob("*.py"))),
)
"""What is started or loaded by name on a device."""

OLDEST_PYTHON = (3, 10)
"""Source: JetPack 6 has 3.10."""

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The zip format's own beginning: the time of building shall not change the bytes."""


def build(folder: Path) -> tuple[Path, str]:
    """Write the zip into ``folder``, named by its digest; returns its path and SHA-256."""
    data = content()
    sha256 = hashlib.sha256(data).hexdigest()
    path = folder / f"vitdeploy-{sha256[:16]}.zip"
    if not path.exists():
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        part.write_bytes(data)
        part.replace(path)
    return path, sha256


def content() -> bytes:
    """The zip's bytes."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in sorted(modules().items()):
            place = name.replace(".", "/") + ("/__init__.py" if path.name == "__init__.py" else ".py")
            archive.writestr(zipfile.ZipInfo(place, _EPOCH), path.read_bytes())
    return packed.getvalue()


def modules() -> dict[str, Path]:
    """Name → file of every module of ours that the entries import when they are loaded, and of their packages."""
    found: dict[str, Path] = {}
    waiting = list(ENTRIES)
    while waiting:
        name = waiting.pop()
        path = _file(name)
        if name in found or path is None:
            continue
        found[name] = path
        waiting += [".".join(name.split(".")[:depth]) for depth in range(1, name.count(".") + 1)]
        waiting += _imports(path)
    return found


def _imports(path: Path) -> list[str]:
    """Names of ours that a file imports at its top level; a name imported from a package may be a module of it."""
    found: list[str] = []
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [name for name in found if name.split(".")[0] == "vitdeploy"]


def _file(name: str) -> Path | None:
    place = PACKAGE.joinpath(*name.split(".")[1:])
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()), None)
