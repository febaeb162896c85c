"""Parity of an exported file: its outputs for noise and photographs against those of the fp32 torch module."""

import contextlib
import itertools
import os
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from vitdeploy.artifacts import parity
from vitdeploy.artifacts.manifest import Parity, Tensor
from vitdeploy.catalog import registry
from vitdeploy.catalog.spec import Target, is_user_model
from vitdeploy.exporters.job import StepJob
from vitdeploy.runtimes.session import SessionOptions, infer

Feeds = Mapping[str, Any]


def prove(reference: Any, file: Path, manifest: Mapping[str, Any], job: StepJob) -> Parity:
    """The parity of ``file`` with ``reference``, the fp32 torch module with the same inputs and outputs.

    Every output's error counts; the task's metric looks at the first one, and at an encoder's by its masks.

    Args:
        manifest: the file's manifest as plain data, or as much of it as its runtime reads.

    Raises:
        ToolchainFailed: the runtime refuses the file.
    """
    spec, target = job.spec, job.target
    torch_fp32 = registry.load("vitdeploy.exporters.on_torch_fp32")
    judge = torch_fp32.MaskJudge(job) if spec.part == "encoder" else None
    evidence = parity.Evidence(spec.task)
    entries, results = (msgspec.convert(manifest[side], tuple[Tensor, ...]) for side in ("inputs", "outputs"))
    with _runner(job, file, manifest) as runner:
        for index, (feeds, outputs) in enumerate(_answered(torch_fp32.samples(job), entries, runner)):
            expected = torch_fp32.outputs(reference, feeds)
            if is_user_model(spec.name):  # those of the table draw no random numbers
                evidence.add_repeated(expected[0], torch_fp32.outputs(reference, feeds)[0])
            actual = [_channels_first(outputs[tensor.name], tensor) for tensor in results]
            masks = None
            if judge is not None and np.isfinite(actual[0]).all():
                masks = judge.masks(expected[0], index), judge.masks(actual[0], index)
            evidence.add(expected[0], actual[0], judged=masks)
            for pair in zip(expected[1:], actual[1:], strict=True):
                evidence.add_further(*pair)
        how = runner.how()
    return parity.verdict(evidence, target.tolerance, f"{reference_words(spec.name)}{how}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """What runs the file for inputs as it takes them."""

    run: Callable[[Sequence[Feeds]], Sequence[Feeds]]
    at_once: int
    """How many inputs it is given in one call."""
    how: Callable[[], str]
    """What has to be said beside the reference of how the outputs were computed."""


@contextlib.contextmanager
def _runner(job: StepJob, file: Path, manifest: Mapping[str, Any]) -> Generator[Runner]:
    """The runtime of this process, or the device that the job names."""
    target = job.target
    if job.device is None:
        how = f"; every tensor rounded to {target.precision} after every node" if target.proof else ""
        with open_for_proof(target, file, manifest) as session:
            yield Runner(run=lambda feeds: [infer(session, feed) for feed in feeds], at_once=1, how=lambda: how)
        return
    with registry.load(registry.DEVICE_PROOF)(job) as runner:
        yield runner


def _answered(samples: Iterable[Feeds], entries: Sequence[Tensor], runner: Runner) -> Generator[tuple[Feeds, Feeds]]:
    """Each sample with the file's outputs for it."""
    remaining = iter(samples)
    while chosen := list(itertools.islice(remaining, runner.at_once)):
        yield from zip(chosen, runner.run([laid_out(feeds, entries) for feeds in chosen]), strict=True)


def reference_words(model: str) -> str:
    """What a file is held against."""
    if model.startswith("onnx:"):
        return "ONNX Runtime, the file as given"
    return "torch fp32, as built" if is_user_model(model) else "torch fp32, as published"


def open_for_proof(target: Target, file: Path, manifest: Mapping[str, Any]) -> Any:
    """A session of the runtime that the target is proven by, with all cores."""
    runtime = registry.load(target.proof or target.runtime or "")
    return runtime.open_session(file, manifest, SessionOptions(threads=threads()))


def threads() -> int:
    """With how many threads a file runs while it is made and proven."""
    return os.cpu_count() or 1


def laid_out(feeds: Mapping[str, Any], entries: Sequence[Tensor]) -> dict[str, Any]:
    """``feeds``, channels first, in the layouts and element types of a file's inputs."""
    return {entry.name: _as_entered(feeds[entry.name], entry) for entry in entries}


def _as_entered(feed: Any, entry: Tensor) -> Any:
    transposed = feed.transpose(0, 2, 3, 1).copy() if entry.layout == "NHWC" else feed
    return transposed.astype(entry.dtype, copy=False)


def _channels_first(output: Any, tensor: Tensor) -> Any:
    return output.transpose(0, 3, 1, 2) if tensor.layout == "NHWC" else output
