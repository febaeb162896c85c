"""The file that a verb writes: its default name, refused before any work where it would overwrite another one.

While a verb works, its file is claimed: a lock on a file beside it, which ends with the process however that ends. A
second process that wants the same name is refused at once, and not after it has overwritten the first one's work.
"""

import contextlib
import fcntl
import os
import re
import shutil
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from vitdeploy import documents
from vitdeploy.api.interrupted import Search
from vitdeploy.errors import UsageError
from vitdeploy.processes.progress import Progress, silent
from vitdeploy.results import provenance

_MOST_NAMES = 100
"""Default names that are tried: processes that start within one second."""


def new_path(folder: str, *words: str) -> Path:
    """A name that no earlier file has: ``runs/duel-local-20260131-235959.json``."""
    return Path(folder) / f"{'-'.join((*words, time.strftime('%Y%m%d-%H%M%S')))}.json"


@contextmanager
def claimed(
    out: Path | None,
    default: Path,
    *,
    resume: bool = False,
    force: bool | None = None,
    search: Search | None = None,
    beside: Callable[[Path], Path] | None = None,
    what: str = "the run file",
    progress: Progress = silent,
) -> Generator[Path, None, None]:
    """``out``, else ``default`` (or a name like it that is free), which is this process's own until the block ends.

    Args:
        resume: go on with ``out``; without it, with what ``search`` finds beside ``default``.
        force: an existing ``out`` is replaced when the block ends: what is yielded is then another file beside it,
            whose name the result must not carry on. None: the verb has no such option.
        beside: the file or folder beside the verb's own that holds work of its own.
        progress: is told the name, where none was given.

    Raises:
        UsageError: the file exists and is not resumed or replaced, another process writes it, or the one to resume is
            not named and there is none.
        UnreadableFile: the place cannot be written.
    """
    if searched := resume and out is None:
        out = _interrupted(default, search, what)
    with contextlib.ExitStack() as stack:
        path = out or default
        for number in range(2, _MOST_NAMES):
            documents.check_place(path)
            is_ours = stack.enter_context(_claim(path))
            if is_ours and (out is not None or not path.exists()):
                break
            if out is not None:
                raise UsageError(
                    f"{path} is being written by another process", "Wait for it, or choose another place with --out."
                )
            path = default.with_name(f"{default.stem}-{number}{default.suffix}")
        places = [path, *([beside(path)] if beside else [])]
        replaced = bool(force) and not searched and not path.is_dir() and any(place.exists() for place in places)
        if not replaced:  # under the claim: what another one finished meanwhile counts
            for place in places:
                provenance.check_out(place, resume=resume, replaceable=force is not None)
        if resume and path.exists() and not path.is_file():
            raise UsageError(f"{path} is no file to go on with", "Name the run with --out.")
        if out is None:
            progress(f"writing {path}")
        work = _replacement(path) if replaced else path
        work_places = [work, *([beside(work)] if beside else [])]
        if replaced and not resume:
            for place in work_places:
                _remove(place)  # of a replacement that was interrupted
        try:
            yield work
        except KeyboardInterrupt as interruption:  # whoever shows it can say what to go on with
            interruption.args = (path,) if any(place.exists() for place in work_places) else ()
            raise
        if replaced:
            _replace(work, path)


def _interrupted(default: Path, search: Search | None, what: str) -> Path:
    """The file to go on with where none is named."""
    if search is None:
        raise UsageError(f"--resume needs {what}", "Name it with --out.")
    prefix = re.sub(r"-\d{8}-\d{6}$", "", default.stem)
    path = search(default.parent, prefix)
    if path is None:
        raise UsageError(
            f"--resume: no interrupted run of this workload is in {default.parent}",
            "Name it with --out, or leave --resume out.",
        )
    return path


def _replacement(path: Path) -> Path:
    """Where a run is written that replaces ``path`` once it is whole."""
    return path.with_name(f".{path.stem}.replacement{path.suffix}")


def _replace(work: Path, path: Path) -> None:
    """Put a whole run and what was written beside it (its log, its records) in the place of the one before."""
    others = [file for file in work.parent.iterdir() if file.name.startswith(f"{work.stem}.") and file != work]
    for file in (*others, *([work] if work.exists() else [])):
        place = path.with_name(path.stem + file.name.removeprefix(work.stem))
        if file.is_dir():  # a folder replaces only an empty one
            _remove(place)
        file.replace(place)


def _remove(place: Path) -> None:
    """Remove a file, or a folder with what it holds."""
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


@contextmanager
def _claim(path: Path) -> Generator[bool, None, None]:
    """Hold the claim on ``path``; False: another process holds it."""
    folders = [folder for folder in path.absolute().parents if not folder.exists()]
    mark = path.with_name(documents.beside(path, ".claim"))
    try:
        mark.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _locked(mark)
    except OSError as error:
        raise documents.cannot_write(path, error) from error
    if descriptor is None:
        yield False
        return
    try:
        yield True
    finally:
        with contextlib.suppress(OSError):
            mark.unlink()
        os.close(descriptor)
        with contextlib.suppress(OSError):  # they hold something now, or are another one's as well
            for folder in folders:
                folder.rmdir()


def _locked(mark: Path) -> int | None:
    """The open, locked file; None: another process has it. A lock on a file that was removed meanwhile is no lock."""
    while True:
        descriptor = os.open(mark, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError:  # a file system without locks: nothing can be claimed there
            return descriptor
        with contextlib.suppress(FileNotFoundError):
            if mark.stat().st_ino == os.fstat(descriptor).st_ino:
                return descriptor
        os.close(descriptor)
