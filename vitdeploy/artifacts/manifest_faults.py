"""Faults of a manifest and of a parity: values that cannot be true, alone or together, looked at wherever one is read.

A manifest holds no digest of itself; what contradicts itself is refused here.
"""

import math
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from vitdeploy.catalog import checkpoints

if TYPE_CHECKING:
    from vitdeploy.artifacts.manifest import Manifest, Parity

Fault = tuple[str, str]
"""Path of a field, without the path to its record, and why its value cannot be true."""

LARGEST_LIMIT = 10.0
"""No tolerance allows a larger error, in deviations of the output. Source: `target_table`, whose largest is 4."""

_SLACK = 1e-6
"""Share by which figures that were rounded apart may contradict each other."""

_LONGEST_NAME = 255
"""Bytes of a file name that file systems allow."""


def faults(manifest: "Manifest") -> Iterator[Fault]:
    """Everything in a manifest that cannot be true, alone or with its other fields."""
    for name in manifest.digests:
        if not name or name == ".." or PurePosixPath(name).name != name or "\\" in name:
            yield "file", f"{name[:80]!r} is outside its folder"
        elif "\0" in name or len(name.encode(errors="replace")) > _LONGEST_NAME:
            yield "file", f"{name[:80]!r} is no name of a file"
    yield from _amounts(manifest)
    yield from _shape_faults(manifest)
    yield from _preprocessing_faults(manifest)
    if manifest.weights.source == "file" and not manifest.weights.sha256:
        yield "weights.sha256", "weights of a file without its digest"
    yield from _official_faults(manifest)
    if manifest.parity is not None:
        yield from ((f"parity.{field}", why) for field, why in parity_faults(manifest.parity))


def _official_faults(manifest: "Manifest") -> Iterator[Fault]:
    """What contradicts the table of official checkpoints; a newer table may have rows that this one has not."""
    official, digest = manifest.weights.official, manifest.weights.sha256
    if official is None:
        return
    if digest is None:
        yield "weights.official", f"{official.checkpoint[:80]!r} without a digest"
        return
    known = checkpoints.checkpoints().get(official.checkpoint)
    if known is not None and known.is_digest(digest) is False:
        yield "weights.official", f"{official.checkpoint} has other bytes than sha256 {digest[:12]}…"


def parity_faults(parity: "Parity") -> Iterator[Fault]:
    """Everything in a parity that cannot be true; whether it passed is judged again elsewhere."""
    if parity.passed and parity.reason is not None:
        yield "reason", f"it passed, and failed because {parity.reason[:80]!r}"
    if parity.samples < 0:
        yield "samples", f"{parity.samples} samples"
    for name in ("max_abs", "mean_abs", "error_std", "error_std_limit"):
        value: float | None = getattr(parity, name)
        if value is not None and not 0 <= value < math.inf:
            yield name, f"{value} is no size of an error"
    if parity.max_abs is not None and parity.mean_abs is not None and parity.mean_abs > parity.max_abs * (1 + _SLACK):
        yield "mean_abs", f"{parity.mean_abs}, above the largest error, {parity.max_abs}"
    if parity.cosine is not None and not abs(parity.cosine) <= 1 + _SLACK:
        yield "cosine", f"{parity.cosine} is no cosine"
    if parity.error_std_limit is not None and parity.error_std_limit > LARGEST_LIMIT:
        yield "error_std_limit", f"{parity.error_std_limit} deviations, which no tolerance allows"
    if parity.error_std is not None and parity.error_std_limit is None:
        yield "error_std_limit", "no limit for the error"
    if "PSNR" not in parity.metric.name:
        for name in ("value", "floor"):
            share: float | None = getattr(parity.metric, name)
            if share is not None and not 0 <= share <= 1 + _SLACK:
                yield f"metric.{name}", f"{share} is no share"
        if parity.passed and parity.metric.floor <= 0 < (parity.metric.value or 0):
            yield "metric.floor", f"{parity.metric.floor}, which every file reaches"


def _amounts(manifest: "Manifest") -> Iterator[Fault]:
    least = {"batch": 1, "size_bytes": 0, "params": 0, "macs": 0, "build_ns": 0}
    for name, lowest in least.items():
        value: int | None = getattr(manifest, name)
        if value is not None and not lowest <= value <= 2**60:
            yield name, f"{value} is no amount of that"
    if not all(1 <= side <= 10**6 for side in manifest.size):
        yield "size", f"{manifest.size[0]}x{manifest.size[1]} is no size of a picture"


def _shape_faults(manifest: "Manifest") -> Iterator[Fault]:
    for side, tensors in (("inputs", manifest.inputs), ("outputs", manifest.outputs)):
        if not tensors:
            yield side, "a file without any"
        for place, tensor in enumerate(tensors):
            if any(length < 1 for length in tensor.shape):
                yield f"{side}[{place}].shape", f"{list(tensor.shape)}"


def _preprocessing_faults(manifest: "Manifest") -> Iterator[Fault]:
    known = manifest.preprocessing
    if known is None:
        return
    if not all(value > 0 and math.isfinite(value) for value in known.std):
        yield "preprocessing.std", f"{list(known.std)} is no deviation"
    if not all(math.isfinite(value) for value in known.mean):
        yield "preprocessing.mean", f"{list(known.mean)} is no mean"
    if not 0 < known.scale <= _LARGEST_SCALE:
        yield "preprocessing.scale", f"{known.scale} takes pixels beyond any number of an input"


_LARGEST_SCALE = 1e6
"""Half precision ends at 65504, and pixels at 255."""
