"""Runtime of a planted slowdown: ONNX Runtime, and after each inference a busy wait of a share of what it took.

The share stands in the manifest under ``planted_share``. For studies of what a duel finds; never a target.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vitdeploy.runtimes import on_ort
from vitdeploy.runtimes.session import Session, SessionOptions


class DelayedSession(on_ort.OrtSession):
    """A session whose inferences take ``share`` longer."""

    def __init__(self, file: Path, manifest: Mapping[str, Any], options: SessionOptions) -> None:
        super().__init__(file, manifest, options)
        self._share = float(manifest["planted_share"])

    def run(self) -> None:
        """Run the graph, then wait on the core."""
        begin = time.perf_counter_ns()
        super().run()
        end = time.perf_counter_ns()
        until = end + int(self._share * (end - begin))
        while time.perf_counter_ns() < until:
            pass


def open_session(file: Path, manifest: Mapping[str, Any], options: SessionOptions) -> Session:
    """Load an ONNX file.

    Raises:
        ToolchainFailed: ONNX Runtime refuses the file.
    """
    return DelayedSession(file, manifest, options)
