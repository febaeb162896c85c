"""The study of what super-resolution weights gain: its own bicubic, its PSNR, and which files it takes."""

from pathlib import Path

import numpy as np
import pytest

from vitdeploy.benchmarks.studies import super_resolution_gain as study


def ramp(height: int, width: int) -> np.ndarray:
    rows = np.arange(height)[:, None, None] * 2 + np.arange(width)[None, :, None] + np.zeros(3)
    return rows.astype(np.uint8)


def test_bicubic_keeps_what_is_flat_and_what_is_linear():
    flat = np.full((12, 16, 3), 77, np.uint8)
    assert (study.matlab_resized(flat, (3, 4)) == 77).all()
    assert (study.matlab_resized(flat, (24, 32)) == 77).all()
    large = ramp(24, 32)
    small = study.matlab_resized(large, (12, 16)).astype(float)
    inner = small[2:-2, 2:-2, 0]
    assert np.abs(np.diff(inner, axis=0) - 4).max() <= 1
    assert np.abs(np.diff(inner, axis=1) - 2).max() <= 1


def test_the_kernel_is_widened_where_a_picture_shrinks_and_mirrored_at_its_edges():
    matrix = study._matrix(16, 4)
    assert matrix.sum(axis=1) == pytest.approx(1)
    assert (np.abs(matrix[1]) > 1e-9).sum() >= 14, "sixteen taps at a factor of four, a zero here and there"
    assert matrix[0] == pytest.approx(matrix[-1][::-1])


def test_psnr_is_on_luminance_and_leaves_the_border_out():
    truth = ramp(16, 16)
    wrong = truth.copy()
    wrong[:2] = 255
    assert study.psnr_y(truth, wrong, 2) == 100
    assert study.psnr_y(truth, wrong, 1) < 30
    assert study.psnr_y(truth, truth + np.uint8(1), 2) == pytest.approx(
        10 * np.log10(255**2 / (219 / 255) ** 2), abs=1e-6
    )


@pytest.mark.parametrize("content", [b"weights of nobody", b""])
def test_a_file_that_is_no_official_checkpoint_is_refused(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / "bsrn_x4.pth"
    path.write_bytes(content)
    assert study.main([str(path)]) == 9
    assert "is no official super-resolution checkpoint" in capsys.readouterr().err


def test_photographs_that_are_too_small_are_left_out_and_none_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    from PIL import Image

    Image.fromarray(ramp(16, 16)).save(tmp_path / "small.png")
    assert study.main([str(tmp_path / "x.pth"), "--photos", str(tmp_path)]) == 2
    assert "no photograph holds 288x448" in capsys.readouterr().err
