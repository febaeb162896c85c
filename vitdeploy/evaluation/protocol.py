"""Inference requests of one image's evaluation, and the protocol of the runner that fulfils them."""

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vitdeploy.artifacts.manifest import Artifact
from vitdeploy.catalog.spec import Size
from vitdeploy.evaluation.record import ImageRecord

Outputs = Mapping[str, NDArray[Any]]
"""Output name → array of one picture: without the batch's axis, maps in the layout of the manifest."""

Feed = Mapping[str, NDArray[Any]]
"""Input name → bytes ``(h, w, 3)`` of a picture that is normalized where it is run, or arrays of the full shape."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceRequest:
    """One artifact and what it is fed."""

    artifact: Artifact
    feeds: tuple[Feed, ...]
    held_bytes: int = 0
    """What the evaluation keeps beside them until it ends, where that is much."""

    @property
    def size_bytes(self) -> int:
        """Of all arrays and of what is kept."""
        return self.held_bytes + sum(array.nbytes for feed in self.feeds for array in feed.values())


ImageEvaluation = Generator[InferenceRequest, Sequence[Outputs], ImageRecord]
"""The evaluation of one image: yields inference requests, is sent their outputs, and returns the record."""


OnResult = Callable[[Any, Any], None]
"""Shown what was predicted for a picture and what is right, in the arrays of its task."""


class InferenceRunner(Protocol):
    """Runs artifacts on a device."""

    def __call__(self, artifact: Artifact, feeds: Sequence[Feed], /) -> list[Outputs]:
        """One answer a feed, in order.

        Raises:
            vitdeploy.errors.VitdeployError: the device was lost, or the runtime failed.
        """
        ...


def smallest_holding(artifacts: Sequence[Artifact], size: Size) -> Artifact | None:
    """The artifact with the smallest input that a picture of this size fits into."""
    sizes = [artifact.manifest.size for artifact in artifacts]
    holding = [place for place, (height, width) in enumerate(sizes) if height >= size[0] and width >= size[1]]
    return artifacts[min(holding, key=lambda place: math.prod(sizes[place]))] if holding else None


def channels_first(value: NDArray[Any], layout: str) -> NDArray[Any]:
    """A map of one picture as ``(c, h, w)``; what is no map stays as it is."""
    return np.moveaxis(value, -1, 0) if layout == "NHWC" and value.ndim == 3 else value


def output(answer: Outputs, artifact: Artifact) -> NDArray[Any]:
    """The first output of one picture, channels first."""
    described = artifact.manifest.outputs[0]
    return channels_first(answer[described.name], described.layout)
