"""Baselines in a directory of the user's repository: one accepted run a device and suite, with who, why and digests.

    DIR/DEVICE/SUITE.json            the run, byte for byte as it was accepted
    DIR/DEVICE/SUITE.accepted.json   who, when, why, the commit, and the digests of the run and of the artifacts

# Acceptance schema history (newest first):
#   1  first version
"""

import contextlib
import fcntl
import getpass
import hashlib
import os
import time
from collections import Counter
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import ClassVar

import msgspec

from vitdeploy import documents
from vitdeploy.catalog.shown import Shown
from vitdeploy.errors import NothingToCompare, NoValidMeasurement, UnreadableFile, UsageError
from vitdeploy.results import record
from vitdeploy.results.provenance import git
from vitdeploy.results.quantities import SchemaNumber, Utc
from vitdeploy.results.record import Run

SCHEMA = 1
DEFAULT_ROOT = Path("vitdeploy-baselines")
"""Source: contract, "Commands"."""

BY_HAND = "models-by-hand"
"""Stands for the suite where a run has none."""


class Acceptance(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """That somebody made a run the baseline, and why."""

    schema: SchemaNumber
    device: str
    suite: str
    run_id: str
    run_sha256: str
    accepted_utc: Utc
    who: str
    because: str
    commit: str | None
    """Of the repository that the baselines lie in."""
    artifacts: Mapping[str, str]
    """Case → SHA-256 of the file that was timed, for the cases whose figure is valid."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Baseline(Shown):
    """A run that was accepted, and its acceptance."""

    shown_by: ClassVar = "vitdeploy.cli.compare:accept_output"
    run: Run
    acceptance: Acceptance
    path: Path
    replaced: Acceptance | None = None
    """Of the baseline that this one took the place of."""

    def __fspath__(self) -> str:
        """The accepted run file: the outcome stands where a path is expected."""
        return str(self.path)


def accept(path: Path, *, because: str, root: Path = DEFAULT_ROOT) -> Baseline:
    """Make the run at ``path`` the baseline of its device and suite; an earlier one is replaced.

    Raises:
        UsageError: no reason is given.
        NoValidMeasurement: no row of the run has a figure that may be quoted.
        UnreadableFile: the run cannot be read, or the directory cannot be written.
    """
    if not because.strip():
        raise UsageError("a baseline needs a reason", "Say with --because why these figures are right.")
    if because.encode(errors="ignore").decode() != because:
        raise UsageError("--because holds bytes that are no UTF-8", "Write the reason in UTF-8.")
    data = _bytes_of(path)
    run = record.parse(data, str(path))
    if run.duel is not None:
        raise UsageError(
            f"run {run.id} is a duel, whose sides are compared with each other: no run can be compared with it",
            "Accept a run of `vitdeploy bench`.",
        )
    names = names_of(run)
    valid = {
        name: result.artifact_sha256 or ""
        for name, result in zip(names, run.results, strict=True)
        if result.status == "valid"
    }
    if not valid:
        reasons = "; ".join(f"{r.case.name}: {', '.join(x.code for x in r.reasons)}" for r in run.results)
        raise NoValidMeasurement(f"no figure of {path} may become a baseline: {reasons}", "Measure it again.")
    place = place_of(run, root)
    acceptance = Acceptance(
        schema=SCHEMA,
        device=run.device.name,
        suite=suite_of(run),
        run_id=run.id,
        run_sha256=hashlib.sha256(data).hexdigest(),
        accepted_utc=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        who=_who(),
        because=because.strip(),
        commit=git("rev-parse", "HEAD") or None,
        artifacts=valid,
    )
    replaced = _put(place, data, acceptance)
    return Baseline(run=run, acceptance=acceptance, path=place, replaced=replaced)


def _put(place: Path, data: bytes, acceptance: Acceptance) -> Acceptance | None:
    """Put a run and its acceptance in their place; returns the acceptance that was there.

    Both are written beside it first, so that a full disk leaves what was there. The waiting acceptance is renamed last:
    a crash between the two renames leaves a run that `find` knows by it. Two that accept at once wait for each other.

    Raises:
        UnreadableFile: the directory cannot be written.
    """
    waiting_run = place.with_name(f".{place.name}.next")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with locked_folder(place.parent):
            replaced = _current(place)
            documents.write_bytes(waiting_run, data)
            documents.write(_waiting(place), acceptance)
            waiting_run.replace(place)
            _waiting(place).replace(acceptance_of(place))
    except OSError as error:
        raise documents.cannot_write(place, error) from error
    return replaced.acceptance if replaced else None


@contextlib.contextmanager
def locked_folder(folder: Path) -> Generator[None]:
    """Hold a folder against other processes that hold it, without a file of its own in it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _current(path: Path) -> Baseline | None:
    """The baseline that lies at ``path``; None where there is none, or none that is whole."""
    try:
        return _read(path)
    except (UnreadableFile, NothingToCompare):
        return None


def _read(path: Path) -> Baseline:
    for waits_s in (0.0, 0.05, 0.2):  # another process may be between its two renames
        time.sleep(waits_s)
        data = _bytes_of(path)
        digest = hashlib.sha256(data).hexdigest()
        acceptance = _acceptance(path, digest)
        if digest == acceptance.run_sha256:
            return Baseline(run=record.parse(data, str(path)), acceptance=acceptance, path=path)
    raise UnreadableFile(
        f"{path} is not what {acceptance.who} accepted: sha256 {digest[:12]}…, not {acceptance.run_sha256[:12]}…",
        "Restore the file, or accept a run again.",
    )


def _acceptance(path: Path, digest: str) -> Acceptance:
    """The acceptance beside a run; the one on its way where that is of this very run."""
    waiting = _waiting(path)
    if _exists(waiting):
        with contextlib.suppress(UnreadableFile):
            acceptance = documents.read(waiting, Acceptance, schema=SCHEMA, what="acceptance")
            if acceptance.run_sha256 == digest:
                return acceptance
    return documents.read(acceptance_of(path), Acceptance, schema=SCHEMA, what="acceptance")


def _exists(path: Path) -> bool:
    """Whether there is a file; a name that no file can have has none."""
    try:
        return path.exists()
    except OSError:
        return False


def _bytes_of(path: Path) -> bytes:
    """The bytes of a run, read once: what is checked is what is kept."""
    return documents.read_bytes(path, what="run")


def _waiting(path: Path) -> Path:
    """An acceptance on its way into its place."""
    return path.with_name(f".{acceptance_of(path).name}.next")


def names_of(run: Run) -> list[str]:
    """A name for each row, unique in the run: with its device, threads or number where the case's own is not."""
    names = [result.case.name for result in run.results]
    for words in (
        [f"on {result.case.device}" for result in run.results],
        [f"{result.case.threads} threads" for result in run.results],
        [f"row {number}" for number in range(1, len(names) + 1)],
    ):
        counts = Counter(names)
        names = [f"{name}, {word}" if counts[name] > 1 else name for name, word in zip(names, words, strict=True)]
    return names


def find(run: Run, root: Path = DEFAULT_ROOT) -> Baseline:
    """The baseline for ``run``'s device and suite.

    Raises:
        NothingToCompare: there is none.
        UnreadableFile: it is not what was accepted.
    """
    path = place_of(run, root)
    if not _exists(path) or not (_exists(acceptance_of(path)) or _exists(_waiting(path))):
        raise NothingToCompare(
            f"no baseline of suite {suite_of(run)} on {run.device.name} in {root}",
            "Make one with `vitdeploy accept RUN.json --because TEXT`.",
        )
    return _read(path)


def suite_of(run: Run) -> str:
    """The suite's name, or what stands for it."""
    return run.protocol.suite or BY_HAND


def place_of(run: Run, root: Path) -> Path:
    """Where the baseline of ``run``'s device and suite lies.

    Raises:
        UnreadableFile: the run's names would lead out of the directory.
    """
    for name in (run.device.name, suite_of(run)):
        if not name or name.startswith(".") or "/" in name or "\\" in name or "\0" in name:
            raise UnreadableFile(f"{name!r} is no name of a device or suite", "Check where the run comes from.")
    return root / run.device.name / f"{suite_of(run)}.json"


def acceptance_of(path: Path) -> Path:
    """The acceptance beside a baseline."""
    return path.with_name(f"{path.stem}.accepted.json")


def _who() -> str:
    name, mail = git("config", "user.name"), git("config", "user.email")
    if name or mail:
        return " ".join(word for word in (name, f"<{mail}>" if mail else "") if word)
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "unknown"
