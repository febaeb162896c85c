"""Stand-in boards: this process, or one behind SSH, with the test doubles of TensorRT, CUDA and the driver."""

import sys
from pathlib import Path
from typing import Any

import pytest

DOUBLES = Path(__file__).parent / "board_double"


def here(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put the doubles into this process; returns the double of CUDA, fresh."""
    from vitdeploy.devices import gpu

    monkeypatch.syspath_prepend(str(DOUBLES))
    for name in [name for name in sys.modules if name.split(".")[0] in ("cuda", "tensorrt", "pycuda")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(gpu, "first_gpu", lambda: gpu.Gpu(name="Orin (test double)", compute_capability="8.7"))
    from cuda.bindings import runtime  # pyright: ignore[reportMissingImports]

    for name in ("cuda", "cuda.bindings", "cuda.bindings.runtime"):
        monkeypatch.setitem(sys.modules, name, sys.modules[name])  # gone after the test
    return runtime


def python_of(folder: Path, **environment: str) -> Path:
    """A ``python3`` of a board behind SSH: this one, with the doubles behind whatever path it is given."""
    wrapper = folder / "python3-of-the-board"
    lines = ["#!/bin/sh", f'PYTHONPATH="${{PYTHONPATH:+$PYTHONPATH:}}{DOUBLES}"', "export PYTHONPATH"]
    lines += [f"{name}='{value}'; export {name}" for name, value in environment.items()]
    wrapper.write_text("\n".join([*lines, f'exec {sys.executable} "$@"', ""]))
    wrapper.chmod(0o755)
    return wrapper
