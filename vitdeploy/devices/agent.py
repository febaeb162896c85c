"""The zip of our own pure Python that carries the worker to a device, where nothing of ours is installed.

It holds what the worker, the host's facts and the runtimes import of ours, found by `import_graph`, and needs
Python 3.10 and numpy there, besides the runtime's own package. The same sources make the same bytes.
"""

import hashlib
import importlib
import io
import os
import pkgutil
import zipfile
from pathlib import Path

from vitdeploy.catalog import import_graph
from vitdeploy.catalog.target_table import TARGETS
from vitdeploy.devices import probe

MODELS = "vitdeploy.models"
"""Where the builders of models are."""

PROCESSES = (
    "vitdeploy.benchmarks.trial.worker",
    "vitdeploy.benchmarks.trial.turns",
    "vitdeploy.inference.worker",
    "vitdeploy.inference.local_reference",
    "vitdeploy.devices.computer_facts",
    "vitdeploy.benchmarks.profile.worker",
    "vitdeploy.devices.remote",
    "vitdeploy.exporters.engines.build",
    "vitdeploy.runtimes.cuda_bindings",
)
"""What is started on a device."""

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
    """Name → file of every module of ours that a process on a device may load."""
    runtimes = [target.runtime for target in TARGETS if target.runtime]
    builders = [f"{MODELS}.{entry.name}" for entry in pkgutil.iter_modules(importlib.import_module(MODELS).__path__)]
    return import_graph.modules_of([*PROCESSES, *probe.modules(), *runtimes, *builders])
