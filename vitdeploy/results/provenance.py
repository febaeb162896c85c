"""Where a run comes from: version and commit of vitdeploy, an id, and a file that is not overwritten."""

import os
import subprocess
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from vitdeploy._version import __version__
from vitdeploy.errors import UsageError
from vitdeploy.results import consistency, record
from vitdeploy.results.record import Run


def check_out(out: Path, *, resume: bool, replaceable: bool = False) -> None:
    """Refuse, before any work, to overwrite a run; ``replaceable``: the verb can, when asked to.

    Raises:
        UsageError: ``out`` exists and is not to be resumed.
    """
    if out.exists() and not resume:
        force = ", replace it by --force" if replaceable else ""
        raise UsageError(f"{out} exists", f"Go on with it by --resume{force}, or choose another place with --out.")


def new_run(device: record.RunDevice, protocol: record.Protocol, started: datetime, *, host: Mapping[str, Any]) -> Run:
    """A run that has no results yet, with an id of its own; ``host``: the facts of the machine that asks.

    Raises:
        UsageError: this machine's clock is wrong: the run would be refused wherever it is read.
    """
    if why := consistency.moment_fault(started.isoformat(timespec="seconds")):
        raise UsageError(f"the clock of this machine is wrong: {why}", "Set the clock.")
    return Run(
        schema=record.SCHEMA,
        id=f"{started:%Y%m%dT%H%M%S}-{os.urandom(3).hex()}",
        started_utc=started.isoformat(timespec="seconds"),
        vitdeploy=version(),
        device=device,
        host=host,
        protocol=protocol,
        results=(),
        commit=os.environ.get("GITHUB_SHA") or git("rev-parse", "HEAD") or None,
    )


def version() -> record.Version:
    """This vitdeploy, and its commit where it runs from a checkout."""
    root = Path(__file__).parents[2]
    commit = git("rev-parse", "HEAD", root=root) if (root / ".git").exists() else None
    changes = None if commit is None else git("status", "--porcelain", root=root)
    return record.Version(version=__version__, commit=commit or None, dirty=None if changes is None else bool(changes))


def git(*words: str, root: Path | None = None) -> str | None:
    """What ``git WORDS`` prints in ``root``, else in the current folder; None where it fails or is not installed."""
    try:
        command = ["git", "--no-optional-locks", *words]  # killed, it would leave the lock of the user's index
        process = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return process.stdout.strip() if process.returncode == 0 else None
