"""Prompts of the command line, masks at the picture's size, and `predict` with parts whose answer is known."""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image

from vitdeploy.api import export, predict
from vitdeploy.api.export_request import ExportRequest
from vitdeploy.artifacts.manifest import Tensor, as_json, open_artifact, write
from vitdeploy.artifacts.weights_origin import Weights
from vitdeploy.catalog import registry, sam_prompts
from vitdeploy.catalog.sam_prompts import Prompt
from vitdeploy.errors import UnreadableFile, UsageError
from vitdeploy.images import photos, sam_predict
from vitdeploy.images.sam_predict import Candidate
from vitdeploy.inference import client
from vitdeploy.runtimes import on_ort, session

PHOTO = np.zeros((300, 400, 3), np.uint8)


def test_points_mean_one_object_and_every_box_is_another():
    assert sam_predict.parse_prompts(["10,20", "30,40,0"], [], PHOTO) == [Prompt(points=((10, 20, 1), (30, 40, 0)))]
    made = sam_predict.parse_prompts(
        ["60,60", "390,290,0"], ["0,0,200,200", "50,50,100.5,100", "300,200,380,280"], PHOTO
    )
    assert made == [
        Prompt(box=(0, 0, 200, 200)),
        Prompt(points=((60, 60, 1),), box=(50, 50, 100.5, 100)),
        Prompt(points=((390, 290, 0),), box=(300, 200, 380, 280)),
    ]


@pytest.mark.parametrize(
    ("points", "boxes", "words"),
    [
        ([], [], "no --point or --box was given"),
        (["1;2"], [], "not in pixels"),
        (["1"], [], "not in pixels"),
        (["1,2,3,4"], [], "not in pixels"),
        (["nan,2"], [], "not in pixels"),
        (["-1,2"], [], "not in pixels"),
        (["1,2,2"], [], "neither 0 nor 1"),
        (["1,301"], [], "400 pixels wide and 300 high"),
        ([], ["1,2,3"], "not in pixels"),
        ([], ["10,10,10,20"], "no area"),
        ([], ["10,10,500,20"], "outside the picture"),
        (["1,2"] * (sam_prompts.SLOTS + 1), [], f"takes {sam_prompts.SLOTS} without a box"),
        (["1,2"] * (sam_prompts.MOST_POINTS + 1), ["0,0,9,9"], f"takes {sam_prompts.MOST_POINTS} beside a box"),
    ],
)
def test_a_prompt_that_means_nothing_is_refused_with_its_text(points: list[str], boxes: list[str], words: str):
    with pytest.raises(UsageError, match=words) as caught:
        sam_predict.parse_prompts(points, boxes, PHOTO)
    assert caught.value.hint


def test_enlarging_is_torchs_bilinear():
    torch = pytest.importorskip("torch", reason="what it is held against")
    values = np.random.default_rng(0).standard_normal((7, 12)).astype(np.float32)
    for size in ((29, 31), (7, 12), (5, 6), (14, 3)):
        expected = torch.nn.functional.interpolate(torch.from_numpy(values)[None, None], size=size, mode="bilinear")
        np.testing.assert_allclose(sam_predict.resize_bilinear(values, size), expected[0, 0].numpy(), atol=1e-5)


@pytest.mark.parametrize("shape", [(300, 400), (1500, 700), (64, 200)], ids=["small", "large and high", "a strip"])
def test_a_rectangle_in_the_frame_lies_where_it_was_in_the_picture(shape: tuple[int, int]):
    photo = np.zeros((*shape, 3), np.uint8)
    height, width = shape
    box = (0.25 * width, 0.5 * height, 0.75 * width, 0.875 * height)
    scale = sam_prompts.FRAME / max(shape)
    x0, y0, x1, y1 = (side * scale / sam_prompts.FRAME * sam_prompts.MASK_SIDE for side in box)
    columns, rows = np.meshgrid(np.arange(sam_prompts.MASK_SIDE) + 0.5, np.arange(sam_prompts.MASK_SIDE) + 0.5)
    inside = np.minimum(np.minimum(columns - x0, x1 - columns), np.minimum(rows - y0, y1 - rows)).astype(np.float32)
    candidate = Candidate(score=1.0, logits=inside)
    mask = candidate.at(photo)
    assert mask.shape == shape
    found_rows, found_columns = np.nonzero(mask)
    found = (found_columns.min(), found_rows.min(), found_columns.max() + 1, found_rows.max() + 1)
    np.testing.assert_allclose(found, box, atol=max(2.0, 2.5 / scale))
    in_frame = candidate.in_frame()
    assert in_frame.shape == (sam_prompts.FRAME, sam_prompts.FRAME)
    framed = np.nonzero(in_frame)
    np.testing.assert_allclose((framed[1].min(), framed[0].min()), (box[0] * scale, box[1] * scale), atol=4)


