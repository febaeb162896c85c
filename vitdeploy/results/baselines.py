"""Baselines in a directory of the user's repository: one accepted run a device and suite, with who, why and digests.

    DIR/DEVICE/SUITE.json            the run, byte for byte as it was accepted
    DIR/DEVICE/SUITE.accepted.json   who, when, why, the commit, and the digests of the run and of the artifacts

# Acceptance schema history (newest first):
#   1  first version
"""

import getpass
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import msgspec

from vitdeploy import documents
from vitdeploy.artifacts import manifest
from vitdeploy.errors import NothingToCompare, NoValidMeasurement, UnreadableFile, UsageError
from vitdeploy.results import record
from vitdeploy.results.provenance import git
from vitdeploy.results.record import Run

SCHEMA = 1
DEFAULT_ROOT = Path("vitdeploy-baselines")
"""Source: contract, "Commands"."""

BY_HAND = "models-by-hand"
"""Stands for the suite where a run has none."""


class Acceptance(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """That somebody made a run the baseline, and why."""

    schema: int
    device: str
    suite: str
    run_id: str
    run_sha256: str
    accepted_utc: str
    who: str
    because: str
    commit: str | None
    """Of the repository that the baselines lie in."""
    artifacts: Mapping[str, str]
    """Case → SHA-256 of the file that was timed, for the cases whose figure is valid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """A run that was accepted, and its acceptance."""

    run: Run
    acceptance: Acceptance
    path: Path


def accept(path: Path, *, because: str, root: Path = DEFAULT_ROOT) -> Baseline:
    """Make the run at ``path`` the baseline of its device and suite; an earlier one is replaced.

    Raises:
        UsageError: no reason is given.
        NoValidMeasurement: no row of the run has a figure that may be quoted.
        UnreadableFile: the run cannot be read, or the directory cannot be written.
    """
    if not because.strip():
        raise UsageError("a baseline needs a reason", "Say with --because why these figures are right.")
    run = record.load(path)
    valid = {r.case.name: r.artifact_sha256 or "" for r in run.results if r.status == "valid"}
    if not valid:
        reasons = "; ".join(f"{r.case.name}: {', '.join(x.code for x in r.reasons)}" for r in run.results)
        raise NoValidMeasurement(f"no figure of {path} may become a baseline: {reasons}", "Measure it again.")
    place = place_of(run, root)
    acceptance = Acceptance(
        schema=SCHEMA,
        device=run.device.name,
        suite=suite_of(run),
        run_id=run.id,
        run_sha256=manifest.digest_of(path),
        accepted_utc=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        who=_who(),
        because=because.strip(),
        commit=git("rev-parse", "HEAD") or None,
        artifacts=valid,
    )
    # The acceptance goes first out of the way and comes last: a crash between leaves no baseline, never a mixed one.
    acceptance_of(place).unlink(missing_ok=True)
    documents.write_bytes(place, path.read_bytes())
    documents.write(acceptance_of(place), acceptance)
    return Baseline(run=run, acceptance=acceptance, path=place)


def find(run: Run, root: Path = DEFAULT_ROOT) -> Baseline:
    """The baseline for ``run``'s device and suite.

    Raises:
        NothingToCompare: there is none.
        UnreadableFile: it is not what was accepted.
    """
    path = place_of(run, root)
    if not path.exists() or not acceptance_of(path).exists():
        raise NothingToCompare(
            f"no baseline of suite {suite_of(run)} on {run.device.name} in {root}",
            "Make one with `vitdeploy accept RUN.json --because TEXT`.",
        )
    acceptance = documents.read(acceptance_of(path), Acceptance, schema=SCHEMA, what="acceptance")
    if (digest := manifest.digest_of(path)) != acceptance.run_sha256:
        raise UnreadableFile(
            f"{path} is not what {acceptance.who} accepted: sha256 {digest[:12]}…, not {acceptance.run_sha256[:12]}…",
            "Restore the file, or accept a run again.",
        )
    return Baseline(run=record.load(path), acceptance=acceptance, path=path)


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
