"""Where the time of one inference goes: one job in (JSON on stdin), nanoseconds by operator type out (JSON on stdout).

    python -m vitdeploy.benchmarks.operator_times < job.json

A run with the runtime's own profiler, never a timed one. Standard library and numpy only, beside the runtime: the
agent carries it.
"""

import importlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from vitdeploy.benchmarks import inputs, worker
from vitdeploy.errors import VitdeployError
from vitdeploy.runtimes.session import ProfiledSession, Runtime, SessionOptions

RUNS = 12
"""Inferences; the first one, which is slow, is left out of the profile or has no weight in its medians."""


def measure(file: str, manifest: Mapping[str, Any], runtime: str, threads: int) -> dict[str, int]:
    """Operator type → nanoseconds of an inference; empty where the runtime tells none.

    Raises:
        ToolchainFailed: the runtime refuses the file.
    """
    module = cast("Runtime", importlib.import_module(runtime))
    with module.open_session(Path(file), manifest, SessionOptions(threads=threads, profile=True)) as session:
        feeds = inputs.make_one(session.inputs, 0)
        for _ in range(RUNS):
            session.put(feeds)
            session.run()
            session.wait()
        return dict(session.operator_ns()) if isinstance(session, ProfiledSession) else {}


def main() -> int:
    """Answer the job on stdin; returns the exit code."""
    reply_to = os.dup(1)  # frameworks print to file descriptor 1 from native code
    os.dup2(2, 1)
    worker.die_with_parent()
    job: dict[str, Any] = json.load(sys.stdin)
    try:
        reply: dict[str, Any] = {"operators": measure(**job)}
    except VitdeployError as error:
        reply = {"error": error.message}
    with os.fdopen(reply_to, "w") as stream:
        json.dump(reply, stream)
    return 0


if __name__ == "__main__":
    sys.exit(main())
