"""Fp32 torch beside an artifact: the same model, size and weights, on the same pictures, on this machine."""

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path

import platformdirs

from vitdeploy import errors
from vitdeploy.api import evaluate_images
from vitdeploy.api.devices import reachable
from vitdeploy.api.export import ExportRequest, export
from vitdeploy.artifacts.manifest import Artifact, digest_of
from vitdeploy.catalog.variant import Variant
from vitdeploy.errors import Impossible, UnreadableFile
from vitdeploy.evaluation import prepare
from vitdeploy.evaluation.request import EvalRequest
from vitdeploy.processes.progress import OnTrial, Progress

REFERENCE_TARGET = "torch-fp32"
"""What the drop is against. Source: contract, "Commands"."""


@dataclasses.dataclass(frozen=True, slots=True)
class Reference:
    """The records of fp32 torch."""

    journal: Path
    words: str


def evaluated(
    artifacts: Sequence[Artifact],
    order: EvalRequest,
    progress: Progress,
    on_image: OnTrial,
) -> Reference | str:
    """The records of fp32 torch on the same pictures, from an earlier evaluation where they are kept; or why not."""
    if all(one.manifest.target == REFERENCE_TARGET for one in artifacts):
        return "the artifact is the reference itself"
    try:
        torches = made_for(artifacts, order, progress)
    except (UnreadableFile, Impossible, errors.MissingPackage) as error:
        return f"{error.message}. {error.hint}"
    rebuilt = prepare.prepare(order, torches)
    head = evaluate_images.head_of(rebuilt, torches, "local")
    key = hashlib.sha256(repr(head).encode()).hexdigest()
    path = Path(platformdirs.user_cache_dir("vitdeploy")) / "evaluations" / f"{key}.jsonl"
    local = dataclasses.replace(order, device="local", threads=None)
    evaluate_images.evaluate_items(
        rebuilt,
        torches,
        reachable("local"),
        path,
        order=local,
        progress=progress,
        on_image=on_image,
        resume=True,
        label="fp32 torch",
    )
    return Reference(journal=path, words=words_of(torches))


def words_of(torches: Sequence[Artifact]) -> str:
    """What the reference is, for people."""
    manifest = torches[0].manifest
    return f"{manifest.model} {manifest.target}, {manifest.weights.words}, on this machine"


def made_for(artifacts: Sequence[Artifact], order: EvalRequest, progress: Progress) -> tuple[Artifact, ...]:
    """The fp32 torch artifact of each artifact, at its size and with its weights."""
    made: list[Artifact] = []
    digest: str | None = None
    for one in artifacts:
        manifest = one.manifest
        stored = _stored(one)
        if stored is not None:
            made.append(stored)
            continue
        weights = None
        if manifest.weights.source == "file":
            weights = order.weights
            if weights is None:
                raise UnreadableFile(
                    f"{one.folder} was made from {manifest.weights.name}, which fp32 torch needs as well",
                    "Name the checkpoint with --weights, or leave the drop out with --no-reference.",
                )
            digest = digest or digest_of(weights)
            if digest != manifest.weights.sha256:
                raise UnreadableFile(
                    f"{weights} is not the checkpoint that {one.folder} was made from", f"Use {manifest.weights.name}."
                )
        reference = _plain(one)
        wanted = ExportRequest.of(
            reference,
            weights=weights,
            weights_sha256=digest if weights else None,
            out=Path(platformdirs.user_cache_dir("vitdeploy")) / "references",
        )
        row = export([reference.full_model], wanted, progress=progress)[0]
        if row.artifact is None or row.error is not None:
            raise row.error or Impossible(f"no reference for {one.folder}", "Use --no-reference.")
        made.append(row.artifact)
    return tuple(made)


def _stored(one: Artifact) -> Artifact | None:
    """The store's fp32 torch artifact of the same model, size and weights, where an earlier export left it."""
    from vitdeploy.artifacts.store import Store

    wanted, store = _plain(one), Store()
    for entry in store.entries():
        if entry.manifest.variant == wanted and store.find(entry.key) is not None:
            return Artifact(entry.folder, entry.manifest)
    return None


def _plain(one: Artifact) -> Variant:
    """The fp32 torch variant of an artifact's model, with one picture at once and no options."""
    return dataclasses.replace(one.manifest.variant, target=REFERENCE_TARGET, batch=1, head="logits", io="fp32")