def test_the_picture_lies_in_the_upper_left_corner_and_nothing_is_beside_it():
    spec = registry.find_model("efficientvit_sam_l0.encoder")
    entry = Tensor(name="image", shape=(1, 3, 512, 512), dtype="float32", layout="NCHW")
    manifest: Any = SimpleNamespace(inputs=(entry,), size=(512, 512), batch=1, preprocessing=None)
    white = np.full((300, 400, 3), 255, np.uint8)
    feed = sam_predict.image_feed(white, manifest, spec)["image"]
    assert feed.shape == (1, 3, 512, 512)
    expected = (1 - np.asarray(spec.preprocessing.mean)) / np.asarray(spec.preprocessing.std)
    np.testing.assert_allclose(feed[0, :, 383, 511], expected, rtol=1e-5)
    assert not feed[:, :, 384:].any()
    last: Any = SimpleNamespace(
        inputs=(Tensor(name="image", shape=(1, 512, 512, 3), dtype="float32", layout="NHWC"),),
        size=(512, 512),
        batch=1,
        preprocessing=None,
    )
    turned = sam_predict.image_feed(white, last, spec)["image"]
    np.testing.assert_array_equal(turned.transpose(0, 3, 1, 2), feed)


def planted(feeds: Mapping[str, Any]) -> dict[str, Any]:
    """What a perfect decoder would answer: the box that it is given, and discs around the points that are meant."""
    coords, labels = feeds[sam_prompts.COORDS], feeds[sam_prompts.LABELS]
    side = sam_prompts.MASK_SIDE
    columns, rows = np.meshgrid(*(2 * [(np.arange(side) + 0.5) * sam_prompts.FRAME / side]))
    masks = np.full((len(coords), sam_prompts.CANDIDATES, side, side), -1.0, np.float32)
    for place, (points, kinds) in enumerate(zip(coords, labels, strict=True)):
        for (x, y), kind in zip(points, kinds, strict=True):
            if kind in (0, 1):
                near = 40 - np.hypot(columns - x, rows - y)
                masks[place] = np.where(near > 0, near if kind == 1 else -near, masks[place])
        if (kinds == sam_prompts.FIRST_CORNER).any():
            x0, y0 = points[kinds == sam_prompts.FIRST_CORNER][0]
            x1, y1 = points[kinds == sam_prompts.SECOND_CORNER][0]
            box = np.minimum(np.minimum(columns - x0, x1 - columns), np.minimum(rows - y0, y1 - rows))
            masks[place, 0] = np.maximum(masks[place, 0], box)
    return {
        sam_prompts.MASKS: masks,
        sam_prompts.SCORES: np.tile(np.asarray([[0.9, 0.3, 0.8, 0.5]], np.float32), (len(coords), 1)),
    }


def decoder_manifest(batch: int) -> Any:
    inputs = (
        Tensor(name=sam_prompts.EMBEDDINGS, shape=(1, *sam_prompts.EMBEDDING), dtype="float32", layout="NCHW"),
        Tensor(name=sam_prompts.COORDS, shape=(batch, sam_prompts.SLOTS, 2), dtype="float32", layout="other"),
        Tensor(name=sam_prompts.LABELS, shape=(batch, sam_prompts.SLOTS), dtype="float32", layout="other"),
    )
    side = sam_prompts.MASK_SIDE
    outputs = (
        Tensor(name=sam_prompts.MASKS, shape=(batch, 4, side, side), dtype="float32", layout="NCHW"),
        Tensor(name=sam_prompts.SCORES, shape=(batch, 4), dtype="float32", layout="NC"),
    )
    return SimpleNamespace(inputs=inputs, outputs=outputs, batch=batch, preprocessing=None)


def encoder_manifest() -> Any:
    return SimpleNamespace(
        inputs=(Tensor(name="image", shape=(1, 3, 512, 512), dtype="float32", layout="NCHW"),),
        outputs=(
            Tensor(name=sam_prompts.EMBEDDINGS, shape=(1, *sam_prompts.EMBEDDING), dtype="float32", layout="NCHW"),
        ),
        size=(512, 512),
        preprocessing=None,
        batch=1,
    )


def embedded(_: Mapping[str, Any]) -> dict[str, Any]:
    return {sam_prompts.EMBEDDINGS: np.zeros((1, *sam_prompts.EMBEDDING), np.float32)}


@pytest.mark.parametrize("batch", [1, 2, 4])
def test_each_object_gets_its_own_masks_whatever_the_decoder_takes_at_once(batch: int):
    asked = sam_predict.parse_prompts(["200,150"], ["20,30,180,120", "150,120,260,200", "300,10,390,290"], PHOTO)
    found = sam_predict.segment(
        PHOTO,
        asked,
        (encoder_manifest(), decoder_manifest(batch)),
        registry.find_model("efficientvit_sam_l0.encoder"),
        run=(embedded, planted),
        multimask=False,
    )
    assert [one.prompt for one in found] == asked
    for one in found:
        assert len(one.candidates) == 1
        assert one.prompt.box is not None
        rows, columns = np.nonzero(one.best.at(PHOTO))
        edges = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        np.testing.assert_allclose(edges, one.prompt.box, atol=3)


