"""Predictions on a page: with real weights the picture, with random ones a line and no picture."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.doubles import make_run
from vitdeploy import documents
from vitdeploy.api import report
from vitdeploy.errors import Impossible, UnreadableFile

WEIGHTS = "official, EfficientViT-Seg-B0 Cityscapes, Apache-2.0"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    path = tmp_path / "run.json"
    documents.write(path, make_run.run(make_run.row("efficientvit_b1", "onnx-fp32", 7, seed=1)))
    return path


def prediction(folder: Path, **changes: Any) -> Path:
    """A document as `predict --json` writes it, with its picture."""
    Image.new("RGB", (2000, 1000), (10, 200, 30)).save(folder / "overlay.png")
    document = {
        "picture": str(folder / "overlay.png"),
        "model": "efficientvit_seg_b0_cityscapes",
        "image": "sample:china",
        "measure": "share of the pixels",
        "classes": [["building", 0.42], ["sky", 0.3]],
        "psnr_db": [],
        "note": None,
        "weights": WEIGHTS,
        "random_weights": False,
        "preprocessing": "x / 255",
        "masks": [],
    }
    path = folder / "prediction.json"
    path.write_text(json.dumps({**document, **changes}))
    return path


def page(run: Path, *predictions: Path) -> str:
    return report.report([run], form="html", predictions=predictions, out=run.with_name("report.html")).text


def test_a_page_shows_the_picture_its_weights_and_the_largest_shares(run: Path, tmp_path: Path):
    text = page(run, prediction(tmp_path))
    assert 'src="data:image/jpeg;base64,' in text
    assert f"Weights: {WEIGHTS}. Share of the pixels: building 42%, sky 30%." in text
    assert '<a href="#pictures">' in text
    assert 'style="max-width: 1340px"' in text


def test_a_gain_in_decibels_is_said(run: Path, tmp_path: Path):
    text = page(run, prediction(tmp_path, classes=[], psnr_db=[["bsrn_x4", 25.3], ["bicubic", 24.1]], measure="PSNR"))
    assert "PSNR: bsrn_x4 25.30 dB, bicubic 24.10 dB." in text


def test_a_picture_of_random_weights_is_not_shown(run: Path, tmp_path: Path):
    text = page(run, prediction(tmp_path, random_weights=True, weights="random weights (seed 0)"))
    assert "data:image/jpeg" not in text
    assert "Not shown: random weights (seed 0), with which the answer means nothing." in text


def test_a_page_without_predictions_has_no_such_section(run: Path):
    assert 'id="pictures"' not in page(run)


def test_a_picture_that_was_moved_with_its_document_is_taken(run: Path, tmp_path: Path):
    assert "data:image/jpeg" in page(run, prediction(tmp_path, picture="elsewhere/overlay.png"))


def test_what_is_no_prediction_is_refused(run: Path, tmp_path: Path):
    with pytest.raises(UnreadableFile, match="is not a prediction"):
        page(run, run)
    lost = prediction(tmp_path, picture="lost.png")
    with pytest.raises(UnreadableFile, match="cannot be read"):
        page(run, lost)
    with pytest.raises(Impossible, match="predictions are shown by html, not by markdown"):
        report.report([run], predictions=[lost])
