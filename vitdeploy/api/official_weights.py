"""``--weights official`` for every verb: the checkpoint of a model that is exported, or of an artifact that exists."""

from collections.abc import Iterable
from pathlib import Path

from vitdeploy.artifacts.manifest import Artifact
from vitdeploy.catalog import checkpoints, registry
from vitdeploy.catalog.checkpoints import Checkpoint
from vitdeploy.catalog.variant import RANDOM, Variant
from vitdeploy.errors import UnreadableFile, UsageError
from vitdeploy.models import official
from vitdeploy.models.official import OfficialFile
from vitdeploy.processes.progress import Progress, silent


def file_of_artifact(
    weights: Path | None, artifact: Artifact, *, accept_licence: bool = False, progress: Progress = silent
) -> Path | None:
    """The checkpoint for an artifact: ``weights`` itself, or for `official.OFFICIAL` the file that it was made from.

    An artifact with random weights needs none: None.

    Raises:
        UnreadableFile: it was made from a file that is no official checkpoint.
        Impossible: no official checkpoint of its model is known, or its licence has to be accepted.
        DeviceError: the file is not here and cannot be downloaded.
    """
    if weights is None or not official.is_official(weights):
        return weights
    checkpoint = _of_artifact(artifact)
    if checkpoint is None:
        return None
    if not accept_licence:
        official.check_licence(checkpoint)
    return official.obtain(checkpoint, progress=progress).path


def artifact_lines(weights: Path | None, artifacts: Iterable[Artifact]) -> list[str]:
    """What a plan says of the official checkpoints that artifacts were made from, a line each.

    Raises:
        UnreadableFile: one was made from a file that is no official checkpoint.
    """
    if not official.is_official(weights):
        return []
    chosen = [checkpoint for artifact in artifacts if (checkpoint := _of_artifact(artifact)) is not None]
    return [f"{checkpoint.model}: {official.words(checkpoint)}" for checkpoint in dict.fromkeys(chosen)]


def _of_artifact(artifact: Artifact) -> Checkpoint | None:
    """The checkpoint that an artifact was made from; None: its weights are random."""
    recorded = artifact.manifest.weights
    if recorded.source == "random" or recorded.sha256 is None:
        return None
    checkpoint = checkpoints.recognised(recorded.sha256)
    if checkpoint is None:
        checkpoint, _ = checkpoints.nearest(artifact.manifest.model, artifact.manifest.size)
        if checkpoint.is_digest(recorded.sha256) is False:
            raise UnreadableFile(
                f"{artifact.folder} was made from {recorded.name}, which is no official checkpoint",
                "Name that file with --weights FILE.",
            )
    return checkpoint


def file_of_model(name: str, *, accept_licence: bool, progress: Progress = silent) -> OfficialFile:
    """The official checkpoint of a model at its own size.

    Raises:
        Impossible: none is known, or its licence has to be accepted.
        DeviceError: the file is not here and cannot be downloaded.
    """
    spec = registry.find_model(name)
    return official.obtain(official.choose(spec, None, accept_licence=accept_licence), progress=progress)


def planned_identity(weights: Path | None, variant: Variant) -> str:
    """The weights of a case that was not exported: random ones, or what is known of the checkpoint without its file."""
    if weights is None:
        return RANDOM
    if not official.is_official(weights):
        return str(weights)
    known = checkpoints.checkpoints_of(variant.model)
    digest = checkpoints.nearest(variant.model, variant.size)[0].sha256 if known else None
    return f"sha256:{digest}" if digest else official.OFFICIAL


def plan_lines(cases: Iterable[tuple[Path | None, Variant]]) -> list[str]:
    """What a plan says of the official checkpoints of its cases, a line each."""
    models = [(variant.model, variant.size) for weights, variant in cases if official.is_official(weights)]
    chosen = [checkpoints.nearest(model, size)[0] for model, size in models if checkpoints.checkpoints_of(model)]
    return [f"{checkpoint.model}: {official.words(checkpoint)}" for checkpoint in dict.fromkeys(chosen)]


def check_file(weights: Path | None, models: set[str]) -> None:
    """Refuse a file for several models; the word `official.OFFICIAL` means another file for each.

    Raises:
        UsageError: a file for several models.
    """
    if weights is not None and not official.is_official(weights) and len(models) != 1:
        raise UsageError(
            f"--weights FILE fits one model, and {len(models)} are meant", "Name one model, or use --weights official."
        )
