"""Where the time of one inference goes: one job in (JSON on stdin), nanoseconds by operator type out (JSON on stdout).

    python -m vitdeploy.benchmarks.operator_times < job.json

A run with the runtime's own profiler, never a timed one. Standard library and numpy only, beside the runtime: the
agent carries it.
"""

import importlib
import json
import os
import shutil
import statistics
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from vitdeploy.benchmarks import inputs, worker
from vitdeploy.errors import VitdeployError
from vitdeploy.runtimes.session import Runtime, SessionOptions

RUNS = 12
"""Profiled inferences; each node counts with its median, so a slow first one does not."""


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
    if (profile := session.facts.get("profile")) is None:
        return {}
    found = summed(json.loads(Path(profile).read_text()))
    shutil.rmtree(Path(profile).parent, ignore_errors=True)
    return found


def summed(events: list[dict[str, Any]]) -> dict[str, int]:
    """Nanoseconds by operator type of ONNX Runtime's profile.

    Source: onnxruntime.ai/docs/performance/tune-performance/profiling-tools.html: events of category ``Node`` whose
    name ends in ``kernel_time``, ``dur`` in microseconds.
    """
    by_node: dict[tuple[str, str], list[int]] = {}
    for event in events:
        if event.get("cat") == "Node" and str(event.get("name", "")).endswith("kernel_time"):
            key = (str(event["args"]["op_name"]), str(event["name"]))
            by_node.setdefault(key, []).append(int(event["dur"]))
    found: dict[str, int] = {}
    for (operator, _), durations_us in by_node.items():
        found[operator] = found.get(operator, 0) + round(1000 * statistics.median(durations_us))
    return found


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
