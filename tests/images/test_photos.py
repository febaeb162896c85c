"""Photographs of users: 16 bits, orientation, and files that are too large or too strange."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vitdeploy.errors import UnreadableFile
from vitdeploy.images import photos
from vitdeploy.reports.pictures import overlay


def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path: Path):
    grey = np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(16, 16)
    for name in ("grey.png", "grey.tif"):
        Image.fromarray(grey).save(tmp_path / name)
        photo = photos.read(tmp_path / name)
        assert photo.shape == (16, 16, 3)
        assert photo[..., 0].ravel().tolist() == list(range(256))


def test_pixels_whose_range_is_not_known_are_refused(tmp_path: Path):
    Image.fromarray(np.full((4, 4), 70000, np.int32)).save(tmp_path / "whole.tif")
    Image.fromarray(np.full((4, 4), 0.5, np.float32)).save(tmp_path / "float.tif")
    for name in ("whole.tif", "float.tif"):
        with pytest.raises(UnreadableFile, match="32 bits"):
            photos.read(tmp_path / name)


def test_a_users_photograph_stands_upright_and_a_data_sets_lies_as_it_is(tmp_path: Path):
    picture = Image.new("RGB", (8, 4))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    picture.save(tmp_path / "turned.jpg", exif=exif)
    assert photos.open_named(str(tmp_path / "turned.jpg")).shape == (8, 4, 3)
    assert photos.read(tmp_path / "turned.jpg").shape == (4, 8, 3)


@pytest.mark.parametrize("pixels", [2**27 + 2**14, 2**29])
def test_images_of_too_many_pixels_are_refused_unread(tmp_path: Path, pixels: int):
    width = 2**14
    head = b"P5 %d %d 255\n" % (width, pixels // width)
    (tmp_path / "huge.pgm").write_bytes(head)
    with pytest.raises(UnreadableFile, match=r"more than \d+ pixels"):
        photos.read(tmp_path / "huge.pgm")


@pytest.mark.parametrize("shape", [(50000, 2, 3), (2, 50000, 3), (1, 1, 3)])
def test_overlays_of_strips_are_bounded(shape: tuple[int, int, int]):
    drawn = overlay.classification(np.zeros(shape, np.uint8), np.zeros(1000, np.float32), ["name"] * 1000)
    assert drawn.width * drawn.height < 100e6
