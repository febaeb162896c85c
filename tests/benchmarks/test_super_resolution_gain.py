"""The study of what super-resolution weights gain: its PSNR, and which files it takes."""

from pathlib import Path

import numpy as np
import pytest

from vitdeploy.benchmarks.studies import super_resolution_gain as study
from vitdeploy.evaluation import super_resolution


def ramp(height: int, width: int) -> np.ndarray:
    rows = np.arange(height)[:, None, None] * 2 + np.arange(width)[None, :, None] + np.zeros(3)
    return rows.astype(np.uint8)


def test_psnr_is_on_luminance_and_leaves_the_border_out():
    truth = ramp(16, 16)
    wrong = truth.copy()
    wrong[:2] = 255
    assert super_resolution.psnr_y(truth, wrong, 2) == 100
    assert super_resolution.psnr_y(truth, wrong, 1) < 30
    assert super_resolution.psnr_y(truth, truth + np.uint8(1), 2) == pytest.approx(
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
