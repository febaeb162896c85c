"""Pictures of predictions: what was seen is painted and named, and a warning is printed in the picture."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vitdeploy import labels
from vitdeploy.errors import UnreadableFile
from vitdeploy.reports import overlay

PHOTO = np.full((200, 300, 3), 128, np.uint8)
HALVES = np.zeros((200, 300), np.int32)
HALVES[:, 150:] = 10


def test_each_class_is_painted_in_its_own_color():
    picture = np.asarray(overlay.segmentation(PHOTO, HALVES, "cityscapes"))
    height = picture.shape[0]
    for column, label in ((60, 0), (400, 10)):
        expected = 128 * (1 - overlay.OPACITY) + np.array(labels.palette("cityscapes")[label]) * overlay.OPACITY
        assert np.abs(picture[height // 2, column].astype(float) - expected).max() < 3


def test_a_note_is_printed_in_the_picture():
    plain = np.asarray(overlay.segmentation(PHOTO, HALVES, "cityscapes"))
    noted = np.asarray(overlay.segmentation(PHOTO, HALVES, "cityscapes", note="random weights"))
    assert plain.shape == noted.shape
    assert (plain != noted).any()


def test_many_classes_fit_into_the_legend():
    many = np.arange(200 * 300).reshape(200, 300) % 150
    picture = overlay.segmentation(PHOTO, many, "ade20k")
    assert picture.height < 2 * picture.width


def test_the_likeliest_classes_stand_beside_the_photograph():
    logits = np.zeros(1000)
    logits[285] = 9
    assert overlay.classification(PHOTO, logits, labels.names("imagenet")).width > 300


def test_a_picture_is_written_whole_or_not_at_all(tmp_path: Path):
    overlay.save(Image.new("RGB", (8, 8)), tmp_path / "new" / "a.png")
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.png"]
    (tmp_path / "file").write_text("")
    with pytest.raises(UnreadableFile):
        overlay.save(Image.new("RGB", (8, 8)), tmp_path / "file" / "a.png")


@pytest.mark.parametrize(("dataset", "count"), [("imagenet", 1000), ("cityscapes", 19), ("ade20k", 150)])
def test_every_class_has_a_name_and_a_color(dataset: str, count: int):
    assert len(labels.names(dataset)) == len(labels.palette(dataset)) == count
    assert all(labels.names(dataset))


def test_known_classes_are_where_they_belong():
    assert labels.names("imagenet")[285] == "Egyptian cat"
    assert labels.names("cityscapes")[13] == "car"
    assert labels.palette("cityscapes")[13] == (0, 0, 142)
    assert labels.names("ade20k")[12] == "person"
