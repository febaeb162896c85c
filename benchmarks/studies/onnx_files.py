"""ONNX files of a model for the studies: ours, with the rewrites that are named, and torch's own export."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
import torch

from vitdeploy.artifacts.manifest import Artifact
from vitdeploy.benchmarks.studies import files_by_turns
from vitdeploy.catalog import registry, rewrite_table
from vitdeploy.catalog.spec import ModelSpec, Size
from vitdeploy.devices import computer_facts

TARGET = "onnx-fp32"


def fitting_rewrites() -> tuple[str, ...]:
    """The rewrites of our export that suit this machine's CPU."""
    return tuple(rewrite_table.fitting(registry.find_target(TARGET).rewrites, computer_facts.vector_instructions()))


def plain(module: torch.nn.Module, size: Size, folder: Path) -> Path:
    """Torch's own export."""
    folder.mkdir(exist_ok=True)
    file = folder / "model.onnx"
    registry.load("vitdeploy.exporters.to_onnx:plain")(module, torch.zeros(1, 3, *size), file)
    return file


def ours(module: torch.nn.Module, spec: ModelSpec, size: Size, rewrites: Sequence[str], folder: Path) -> Path:
    """Our export."""
    folder.mkdir(exist_ok=True)
    job = step_job(spec, TARGET, size, rewrites, folder)
    return folder / registry.load("vitdeploy.exporters.to_onnx:make")(module, spec, job).file


def artifact(file: Path, spec: ModelSpec, size: Size) -> Artifact:
    """A file with what goes in and out of it read from it: the plain export calls its input after the argument."""
    graph = onnx.load(str(file), load_external_data=False).graph
    tensor = registry.load("vitdeploy.exporters.to_onnx:tensor")
    sides = {"inputs": list(map(tensor, graph.input)), "outputs": list(map(tensor, graph.output))}
    return files_by_turns.artifact_of(file, registry.variant_of(spec, TARGET, size=size), spec, **sides)


def step_job(spec: ModelSpec, target: str, size: Size, rewrites: Sequence[str], folder: Path) -> Any:
    """The job of an export step with these rewrites."""
    return registry.load("vitdeploy.exporters.job:StepJob")(
        variant=registry.variant_of(spec, target, size=size), rewrites=tuple(rewrites), folder=folder
    )
