"""What an artifact is held against: the outputs of the fp32 torch module; a leaf, torch is partly untyped."""

# pyright: reportUnknownMemberType=false

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn


def outputs(model: nn.Module, image: NDArray[Any]) -> NDArray[Any]:
    """The module's output for ``image`` ``(n, 3, h, w)``, computed in fp32 without gradients."""
    with torch.inference_mode():
        return np.asarray(model(torch.from_numpy(image)).numpy())
