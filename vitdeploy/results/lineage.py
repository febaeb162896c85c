"""Lineage of a figure, checked again: result → manifest → model file → its parents → weights → commit.

The state of a link is ``ok``, ``changed`` (its bytes are not those that were recorded) or ``not here``.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vitdeploy import documents
from vitdeploy.artifacts.manifest import MANIFEST, Artifact, check_digests, digest_of, open_artifact
from vitdeploy.errors import UnreadableFile
from vitdeploy.results import baselines, record
from vitdeploy.results.record import Result, Run

State = Literal["ok", "changed", "not here"]

DEEPEST = 8
"""Parents are followed so far; ours are three: engine, fp16 graph, fp32 graph."""


@dataclass(frozen=True, slots=True, kw_only=True)
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
        path: the run.
        places: folders below which artifacts are looked for.
        weights: the checkpoint that artifacts were made from, where it was one.

    Raises:
        UnreadableFile: it is no run.
    """
    run = record.load(path)
    known = _artifacts(places)
    links = [*_own_figures(path, run), *_acceptance(path)]
    links += [_commit(run)]
    for result in run.results:
        links += _result(result, known, weights)
    return links


def of_artifact(path: Path, places: Sequence[Path], weights: Path | None) -> list[Link]:
    """All links of an artifact: its files, what it was made from, and its weights.

    Raises:
        UnreadableFile: it is no artifact.
    """
    found = open_artifact(path, check_bytes=False)
    return list(_file(found.manifest.model, found, _artifacts([*places, found.folder]), weights, 0))


def _own_figures(path: Path, run: Run) -> Iterator[Link]:
    """Whether the figures in the file follow from its samples."""
    stored = documents.read(path, Run, schema=record.SCHEMA, what="run")
    for before, after in zip(stored.results, run.results, strict=True):
        same = (before.summary, before.status) == (after.summary, after.status)
        said = "follow from the samples" if same else "do not follow from the samples in the file"
        yield Link(of=_name(before), what="figures", state="ok" if same else "changed", said=said)


def _acceptance(path: Path) -> Iterator[Link]:
    """Where the run is a baseline: whether it is what was accepted."""
    beside = baselines.acceptance_of(path)
    if beside.exists():
        accepted = documents.read(beside, baselines.Acceptance, schema=baselines.SCHEMA, what="acceptance")
        yield _bytes(path.name, "baseline", path, accepted.run_sha256, f"as {accepted.who} accepted it")


def _commit(run: Run) -> Link:
    version = run.vitdeploy
    if version.commit is None:
        said = f"measured by vitdeploy {version.version}, of no known commit"
        return Link(of=run.id, what="commit", state="not here", said=said)
    changes = " with uncommitted changes: those are not recorded" if version.dirty else ""
    return Link(
        of=run.id,
        what="commit",
        state="not here" if version.dirty else "ok",
        said=f"vitdeploy {version.commit[:12]}{changes}",
    )


def _result(result: Result, known: Sequence[Artifact], weights: Path | None) -> Iterator[Link]:
    name = _name(result)
    if result.artifact_sha256 is None:
        return
    foreign = [t.id for t in result.trials if t.artifact_sha256 != result.artifact_sha256]
    if foreign:
        yield Link(of=name, what="trials", state="changed", said=f"{foreign[0]} timed another file than its row says")
    candidates = [one for one in known if one.manifest.sha256 == result.artifact_sha256]
    if not candidates:
        yield Link(
            of=name, what="artifact", state="not here", said=f"no artifact {result.artifact_sha256[:12]}… was found"
        )
        return
    chosen = next((one for one in candidates if _intact(one, result.manifest_sha256)), candidates[0])
    if result.manifest_sha256 is not None:
        yield _bytes(name, "manifest", chosen.folder / MANIFEST, result.manifest_sha256, str(chosen.folder / MANIFEST))
    yield from _file(name, chosen, known, weights, 0)


def _name(result: Result) -> str:
    return result.case.name + (f" ({result.side})" if result.side else "")


def _file(name: str, found: Artifact, known: Sequence[Artifact], weights: Path | None, depth: int) -> Iterator[Link]:
    manifest = found.manifest
    yield _bytes(name, manifest.target, found.file, manifest.sha256, str(found.file))
    for beside in manifest.beside:
        yield _bytes(name, manifest.target, found.folder / beside.file, beside.sha256, str(found.folder / beside.file))
    for parent in manifest.parents if depth < DEEPEST else ():
        candidates = [one for one in known if one.manifest.sha256 == parent]
        if not candidates:
            yield Link(of=name, what="parent", state="not here", said=f"no artifact {parent[:12]}… was found")
            continue
        chosen = next((one for one in candidates if _intact(one, None)), candidates[0])
        yield from _file(name, chosen, known, weights, depth + 1)
    if not manifest.parents:
        yield _weights(name, found, weights)


def _weights(name: str, found: Artifact, weights: Path | None) -> Link:
    described = found.manifest.weights
    if described.source == "random":
        return Link(
            of=name, what="weights", state="ok", said=f"random, seed {described.seed}: made again from the seed"
        )
    if weights is None:
        said = f"{described.name} ({(described.sha256 or '')[:12]}…): name it with --weights"
        return Link(of=name, what="weights", state="not here", said=said)
    return _bytes(name, "weights", weights, described.sha256 or "", str(weights))


def _bytes(name: str, what: str, path: Path, expected: str, said: str) -> Link:
    try:
        digest = digest_of(path)
    except UnreadableFile as error:
        return Link(of=name, what=what, state="not here", said=error.message)
    if digest != expected:
        return Link(
            of=name, what=what, state="changed", said=f"{path} is {digest[:12]}…, recorded was {expected[:12]}…"
        )
    return Link(of=name, what=what, state="ok", said=f"{said} ({digest[:12]}…)")


def _intact(found: Artifact, manifest_sha256: str | None) -> bool:
    try:
        check_digests(found)
        return manifest_sha256 is None or digest_of(found.folder / MANIFEST) == manifest_sha256
    except UnreadableFile:
        return False


def _artifacts(places: Iterable[Path]) -> list[Artifact]:
    """All artifacts below ``places`` whose manifest can be read; links out of a place are not followed."""
    folders = {path.parent.resolve() for place in places if place.is_dir() for path in place.rglob(MANIFEST)}
    return [found for folder in sorted(folders) if (found := _readable(folder)) is not None]


def _readable(folder: Path) -> Artifact | None:
    try:
        return open_artifact(folder, check_bytes=False)
    except UnreadableFile:
        return None


def is_run(path: Path) -> bool:
    """Whether ``path`` is to be read as a run: a JSON file that is no manifest."""
    return path.is_file() and path.suffix == ".json" and path.name != MANIFEST
