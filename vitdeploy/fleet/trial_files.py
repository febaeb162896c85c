"""Finished trials, one file each, named by the trial's id: what a sweep has, whatever becomes of those who run it."""

import contextlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import platformdirs

from vitdeploy import documents
from vitdeploy.results.record import Trial

_ID = re.compile(r"^(?P<run>[\w.-]+)/(?P<place>\d+)/(?P<index>\d+)$", re.ASCII)

REMOVED_AFTER_S = 30 * 86400.0
"""A worker's folder of a run that nobody came back for is removed after so long: a month of holidays."""


class TrialFiles:
    """A folder of trials of one run. A file is there whole or not at all, and the first one of an id stays."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, trial: Trial) -> bool:
        """Write a trial down; False: one of this id is there, which counts. A file that is none is replaced.

        Raises:
            UnreadableFile: the folder cannot be written.
        """
        path = self._path(trial.id)
        part: Path | None = None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=self.folder, prefix=f".{path.name}.", suffix=".part")
            part = Path(name)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(msgspec.json.encode(trial))
                stream.flush()
                os.fsync(stream.fileno())
            placed = _place(part, path)
            if not placed and self.find(trial.id) is None:
                part.replace(path)
                placed = True
        except OSError as error:
            raise documents.cannot_write(path, error) from error
        finally:
            if part is not None:
                with contextlib.suppress(OSError):
                    part.unlink(missing_ok=True)
        return placed

    def find(self, trial_id: str) -> Trial | None:
        """The trial of this id; None where there is none, or a file that is not one."""
        try:
            trial = msgspec.json.decode(self._path(trial_id).read_bytes(), type=Trial)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        return trial if trial.id == trial_id else None

    def trials(self, run_id: str) -> Iterator[Trial]:
        """All readable trials of a run, in no order."""
        for path in self.folder.glob("*.json"):
            place, _, index = path.stem.partition("-")
            if place.isdigit() and index.isdigit() and (trial := self.find(f"{run_id}/{place}/{index}")) is not None:
                yield trial

    def remove(self) -> None:
        """Remove the folder and all that is in it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, trial_id: str) -> Path:
        matched = _ID.match(trial_id)
        assert matched is not None, f"{trial_id} is no id of a trial"
        return self.folder / f"{matched['place']}-{matched['index']}.json"


def client_folder(run: Path) -> Path:
    """The client's folder of the run file ``run``."""
    return run.with_suffix(".trials")


def worker_folder(run_id: str) -> Path:
    """The folder of a worker's host, for the trials that it took for a run."""
    assert re.fullmatch(r"[\w.-]+", run_id, re.ASCII), run_id
    return _worker_root() / run_id


def remove_old() -> None:
    """Remove the folders of a worker's host that nobody came back for."""
    before = time.time() - REMOVED_AFTER_S
    for folder in _worker_root().glob("*"):
        with contextlib.suppress(OSError):
            if folder.stat().st_mtime < before:
                shutil.rmtree(folder, ignore_errors=True)


def _worker_root() -> Path:
    return Path(platformdirs.user_cache_dir("vitdeploy")) / "fleet"


def _place(part: Path, path: Path) -> bool:
    """Give a written file its name, unless that is taken."""
    try:
        os.link(part, path)
    except FileExistsError:
        return False
    except OSError:  # a file system without links: two that come at the same moment replace each other, whole
        if path.exists():
            return False
        part.replace(path)
    return True
