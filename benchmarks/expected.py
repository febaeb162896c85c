"""What an artifact must return for given inputs: run on this computer, in a process of its own, for parity elsewhere.

    python -m vitdeploy.benchmarks.expected < job.json

The reply is ``{"runtime": …}`` or ``{"error": …}``; the outputs are in the file that the job names.
"""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from vitdeploy.benchmarks import worker
from vitdeploy.errors import VitdeployError
from vitdeploy.runtimes.session import Runtime, SessionOptions, infer
from vitdeploy.spec import TensorSpec


def job_of(
    file: Path, manifest: Mapping[str, Any], runtime: str, *, inputs: list[Path], outputs: Path, threads: int
) -> str:
    """What the process is told, for its stdin.

    Args:
        inputs: raw bytes of each input, in the manifest's order.
        outputs: where the outputs are written, as ``.npz`` in the manifest's order.
    """
    described = {"file": str(file), "manifest": dict(manifest), "runtime": runtime, "threads": threads}
    return json.dumps({**described, "inputs": [str(path) for path in inputs], "outputs": str(outputs)})


def described(tensors: Any) -> tuple[TensorSpec, ...]:
    """The inputs or outputs of a manifest that is plain JSON."""
    return tuple(
        TensorSpec(name=t["name"], shape=tuple(t["shape"]), dtype=t["dtype"], layout=t["layout"]) for t in tensors
    )


def run_job(job: Mapping[str, Any]) -> str:
    """One inference; writes the outputs and returns what ran it.

    Raises:
        MissingPackage: the runtime is not installed here.
        ToolchainFailed: the runtime refuses the file, or fails while it runs.
    """
    runtime = cast("Runtime", worker.module(job["runtime"]))
    feeds = {
        spec.name: np.fromfile(path, dtype=spec.dtype).reshape(spec.shape)
        for spec, path in zip(described(job["manifest"]["inputs"]), job["inputs"], strict=True)
    }
    options = SessionOptions(threads=job["threads"])
    with (
        worker.failures_of(job["runtime"]),
        runtime.open_session(Path(job["file"]), job["manifest"], options) as session,
    ):
        outputs = infer(session, feeds)
        np.savez(job["outputs"], *(outputs[t["name"]] for t in job["manifest"]["outputs"]))
        return session.facts.get("runtime", job["runtime"])


def main() -> int:
    """Answer the job on stdin; returns the exit code."""
    reply_to = os.dup(1)  # frameworks print to stdout: it becomes stderr, as in the worker
    os.dup2(2, 1)
    worker.die_with_parent()
    exit_code = 0
    try:
        reply: dict[str, Any] = {"runtime": run_job(json.load(sys.stdin))}
    except VitdeployError as error:
        exit_code = error.exit_code
        reply = {"error": {"kind": type(error).__name__, "message": error.message, "hint": error.hint}}
    with os.fdopen(reply_to, "w") as stream:
        json.dump(reply, stream)
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
