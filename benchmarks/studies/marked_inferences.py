"""Inferences of an artifact on the emulated Arm CPU, each between two marks for the plugin that counts instructions.

Run there by its path, with the agent's zip on the module path: one job in (JSON on stdin), what ran it out. Standard
library and numpy only, beside the runtime.
"""

import contextlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from vitdeploy.images import inputs
from vitdeploy.processes import child_process
from vitdeploy.runtimes.session import Runtime, SessionOptions

MARK = -4242
"""A file descriptor that nobody has. Source: ``count_instructions.c``."""

EMPTY = 3
"""Pairs of marks with nothing between them, before the inferences: what a pair costs itself."""


def measure(file: str, manifest: Mapping[str, Any], runtime: str, calls: int) -> dict[str, str]:
    """Load the file, set `EMPTY` pairs of marks, and run it ``calls`` times on one thread; returns what ran it.

    Raises:
        ToolchainFailed: the runtime refuses the file.
    """
    module = cast("Runtime", child_process.import_runtime(runtime))
    with module.open_session(Path(file), manifest, SessionOptions(threads=1)) as session:
        feeds = inputs.make_input(session.inputs, 0)
        for _ in range(EMPTY):
            _mark()
            _mark()
        for _ in range(calls):
            session.put(feeds)
            _mark()
            session.run()
            session.wait()
            _mark()
        return dict(session.facts)


def _mark() -> None:
    with contextlib.suppress(OSError):
        os.close(MARK)


if __name__ == "__main__":
    sys.exit(child_process.answer(lambda job: measure(**job)))
