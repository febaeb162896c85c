"""Lineage of a figure, checked again: result → manifest → model file → its parents → weights → commit.

The state of a link is ``ok``, ``changed`` (its bytes are not those that were recorded), ``not here``, or, of a parity
that was measured again, ``failed``.
"""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from vitdeploy import documents
from vitdeploy.artifacts.manifest import (
    MANIFEST,
    Artifact,
    check_digests,
    check_manifest,
    digest_of,
    open_artifact,
)
from vitdeploy.artifacts.weights_origin import Weights
from vitdeploy.errors import UnreadableFile
from vitdeploy.results import baselines, record, stats
from vitdeploy.results.record import Result, Run, Summary

State = Literal["ok", "changed", "not here", "failed"]

DEEPEST = 8
"""Parents are followed so far; ours are three: engine, fp16 graph, fp32 graph."""


@dataclass(frozen=True, slots=True)
class Link:
    """One file or figure of a lineage, and whether it is what was recorded."""

    of: str
    """The figure or artifact whose lineage it belongs to."""
    what: str
    state: State
    said: str


def of_run(path: Path, places: Sequence[Path], weights: Path | None) -> list[Link]:
    """All links of a run file.

    Args:
        places: folders below which artifacts are looked for.
        weights: the checkpoint that artifacts were made from, where it was one.

    Raises:
        UnreadableFile: it is no run.
    """
    run = record.load(path)
    stored = _artifacts(places)
    links = [*_own_figures(path, run), *_acceptance(path), _commit(run)]
    for result in run.results:
        links += _result(result, stored, weights)
    return links


def of_artifact(path: Path, places: Sequence[Path], weights: Path | None) -> list[Link]:
    """All links of an artifact: its files, what it was made from, and its weights.

    Raises:
        UnreadableFile: it is no artifact.
    """
    artifact = open_artifact(path, check_bytes=False, check_fields=False)
    return list(_file(artifact.manifest.model, artifact, _artifacts([*places, artifact.folder]), weights, 0))


def artifacts_behind(path: Path, places: Sequence[Path]) -> list[tuple[str, Artifact]]:
    """The artifact of each figure of a run, or the one that ``path`` names, under the name that its links have.

    Raises:
        UnreadableFile: it is neither.
    """
    if not is_run(path):
        artifact = open_artifact(path)
        return [(artifact.manifest.model, artifact)]
    stored = _artifacts(places)
    by_folder: dict[Path, tuple[str, Artifact]] = {}
    for result in record.load(path).results:
        artifact = result.artifact_sha256 and _of_digest(result.artifact_sha256, stored, result.manifest_sha256)
        if artifact:
            by_folder.setdefault(artifact.folder, (_name(result), artifact))
    return list(by_folder.values())


def _own_figures(path: Path, run: Run) -> Iterator[Link]:
    """Whether the figures in the file follow from its samples."""
    stored = documents.read(path, Run, schema=record.SCHEMA, what="run")
    for before, after in zip(stored.results, run.results, strict=True):
        same = before.status == after.status and _same_figures(before.summary, after)
        message = "follow from the samples" if same else "do not follow from the samples in the file"
        yield Link(_name(before), "figures", "ok" if same else "changed", message)


def _same_figures(stored: Summary | None, result: Result) -> bool:
    """Whether a stored summary is the derived one; older files have intervals that know nothing of resolutions."""
    derived = result.summary
    if stored is None or derived is None:
        return stored is derived
    older = stats.median_interval([trial.samples_ns for trial in result.trials])
    bounds = None if older is None else (older[0] / 1e6, older[1] / 1e6)
    return stored in (derived, msgspec.structs.replace(derived, median_ci95_ms=bounds))


def _acceptance(path: Path) -> Iterator[Link]:
    """Where the run is a baseline: whether it is what was accepted."""
    beside = baselines.acceptance_of(path)
    if beside.exists():
        accepted = documents.read(beside, baselines.Acceptance, schema=baselines.SCHEMA, what="acceptance")
        yield _bytes(path.name, "baseline", path, accepted.run_sha256, f"as {accepted.who} accepted it")


def _commit(run: Run) -> Link:
    version = run.vitdeploy
    if version.commit is None:
        return Link(run.id, "commit", "not here", f"measured by vitdeploy {version.version}, of no known commit")
    changes = " with uncommitted changes: those are not recorded" if version.dirty else ""
    state = "not here" if version.dirty else "ok"
    return Link(run.id, "commit", state, f"vitdeploy {version.commit[:12]}{changes}")


