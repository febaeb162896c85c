"""MATLAB's bicubic: what is flat and what is linear stays so, the kernel widens, and edges are mirrored."""

import numpy as np
import pytest

from vitdeploy.images import matlab_cubic


def ramp(height: int, width: int) -> np.ndarray:
    rows = np.arange(height)[:, None, None] * 2 + np.arange(width)[None, :, None] + np.zeros(3)
    return rows.astype(np.uint8)


def test_bicubic_keeps_what_is_flat_and_what_is_linear():
    flat = np.full((12, 16, 3), 77, np.uint8)
    assert (matlab_cubic.resized(flat, (3, 4)) == 77).all()
    assert (matlab_cubic.resized(flat, (24, 32)) == 77).all()
    large = ramp(24, 32)
    small = matlab_cubic.resized(large, (12, 16)).astype(float)
    inner = small[2:-2, 2:-2, 0]
    assert np.abs(np.diff(inner, axis=0) - 4).max() <= 1
    assert np.abs(np.diff(inner, axis=1) - 2).max() <= 1


def test_the_kernel_is_widened_where_a_picture_shrinks_and_mirrored_at_its_edges():
    matrix = matlab_cubic.matrix(16, 4)
    assert matrix.sum(axis=1) == pytest.approx(1)
    assert (np.abs(matrix[1]) > 1e-9).sum() >= 14, "sixteen taps at a factor of four, a zero here and there"
    assert matrix[0] == pytest.approx(matrix[-1][::-1])
