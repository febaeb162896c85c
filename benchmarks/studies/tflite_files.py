"""TFLite files of a model for the studies: ours, and what everybody gets from either converter.

A plain file is the converter's of the module as it is, made bilinear where it is cubic: a cubic resize is no operator
of TFLite, so that is all they can do.
"""

# pyright: reportUnknownMemberType=false

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from vitdeploy.artifacts.manifest import Artifact, Delegation
from vitdeploy.benchmarks.studies import files_by_turns
from vitdeploy.benchmarks.studies.command_line import say, size_words
from vitdeploy.catalog import registry
from vitdeploy.catalog.spec import Attention, ModelSpec, Size
from vitdeploy.errors import MissingPackage
from vitdeploy.models.efficientvit_blocks import Upsample

TARGET = "tflite-fp32"
PLAIN = ("onnx2tf", "litert-torch")
"""Who makes plain files."""


class Bilinear(nn.Module):
    """What stands for a cubic enlargement in a plain file."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(n, c, h, w)`` to ``(n, c, h * factor, w * factor)``."""
        size = (x.shape[-2] * self.factor, x.shape[-1] * self.factor)
        return functional.interpolate(x, size=size, mode="bilinear", align_corners=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One file and what is in it."""

    artifact: Artifact
    operators: Mapping[str, int]
    delegation: Delegation


def ours(spec: ModelSpec, size: Size, attention: Attention, folder: Path, *, converter: str) -> File:
    """Our file, made by a converter, taken from the folder where it lies there already."""
    return _file(_ours, spec, size, attention, converter, folder)


def plain(spec: ModelSpec, size: Size, attention: Attention, folder: Path, *, converter: str) -> File:
    """A converter's own file, taken from the folder where it lies there already."""
    return _file(_plain, spec, size, attention, converter, folder)


def make_bilinear(module: nn.Module) -> None:
    """Make cubic enlargements of a module bilinear, in place."""

    def bilinear(name: str, part: nn.Module) -> nn.Module | None:
        del name
        return Bilinear(part.factor) if isinstance(part, Upsample) else None

    registry.load("vitdeploy.exporters.rewrites.modules:replace_modules")(module, bilinear)


def plain_by(converter: str) -> tuple[str, ...]:
    """The converters whose plain files are made; litert-torch is left out, and that is said, where it is not here.

    Raises:
        MissingPackage: our own file is to be made by it.
    """
    try:
        registry.load("vitdeploy.exporters.tflite.litert_torch_env:require_litert_torch")()
    except MissingPackage as error:
        if converter != PLAIN[0]:
            raise
        say(f"without litert-torch's files: {error.message}. {error.hint}")
        return PLAIN[:1]
    return PLAIN


def _file(make: Any, spec: ModelSpec, size: Size, attention: Attention, converter: str, folder: Path) -> File:
    """The file of a maker, taken from the folder where it lies there already."""
    kind = make.__name__.strip("_")
    path = folder / f"{spec.name}-{attention}-{size_words(size)}-{kind}-{converter}" / "model.tflite"
    if not path.exists():
        say(f"making {path.parent.name}")
        path.parent.mkdir(exist_ok=True)
        module = registry.load("vitdeploy.models.create:create")(spec, attention=attention)
        with tempfile.TemporaryDirectory(prefix="vitdeploy-tflite-files-") as place:
            file: Path = make(module, spec, size, converter, Path(place))
            path.write_bytes(file.read_bytes())
    inspect = registry.load("vitdeploy.exporters.tflite.inspect_file")
    inputs, outputs = inspect.tensors(path)
    variant = registry.variant_of(spec, TARGET, size=size, attention=attention)
    artifact = files_by_turns.artifact_of(path, variant, spec, inputs=inputs, outputs=outputs)
    return File(artifact=artifact, operators=inspect.operators(path), delegation=inspect.delegation(path))


def _ours(module: nn.Module, spec: ModelSpec, size: Size, converter: str, place: Path) -> Path:
    job = registry.load("vitdeploy.exporters.job:StepJob")(
        variant=registry.variant_of(spec, TARGET, size=size, converter=converter),
        rewrites=registry.find_target(TARGET).rewrites,
        folder=place,
    )
    return place / registry.load("vitdeploy.exporters.to_tflite:make")(module, spec, job).file


def _plain(module: nn.Module, spec: ModelSpec, size: Size, converter: str, place: Path) -> Path:
    """What everybody gets: the converter's file of the module as it is, but for the cubic resize."""
    make_bilinear(module)
    image, file = torch.zeros(1, 3, *size), place / "plain.tflite"
    convert = registry.load("vitdeploy.exporters.tflite.convert")
    if converter == "onnx2tf":
        graph = place / "plain.onnx"
        registry.load("vitdeploy.exporters.to_onnx:plain")(module, image, graph)
        convert.run_onnx2tf(graph, file, place, plain=True)
    else:
        convert.convert(module, {"image": image}, [spec.output], file, converter)
    return file