def test_several_masks_are_three_and_the_most_trusted_is_the_best():
    (found,) = sam_predict.segment(
        PHOTO,
        sam_predict.parse_prompts(["200,150", "10,10,0"], [], PHOTO),
        (encoder_manifest(), decoder_manifest(1)),
        registry.find_model("efficientvit_sam_l0.encoder"),
        run=(embedded, planted),
        multimask=True,
    )
    assert [round(one.score, 2) for one in found.candidates] == [0.3, 0.8, 0.5]
    assert found.best.score == pytest.approx(0.8)
    rows, columns = np.nonzero(found.best.at(PHOTO))
    np.testing.assert_allclose((columns.mean(), rows.mean()), (200, 150), atol=2)


def test_objects_are_numbered_in_their_order():
    masks = [np.zeros((4, 4), np.bool_) for _ in range(2)]
    masks[0][:3], masks[1][2:] = True, True
    assert sam_predict.object_map(masks)[:, 0].tolist() == [1, 1, 2, 2]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnxscript", reason="onnx-fp32 is made here")
    out = tmp_path_factory.mktemp("sam")
    order = ExportRequest(target="onnx-fp32", size="128x128", out=out)
    assert not [row.error for row in export.export(["efficientvit_sam_l0"], order) if row.error]
    return out


@pytest.mark.slow  # exports an encoder of 512x512
def test_predict_takes_either_part_and_writes_overlay_and_masks(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The decoder is planted: what it is given is what the real one is given, and its answer is known."""
    inference_on = client.inference_on

    def with_planted(*where: Any, **how: Any) -> Any:
        infer = inference_on(*where, **how)
        return lambda artifact, feeds: (  # a feed of the decoder has coordinates
            [planted(feed) for feed in feeds] if sam_prompts.COORDS in feeds[0] else infer(artifact, feeds)
        )

    monkeypatch.setattr(client, "inference_on", with_planted)
    photo = photos.open_named("sample:coffee")
    for part in ("encoder", "decoder"):
        seen = predict.predict(
            predict.PredictRequest(
                artifact=exported / f"efficientvit_sam_l0.{part}" / "128x128" / "onnx-fp32",
                image="sample:coffee",
                points=("300,200", "20,20,0"),
                boxes=("150,100,400,350",),
                out=tmp_path / f"{part}.png",
            )
        )
        assert seen.note is not None
        assert "random" in seen.note
        assert [round(score, 2) for _, score in seen.classes] == [0.9]
        numbers = np.asarray(Image.open(seen.masks[0]))
        assert numbers.shape == photo.shape[:2]
        rows, columns = np.nonzero(numbers == 1)
        edges = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        np.testing.assert_allclose(edges, (150, 100, 400, 350), atol=3)
        assert np.asarray(Image.open(seen.masks[1])).shape == (1024, 1024)
        assert Image.open(seen.picture).width > photo.shape[1]


@pytest.mark.slow  # of the parts exported for the test before
def test_the_planted_decoder_is_asked_as_the_real_one_answers(exported: Path):
    folder = exported / "efficientvit_sam_l0.decoder" / "128x128" / "onnx-fp32"
    made = open_artifact(folder)
    feeds = {sam_prompts.EMBEDDINGS: np.zeros((1, *sam_prompts.EMBEDDING), np.float32)}
    feeds |= sam_prompts.arrays([Prompt(box=(0.0, 0.0, 99.0, 99.0))], 1)
    with on_ort.open_session(made.file, as_json(made.manifest), session.SessionOptions(threads=1)) as opened:
        real = session.infer(opened, feeds)
    assert {name: one.shape for name, one in real.items()} == {name: one.shape for name, one in planted(feeds).items()}


@pytest.mark.slow  # of the parts exported for the test before
def test_a_part_alone_and_parts_of_different_weights_are_refused(exported: Path, tmp_path: Path):
    folder = exported / "efficientvit_sam_l0.encoder" / "128x128" / "onnx-fp32"
    alone = tmp_path / "efficientvit_sam_l0.encoder" / "128x128" / "onnx-fp32"
    copy(folder, alone)
    with pytest.raises(UnreadableFile, match="no decoder lies beside it") as caught:
        sam_predict.encoder_and_decoder(open_artifact(alone))
    assert "vitdeploy export efficientvit_sam_l0.decoder --target onnx-fp32 --size 128x128" in caught.value.hint
    mate = tmp_path / "efficientvit_sam_l0.decoder" / "128x128" / "onnx-fp32"
    copy(exported / "efficientvit_sam_l0.decoder" / "128x128" / "onnx-fp32", mate)
    assert sam_predict.encoder_and_decoder(open_artifact(alone))[1].folder == mate
    other = Weights(source="file", sha256="0" * 64, name="other.pt")
    write(mate, msgspec.structs.replace(open_artifact(mate).manifest, weights=other))
    with pytest.raises(UnreadableFile, match="other weights"):
        sam_predict.encoder_and_decoder(open_artifact(alone))


def copy(source: Path, target: Path) -> None:
    target.mkdir(parents=True)
    for path in source.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
