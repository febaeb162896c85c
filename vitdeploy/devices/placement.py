"""Which core the calling thread runs on, and starting it on another one (Linux); it is never kept there.

Standard library only: the worker carries it.
"""

import os
from pathlib import Path

from vitdeploy.devices.system_files import text_of

_PROCESSOR = 36
"""Place of the field ``processor``, counted behind the name. Source: proc(5), /proc/pid/stat, field 39."""


def core() -> int | None:
    """The core that the calling thread is on; None: the system does not tell."""
    fields = text_of(Path("/proc/thread-self/stat")).rpartition(")")[2].split()
    return int(fields[_PROCESSOR]) if len(fields) > _PROCESSOR else None


def start_on(wanted: int) -> None:
    """Have the calling thread go on there; from then on the scheduler may move it as before."""
    if not hasattr(os, "sched_setaffinity"):
        return
    allowed = os.sched_getaffinity(0)
    if wanted not in allowed:
        return
    os.sched_setaffinity(0, {wanted})
    os.sched_setaffinity(0, allowed)
