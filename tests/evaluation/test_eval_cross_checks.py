"""Every figure of `eval` against the field's libraries on made data sets, as a table: ``pytest -s`` prints it.

The other side is a plain loop that shares no code with ours: Pillow, onnxruntime, torch's bicubic, and the library.
"""

import importlib
import importlib.util
import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.doubles import eval_sets, mask_sets
from tests.doubles.doubled import doubled
from vitdeploy.api import evaluate
from vitdeploy.catalog.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from vitdeploy.evaluation import detections, prepare
from vitdeploy.evaluation.image_records import ImageRecords, RecordsHeader
from vitdeploy.evaluation.request import EvalRequest
from vitdeploy.images import photos

torch: Any = pytest.importorskip("torch")
torchmetrics: Any = pytest.importorskip("torchmetrics", reason="the package torchmetrics (extra eval) is not installed")
pytest.importorskip("skimage", reason="the package scikit-image (extra eval) is not installed")


def show(data_set: str, figure: str, library: str, ours: float, theirs: float, unit: str = "%") -> None:
    difference = abs(ours - theirs)
    print(f"| {data_set} | {figure} | {library} | {ours:.6f} {unit} | {theirs:.6f} {unit} | {difference:.1e} |")
    assert theirs > 0, "a figure that is zero shows nothing"
    assert ours == pytest.approx(theirs, abs=1e-3)


def figures_of(folder: Path, name: str, root: Path, out: Path) -> dict[str, float]:
    order = EvalRequest(dataset=name, root=root, out=out, reference=False, threads=1)
    found = evaluate.evaluate_artifact([folder], order)
    assert found.error is None
    return {one.name: one.value for one in found.evaluation.figures if one.value is not None}


def plain_logits(session: Any, photo: NDArray[Any]) -> Any:
    """What the file answers to a picture of its own size, ``(1, …)``, as anyone would write it."""
    feed = ((photo / 255.0 - IMAGENET_MEAN) / IMAGENET_STD).astype(np.float32).transpose(2, 0, 1)[None]
    return torch.from_numpy(session.run(None, {"image": feed})[0])


def plain_mean_iou(folder: Path, pairs: list[tuple[Path, NDArray[Any]]], classes: int) -> float:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    metric = torchmetrics.classification.MulticlassJaccardIndex(classes, average="macro", ignore_index=255)
    for path, truth in pairs:
        logits = plain_logits(session, np.asarray(Image.open(path).convert("RGB")))
        large = torch.nn.functional.interpolate(logits, size=truth.shape, mode="bicubic", align_corners=False)
        metric.update(large.argmax(1)[0], torch.from_numpy(truth.astype(np.int64)))
    return 100 * float(metric.compute())


def test_segmentation(tmp_path: Path):
    print("\n| data set | figure | library | ours | theirs | difference |\n|---|---|---|---|---|---|")
    sides = {"cityscapes": ((128, 256), 19, "efficientvit_seg_b0_cityscapes")}
    sides |= {"ade20k": ((512, 512), 150, "efficientvit_seg_b1_ade20k")}
    for name, (size, classes, model) in sides.items():
        pairs: dict[str, Any] = {}
        for place in range(4):
            truth = eval_sets.block_map(place, size, classes, block=32)
            seen = truth.copy()
            seen[:, : 24 * place + 8] = 3
            truth[:8] = 255
            stem = f"p_{place:06d}" if name == "cityscapes" else f"ADE_val_{place + 1:08d}"
            pairs[f"aachen/{stem}" if name == "cityscapes" else stem] = (seen, truth)
        made = eval_sets.nearest_color(tmp_path / f"a-{name}", model, size=size, classes=classes, stride=8)
        build = eval_sets.cityscapes_set if name == "cityscapes" else eval_sets.ade20k_set
        root = build(tmp_path / name, pairs)
        files = sorted(root.rglob("*_leftImg8bit.png" if name == "cityscapes" else "*.jpg"))
        plain = [(file, truth) for file, (_, truth) in zip(files, pairs.values(), strict=True)]
        ours = figures_of(made.folder, name, root, tmp_path / f"{name}.json")["mIoU"]
        theirs = plain_mean_iou(made.folder, plain, classes)
        assert theirs < 99, "perfect answers would hide a wrong sum"
        show(name, "mIoU", "torchmetrics", ours, theirs)


def test_imagenet(tmp_path: Path):
    import onnxruntime

    # The second-nearest colors of a class are what top-5 has beside top-1.
    pictures = [(3, 3), (3, 5), (7, 7), (400, 400), (499, 2)]
    made = eval_sets.nearest_color(tmp_path / "a", "efficientvit_b0", size=(32, 32), classes=1000, pooled=True)
    session = onnxruntime.InferenceSession(str(made.folder / "model.onnx"), providers=["CPUExecutionProvider"])
    plain = np.broadcast_to(eval_sets.colors(1000)[11], (32, 32, 3))
    near = [int(one) for one in plain_logits(session, plain)[0].topk(5).indices]
    pictures.append((next(one for one in near[1:] if one != 11), 11))
    root = eval_sets.imagenet_folders(tmp_path / "i", pictures)
    ours = figures_of(made.folder, "imagenet", root, tmp_path / "i.json")
    painted = [np.broadcast_to(eval_sets.colors(1000)[seen], (32, 32, 3)) for _, seen in pictures]
    logits = torch.cat([plain_logits(session, one) for one in painted])
    truth = torch.tensor([true for true, _ in pictures])
    for most in (1, 5):
        metric = torchmetrics.classification.MulticlassAccuracy(1000, top_k=most, average="micro")
        show("imagenet", f"top-{most}", "torchmetrics", ours[f"top-{most}"], 100 * float(metric(logits, truth)))
    assert ours["top-5"] > ours["top-1"]


