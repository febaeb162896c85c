"""Plug-in modules against the protocols that they are loaded as: pyright compares them, and none is left out.

They are loaded by name, so that no type checker sees who is loaded as what, but for the lists here.
"""

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from vitdeploy.catalog import registry
from vitdeploy.devices import probe

ROOT = Path(__file__).parent.parent

if TYPE_CHECKING:
    from vitdeploy.devices import probe_cpu, probe_jetson, probe_nvml
    from vitdeploy.devices.probe import Probe
    from vitdeploy.exporters import to_onnx, to_onnx_fp16, to_tflite, to_torch, to_trt
    from vitdeploy.exporters.half import on_rounded
    from vitdeploy.exporters.job import Exporter
    from vitdeploy.runtimes import on_ort, on_tflite, on_torch, on_trt
    from vitdeploy.runtimes.session import Runtime

    EXPORTERS: tuple[Exporter, ...] = (to_onnx, to_onnx_fp16, to_tflite, to_torch, to_trt)
    RUNTIMES: tuple[Runtime, ...] = (on_ort, on_tflite, on_torch, on_trt, on_rounded)
    PROBES: tuple[Probe, ...] = (probe_cpu, probe_jetson, probe_nvml)


def listed(name: str) -> set[str]:
    """Modules in one of the lists above."""
    for node in ast.walk(ast.parse(Path(__file__).read_text())):
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == name and isinstance(node.value, ast.Tuple):
            return {ast.unparse(module) for module in node.value.elts}
    raise LookupError(name)


def last_words(names: list[str | None]) -> set[str]:
    return {name.rpartition(".")[2] for name in names if name}


@pytest.mark.parametrize(
    ("name", "loaded"),
    [
        ("EXPORTERS", last_words([row.exporter for row in registry.TARGETS])),
        ("RUNTIMES", last_words([name for row in registry.TARGETS for name in (row.runtime, row.proof)])),
        ("PROBES", last_words([*probe.modules()])),
    ],
)
def test_every_module_that_is_loaded_by_name_is_compared_with_its_protocol(name: str, loaded: set[str]):
    assert listed(name) == loaded


def test_every_exporter_has_a_row():
    assert listed("EXPORTERS") == {path.stem for path in (ROOT / "exporters").glob("to_*.py")}
