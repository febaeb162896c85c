"""Pictures of predictions: the legend's numbers, the note, sizes, and the class names they use."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vitdeploy.catalog import registry
from vitdeploy.errors import UnreadableFile, UsageError
from vitdeploy.images import labels
from vitdeploy.reports.pictures import overlay

NOTE = "random weights (seed 0): the classes mean nothing"


def photo(height: int = 480, width: int = 640) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def halves(height: int = 480, width: int = 640) -> np.ndarray:
    found = np.zeros((height, width), np.int32)
    found[:, width // 2 :] = 10
    return found


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.convert("RGB")).astype(int)


def test_a_segmentation_is_the_photo_under_its_colors_with_a_thin_border():
    made = pixels(overlay.segmentation(photo(), halves(), "cityscapes"))
    road, sky = labels.palette("cityscapes")[0], labels.palette("cityscapes")[10]
    expected = photo()[100, 100] * (1 - overlay.OPACITY) + np.asarray(road) * overlay.OPACITY
    assert np.abs(made[100, 100] - expected).max() <= 1
    assert np.abs(made[100, 600] - (photo()[100, 600] * 0.4 + np.asarray(sky) * 0.6)).max() <= 1
    assert (made[:480, 319] == 255).all()
    assert not (made[100, 310:318] == 255).all()


def test_the_legend_stands_beside_the_photo_and_holds_the_classes_colors():
    made = overlay.segmentation(photo(), halves(), "cityscapes")
    assert made.width > 640
    panel = pixels(made)[:, 640:]
    for index in (0, 10):
        assert (panel == np.asarray(labels.palette("cityscapes")[index])).all(axis=2).sum() > 100


def test_the_note_is_printed_in_the_picture():
    plain, noted = (overlay.segmentation(photo(), halves(), "cityscapes", note=note) for note in (None, NOTE))
    reddish = [
        ((p[..., 0] - p[..., 2]) > 100) & (p[..., 1] < 90) for p in (pixels(plain)[:, 640:], pixels(noted)[:, 640:])
    ]
    assert reddish[1].sum() > reddish[0].sum() + 50


def test_noise_has_no_borders_because_they_would_hide_it():
    speckled = np.random.default_rng(1).integers(0, 19, (480, 640), dtype=np.int32)
    made = pixels(overlay.segmentation(photo(), speckled, "cityscapes"))
    assert (made[:480, :640] == 255).all(axis=2).mean() < 0.01


def test_more_classes_than_fit_are_summed_up_and_the_picture_grows_if_it_must():
    many = np.repeat(np.arange(150, dtype=np.int32), 4).reshape(20, 30)
    made = overlay.segmentation(photo(20, 30), many, "ade20k", note=NOTE)
    assert made.height >= overlay.LEAST_HEIGHT_PX


@pytest.mark.parametrize("size", [(1, 1), (16, 2000), (2000, 16), (1024, 2048)])
def test_any_shape_of_photo_makes_a_picture(size: tuple[int, int]):
    made = overlay.segmentation(photo(*size), np.zeros(size, np.int32), "cityscapes", note=NOTE)
    assert made.height >= size[0]
    assert made.width > size[1]
    assert max(made.size) < 6000


def test_a_classification_shows_five_classes_with_bars_as_long_as_their_probability():
    logits = np.full(1000, -9.0)
    logits[[281, 282]] = 5.0
    made = overlay.classification(photo(), logits, labels.names("imagenet"), note=NOTE)
    panel = pixels(made)[:, 640:]
    bars = (panel == np.asarray((11, 102, 176))).all(axis=2).sum(axis=1)
    lengths = sorted({int(n) for n in bars if n}, reverse=True)
    track = (panel == np.asarray((233, 236, 240))).all(axis=2).sum(axis=1).max()
    assert lengths[0] == pytest.approx(track / 2, rel=0.03)


def test_a_name_that_does_not_fit_is_cut():
    names = ["a very long name " * 20] * 1000
    made = overlay.classification(photo(), np.arange(1000.0), names)
    assert (pixels(made)[:, -8:] > 200).all()


@pytest.mark.parametrize(("share", "text"), [(0.4541, "45.4 %"), (0.0, "0.0 %"), (1e-9, "< 0.1 %"), (1.0, "100.0 %")])
def test_a_share_that_is_there_is_never_zero(share: float, text: str):
    assert overlay._percent(share) == text


def test_saving_writes_a_png_or_says_why_not(tmp_path: Path):
    made = overlay.segmentation(photo(), halves(), "cityscapes")
    overlay.save(made, tmp_path / "deep" / "a.png")
    with Image.open(tmp_path / "deep" / "a.png") as opened:
        assert opened.size == made.size
    (tmp_path / "file").write_text("")
    with pytest.raises(UnreadableFile):
        overlay.save(made, tmp_path / "file" / "a.png")


@pytest.mark.parametrize("dataset", labels.DATASETS)
def test_labels_are_as_many_as_the_models_classes_and_all_differ(dataset: str):
    names = labels.names(dataset)
    counts = {spec.classes for spec in registry.models().values() if spec.dataset == dataset}
    assert counts == {len(names)} == {len(labels.palette(dataset))}
    assert len(set(names)) == len(names)
    assert all(name == name.strip() and name for name in names)
    assert all(0 <= part <= 255 for color in labels.palette(dataset) for part in color)


def test_known_classes_are_where_their_logits_are():
    """Source: cityscapesScripts labels.py; objectInfo150; the ILSVRC 2012 class index."""
    assert labels.names("cityscapes")[13] == "car"
    assert labels.palette("cityscapes")[13] == (0, 0, 142)
    assert labels.names("ade20k")[149] == "flag"
    assert labels.palette("ade20k")[2] == (6, 230, 230)
    assert [labels.names("imagenet")[i] for i in (0, 281, 388, 954, 999)] == [
        *("tench", "tabby", "giant panda", "banana", "toilet tissue")
    ]


def test_an_unknown_data_set_is_a_usage_error():
    with pytest.raises(UsageError, match="cityscape"):
        labels.names("cityscape")
