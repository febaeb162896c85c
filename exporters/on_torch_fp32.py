"""What an artifact is held against: the outputs of the fp32 torch module, on noise and photographs.

The parts of a segment-anything model need each other here: a decoder is fed what the encoder sees in the photographs,
and an encoder is judged by the masks that the decoder makes of its embeddings. A leaf, torch is partly untyped.
"""

# pyright: reportUnknownMemberType=false

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from vitdeploy.catalog import registry, sam_prompts
from vitdeploy.catalog.variant import Variant
from vitdeploy.images.photos import as_bytes, center_crop, letterbox, normalized, parity_batches
from vitdeploy.models.create import create

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is proven, as far as its inputs depend on it."""

    variant: Variant
    weights: Path | None
    images: Path | None
    """Folder of the user's photographs; None: the bundled ones."""


def outputs(model: nn.Module, feeds: Mapping[str, Array]) -> tuple[Array, ...]:
    """The module's outputs for inputs in its order, computed in fp32 without gradients."""
    with torch.inference_mode():
        found: torch.Tensor | tuple[torch.Tensor, ...] = model(*(torch.from_numpy(one) for one in feeds.values()))
    return tuple(one.numpy() for one in ((found,) if isinstance(found, torch.Tensor) else found))


def samples(subject: Subject) -> Iterator[dict[str, Array]]:
    """The inputs that parity is measured on, by name: one batch of noise, then photographs; channels first."""
    variant = subject.variant
    spec = registry.find_model(variant.model, variant.part)
    if spec.part == "decoder":
        yield from _prompted(subject)
        return
    fit = letterbox if spec.task == "segment-anything" else center_crop
    for photos in parity_batches(variant.size, variant.batch, subject.images, fit=fit):
        image: Array = as_bytes(photos) if variant.io == "uint8" else normalized(photos, spec)
        yield {"image": image}


class MaskJudge:
    """Masks that the fp32 decoder makes of embeddings, for the metric of an encoder."""

    def __init__(self, subject: Subject) -> None:
        self._decoder = _part(subject, "decoder")

    def masks(self, embeddings: Array, index: int) -> Array:
        """``(n, 256, 64, 64)`` to masks ``(n, 4, 256, 256)``, each under one of the example prompts."""
        made: list[Array] = []
        for place, embedding in enumerate(embeddings.astype(np.float32)):
            asked = sam_prompts.arrays(sam_prompts.example_prompts(index + place, 1), 1)
            made.append(outputs(self._decoder, {sam_prompts.EMBEDDINGS: embedding[None], **asked})[0])
        return np.concatenate(made)


def _prompted(subject: Subject) -> Iterator[dict[str, Array]]:
    encoder, variant = _part(subject, "encoder"), subject.variant
    spec = registry.find_model(variant.model, variant.part)
    for index, photos in enumerate(parity_batches(variant.size, 1, subject.images, fit=letterbox)):
        image = normalized(photos, spec)
        embedding = outputs(encoder, {"image": image})[0]
        asked = sam_prompts.arrays(sam_prompts.example_prompts(index, variant.batch), variant.batch)
        yield {sam_prompts.EMBEDDINGS: embedding, **asked}


def _part(subject: Subject, part: str) -> nn.Module:
    spec, attention = registry.find_model(subject.variant.model, part), subject.variant.attention
    attention = attention if attention in spec.attentions else spec.attentions[0]
    return create(spec, attention=attention, weights=subject.weights)
