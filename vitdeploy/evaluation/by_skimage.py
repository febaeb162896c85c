"""SSIM by scikit-image, with the windows of the original paper; a leaf, scikit-image is untyped."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportMissingTypeStubs=false, reportUnknownArgumentType=false

from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage import metrics

SIGMA = 1.5
"""Of the Gaussian window of 11 pixels. Source: Wang et al., "Image quality assessment", TIP 13 (2004)."""


def ssim(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """The mean over all windows that lie inside; luminances ``(h, w)`` on the 0–255 scale."""
    similarity: Any = metrics.structural_similarity(
        first, second, data_range=255.0, gaussian_weights=True, sigma=SIGMA, use_sample_covariance=False
    )
    return float(similarity)
