"""`check`: the parity of an artifact, measured again."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from vitdeploy.api import official_weights, project
from vitdeploy.api.devices import reachable, ready_there
from vitdeploy.artifacts.manifest import Manifest, Parity, open_artifact
from vitdeploy.catalog import registry
from vitdeploy.catalog.shown import Shown
from vitdeploy.devices.inventory import Device
from vitdeploy.errors import Impossible, VitdeployError
from vitdeploy.exporters import pipeline, proof
from vitdeploy.processes.progress import Progress, silent


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class CheckOutcome(Shown):
    """The parity of an artifact, measured again."""

    shown_by: ClassVar = "vitdeploy.cli.export:check_output"
    folder: Path
    manifest: Manifest
    weights: str
    """Which weights the model was given for the comparison."""
    inputs: str
    parity: Parity
    error: VitdeployError | None
    device: str = "local"
    """Where the file ran."""
    trace: str | None = None
    """The first node that diverges in half precision, or that none does; None: no trace was requested."""


def check_plan(path: Path, *, weights: Path | None = None, device: str | None = None) -> list[str]:
    """What `check` would do."""
    artifact = open_artifact(path)
    manifest = artifact.manifest
    reference = proof.reference_words(manifest.model)
    there = _elsewhere(device)
    where = f" on {there.name}" if there else ""
    built = [f"build the engine of {artifact.file}{where}"] if there and manifest.state == "deferred" else []
    return [
        *official_weights.artifact_lines(weights, [artifact]),
        f"make {manifest.model} with {_weights_words(manifest)}",
        *built,
        f"run {artifact.file}{where} with noise and photographs and compare its outputs with that model: {reference}",
    ]


def check(
    path: Path,
    *,
    images: Path | None = None,
    weights: Path | None = None,
    accept_licence: bool = False,
    device: str | None = None,
    trace: bool = False,
    progress: Progress = silent,
) -> CheckOutcome:
    """Measure an artifact's parity again, on the user's images or the shipped ones.

    The model has the weights of the artifact: those of ``weights`` (a file, or `official.OFFICIAL`), of the user model,
    or of the manifest's seed.

    Args:
        path: the artifact.
        images: folder of the user's photographs; None: the shipped ones.
        weights: the checkpoint that it was exported from.
        device: where the artifact runs; the fp32 model, its reference, always runs here. None: the project file's, else
            this machine.
        trace: look for the first node that diverges in half precision.
        progress: told of an engine that the device builds first, and of each stage.

    Raises:
        UnreadableFile: the artifact or the checkpoint is not what the manifest says.
        Impossible: the artifact does not run there, or the options cannot be checked in this version.
        DeviceError: the device is not reachable, busy, or another machine than its file says.
    """
    there = _elsewhere(device, progress, trace=trace)
    artifact = open_artifact(path)
    target = registry.find_target(artifact.manifest.target)
    if there is None and artifact.manifest.parity_skipped is not None:
        raise Impossible(
            f"{artifact.file} cannot be run here: {artifact.manifest.parity_skipped}",
            "Name its device with --device.",
        )
    if trace and there is not None:
        raise Impossible(
            f"--trace rounds every node on this machine, and {there.name} does not tell its own", "Leave --device out."
        )
    if trace and target.precision not in ("fp16", "bf16"):
        raise Impossible(f"--trace looks for what 16 bits break, and {target.name} has more", "Leave --trace out.")
    weights = official_weights.file_of_artifact(weights, artifact, accept_licence=accept_licence, progress=progress)
    if there is not None:
        artifact = ready_there(artifact, there, progress=progress)
    parity, error = pipeline.prove(
        artifact, weights=weights, images=images, device=there.name if there else None, progress=progress
    )
    first = registry.load("vitdeploy.exporters.half.on_rounded:trace")(artifact, images, weights) if trace else None
    return CheckOutcome(
        folder=artifact.folder,
        manifest=artifact.manifest,
        weights=_weights_words(artifact.manifest),
        inputs=f"noise and the photographs {'in ' + str(images) if images else 'of scikit-image'}",
        parity=parity,
        error=error,
        device=there.name if there else "local",
        trace=None if not trace else "no node diverges" if first is None else first.words,
    )


def _elsewhere(name: str | None, progress: Progress = silent, *, trace: bool = False) -> Device | None:
    """The device of that name; None: this machine, whose runtime runs in the process that makes the reference.

    Args:
        name: None: the project file's device; of a trace, which can only run here, this machine.
        trace: a trace is asked for.
    """
    name = name or (None if trace else project.load().text_of("device"))
    if name is None:
        return None
    device = reachable(name, progress=progress)
    return None if device.link == "local" else device


def _weights_words(manifest: Manifest) -> str:
    """Which weights the reference has, and how they were had."""
    made = ", made again from the manifest's seed" if manifest.weights.source == "random" else ""
    return f"{manifest.weights.words}{made}"