def _result(result: Result, stored: Sequence[Artifact], weights: Path | None) -> Iterator[Link]:
    name = _name(result)
    if result.artifact_sha256 is None:
        return
    artifact = _of_digest(result.artifact_sha256, stored, result.manifest_sha256)
    if artifact is None:
        yield Link(name, "artifact", "not here", f"no artifact {result.artifact_sha256[:12]}… was found")
        return
    if result.manifest_sha256 is not None:
        yield _bytes(name, "manifest", artifact.folder / MANIFEST, result.manifest_sha256)
    yield from _file(name, artifact, stored, weights, 0)


def _name(result: Result) -> str:
    return result.case.name + (f" ({result.side})" if result.side else "")


def _file(of: str, artifact: Artifact, stored: Sequence[Artifact], weights: Path | None, depth: int) -> Iterator[Link]:
    manifest = artifact.manifest
    yield _fields(of, artifact)
    yield _bytes(of, manifest.target, artifact.file, manifest.sha256)
    for beside in manifest.beside:
        yield _bytes(of, manifest.target, artifact.folder / beside.file, beside.sha256)
    for digest in manifest.parents if depth < DEEPEST else ():
        parent = _of_digest(digest, stored, None)
        if parent is None:
            yield Link(of, "parent", "not here", f"no artifact {digest[:12]}… was found")
        else:
            yield from _file(of, parent, stored, weights, depth + 1)
    if not manifest.parents:
        yield _weights(of, manifest.weights, weights)


def _fields(of: str, artifact: Artifact) -> Link:
    """Whether the manifest is as it was written, as far as it says so itself."""
    path, what = artifact.folder / MANIFEST, "manifest digest"
    try:
        check_manifest(artifact)
    except UnreadableFile as error:
        return Link(of, what, "changed", error.message)
    digest = artifact.manifest.manifest_sha256
    if digest is None:
        return Link(of, what, "not here", f"{path} has none: an older vitdeploy wrote it")
    return Link(of, what, "ok", f"{path} ({digest[:12]}…)")


def _weights(name: str, recorded: Weights, weights: Path | None) -> Link:
    if recorded.source == "random":
        return Link(
            name, "weights", "ok", f"random, seed {recorded.seed}, as the manifest says; --deep compares with them"
        )
    digest = recorded.sha256 or ""
    if weights is None:
        return Link(name, "weights", "not here", f"{recorded.words} ({digest[:12]}…): name it with --weights")
    words = f"{weights}: {recorded.words}" if recorded.official or recorded.remark else None
    return _bytes(name, "weights", weights, digest, words)


def _bytes(name: str, what: str, path: Path, expected: str, words: str | None = None) -> Link:
    try:
        digest = digest_of(path)
    except UnreadableFile as error:
        return Link(name, what, "not here", error.message)
    if digest != expected:
        return Link(name, what, "changed", f"{path} is {digest[:12]}…, recorded was {expected[:12]}…")
    return Link(name, what, "ok", f"{words or path} ({digest[:12]}…)")


def _of_digest(sha256: str, stored: Sequence[Artifact], manifest_sha256: str | None) -> Artifact | None:
    """The artifact whose file was recorded with this digest; of several, one whose bytes still are as recorded."""
    candidates = [artifact for artifact in stored if artifact.manifest.sha256 == sha256]
    candidates = candidates or [artifact for artifact in stored if _edited_manifest_of(artifact, sha256)]
    intact = (artifact for artifact in candidates if _intact(artifact, manifest_sha256))
    return next(intact, candidates[0] if candidates else None)


def _edited_manifest_of(artifact: Artifact, sha256: str) -> bool:
    """Whether the file has this digest, and its manifest, which was edited, says another."""
    try:
        check_manifest(artifact)
    except UnreadableFile:
        with contextlib.suppress(UnreadableFile):
            return digest_of(artifact.file) == sha256
    return False


def _intact(artifact: Artifact, manifest_sha256: str | None) -> bool:
    try:
        check_manifest(artifact)
        check_digests(artifact)
        return manifest_sha256 is None or digest_of(artifact.folder / MANIFEST) == manifest_sha256
    except UnreadableFile:
        return False


def _artifacts(places: Iterable[Path]) -> list[Artifact]:
    """All artifacts below ``places`` whose manifest can be read; links out of a place are not followed."""
    folders = {path.parent.resolve() for place in places if place.is_dir() for path in place.rglob(MANIFEST)}
    stored: list[Artifact] = []
    for folder in sorted(folders):
        with contextlib.suppress(UnreadableFile):
            stored.append(open_artifact(folder, check_bytes=False, check_fields=False))
    return stored


def is_run(path: Path) -> bool:
    """Whether ``path`` is to be read as a run: a JSON file that is no manifest."""
    return path.is_file() and path.suffix == ".json" and path.name != MANIFEST
