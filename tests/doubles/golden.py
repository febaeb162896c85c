"""Golden numbers: what the reference implementations compute with weights that follow from key names alone.

The files in ``data/golden`` were made by running the original code of each model's authors. A model that takes
their checkpoints has the same keys and shapes, so the same filling must give it the same outputs.
"""

import json
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

FOLDER = Path(__file__).parents[1] / "data" / "golden"
SAMPLES = 64
"""How many values of each output a golden file holds, evenly spread over the flattened tensor."""


def names() -> list[str]:
    """The models that have golden numbers, by their name in the model table."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def read(name: str) -> dict[str, Any]:
    """params, macs (at macs_input), input (shape), outputs (shape, mean, std, absmax, sample), state_dict (shapes)."""
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def filled(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The state dict under which the golden outputs were computed."""
    return {key: _value(key, tensor) for key, tensor in model.state_dict().items()}


def image(shape: list[int], seed: int = 0) -> torch.Tensor:
    """The input under which they were computed: standard-normal noise."""
    return torch.from_numpy(np.random.RandomState(seed).standard_normal(shape).astype(np.float32))


def error(output: torch.Tensor, expected: dict[str, Any]) -> float:
    """Largest difference at the sampled places, in standard deviations of the output; infinite for another shape."""
    if list(output.shape) != expected["shape"]:
        return math.inf
    values = output.double().flatten().numpy()
    places = np.linspace(0, values.size - 1, SAMPLES).astype(int)
    return float(np.max(np.abs(values[places] - expected["sample"])) / expected["std"])


def _value(key: str, like: torch.Tensor) -> torch.Tensor:
    if not like.is_floating_point():
        return torch.zeros_like(like, device="cpu")
    normal = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(tuple(like.shape))
    match key.rsplit(".", 1)[-1]:
        case "running_var":
            value = 1 + 0.1 * np.abs(normal)
        case "running_mean":
            value = 0.1 * normal
        case _ if like.ndim >= 2:
            value = normal / math.sqrt(math.prod(like.shape[1:]))
        case "weight":
            value = 1 + 0.1 * normal
        case _:
            value = 0.1 * normal
    return torch.from_numpy(np.asarray(value, dtype=np.float32)).reshape(like.shape)
