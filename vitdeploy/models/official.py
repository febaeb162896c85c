"""Official checkpoints by name: which one a model and a size mean, its licence, and its file, here or downloaded.

Nothing is downloaded but by `obtain`. It looks at what lies on this machine first, and hands out no file whose bytes
were not held against the published digest, or against what was seen first where none is published.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vitdeploy import units
from vitdeploy.catalog import checkpoints, packages, registry
from vitdeploy.catalog.checkpoints import Checkpoint
from vitdeploy.catalog.spec import ModelSpec, Size
from vitdeploy.errors import Impossible
from vitdeploy.models import refused_download, weights_cache
from vitdeploy.processes.progress import Progress, silent

OFFICIAL: Final = "official"
"""The word that stands for a model's official checkpoint in the place of a file. Source: contract, "Commands"."""

HUB_PACKAGE, URL_PACKAGE = "huggingface_hub", "requests"
"""Import names of what downloads from a hub repository, and from a plain address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfficialFile:
    """The file of an official checkpoint, checked."""

    checkpoint: Checkpoint
    path: Path
    sha256: str


def is_official(weights: Path | str | None) -> bool:
    """Whether the word stands there, and no file; one of that name is given by its whole path."""
    return weights is not None and str(weights) == OFFICIAL


def choose(spec: ModelSpec, size: Size | None, *, accept_licence: bool) -> Checkpoint:
    """The checkpoint of a model that was trained at a size, or at the nearest one.

    Raises:
        Impossible: there is none, or its licence has to be accepted.
    """
    checkpoint, _ = checkpoints.nearest(spec.whole, size or spec.size)
    if not accept_licence:
        check_licence(checkpoint)
    return checkpoint


def check_licence(checkpoint: Checkpoint) -> None:
    """Refuse a checkpoint whose licence restricts commercial use or is missing.

    Raises:
        Impossible: it is one.
    """
    if checkpoint.needs_acceptance:
        raise Impossible(
            f"the licence of the weights {checkpoint.name} has to be accepted: {checkpoint.licence_words}",
            "Read that licence, and give --accept-licence if you may use them.",
        )


def size_note(spec: ModelSpec, size: Size | None) -> str | None:
    """What has to be said where none of a model's several checkpoints is for a size; else None."""
    if len(checkpoints.checkpoints_of(spec.whole)) < 2:
        return None
    checkpoint, _ = checkpoints.nearest(spec.whole, size or spec.size)
    return checkpoints.nearest_words(checkpoint, size or spec.size)


def words(checkpoint: Checkpoint) -> str:
    """A checkpoint before it is used: name, size, licence, digest, and where it is or would be had from."""
    size = units.size_bytes(checkpoint.size_bytes) if checkpoint.size_bytes is not None else "size not known"
    accepted = ", needs --accept-licence" if checkpoint.needs_acceptance else ""
    path = weights_cache.cached_path(checkpoint)
    place = f"in the cache: {path}" if path else f"to download: {refused_download.address(checkpoint)}"
    digest = refused_download.digest_words(checkpoint)
    return f"official weights {checkpoint.name} ({size}, {checkpoint.licence_words}{accepted}, {digest}, {place})"


def planned_path(checkpoint: Checkpoint) -> Path:
    """The file, or where it would lie."""
    return weights_cache.cached_path(checkpoint) or weights_cache.own_path(checkpoint)


def obtain(checkpoint: Checkpoint, *, progress: Progress = silent) -> OfficialFile:
    """The file of a checkpoint from this machine, else downloaded.

    Raises:
        DeviceError: no network, downloads are forbidden, or the server does not give it.
        MissingPackage: the package that downloads is not installed.
        UnreadableFile: the file has not the published digest, or a folder cannot be written.
    """
    path = weights_cache.cached_path(checkpoint)
    if path is None:
        path = _downloaded(checkpoint, progress)
    new = checkpoint.sha256 is None and checkpoint.sha256_prefix is None and weights_cache.seen_file(checkpoint) is None
    digest = weights_cache.checked_digest(checkpoint, path)
    if new:
        progress(f"{checkpoint.name}: no digest is published; what came is noted: sha256 {digest}")
    elif checkpoint.sha256 is None and checkpoint.sha256_prefix is not None:
        progress(f"{checkpoint.name}: of its digest only {checkpoint.sha256_prefix}… is published, which agrees")
    return OfficialFile(checkpoint=checkpoint, path=path, sha256=digest)


def _downloaded(checkpoint: Checkpoint, progress: Progress) -> Path:
    forbidden = refused_download.forbidden_by()
    if forbidden is not None:
        raise refused_download.failed(checkpoint, f"{forbidden} forbids it")
    if checkpoint.hub is None and checkpoint.url is None:
        raise refused_download.failed(checkpoint, "it has no address of its own")
    by_hub = checkpoint.hub is not None
    packages.require([HUB_PACKAGE if by_hub else URL_PACKAGE])
    size = units.size_bytes(checkpoint.size_bytes) if checkpoint.size_bytes is not None else "size not known"
    progress(f"downloading {refused_download.address(checkpoint)} ({size}, {checkpoint.licence})")
    if by_hub:
        return registry.load("vitdeploy.models.from_hub:download")(checkpoint)
    return registry.load("vitdeploy.models.from_url:download")(checkpoint, progress=progress)
