"""The file that a verb writes: its default name, refused before any work where it would overwrite another one."""

import time
from pathlib import Path

from vitdeploy.errors import UsageError
from vitdeploy.results import provenance


def new_path(folder: str, *words: str) -> Path:
    """A name that no earlier file has: ``runs/duel-local-20260131-235959.json``."""
    return Path(folder) / f"{'-'.join((*words, time.strftime('%Y%m%d-%H%M%S')))}.json"


def checked(out: Path | None, default: Path, *, resume: bool = False, what: str = "the run file") -> Path:
    """``out``, else ``default``.

    Raises:
        UsageError: the file exists and is not resumed, or the one to resume is not named.
    """
    if resume and out is None:
        raise UsageError(f"--resume needs {what}", "Name it with --out.")
    provenance.check_out(out or default, resume=resume)
    return out or default
