"""Files of the ways to run a model on a CPU that a user would pick, each with its runtime; proven before it is timed.

A file is made once and kept with its proof. Plain TFLite files are bilinear where the model is cubic, because TFLite
has no cubic resize: they are held against the module that was changed in the same way.
"""

# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import torch
from torch import nn

from vitdeploy.artifacts import manifest
from vitdeploy.artifacts.manifest import Artifact
from vitdeploy.benchmarks.studies import files_by_turns, onnx_files, rival_proof, tflite_files
from vitdeploy.benchmarks.studies.command_line import say, size_words
from vitdeploy.catalog import packages, registry
from vitdeploy.catalog.spec import ModelSpec, Size

OURS = "ours-onnx"
"""What all others are compared with."""

TORCH = "torch-fp32"

_ON_COMPILE = "vitdeploy.benchmarks.studies.on_torch_compile"
_ON_OPENVINO = "vitdeploy.benchmarks.studies.on_openvino"
_ON_EXECUTORCH = "vitdeploy.benchmarks.studies.on_executorch"

Make = Callable[[nn.Module, ModelSpec, Size, Path], Artifact]
"""Of the module, its row, the size and an empty folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """One way to run a model."""

    title: str
    make: Make
    packages: tuple[str, ...] = ()
    """Import names of what it needs beside torch, onnx and ONNX Runtime."""
    runtime: str | None = None
    """Module that runs the file; None: that of its target."""
    bilinear: bool = False
    """Whether the file is of the module with bilinear upsampling."""
    litert_torch: bool = False
    """Whether litert-torch makes the file, in an interpreter of its own."""


def ready(name: str, spec: ModelSpec, size: Size, folder: Path) -> Artifact:
    """The file of a rival in ``folder``, made and proven where it is not there yet.

    Raises:
        MissingPackage: it is not installed.
        VitdeployError: it cannot be made or run.
    """
    rival = RIVALS[name]
    require(rival)
    place = folder / f"{spec.name}-{size_words(size)}-{name}"
    if (place / manifest.MANIFEST).exists():
        artifact = manifest.open_artifact(place)
        if artifact.manifest.parity is not None:
            return artifact
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    say(f"making {place.name}")
    artifact = rival.make(_module(spec), spec, size, place)
    expected = _module(spec)
    if rival.bilinear:
        tflite_files.make_bilinear(expected)
    parity = rival_proof.prove(expected, artifact, rival.runtime, size)
    return manifest.write(place, msgspec.structs.replace(artifact.manifest, parity=parity, parity_skipped=None))


def require(rival: Rival) -> None:
    """See that what a rival needs is installed.

    Raises:
        MissingPackage: it is not.
    """
    packages.require(rival.packages)
    if rival.litert_torch:
        registry.load("vitdeploy.exporters.tflite.litert_torch_env:require_litert_torch")()


def _module(spec: ModelSpec) -> nn.Module:
    return registry.load("vitdeploy.models.create:create")(spec, attention=registry.attention_of(spec, None))


def _torch(module: nn.Module, spec: ModelSpec, size: Size, place: Path) -> Artifact:
    job = onnx_files.step_job(spec, TORCH, size, (), place)
    made = registry.load("vitdeploy.exporters.to_torch:make")(module, spec, job)
    sides = {"inputs": made.inputs, "outputs": made.outputs}
    return files_by_turns.artifact_of(place / made.file, job.variant, spec, **sides)


def _onnx_plain(module: nn.Module, spec: ModelSpec, size: Size, place: Path) -> Artifact:
    return onnx_files.artifact(onnx_files.plain(module, size, place), spec, size)


def _onnx_ours(module: nn.Module, spec: ModelSpec, size: Size, place: Path) -> Artifact:
    return onnx_files.artifact(onnx_files.ours(module, spec, size, onnx_files.fitting_rewrites(), place), spec, size)


def _executorch(module: nn.Module, spec: ModelSpec, size: Size, place: Path) -> Artifact:
    """Source: docs.pytorch.org/executorch, "XNNPACK Backend": export, partition, lower."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    program = torch.export.export(module.eval(), (torch.zeros(1, 3, *size),))
    lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()]).to_executorch()
    described = _torch(module, spec, size, place)  # the same inputs and outputs
    described.file.unlink()
    file = place / "model.pte"
    file.write_bytes(lowered.buffer)
    sides = {"inputs": described.manifest.inputs, "outputs": described.manifest.outputs}
    return files_by_turns.artifact_of(file, described.manifest.variant, spec, **sides)


def _tflite(make: Callable[..., tflite_files.File], converter: str) -> Make:
    """A maker of TFLite files; it makes the module itself."""

    def made(module: nn.Module, spec: ModelSpec, size: Size, place: Path) -> Artifact:
        del module
        attention = registry.attention_of(spec, None)
        file = make(
            spec, size, attention, place.parent, converter=converter
        ).artifact  # kept as by tflite_speed --files
        path = place / file.manifest.file
        shutil.copyfile(file.file, path)
        sides = {"inputs": file.manifest.inputs, "outputs": file.manifest.outputs}
        return files_by_turns.artifact_of(path, file.manifest.variant, spec, **sides)

    return made


_LITERT: Final = ("onnx2tf", "ai_edge_litert")

RIVALS: Final[dict[str, Rival]] = {
    "torch": Rival(title="torch, eager", make=_torch),
    "torch-compile": Rival(title="torch.compile", make=_torch, runtime=_ON_COMPILE),
    "onnx": Rival(title="torch's export in ONNX Runtime", make=_onnx_plain),
    OURS: Rival(title="ours in ONNX Runtime", make=_onnx_ours),
    "openvino": Rival(
        title="torch's export in OpenVINO", make=_onnx_plain, packages=("openvino",), runtime=_ON_OPENVINO
    ),
    "ours-openvino": Rival(title="ours in OpenVINO", make=_onnx_ours, packages=("openvino",), runtime=_ON_OPENVINO),
    "onnx2tf": Rival(
        title="onnx2tf in LiteRT", make=_tflite(tflite_files.plain, "onnx2tf"), packages=_LITERT, bilinear=True
    ),
    "litert-torch": Rival(
        title="litert-torch in LiteRT",
        make=_tflite(tflite_files.plain, "litert-torch"),
        packages=("ai_edge_litert",),
        bilinear=True,
        litert_torch=True,
    ),
    "ours-tflite": Rival(title="ours in LiteRT", make=_tflite(tflite_files.ours, "onnx2tf"), packages=_LITERT),
    "executorch": Rival(
        title="ExecuTorch with XNNPACK", make=_executorch, packages=("executorch.runtime",), runtime=_ON_EXECUTORCH
    ),
}
"""In the order of the table."""
