"""Child processes, the child's side: one JSON job on stdin, one JSON reply on stdout, and death with the parent.

The reply is ``{"reply": …}``, or ``{"error": {"kind", "message", "hint"}}`` with ``kind`` the name of a class in
`vitdeploy.errors`; the exit code is 0 in the first case and that class's in the second. A process that crashes leaves
no reply, and its traceback on stderr. What the parent does is in `child_reply`. Standard library only: the agent
carries this file to devices.
"""

import contextlib
import ctypes
import hashlib
import importlib
import json
import os
import signal
import sys
from collections.abc import Callable, Generator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from vitdeploy.errors import MissingPackage, ToolchainFailed, UnreadableFile, UsageError, VitdeployError

CHUNK_BYTES = 2**20
_answering: list[bool] = []
"""Not empty in a process that answers a job of ours."""
_PR_SET_PDEATHSIG = 1
"""Source: prctl(2)."""


def answer(run: Callable[[Any], Any], kind: type[Any] | None = None) -> int:
    """Do the job on stdin by ``run``, and write its reply; returns the exit code.

    Args:
        run: returns what JSON can hold; an error that a user can meet becomes the reply.
        kind: the dataclass of the job; None: it is handed on as plain JSON, None where stdin is empty.
    """
    # Frameworks print to file descriptor 1 from native code: it becomes stderr, the reply keeps the real one.
    reply_to = os.dup(1)
    os.dup2(2, 1)
    die_with_parent()
    _answering.append(True)
    exit_code = 0
    try:
        job = _read_job()
        reply: dict[str, Any] = {"reply": run(job if kind is None else job_of(kind, job))}
    except VitdeployError as error:
        exit_code = error.exit_code
        reply = {"error": described(error)}
    with os.fdopen(reply_to, "w") as stream:
        stream.write(json.dumps(reply))
    return exit_code


def described(error: VitdeployError) -> dict[str, str]:
    """An error on its way to the parent."""
    return {"kind": type(error).__name__, "message": error.message, "hint": error.hint}


def is_child() -> bool:
    """Whether this process does a job that another process of ours gave it."""
    return bool(_answering)


def job_of(kind: type[Any], job: Any) -> Any:
    """A dataclass from JSON; its values are not looked at.

    Raises:
        UsageError: it is no JSON object, or a field is missing or unknown.
    """
    if not isinstance(job, dict):
        raise UsageError(f"the job is a {type(job).__name__}", "Write a JSON object.")
    try:
        return kind(**job)
    except TypeError as error:
        names = ", ".join(field.name for field in fields(kind))
        raise UsageError(f"the job does not fit: {error}", f"Give {names}.") from error


def die_with_parent() -> None:
    """Have the kernel end this process when the one that started it ends, however it ends (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def check_digests(digests: Mapping[str, str]) -> None:
    """Hold every file of an artifact against its digest.

    Args:
        digests: path → SHA-256.

    Raises:
        UnreadableFile: a file is missing or was changed.
    """
    for name, expected in digests.items():
        digest = hashlib.sha256()
        try:
            with Path(name).open("rb") as stream:
                while chunk := stream.read(CHUNK_BYTES):
                    digest.update(chunk)
        except OSError as error:
            raise UnreadableFile(f"cannot read {name}: {error.strerror}", "Export the model again.") from error
        if digest.hexdigest() != expected:
            raise UnreadableFile(
                f"{name} was changed: sha256 {digest.hexdigest()[:12]}…, the manifest says {expected[:12]}…",
                "Export the model again.",
            )


def import_runtime(name: str) -> Any:
    """Import a runtime by the name of its module.

    Raises:
        MissingPackage: it, or a package it stands on, is not installed here.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingPackage(
            f"the runtime {name.rpartition('.')[2]} cannot be imported: {error}",
            f"Run `{sys.executable} -m pip install {(error.name or name).partition('.')[0]}` on the device.",
        ) from error


@contextlib.contextmanager
def failures_of(runtime: str) -> Generator[None]:
    """Whatever a runtime raises becomes a `ToolchainFailed`; our own errors pass."""
    try:
        yield
    except VitdeployError:
        raise
    except Exception as error:
        name = runtime.rpartition(".")[2]
        raise ToolchainFailed(
            f"{name} failed while it ran: {type(error).__name__}: {error}", "Read the worker's log beside the run file."
        ) from error


def _read_job() -> Any:
    if sys.stdin.isatty():  # a person who looks at what a process without a job replies
        return None
    data = sys.stdin.buffer.read()
    try:
        return json.loads(data) if data.strip() else None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the job is no JSON: {error}", "Write one JSON document to stdin.") from error