def test_super_resolution(tmp_path: Path):
    from skimage import metrics
    from torchmetrics.functional.image import structural_similarity_index_measure

    large_folder, low_folder = tmp_path / "set/HR", tmp_path / "set/LR_bicubic/X2"
    large_folder.mkdir(parents=True)
    low_folder.mkdir(parents=True)
    psnrs: list[float] = []
    ssims: list[float] = []
    for name in ("coffee", "astronaut"):
        large = np.asarray(Image.fromarray(photos.open_named(f"sample:{name}")).resize((64, 48)))
        low = np.asarray(Image.fromarray(large).resize((32, 24), Image.Resampling.BICUBIC))
        Image.fromarray(large).save(large_folder / f"{name}.png")
        Image.fromarray(low).save(low_folder / f"{name}x2.png")
        # Y of MATLAB's rgb2ycbcr, as the papers' scripts write it
        one, two = (
            (16 + (65.481 * p[..., 0] + 128.553 * p[..., 1] + 24.966 * p[..., 2]) / 255)[2:-2, 2:-2]
            for p in (low.repeat(2, axis=0).repeat(2, axis=1).astype(np.float64), large.astype(np.float64))
        )
        psnrs.append(float(metrics.peak_signal_noise_ratio(two, one, data_range=255)))
        batch = [torch.from_numpy(np.ascontiguousarray(p))[None, None] for p in (one, two)]
        _, whole = structural_similarity_index_measure(
            *batch, sigma=1.5, kernel_size=11, data_range=255.0, return_full_image=True
        )
        ssims.append(float(whole[..., 5:-5, 5:-5].mean()))
    made = doubled(tmp_path / "a", (24, 32))
    ours = figures_of(made.folder, "sr", tmp_path / "set", tmp_path / "s.json")
    show("sr", "PSNR", "scikit-image", ours["PSNR"], float(np.mean(psnrs)), "dB")
    show("sr", "SSIM", "torchmetrics", ours["SSIM"], float(np.mean(ssims)), "")


def test_coco_masks(tmp_path: Path):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    root = mask_sets.coco_set(tmp_path / "data")
    boxes = [
        {"image_id": 1, "category_id": 1, "bbox": mask_sets.BOXES[0], "score": 0.9},
        {"image_id": 1, "category_id": 2, "bbox": (80, 20, 50, 60), "score": 0.8},
        {"image_id": 1, "category_id": 1, "bbox": (0, 0, 20, 20), "score": 0.95},
        {"image_id": 3, "category_id": 2, "bbox": mask_sets.BOXES[5], "score": 0.7},
    ]
    file = tmp_path / "boxes.json"
    file.write_text(json.dumps(boxes))
    prepared = prepare.prepare(EvalRequest(dataset="coco", root=root, detections=file), mask_sets.parts(tmp_path))
    records = mask_sets.run(prepared, mask_sets.Oracle())
    head = RecordsHeader(schema=1, dataset="coco", items_sha256="", artifacts=(), protocol=(), device="local")
    kept = ImageRecords(tmp_path / "r.jsonl", head)
    kept.begin(resume=False)
    kept.add(*records)
    ours = {one.name: one.value for one in detections.figures("coco", prepared.files.extra, kept.path, None)[0]}
    results = [
        {"image_id": int(one.image), "category_id": m.category, "score": m.score, "segmentation": dict(m.segmentation)}
        for one in records
        for m in one.masks
        if m.segmentation is not None
    ]
    truth: Any = COCO(str(root / "annotations/instances_val2017.json"))
    judge: Any = COCOeval(truth, truth.loadRes(results), "segm")
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    for place, name in enumerate(("mask AP", "AP50", "AP75")):
        value = ours[name]
        assert value is not None
        show("coco", name, "pycocotools", value, 100 * float(judge.stats[place]))


def lvis_api(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The authors' package, which needs OpenCV and matplotlib for drawing only and a NumPy that still had ``float``."""
    if importlib.util.find_spec("lvis") is None:
        pytest.skip("the package lvis is not installed: pip install --no-deps lvis==0.5.3")
    drawing = {"cv2": ("cv2",), "matplotlib": ("matplotlib", "matplotlib.pyplot", "matplotlib.patches")}
    for name in (one for package, parts in drawing.items() if not importlib.util.find_spec(package) for one in parts):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
        monkeypatch.setattr(sys.modules[name], "Polygon", None, raising=False)
    if not hasattr(np, "float"):
        monkeypatch.setattr(np, "float", float, raising=False)
    return importlib.import_module("lvis")


def test_lvis_masks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from vitdeploy.evaluation.by_pycocotools import FIGURES, AveragePrecision

    lvis = lvis_api(monkeypatch)
    path = tmp_path / "lvis_v1_val.json"
    results = eval_sets.lvis_file(path)
    pictures = range(1, 13)
    ours = AveragePrecision(path, pictures, lvis=True).evaluate(results).percents()
    truth = lvis.LVIS(str(path))
    judge = lvis.LVISEval(truth, lvis.LVISResults(truth, [dict(one) for one in results]), "segm")
    judge.run()
    theirs = judge.get_results()
    names = ("AP", "AP50", "AP75", "APs", "APm", "APl", "APr", "APc", "APf")
    for figure, name, value in zip(FIGURES["lvis"], names, ours, strict=True):
        show("lvis", figure, "lvis-api", value, 100 * float(theirs[name]))
    without_rules = AveragePrecision(path, pictures, lvis=False).evaluate(results).percents()
    assert abs(without_rules[0] - ours[0]) > 0.5, "COCO's rules would have said the same: the set shows nothing"
