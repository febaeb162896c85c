"""Real-time priority of a process while it samples (Linux): other work of the machine waits.

Opt-in, for machines that one's own other work keeps busy. Standard library only: the worker carries it.
"""

import contextlib
import os
from collections.abc import Generator
from pathlib import Path

from vitdeploy.errors import Impossible

LEVEL = 10
"""Of SCHED_FIFO, 1 to 99: above all usual work, below the kernel's own threads. Source: sched(7)."""


@contextlib.contextmanager
def realtime(wanted: bool) -> Generator[None]:
    """Run all threads of this process first-in first-out while the block runs, where ``wanted``.

    Raises:
        Impossible: the system does not allow it; the message says why.
    """
    if not wanted:
        yield
        return
    if not hasattr(os, "sched_setscheduler"):
        raise Impossible("--priority realtime needs Linux", "Leave it out.")
    threads = [int(path.name) for path in Path("/proc/self/task").iterdir()]
    changed: list[int] = []
    try:
        try:
            for thread in threads:
                os.sched_setscheduler(thread, os.SCHED_FIFO, os.sched_param(LEVEL))
                changed.append(thread)
        except OSError as error:
            raise Impossible(
                f"--priority realtime is not allowed here: {error.strerror}",
                "Give the account CAP_SYS_NICE or a limit `rtprio`, or leave it out.",
            ) from error
        yield
    finally:
        for thread in changed:
            with contextlib.suppress(OSError):  # a thread that has ended needs nothing
                os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))
