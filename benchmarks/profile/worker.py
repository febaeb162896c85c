"""Operator times of an artifact: one job in (JSON on stdin), nanoseconds by operator type out (JSON on stdout).

    python -m vitdeploy.benchmarks.profile.worker < job.json

A run with the runtime's own profiler, never a timed one. Standard library and numpy only, beside the runtime: the
agent carries it.
"""

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

from vitdeploy.images import inputs
from vitdeploy.processes import child_process
from vitdeploy.runtimes.session import ProfiledSession, Runtime, SessionOptions

RUNS = 12
"""Inferences; the first one, which is slow, is left out of the profile or has no weight in its medians."""


def measure(
    file: str, manifest: Mapping[str, Any], runtime: str, threads: int, device: Literal["cpu", "cuda"]
) -> dict[str, int]:
    """Operator type → nanoseconds of an inference; empty where the runtime tells none.

    Raises:
        ToolchainFailed: the runtime refuses the file.
    """
    module = cast("Runtime", importlib.import_module(runtime))
    options = SessionOptions(threads=threads, device=device, profile=True)
    with module.open_session(Path(file), manifest, options) as session:
        feeds = inputs.make_input(session.inputs, 0)
        for _ in range(RUNS):
            session.put(feeds)
            session.run()
            session.wait()
        return dict(session.operator_ns()) if isinstance(session, ProfiledSession) else {}


if __name__ == "__main__":
    sys.exit(child_process.answer(lambda job: measure(**job)))
