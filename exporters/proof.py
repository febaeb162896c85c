"""Hold a file against its model: what it returns for noise and photographs against what the torch module returns."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vitdeploy import catalog, parity, photographs
from vitdeploy.artifact import Parity, Tensor
from vitdeploy.exporters.job import Job
from vitdeploy.runtimes.session import SessionOptions, infer
from vitdeploy.spec import ModelSpec, Target


def prove(reference: Any, file: Path, described: Mapping[str, Any], border: tuple[Tensor, Tensor], job: Job) -> Parity:
    """The parity of ``file`` with ``reference``, the fp32 torch module with its border.

    Args:
        described: the file's manifest as plain data, or as much of it as its runtime reads.
        border: the file's input and output; maps may have their channels last.

    Raises:
        ToolchainFailed: the runtime refuses the file.
    """
    spec, target = catalog.find_model(job.model), catalog.find_target(job.target)
    evidence = parity.Evidence(spec.task)
    entry, leaving = border
    with open_for_proof(target, file, described) as session:
        for photos in photographs.parity_batches(job.size, job.batch, job.images):
            feed = photographs.raw(photos) if job.io == "uint8" else photographs.normalized(photos, spec)
            expected = catalog.load("vitdeploy.exporters.reference:outputs")(reference, feed)
            found = infer(session, {entry.name: laid_out(feed, entry)})[leaving.name]
            evidence.add(expected, found.transpose(0, 3, 1, 2) if leaving.layout == "NHWC" else found)
    how = f"; every tensor rounded to {target.precision} after every node" if target.proof else ""
    return parity.verdict(evidence, target.tolerance, f"torch fp32, as published{how}")


def open_for_proof(target: Target, file: Path, described: Mapping[str, Any]) -> Any:
    """A session of what the target is proven by, with all cores."""
    return catalog.load(target.proof or target.runtime or "").open_session(
        file, described, SessionOptions(threads=threads())
    )


def threads() -> int:
    """With how many threads a file runs while it is made and proven."""
    return os.cpu_count() or 1


def noise(spec: ModelSpec, job: Job) -> Any:
    """The first of the inputs that parity is measured on, ``(n, 3, h, w)``."""
    photos = photographs.noise(job.size, job.batch, seed=0)
    return photographs.raw(photos) if job.io == "uint8" else photographs.normalized(photos, spec)


def laid_out(feed: Any, entry: Tensor) -> Any:
    """``feed`` ``(n, 3, h, w)`` in the layout and element type of the file's input."""
    return (feed.transpose(0, 2, 3, 1).copy() if entry.layout == "NHWC" else feed).astype(entry.dtype, copy=False)
