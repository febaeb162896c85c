"""What an artifact must return for given inputs: run on this computer, in a process of its own, for parity elsewhere.

    python -m vitdeploy.inference.local_reference < job.json

The reply is what ran it; the outputs are in the file that the job names.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from vitdeploy.processes import child_process
from vitdeploy.runtimes.loaded_session import tensors_of
from vitdeploy.runtimes.session import Runtime, SessionOptions, infer


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceJob:
    """What the process is told."""

    file: str
    manifest: Mapping[str, Any]
    runtime: str
    device: Literal["cpu", "cuda"]
    """Where a runtime that knows both computes."""
    inputs: Sequence[str]
    """Paths of the raw bytes of each input, in the manifest's order."""
    outputs: str
    """Where the outputs are written, as ``.npz`` in the manifest's order."""
    threads: int


def run_job(job: ReferenceJob) -> str:
    """One inference; writes the outputs and returns what ran it.

    Raises:
        MissingPackage: the runtime is not installed here.
        ToolchainFailed: the runtime refuses the file, or fails while it runs.
    """
    runtime = cast("Runtime", child_process.import_runtime(job.runtime))
    feeds = {
        spec.name: np.fromfile(path, dtype=spec.dtype).reshape(spec.shape)
        for spec, path in zip(tensors_of(job.manifest["inputs"]), job.inputs, strict=True)
    }
    options = SessionOptions(threads=job.threads, device=job.device)
    with (
        child_process.failures_of(job.runtime),
        runtime.open_session(Path(job.file), job.manifest, options) as session,
    ):
        outputs = infer(session, feeds)
        np.savez(job.outputs, *(outputs[t["name"]] for t in job.manifest["outputs"]))
        return session.facts.get("runtime", job.runtime)


if __name__ == "__main__":
    sys.exit(child_process.answer(run_job, ReferenceJob))
