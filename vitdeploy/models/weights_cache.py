"""Files of official checkpoints on this machine: where each lies or would lie, and what was seen of its bytes.

Two places are looked at. The first is a folder of our own, one a checkpoint, for files that were put there by hand and
for those that a plain address gives. The second is the cache of huggingface_hub, which other programs share; its layout
is read here without that package, so that what lies there serves a machine that does not have it.

Source: https://huggingface.co/docs/huggingface_hub/guides/manage-cache, "Understand caching".
"""

import os
import re
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath

import msgspec
import platformdirs

from vitdeploy import documents
from vitdeploy.artifacts.manifest import digest_of
from vitdeploy.catalog.checkpoints import Checkpoint
from vitdeploy.errors import UnreadableFile

DEFAULT_REVISION = "main"
"""Of a hub repository. Source: huggingface_hub, ``constants.DEFAULT_REVISION``."""

_COMMIT = re.compile(r"[0-9a-f]{40}")
_SEEN = "seen.json"


class SeenFile(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen of a file whose digest nobody has published."""

    schema: int = 1
    sha256: str
    size_bytes: int
    seen_utc: str


def own_folder(checkpoint: Checkpoint) -> Path:
    """Our own folder of a checkpoint."""
    return Path(platformdirs.user_cache_dir("vitdeploy")) / "weights" / checkpoint.name


def own_path(checkpoint: Checkpoint) -> Path:
    """Where a file is put by hand, and where one from a plain address is kept."""
    return own_folder(checkpoint) / PurePosixPath(checkpoint.file).name


def hub_cache() -> Path:
    """The folder of huggingface_hub's cache, from the variables that it reads."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if os.environ.get(name):
            return _expanded(os.environ[name])
    if os.environ.get("HF_HOME"):
        return _expanded(os.environ["HF_HOME"]) / "hub"
    return _expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface" / "hub"


def cached_path(checkpoint: Checkpoint) -> Path | None:
    """The file of a checkpoint on this machine, its bytes not looked at; None: it is not here."""
    return next((path for path in _places(checkpoint) if path.is_file()), None)


def checked_digest(checkpoint: Checkpoint, path: Path) -> str:
    """The digest of a file, which is the published one, or the one that was seen first.

    The first file of a checkpoint without a published digest is noted in `own_folder`; later ones are compared with it.

    Raises:
        UnreadableFile: the file is another one, or cannot be read.
    """
    digest = digest_of(path)
    if checkpoint.sha256 is not None:
        _compare(path, digest, checkpoint.sha256, "the published one is")
    elif checkpoint.sha256_prefix is not None:
        _compare(path, digest, checkpoint.sha256_prefix, "the published one begins with")
    elif (seen := seen_file(checkpoint)) is not None:
        _compare(path, digest, seen.sha256, f"no digest is published, and on {seen.seen_utc[:10]} it was")
    else:
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        _note(checkpoint, SeenFile(sha256=digest, size_bytes=path.stat().st_size, seen_utc=now))
    return digest


def seen_file(checkpoint: Checkpoint) -> SeenFile | None:
    """What was seen of a checkpoint without a published digest; None: nothing yet."""
    path = own_folder(checkpoint) / _SEEN
    if not path.is_file():
        return None
    return documents.read(path, SeenFile, schema=1, what="seen checkpoint")


def _note(checkpoint: Checkpoint, seen: SeenFile) -> None:
    documents.write(own_folder(checkpoint) / _SEEN, seen)


def _compare(path: Path, digest: str, expected: str, what: str) -> None:
    if not digest.startswith(expected.lower()):
        raise UnreadableFile(
            f"{path} is not the official checkpoint: its sha256 is {digest}, {what} {expected}",
            "Remove that file and run the command again, or name the file that you trust with --weights FILE.",
        )


def _places(checkpoint: Checkpoint) -> Iterator[Path]:
    """All paths that the file may have, the preferred first."""
    for name in (checkpoint.file, *checkpoint.other_names):
        yield own_folder(checkpoint) / PurePosixPath(name).name
    if checkpoint.hub is None:
        return
    repository = hub_cache() / f"models--{checkpoint.hub.replace('/', '--')}"
    commit = checkpoint.revision or DEFAULT_REVISION
    if not _COMMIT.fullmatch(commit):
        try:
            commit = (repository / "refs" / commit).read_text().strip()
        except (OSError, UnicodeDecodeError):
            return
    if _COMMIT.fullmatch(commit):
        yield repository / "snapshots" / commit / checkpoint.file


def _expanded(text: str) -> Path:
    return Path(os.path.expandvars(text)).expanduser()
