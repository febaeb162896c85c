"""The reference of an evaluation: fp32 torch with the same size and weights, on the same images, on this machine."""

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path

import platformdirs

from vitdeploy.api import evaluate_images, official_weights
from vitdeploy.api.devices import reachable
from vitdeploy.api.export import export
from vitdeploy.api.export_request import ExportRequest
from vitdeploy.artifacts.manifest import Artifact, digest_of
from vitdeploy.artifacts.store import Store
from vitdeploy.catalog.variant import Variant
from vitdeploy.errors import DeviceError, Impossible, MissingPackage, UnreadableFile
from vitdeploy.evaluation import prepare
from vitdeploy.evaluation.request import EvalRequest
from vitdeploy.processes.progress import OnTrial, Progress

REFERENCE_TARGET = "torch-fp32"
"""What the drop is against. Source: contract, "Commands"."""


@dataclasses.dataclass(frozen=True, slots=True)
class Reference:
    """The records of fp32 torch."""

    records: Path
    words: str


def evaluated(
    artifacts: Sequence[Artifact], request: EvalRequest, progress: Progress, on_image: OnTrial
) -> Reference | str:
    """The records of fp32 torch on the same images, from an earlier evaluation where they are kept; or why not."""
    if all(artifact.manifest.target == REFERENCE_TARGET for artifact in artifacts):
        return "the artifact is the reference itself"
    try:
        references = reference_artifacts(artifacts, request, progress)
    except (UnreadableFile, Impossible, MissingPackage, DeviceError) as error:
        return f"{error.message}. {error.hint}"
    prepared = prepare.prepare(request, references)
    key = hashlib.sha256(repr(evaluate_images.head_of(prepared, "local")).encode()).hexdigest()
    path = Path(platformdirs.user_cache_dir("vitdeploy")) / "evaluations" / f"{key}.jsonl"
    evaluate_images.evaluate_items(
        prepared,
        reachable("local"),
        path,
        request=dataclasses.replace(request, device="local", threads=None, resume=True),
        progress=progress,
        on_image=on_image,
        label="fp32 torch",
    )
    return Reference(records=path, words=words_of(references))


def words_of(references: Sequence[Artifact]) -> str:
    """The reference, for people."""
    manifest = references[0].manifest
    return f"{manifest.model} {manifest.target}, {manifest.weights.words}, on this machine"


def reference_artifacts(
    artifacts: Sequence[Artifact], request: EvalRequest, progress: Progress
) -> tuple[Artifact, ...]:
    """The fp32 torch artifact of each artifact, at its size and with its weights."""
    references: list[Artifact] = []
    digest: str | None = None
    for artifact in artifacts:
        variant = _reference_variant(artifact)
        stored = _stored(variant)
        if stored is not None:
            references.append(stored)
            continue
        recorded, weights = artifact.manifest.weights, None
        if recorded.source == "file":
            weights = official_weights.file_of_artifact(
                request.weights, artifact, accept_licence=request.accept_licence, progress=progress
            )
            if weights is None:
                raise UnreadableFile(
                    f"{artifact.folder} was made from {recorded.name}, which fp32 torch needs as well",
                    "Name the checkpoint with --weights, or leave the drop out with --no-reference.",
                )
            digest = digest or digest_of(weights)
            if digest != recorded.sha256:
                raise UnreadableFile(
                    f"{weights} is not the checkpoint that {artifact.folder} was made from", f"Use {recorded.name}."
                )
        options = ExportRequest.of(
            variant,
            weights=weights,
            weights_sha256=digest if weights else None,
            out=Path(platformdirs.user_cache_dir("vitdeploy")) / "references",
        )
        (row,) = export([variant.full_model], options, progress=progress)
        if row.artifact is None or row.error is not None:
            raise row.error or Impossible(f"no reference for {artifact.folder}", "Use --no-reference.")
        references.append(row.artifact)
    return tuple(references)


def _stored(variant: Variant) -> Artifact | None:
    """The store's artifact of a variant, where an earlier export left it."""
    store = Store()
    for entry in store.entries():
        if entry.manifest.variant == variant and store.find(entry.key) is not None:
            return Artifact(entry.folder, entry.manifest)
    return None


def _reference_variant(artifact: Artifact) -> Variant:
    """The fp32 torch variant of an artifact's model, with one image at once and no options."""
    return dataclasses.replace(artifact.manifest.variant, target=REFERENCE_TARGET, batch=1, head="logits", io="fp32")
