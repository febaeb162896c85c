"""Hold a file against its model: what it returns for noise and photographs against what the torch module returns."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vitdeploy.artifacts import parity
from vitdeploy.artifacts.manifest import Parity, Tensor
from vitdeploy.catalog import registry
from vitdeploy.catalog.spec import Target
from vitdeploy.exporters.job import StepJob
from vitdeploy.runtimes.session import SessionOptions, infer


@dataclass(frozen=True, slots=True, kw_only=True)
class Border:
    """What goes into a file and what comes out; maps may have their channels last."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


def prove(reference: Any, file: Path, described: Mapping[str, Any], border: Border, job: StepJob) -> Parity:
    """The parity of ``file`` with ``reference``, the fp32 torch module with its border.

    Every output's error counts; the task's metric looks at the first one, and at an encoder's by its masks.

    Args:
        described: the file's manifest as plain data, or as much of it as its runtime reads.
        border: the file's inputs and outputs.

    Raises:
        ToolchainFailed: the runtime refuses the file.
    """
    spec, target = job.spec, job.target
    references = registry.load("vitdeploy.exporters.on_torch_fp32")
    subject = _subject(job)
    judge = references.MaskJudge(subject) if spec.part == "encoder" else None
    evidence = parity.Evidence(spec.task)
    with open_for_proof(target, file, described) as session:
        for index, feeds in enumerate(references.samples(subject)):
            expected = references.outputs(reference, feeds)
            got = infer(session, laid_out(feeds, border))
            found = [_channels_first(got[leaving.name], leaving) for leaving in border.outputs]
            seen = None
            if judge is not None and np.isfinite(found[0]).all():
                seen = judge.masks(expected[0], index), judge.masks(found[0], index)
            evidence.add(expected[0], found[0], judged=seen)
            for pair in zip(expected[1:], found[1:], strict=True):
                evidence.add_further(*pair)
    how = f"; every tensor rounded to {target.precision} after every node" if target.proof else ""
    return parity.verdict(evidence, target.tolerance, f"torch fp32, as published{how}")


def open_for_proof(target: Target, file: Path, described: Mapping[str, Any]) -> Any:
    """A session of what the target is proven by, with all cores."""
    return registry.load(target.proof or target.runtime or "").open_session(
        file, described, SessionOptions(threads=threads())
    )


def threads() -> int:
    """With how many threads a file runs while it is made and proven."""
    return os.cpu_count() or 1


def first_feeds(border: Border, job: StepJob) -> dict[str, Any]:
    """The first of the inputs that parity is measured on, as the file takes them."""
    return laid_out(next(registry.load("vitdeploy.exporters.on_torch_fp32").samples(_subject(job))), border)


def laid_out(feeds: Mapping[str, Any], border: Border) -> dict[str, Any]:
    """``feeds``, channels first, in the layouts and element types of the file's inputs."""
    return {entry.name: _as_entered(feeds[entry.name], entry) for entry in border.inputs}


def _as_entered(feed: Any, entry: Tensor) -> Any:
    turned = feed.transpose(0, 2, 3, 1).copy() if entry.layout == "NHWC" else feed
    return turned.astype(entry.dtype, copy=False)


def _channels_first(found: Any, leaving: Tensor) -> Any:
    return found.transpose(0, 3, 1, 2) if leaving.layout == "NHWC" else found


def _subject(job: StepJob) -> Any:
    return registry.load("vitdeploy.exporters.on_torch_fp32:Subject")(
        variant=job.variant, weights=job.weights, images=job.images
    )
