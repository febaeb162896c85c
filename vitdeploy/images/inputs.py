"""What a trial is fed: seeded, distinct, image-like inputs, as many as memory allows.

Zeros or one repeated image would be kinder than life: constant inputs sit in the cache, and some
kernels take other paths on them. numpy only: the worker carries it.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitdeploy.catalog import sam_prompts
from vitdeploy.catalog.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from vitdeploy.catalog.spec import TensorSpec

Array = NDArray[Any]
Floats = NDArray[np.float32]

MOST_INPUTS = 64
"""Distinct inputs in a pool. Source: peers.md D.1 (MLPerf's RetinaNet cycles through 64)."""

MOST_MAKERS = 4
"""Threads that make a pool: numpy's generators and arithmetic run beside each other."""

POOL_BYTES = 256 * 2**20
"""A pool takes at most this much memory, though never fewer than `FEWEST_INPUTS` inputs."""

FEWEST_INPUTS = 2
"""With one, every inference would see the same bytes."""

_GRID_STEPS = (64, 16, 4)
"""Sides of the flat patches of three layers, in pixels: large surfaces, things, texture."""

_GRAIN = 0.03
"""Deviation of the pixel noise on the 0–1 scale, about that of a photograph at ISO 800."""


def pool_size(specs: Sequence[TensorSpec]) -> int:
    """How many distinct inputs of these tensors a pool holds."""
    return max(FEWEST_INPUTS, min(MOST_INPUTS, POOL_BYTES // max(1, input_bytes(specs))))


def input_bytes(specs: Sequence[TensorSpec]) -> int:
    """Memory of one input."""
    return sum(int(np.prod(spec.shape)) * np.dtype(spec.dtype).itemsize for spec in specs)


def pool_text(specs: Sequence[TensorSpec]) -> str:
    """What a pool holds, for the protocol of a run."""
    return f"{pool_size(specs)} distinct synthetic images"


def make_pool(specs: Sequence[TensorSpec], seed: int) -> list[dict[str, Array]]:
    """Distinct inputs, the same for a seed on every machine; made on several cores, for they hold a trial up."""
    with ThreadPoolExecutor(MOST_MAKERS) as makers:
        return list(makers.map(partial(make_input, specs, seed), range(pool_size(specs))))


def make_input(specs: Sequence[TensorSpec], seed: int, index: int = 0) -> dict[str, Array]:
    """One input of the pool, without the others; prompts are of another kind each time."""
    prompts = _prompts(specs, index)
    return {
        spec.name: prompts[spec.name].astype(spec.dtype)
        if spec.name in prompts
        else _tensor(spec, np.random.Generator(np.random.PCG64([seed, index, place])))
        for place, spec in enumerate(specs)
    }


def _prompts(specs: Sequence[TensorSpec], index: int) -> dict[str, Floats]:
    """Points and boxes for a decoder; nothing where the tensors are not a decoder's."""
    coords = next((spec for spec in specs if spec.name == sam_prompts.COORDS), None)
    if coords is None:
        return {}
    objects = coords.shape[0]
    return sam_prompts.arrays(sam_prompts.example_prompts(index, objects), objects)


def _tensor(spec: TensorSpec, generator: np.random.Generator) -> Array:
    dtype = np.dtype(spec.dtype)
    if spec.name == sam_prompts.EMBEDDINGS:
        return generator.standard_normal(spec.shape, dtype=np.float32).astype(dtype)
    if spec.layout in ("NCHW", "NHWC") and len(spec.shape) == 4:
        return _images(spec, dtype, generator)
    if dtype.kind == "f":
        return generator.random(spec.shape, dtype=np.float32).astype(dtype)
    return generator.integers(0, 2, spec.shape).astype(dtype)


def _images(spec: TensorSpec, dtype: np.dtype[np.generic], generator: np.random.Generator) -> Array:
    """Patches of three sizes plus grain: flat areas, edges and texture, like a photograph."""
    batch, *rest = spec.shape
    channels, height, width = rest if spec.layout == "NCHW" else (rest[2], rest[0], rest[1])
    image = generator.standard_normal((batch, channels, height, width), dtype=np.float32)
    image *= _GRAIN
    image += 0.5
    for step in _GRID_STEPS:
        coarse = generator.random((batch, channels, -(-height // step), -(-width // step)), dtype=np.float32) - 0.5
        coarse *= step / sum(_GRID_STEPS)  # large surfaces have the large contrasts
        image += coarse.repeat(step, axis=2)[:, :, :height].repeat(step, axis=3)[:, :, :, :width]
    np.clip(image, 0, 1, out=image)
    if dtype.kind == "f":
        if channels == len(IMAGENET_MEAN):
            image -= np.asarray(IMAGENET_MEAN, np.float32)[:, None, None]
            image /= np.asarray(IMAGENET_STD, np.float32)[:, None, None]
    else:
        image *= 255
    if spec.layout == "NHWC":
        image = image.transpose(0, 2, 3, 1)
    return np.ascontiguousarray(image, dtype=dtype)
