"""Where litert-torch is: in an interpreter of its own if need be.

It wants packages that do not live beside tensorflow. It is asked from outside, in a process; nothing of it is
imported here.
"""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

from vitdeploy.errors import MissingPackage

LITERT_TORCH = "litert-torch"
"""The distribution's name."""

LITERT_TORCH_PYTHON = "VITDEPLOY_LITERT_TORCH_PYTHON"
"""The environment variable that names the interpreter which has it, where that is not this one."""

LIMIT_S = 300.0
"""An import that takes longer is as good as none. On two busy cores it takes 20 s."""

_ADVICE = (
    "Run `python3.11 -m venv litert && litert/bin/pip install litert-torch`, "
    f"and set {LITERT_TORCH_PYTHON} to litert/bin/python."
)


def litert_torch() -> Path:
    """The interpreter to ask for litert-torch: the one that is named, else this one; it may not have it.

    Raises:
        MissingPackage: the one that is named is no program.
    """
    named = os.environ.get(LITERT_TORCH_PYTHON)
    if named and not os.access(named, os.X_OK):
        raise MissingPackage(f"{LITERT_TORCH_PYTHON} names {named}, which is no program", _ADVICE)
    return Path(named or sys.executable)


def require_litert_torch() -> None:
    """See that litert-torch imports where it is said to be.

    Raises:
        MissingPackage: it does not, with the reason in a few words.
    """
    python = litert_torch()
    failed = _python_output(python, "import litert_torch")[1]
    if failed is not None:
        raise MissingPackage(f"missing here: litert_torch, in {python} ({failed})", _ADVICE)


def litert_torch_version() -> str | None:
    """Its version, from metadata alone; None where it is not installed.

    Raises:
        MissingPackage: the interpreter that is named is no program.
    """
    return _version(litert_torch())


@cache
def _version(python: Path) -> str | None:
    answer, failed = _python_output(python, f"from importlib.metadata import version; print(version({LITERT_TORCH!r}))")
    return None if failed else answer.strip()


def _python_output(python: Path, code: str) -> tuple[str, str | None]:
    """What the interpreter printed, and why it failed or None."""
    try:
        result = subprocess.run(
            [str(python), "-I", "-c", code],
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return "", f"it takes more than {LIMIT_S:g} s"
    except OSError as error:
        return "", f"{error.strerror}"
    last = (result.stderr.strip().splitlines() or [f"exit code {result.returncode}"])[-1]
    return result.stdout, None if result.returncode == 0 else last[:160]
