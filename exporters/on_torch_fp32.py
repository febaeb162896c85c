"""Inputs and expected outputs of parity: noise and photographs, and what the fp32 torch module returns for them.

The parts of a segment-anything model need each other here: a decoder is fed what the encoder returns for the
photographs, and the metric of an encoder is that of the masks which the decoder makes of its embeddings. A leaf, torch
is partly untyped.
"""

# pyright: reportUnknownMemberType=false

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from vitdeploy.catalog import registry, sam_prompts
from vitdeploy.exporters.job import StepJob
from vitdeploy.images.photos import as_bytes, center_crop, letterbox, normalized, parity_batches
from vitdeploy.models.create import create

Array = NDArray[Any]


def called(model: nn.Module, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The outputs of a module that returns one tensor or several, without gradients."""
    with torch.inference_mode():
        result: torch.Tensor | tuple[torch.Tensor, ...] = model(*inputs)
    return (result,) if isinstance(result, torch.Tensor) else result


def outputs(model: nn.Module, feeds: Mapping[str, Array]) -> tuple[Array, ...]:
    """The module's outputs for inputs in its order, computed in fp32 without gradients.

    It gets copies: a module may change its input in place, and the file is fed the same arrays.
    """
    copies = (torch.from_numpy(feed.copy()) for feed in feeds.values())
    return tuple(output.numpy() for output in called(model, *copies))


def samples(job: StepJob) -> Iterator[dict[str, Array]]:
    """The inputs that parity is measured on, by name: one batch of noise, then photographs; channels first."""
    variant, spec = job.variant, job.spec
    if spec.part == "decoder":
        yield from _decoder_samples(job)
        return
    fit = letterbox if spec.task == "segment-anything" else center_crop
    for photos in parity_batches(variant.size, variant.batch, job.images, fit=fit):
        image: Array = as_bytes(photos) if variant.io == "uint8" else normalized(photos, spec.preprocessing)
        yield {"image": image}


class MaskJudge:
    """Masks that the fp32 decoder makes of embeddings, for the metric of an encoder."""

    def __init__(self, job: StepJob) -> None:
        self._decoder = _part(job, "decoder")

    def masks(self, embeddings: Array, index: int) -> Array:
        """``(n, 256, 64, 64)`` to masks ``(n, 4, 256, 256)``, each under one of the example prompts."""
        masks: list[Array] = []
        for place, embedding in enumerate(embeddings.astype(np.float32)):
            prompts = sam_prompts.arrays(sam_prompts.example_prompts(index + place, 1), 1)
            masks.append(outputs(self._decoder, {sam_prompts.EMBEDDINGS: embedding[None], **prompts})[0])
        return np.concatenate(masks)


def _decoder_samples(job: StepJob) -> Iterator[dict[str, Array]]:
    encoder, variant = _part(job, "encoder"), job.variant
    for index, photos in enumerate(parity_batches(variant.size, 1, job.images, fit=letterbox)):
        embedding = outputs(encoder, {"image": normalized(photos, job.spec.preprocessing)})[0]
        prompts = sam_prompts.arrays(sam_prompts.example_prompts(index, variant.batch), variant.batch)
        yield {sam_prompts.EMBEDDINGS: embedding, **prompts}


def _part(job: StepJob, part: str) -> nn.Module:
    spec, attention = registry.find_model(job.variant.model, part), job.variant.attention
    attention = attention if attention in spec.attentions else spec.attentions[0]
    return create(spec, attention=attention, weights=job.weights, weights_key=job.variant.weights_key, seed=job.seed)
