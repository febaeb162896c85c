"""Job and result of one export step: plain data on both sides of a pipe."""

import contextlib
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import msgspec

from vitdeploy.artifacts.manifest import Beside, Delegation, Parity, Tensor
from vitdeploy.catalog import registry
from vitdeploy.catalog.spec import ModelSpec, Target
from vitdeploy.catalog.variant import Variant
from vitdeploy.errors import UnreadableFile, UsageError

DISTRIBUTIONS = ("torch", "onnx", "onnx-ir", "onnxscript", "onnxruntime")
"""Whose versions decide what is made, with the target's own: they are in the store's key and in the manifest."""


def tool_versions(target: Target) -> dict[str, str]:
    """Versions of what decides the bytes of a target's files, by distribution, as far as it is installed."""
    versions: dict[str, str] = {}
    for name in (*DISTRIBUTIONS, *target.tools):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


class CatalogRows:
    """The rows of the model table and the target table, for a class that has a variant."""

    __slots__ = ()
    variant: Variant

    @property
    def spec(self) -> ModelSpec:
        """Row of the model, with the preprocessing that was given for it."""
        row = registry.find_model(self.variant.model, self.variant.part)
        preprocessing = self.variant.preprocessing
        return row if preprocessing is None else replace(row, preprocessing=preprocessing)

    @property
    def target(self) -> Target:
        """Row of the target."""
        return registry.find_target(self.variant.target)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepJob(CatalogRows):
    """One step: make an artifact in ``folder`` and prove it, or prove the one that lies there."""

    variant: Variant
    rewrites: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    """Layers that ``winograd-rows`` leaves out: ``LAYER``, or ``LAYER:TILE``."""
    folder: Path
    weights: Path | None = None
    """The checkpoint, whose digest is in the variant; None: random ones or the model's own."""
    parent: Path | None = None
    """Folder of the artifact that this step starts from; None: the torch module itself."""
    images: Path | None = None
    """Folder of the user's photographs for parity; None: the bundled ones."""
    only_prove: bool = False
    device: str | None = None
    """Name of the device on which a proof runs the file; None: this machine."""
    deferred: bool = False
    """The device has still to build the file: what it needs for that is made and checked."""
    made_from: str | None = None
    """What a user model was made from when the step was planned; None: a model of the table, or only a proof."""
    stages: int | None = None
    """Descriptor of the pipe that takes the names of its stages; None: nobody listens."""

    @property
    def seed(self) -> int:
        """Seed of the random weights; 0 where there are none."""
        source, _, value = self.variant.weights.partition(":")
        return int(value) if source == "random" else 0

    def check_unchanged(self) -> None:
        """Refuse a user model that is not what it was when its key was computed.

        Raises:
            UnreadableFile: its files were changed meanwhile.
        """
        if self.made_from is not None and self.spec.made_from != self.made_from:
            raise UnreadableFile(f"{self.spec.name} was changed while it was exported", "Export it again.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedFile:
    """What an exporter has written into the folder, and what it knows of it."""

    file: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    recipe: str
    """How it was made, in one line that a person can follow."""
    operators: dict[str, int] = field(default_factory=dict[str, int])
    rewrites: tuple[str, ...] = ()
    """Those of the job's rewrites that found something to change."""
    winograd_rows: dict[str, int] = field(default_factory=dict[str, int])
    """Layer of that rewrite → rows at a time; 1: left out."""
    delegation: Delegation | None = None
    tools: dict[str, str] = field(default_factory=dict[str, str])
    """Versions of what decided the bytes and is not installed here."""
    beside: tuple[Beside, ...] = ()
    parents: tuple[str, ...] = ()
    bound_to: dict[str, Any] = field(default_factory=dict[str, Any])
    """What it runs on and nowhere else."""
    timing_cache_sha256: str | None = None
    """Of the timings by which the builder chose; None: it took none."""
    deferred: str | None = None
    """What the device has still to do; None: it is ready."""
    unproven: str | None = None
    """Why it cannot be run where it was made; None: it is proven there."""
    parity: Parity | None = None
    """That of the graph which the device is to build."""


class Exporter(Protocol):
    """What a module ``to_*`` offers (the module itself is the object)."""

    def make(self, model: Any, spec: ModelSpec, job: StepJob) -> ExportedFile:
        """Write the file for ``model``, the torch module with the job's inputs and outputs, into ``job.folder``."""
        ...


def decode(document: Any) -> StepJob:
    """The job from plain JSON.

    Raises:
        UsageError: it does not fit.
    """
    try:
        return msgspec.convert(document, StepJob, dec_hook=lambda kind, value: kind(value))
    except msgspec.ValidationError as error:
        raise UsageError(f"the job does not fit: {error}", "Write the fields of StepJob.") from error
