"""Masks on COCO and LVIS files that are made here; an oracle answers in the place of the decoder."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.doubles.mask_sets import BOXES, SIZE, Oracle, box_mask, coco_set, parts, run
from vitdeploy.api import evaluate, export
from vitdeploy.api.export_request import ExportRequest
from vitdeploy.errors import Impossible, UnreadableFile, UsageError
from vitdeploy.evaluation import detections, image_records, masks, prepare, summary
from vitdeploy.evaluation.image_records import ImageRecords, RecordsHeader
from vitdeploy.evaluation.request import EvalRequest

pytest.importorskip("pycocotools", reason="the package pycocotools (extra eval) is not installed")


@pytest.mark.parametrize("name", ["coco", "lvis"])
def test_boxes_of_annotations_are_asked_and_masks_compared_with_them(tmp_path: Path, name: str):
    root = coco_set(tmp_path / "data", lvis=name == "lvis")
    prepared = prepare.prepare(EvalRequest(dataset=name, root=root), parts(tmp_path))
    records = run(prepared, Oracle())
    assert [one.status for one in records] == ["scored"] * 3
    found = summary.summarize(prepared.kind, prepared.files.classes, records, None)
    assert found.figures[0].name == "mask IoU"
    assert found.figures[0].value is not None
    assert found.figures[0].value > 93  # masks have a quarter of the frame's resolution
    sizes = {figure.name: figure.value for figure in found.figures}
    assert sizes["of small ones"] is not None
    assert sizes["of large ones"] is None
    worse = summary.summarize(prepared.kind, prepared.files.classes, run(prepared, Oracle(shift=64)), records)
    drop = worse.figures[0]
    assert drop.drop is not None
    assert drop.drop_ci95 is not None
    assert drop.drop_ci95[0] > 10


def test_a_detectors_boxes_give_the_ap_that_pycocotools_gives(tmp_path: Path):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    from vitdeploy.evaluation import by_pycocotools

    root = coco_set(tmp_path / "data")
    boxes: list[dict[str, Any]] = [
        {"image_id": 1, "category_id": 1, "bbox": BOXES[0], "score": 0.9},
        {"image_id": 1, "category_id": 2, "bbox": (80, 20, 50, 60), "score": 0.8},
        {"image_id": 1, "category_id": 1, "bbox": (0, 0, 20, 20), "score": 0.95},
        {"image_id": 2, "category_id": 1, "bbox": BOXES[2], "score": 0.4},
        {"image_id": 3, "category_id": 2, "bbox": BOXES[5], "score": 0.7},
    ]
    file = tmp_path / "boxes.json"
    file.write_text(json.dumps(boxes))
    request = EvalRequest(dataset="coco", root=root, detections=file)
    prepared = prepare.prepare(request, parts(tmp_path))
    assert prepared.kind == "detections"
    records = run(prepared, Oracle())
    kept = ImageRecords(
        tmp_path / "r.jsonl",
        RecordsHeader(schema=1, dataset="coco", items_sha256="", artifacts=(), protocol=(), device="local"),
    )
    kept.begin(resume=False)
    kept.add(*records)
    figures, classes = detections.figures(request.dataset, prepared.files.extra, kept.path, kept.path)
    results = [
        {
            "image_id": int(one.image),
            "category_id": m.category,
            "score": m.score,
            "segmentation": dict(m.segmentation or {}),
        }
        for one in image_records.records(kept.path)
        for m in one.masks
    ]
    truth: Any = COCO(str(root / "annotations/instances_val2017.json"))
    judge: Any = COCOeval(truth, truth.loadRes(results), "segm")
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    for place, figure in enumerate(figures):
        theirs = float(judge.stats[place])
        assert (figure.value is None) == (theirs < 0)
        if figure.value is not None:
            assert figure.value == pytest.approx(100 * theirs)
    assert 0 < (figures[0].value or 0) < 100
    assert figures[0].drop == 0
    assert {one.name: one.count for one in classes} == {"cat": 3, "dog": 3, "bird": 0}
    assert next(one for one in classes if one.name == "bird").value is None
    mask = by_pycocotools.decode(results[0]["segmentation"], *SIZE)
    assert masks.iou(mask, box_mask(BOXES[0])) > 0.9


def lvis_ap(tmp_path: Path, boxes: list[dict[str, Any]]) -> float | None:
    root = coco_set(tmp_path / "data", lvis=True)
    file = tmp_path / "boxes.json"
    file.write_text(json.dumps(boxes))
    prepared = prepare.prepare(EvalRequest(dataset="lvis", root=root, detections=file), parts(tmp_path))
    kept = ImageRecords(
        tmp_path / "r.jsonl",
        RecordsHeader(schema=1, dataset="lvis", items_sha256="", artifacts=(), protocol=(), device="local"),
    )
    kept.begin(resume=False)
    kept.add(*run(prepared, Oracle()))
    figures, _ = detections.figures("lvis", prepared.files.extra, kept.path, None)
    assert [figure.name for figure in figures][-3:] == ["AP rare", "AP common", "AP frequent"]
    return figures[1].value  # AP50: masks at a quarter of the resolution are right there


RIGHT = [
    {"image_id": place // 2 + 1, "category_id": place % 2 + 1, "bbox": box, "score": 0.5}
    for place, box in enumerate(BOXES)
]


@pytest.mark.parametrize(
    ("extra", "harmful"),
    [
        ({"image_id": 2, "category_id": 3}, False),  # a bird where nobody looked for birds: not counted
        ({"image_id": 1, "category_id": 2}, True),  # a dog too many where all dogs were looked for
        ({"image_id": 2, "category_id": 2}, False),  # a dog too many where not all dogs were annotated
    ],
    ids=["not searched", "searched", "not exhaustive"],
)
def test_lvis_counts_a_mask_too_many_only_where_it_was_looked_for(tmp_path: Path, extra: dict[str, Any], harmful: bool):
    assert lvis_ap(tmp_path / "right", RIGHT) == pytest.approx(100)
    wrong = {**extra, "bbox": (70, 2, 15, 12), "score": 0.99}
    found = lvis_ap(tmp_path / "wrong", [*RIGHT, wrong])
    assert found is not None
    assert (found < 99) == harmful


def test_clicks_go_where_the_mask_is_most_wrong():
    true = np.zeros((60, 80), np.bool_)
    true[10:31, 20:41] = True
    first = masks.next_click(np.zeros_like(true), true, [])
    assert first == (30.0, 20.0, 1.0)  # the middle of what is missing
    too_much = true.copy()
    too_much[35:60, 40:80] = True
    assert masks.next_click(too_much, true, [first])[2] == 0.0
    again = masks.next_click(np.zeros_like(true), true, [first])
    assert again[:2] != first[:2]


@pytest.mark.parametrize("clicks", [1, 3, 5])
def test_every_click_is_asked_with_all_before_it(tmp_path: Path, clicks: int):
    root = coco_set(tmp_path / "data")
    request = EvalRequest(dataset="coco", root=root, prompt="point", clicks=clicks)
    prepared = prepare.prepare(request, parts(tmp_path))
    oracle = Oracle()
    records = run(prepared, oracle)
    assert all(len(one.masks) == 2 for one in records)
    assert sorted({int((labels >= 0).sum()) for labels in oracle.asked}) == list(range(1, clicks + 1))
    assert len(oracle.asked) == 3 * 2 * clicks


def test_masks_are_enlarged_as_the_predictor_does():
    torch = pytest.importorskip("torch")
    low = np.random.default_rng(0).normal(size=(4, 256, 256)).astype(np.float32)
    size = (427, 640)
    inner = masks.inner(size, 1024)
    large = torch.nn.functional.interpolate(torch.from_numpy(low)[None], (1024, 1024), mode="bilinear")
    large = torch.nn.functional.interpolate(large[..., : inner[0], : inner[1]], size, mode="bilinear")
    found = masks.chosen(low, np.asarray([0.9, 0.1, 0.8, 0.2]), size)
    assert (found == (large[0, 2] > 0).numpy()).mean() > 0.9999


def test_what_does_not_fit_is_refused_before_any_work(tmp_path: Path):
    root = coco_set(tmp_path / "data")
    both = parts(tmp_path)
    with pytest.raises(UnreadableFile, match="no decoder lies beside it"):
        prepare.prepare(EvalRequest(dataset="coco", root=root), both[:1])
    with pytest.raises(Impossible, match="an encoder and a decoder"):
        prepare.prepare(EvalRequest(dataset="coco", root=root), (both[0], both[0]))
    with pytest.raises(UsageError, match="needs --detections"):
        prepare.prepare(EvalRequest(dataset="coco", root=root, prompt="detector"), both)
    with pytest.raises(UsageError, match="--clicks 11"):
        prepare.prepare(EvalRequest(dataset="coco", root=root, prompt="point", clicks=11), both)
    with pytest.raises(UnreadableFile, match="looked for annotations/lvis_v1_val"):
        prepare.prepare(EvalRequest(dataset="lvis", root=root), both)
    broken = tmp_path / "broken.json"
    broken.write_text('[{"image_id": 1}]')
    with pytest.raises(UnreadableFile, match="no list of detections"):
        prepare.prepare(EvalRequest(dataset="coco", root=root, detections=broken), both)
    for path in (root / "val2017").iterdir():
        path.unlink()
    with pytest.raises(UnreadableFile, match="s pictures in"):
        prepare.prepare(EvalRequest(dataset="coco", root=root), both)


@pytest.mark.slow
@pytest.mark.parametrize("prompt", ["box", "point"])
def test_a_real_pair_of_files_agrees_with_fp32_torch(tmp_path: Path, prompt: str):
    root = coco_set(tmp_path / "data")
    rows = export.export(
        ["efficientvit_sam_l0.encoder", "efficientvit_sam_l0.decoder"],
        ExportRequest(target="onnx-fp32", size="128x128", out=tmp_path / "artifacts"),
    )
    encoder = rows[0].artifact
    assert encoder is not None
    order = EvalRequest(
        dataset="coco",
        root=root,
        out=tmp_path / "e.json",
        prompt=prompt,
        clicks=3 if prompt == "point" else 1,
        threads=2,
    )
    outcome = evaluate.evaluate_artifact([encoder.folder], order)  # the decoder is found beside it
    found = outcome.evaluation
    assert [subject.part for subject in found.subjects] == ["encoder", "decoder"]
    assert found.dataset.scored == 3
    assert found.figures[0].drop == pytest.approx(0, abs=0.01)
    assert outcome.page is not None
    assert outcome.page.read_text().count("data:image/jpeg;base64,") == 3
