"""The store of finished artifacts: what was made once from the same ingredients is not made again.

An entry is a folder named by the digest of everything that changes its bytes (model, weights, options,
tool versions, our own source). It holds the files and their manifest, whose digests are checked on every use.
"""

import contextlib
import errno
import fcntl
import math
import os
import shutil
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from vitdeploy import documents
from vitdeploy.artifacts.manifest import MANIFEST, Artifact, Manifest, open_artifact
from vitdeploy.errors import UnreadableFile, UsageError

_PART = ".part"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreEntry:
    """One stored artifact."""

    key: str
    folder: Path
    manifest: Manifest
    size_bytes: int
    used_s: float
    """Time of the last use, seconds since the epoch."""


def default_root() -> Path:
    """Where the store lies: below the user's cache folder."""
    return Path(platformdirs.user_cache_dir("vitdeploy")) / "store"


class Store:
    """Artifacts by the digest of what they were made from."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or default_root()

    def find(self, key: str) -> Manifest | None:
        """The manifest stored under ``key``, if every byte of the entry is as it was; a damaged one is removed."""
        folder = self.folder(key)
        if not (folder / MANIFEST).is_file():
            return None
        try:
            manifest = open_artifact(folder).manifest
        except UnreadableFile:
            shutil.rmtree(folder, ignore_errors=True)
            return None
        with contextlib.suppress(OSError):
            os.utime(folder / MANIFEST)
        return manifest

    def workplace(self, key: str) -> Path:
        """A fresh folder to make the entry in; `add` takes it over, `discard` removes it.

        It is locked until it is given back, or this process ends: `sweep` removes those that nobody holds.
        """
        self.sweep()
        folder = self.root / f"{key}-{os.getpid()}-{threading.get_ident()}{_PART}"
        try:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            with contextlib.suppress(OSError):  # file systems without locks: what is left there is never swept
                _held[folder] = _locked(folder)
            folder.mkdir(exist_ok=True)  # somebody's `sweep` may have come before the lock
        except OSError as error:
            raise documents.cannot_write(folder, error) from error
        return folder

    def sweep(self) -> None:
        """Remove workplaces that killed processes left behind; those that are worked in stay."""
        for folder in self.root.glob(f"*{_PART}"):
            with contextlib.suppress(OSError):  # worked in, or swept meanwhile
                lock = _locked(folder)
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)

    def add(self, key: str, workplace: Path, *, replace: bool = False) -> None:
        """Take over a finished folder of `workplace` as the entry of ``key``, in one rename.

        Args:
            replace: put it in the place of an entry that is there. Without it, what another process has made of the
                same ingredients meanwhile stays, since somebody may be reading it, and ours is left to `discard`.
        """
        folder = self.folder(key)
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            if replace:
                shutil.rmtree(folder, ignore_errors=True)
            if not _moved(workplace, folder) and self.find(key) is None:  # `find` has removed what was damaged
                workplace.rename(folder)
        except OSError as error:
            raise documents.cannot_write(folder, error) from error

    def deliver(self, key: str, out: Path) -> Artifact:
        """Put the entry's files into ``out``: the model first, the manifest last, each whole or not at all."""
        source = self.folder(key)
        manifest = open_artifact(source, check_bytes=False).manifest
        try:
            out.mkdir(parents=True, exist_ok=True)
            if not _same(source / MANIFEST, out / MANIFEST):
                (out / MANIFEST).unlink(missing_ok=True)
            for name in (*manifest.digests, MANIFEST):
                _place(source / name, out / name)
        except OSError as error:
            raise documents.cannot_write(out, error) from error
        return Artifact(out, manifest)

    def discard(self, workplace: Path) -> None:
        """Remove a workplace whose work failed, and give back one that `add` took over."""
        shutil.rmtree(workplace, ignore_errors=True)
        lock = _held.pop(workplace, None)
        if lock is not None:
            os.close(lock)

    def entries(self) -> list[StoreEntry]:
        """All readable entries, the last used first."""
        entries: list[StoreEntry] = []
        for path in self.root.glob(f"??/*/{MANIFEST}"):
            with contextlib.suppress(UnreadableFile, OSError):
                entries.append(
                    StoreEntry(
                        key=path.parent.name,
                        folder=path.parent,
                        manifest=open_artifact(path.parent, check_bytes=False).manifest,
                        size_bytes=sum(file.stat().st_size for file in path.parent.iterdir()),
                        used_s=path.stat().st_mtime,
                    )
                )
        return sorted(entries, key=lambda entry: -entry.used_s)

    def holding(self, sha256: str | None, target: str) -> Artifact | None:
        """The stored artifact of a target whose model file has this digest, every byte checked; None: there is none.

        The target counts, because an engine that is still to be built lies there as its graph, byte by byte.
        """
        for entry in self.entries():
            same = (entry.manifest.sha256, entry.manifest.target) == (sha256, target)
            if same and self.find(entry.key) is not None:
                return Artifact(entry.folder, entry.manifest)
        return None

    def collect(self, *, older_than_days: float = 0.0, dry_run: bool = False) -> list[StoreEntry]:
        """Remove the entries that were not used for so many days, and abandoned workplaces; returns the entries.

        Raises:
            UsageError: a number of days that is none.
            UnreadableFile: an entry cannot be removed; the others are.
        """
        if not 0 <= older_than_days < math.inf:
            raise UsageError(f"--older-than {older_than_days:g} is no number of days", "Give 0 or more.")
        before = time.time() - older_than_days * 86400
        gone = [entry for entry in self.entries() if entry.used_s <= before]
        if not dry_run:
            for entry in gone:
                shutil.rmtree(entry.folder, ignore_errors=True)
            self.sweep()
            _check_removed(gone)
        return gone

    def folder(self, key: str) -> Path:
        """Where the entry of ``key`` lies, if there is one."""
        return self.root / key[:2] / key


_held: dict[Path, int] = {}
"""Workplaces of this process → the open, locked folder."""


def _check_removed(entries: Sequence[StoreEntry]) -> None:
    kept = [entry for entry in entries if entry.folder.exists()]
    if kept:
        raise UnreadableFile(
            f"{len(kept)} of {len(entries)} stored artifacts cannot be removed, {kept[0].folder} among them",
            "Check the folder's permissions, and that its disk can be written to.",
        )


def _locked(folder: Path) -> int:
    """The folder, open and locked; the lock ends with the process.

    Raises:
        BlockingIOError: another process works in it.
        OSError: it is gone, or its file system has no locks.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _moved(workplace: Path, folder: Path) -> bool:
    """Rename, unless an entry is there."""
    try:
        workplace.rename(folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return False
    return True


def _place(source: Path, target: Path) -> None:
    """A hard link where the file system has them, else a copy; renamed into place."""
    if _same(source, target):
        return
    part = target.with_name(f".{target.name}.{os.getpid()}{_PART}")
    try:
        part.unlink(missing_ok=True)
        try:
            os.link(source, part)
        except OSError:
            shutil.copyfile(source, part)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _same(source: Path, target: Path) -> bool:
    return target.exists() and source.samefile(target)
