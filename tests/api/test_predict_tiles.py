"""Super-resolution of a whole picture in tiles: no seam shows, and without tiles the crop is told."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.doubles import artifacts
from vitdeploy.api import predict, predict_tiles
from vitdeploy.api.predict import PredictRequest
from vitdeploy.artifacts.manifest import Artifact, Tensor
from vitdeploy.errors import Impossible
from vitdeploy.evaluation import super_resolution
from vitdeploy.images import matlab_cubic, photos
from vitdeploy.images import tiles as tiling

BLUR = 9
"""Side of the filter: an output pixel depends on four input pixels to either side."""


def smooth_doubler(folder: Path, size: tuple[int, int]) -> Artifact:
    """``model.onnx`` that blurs, and doubles each pixel: at its edges it sees zeros, which a seam would show."""
    onnx = pytest.importorskip("onnx", reason="the package onnx (extra onnx) is not installed")
    from onnx import TensorProto, helper, numpy_helper

    weight = np.zeros((3, 3, BLUR, BLUR), np.float32)
    for channel in range(3):
        weight[channel, channel] = 1 / BLUR**2
    nodes = [
        helper.make_node("Conv", ["image", "weight"], ["smooth"], pads=[BLUR // 2] * 4),
        helper.make_node("Resize", ["smooth", "", "scales"], ["output"], mode="nearest"),
    ]
    shape = (1, 3, 2 * size[0], 2 * size[1])
    graph = helper.make_graph(
        nodes,
        "smooth_doubler",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, *size])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, shape)],
        [
            numpy_helper.from_array(weight, "weight"),
            numpy_helper.from_array(np.asarray([1, 1, 2, 2], np.float32), "scales"),
        ],
    )
    folder.mkdir(parents=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, str(folder / "model.onnx"))
    return artifacts._written(
        folder,
        "model.onnx",
        "bsrn_x2",
        "onnx-fp32",
        Tensor(name="output", shape=shape, dtype="float32", layout="NCHW"),
        task="super-resolution",
        size=size,
        inputs=(Tensor(name="image", shape=(1, 3, *size), dtype="float32", layout="NCHW"),),
    )


def picture(folder: Path, height: int, width: int) -> str:
    path = folder / "photo.png"
    pixels = np.random.Generator(np.random.PCG64(0)).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return str(path)


def enlarged(artifact: Artifact, image: str, out: Path, *, tiles: bool = False) -> tuple[np.ndarray, str]:
    shown = predict.predict(PredictRequest(artifact=artifact.folder, image=image, out=out, tiles=tiles))
    return np.asarray(Image.open(out)).astype(int), shown.note or ""


def test_tiles_are_the_whole_within_rounding(tmp_path: Path):
    image = picture(tmp_path, 100, 140)
    small = smooth_doubler(tmp_path / "small", (48, 64))
    large = smooth_doubler(tmp_path / "large", (100, 140))
    tiled, note = enlarged(small, image, tmp_path / "tiles.png", tiles=True)
    whole, whole_note = enlarged(large, image, tmp_path / "whole.png")
    assert "the whole picture in 12 tiles of 48x64, which share 24 pixels" in note
    assert "cropped" not in whole_note
    assert tiled.shape == whole.shape == (200, 280, 3)
    assert np.abs(tiled - whole).max() <= 1
    center, note = enlarged(small, image, tmp_path / "center.png")
    assert center.shape == (96, 128, 3)
    assert "cropped to the centered 100x133 of 100x140, resized to 48x64; --tiles" in note


def test_a_picture_smaller_than_a_tile_keeps_its_size(tmp_path: Path):
    small = smooth_doubler(tmp_path / "small", (48, 64))
    tiled, note = enlarged(small, picture(tmp_path, 20, 30), tmp_path / "tiles.png", tiles=True)
    assert tiled.shape == (40, 60, 3)
    assert "1 tile of 48x64" in note


def test_a_picture_too_large_and_another_task_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    small = smooth_doubler(tmp_path / "small", (48, 64))
    monkeypatch.setattr(predict_tiles, "LARGEST_PIXELS", 1000)
    with pytest.raises(Impossible, match="would be 200x280"):
        enlarged(small, picture(tmp_path, 100, 140), tmp_path / "tiles.png", tiles=True)
    other = artifacts.conv_relu(tmp_path / "other")
    with pytest.raises(Impossible, match="no tiles"):
        enlarged(other, picture(tmp_path, 100, 140), tmp_path / "tiles.png", tiles=True)


@pytest.mark.parametrize("whole", [(48, 64), (49, 64), (100, 140), (480, 65)])
def test_every_pixel_is_covered_and_a_constant_stays_one(whole: tuple[int, int]):
    blend = tiling.Blend(whole, (48, 64), 1, 16)
    for corner in tiling.corners(whole, (48, 64), 16):
        blend.add(np.full((3, 48, 64), 0.4, np.float32), corner)
    assert (blend.picture(whole) == 102).all()


def test_the_psnr_of_a_prediction_is_that_of_an_evaluation():
    photo = np.ascontiguousarray(photos.open_named("sample:coffee")[:64, :96])
    small = matlab_cubic.resized(photo, (32, 48))
    enlarged = matlab_cubic.resized(small, (64, 96))
    ours, bicubic = predict_tiles.psnr_against_photo(photo, enlarged, (32, 48)) or (0.0, 0.0)
    assert ours == bicubic == super_resolution.compare(enlarged, photo, 2, lambda first, second: 0.0)[0]
    colour = enlarged.copy()
    colour[..., 2] = 255 - colour[..., 2]  # blue counts a ninth in Y
    wrong, same = predict_tiles.psnr_against_photo(photo, colour, (32, 48)) or (0.0, 0.0)
    assert wrong < same == bicubic
    assert predict_tiles.psnr_against_photo(photo[:60], enlarged, (32, 48)) is None
