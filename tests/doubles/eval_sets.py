"""Small data sets in their true directory formats, and artifacts whose answers are known: nearest color, enlarged."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.doubles import artifacts
from vitdeploy.artifacts.manifest import Artifact, Tensor
from vitdeploy.catalog.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from vitdeploy.evaluation import cityscapes

TRAIN_TO_ID = {int(train): place for place, train in enumerate(cityscapes.TRAIN_IDS) if train != 255}


def colors(count: int) -> NDArray[np.uint8]:
    """As many colors, ``(count, 3)``; the first 512 are all different."""
    levels = range(0, 256, 36)
    every = np.array([[red, green, blue] for red in levels for green in levels for blue in levels], np.uint8)
    mixed = np.random.Generator(np.random.PCG64(7)).permutation(every)
    return np.concatenate([mixed, mixed])[:count]


def nearest_color(
    folder: Path,
    model: str,
    *,
    size: tuple[int, int],
    classes: int,
    batch: int = 1,
    pooled: bool = False,
    stride: int = 1,
    **changes: Any,
) -> Artifact:
    """``model.onnx`` that gives each pixel (``pooled``: the picture's mean) the class of the nearest color."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    mean, std = np.asarray(IMAGENET_MEAN), np.asarray(IMAGENET_STD)
    centers = (colors(classes) / 255.0 - mean) / std
    weight = numpy_helper.from_array((2 * centers).astype(np.float32)[:, :, None, None], "weight")
    bias = numpy_helper.from_array(-(centers**2).sum(axis=1).astype(np.float32), "bias")
    nodes = []
    source = "image"
    if pooled:
        nodes.append(helper.make_node("GlobalAveragePool", ["image"], ["mean"]))
        source = "mean"
    elif stride > 1:
        nodes.append(
            helper.make_node("AveragePool", ["image"], ["mean"], kernel_shape=[stride] * 2, strides=[stride] * 2)
        )
        source = "mean"
    nodes.append(helper.make_node("Conv", [source, "weight", "bias"], ["maps" if pooled else "logits"]))
    shape = (batch, classes) if pooled else (batch, classes, size[0] // stride, size[1] // stride)
    if pooled:
        nodes.append(helper.make_node("Flatten", ["maps"], ["logits"]))
    graph = helper.make_graph(
        nodes,
        "nearest_color",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 3, *size])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, list(shape))],
        [weight, bias],
    )
    folder.mkdir(parents=True, exist_ok=True)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(made, str(folder / "model.onnx"))
    logits = Tensor(name="logits", shape=shape, dtype="float32", layout="NC" if pooled else "NCHW")
    image = Tensor(name="image", shape=(batch, 3, *size), dtype="float32", layout="NCHW")
    known = {"task": "classification" if pooled else "segmentation", "size": size, "batch": batch, "inputs": (image,)}
    target = changes.pop("target", "onnx-fp32")
    return artifacts._written(folder, "model.onnx", model, target, logits, **{**known, **changes})


def painted(truth: NDArray[Any], classes: int) -> NDArray[np.uint8]:
    """The picture that the nearest-color model sees as ``truth``; 255 becomes black."""
    palette = np.zeros((256, 3), np.uint8)
    palette[:classes] = colors(classes)
    return palette[truth]


def block_map(seed: int, size: tuple[int, int], classes: int, block: int = 8) -> NDArray[np.uint8]:
    """Random classes in squares of ``block`` pixels."""
    generator = np.random.Generator(np.random.PCG64(seed))
    small = generator.integers(0, classes, (size[0] // block, size[1] // block), dtype=np.uint8)
    return small.repeat(block, axis=0).repeat(block, axis=1)


def cityscapes_set(root: Path, pairs: Mapping[str, tuple[NDArray[Any], NDArray[Any]]], *, split: str = "val") -> Path:
    """leftImg8bit and gtFine of ``CITY/NAME`` → what is painted and what is labeled, both as train ids ``(h, w)``."""
    for name, (seen, truth) in pairs.items():
        city, _, stem = name.partition("/")
        left, fine = root / "leftImg8bit" / split / city, root / "gtFine" / split / city
        left.mkdir(parents=True, exist_ok=True)
        fine.mkdir(parents=True, exist_ok=True)
        Image.fromarray(painted(seen, 19)).save(left / f"{stem}_leftImg8bit.png")
        ids = np.zeros(truth.shape, np.uint8)  # id 0 is unlabeled
        for train, label in TRAIN_TO_ID.items():
            ids[truth == train] = label
        Image.fromarray(ids).save(fine / f"{stem}_gtFine_labelIds.png")
        Image.fromarray(ids).save(fine / f"{stem}_gtFine_instanceIds.png")  # lies there too and is not read
    return root


def ade20k_set(root: Path, pairs: Mapping[str, tuple[NDArray[Any], NDArray[Any]]]) -> Path:
    """images and annotations; the label files are classes plus one, and 0 where the truth is 255."""
    for name, (seen, truth) in pairs.items():
        for kind in ("images", "annotations"):
            (root / "ADEChallengeData2016" / kind / "validation").mkdir(parents=True, exist_ok=True)
        base = root / "ADEChallengeData2016"
        # JPEG as the data set has it, though a lossy one would move colors: the best quality, no color subsampling
        Image.fromarray(painted(seen, 150)).save(base / "images/validation" / f"{name}.jpg", quality=100, subsampling=0)
        Image.fromarray((truth + np.uint8(1)).astype(np.uint8)).save(base / "annotations/validation" / f"{name}.png")
    return root


def wnids() -> list[str]:
    """A thousand names of the right form."""
    return [f"n{number:08d}" for number in range(1440764, 1441764)]


def imagenet_folders(root: Path, pictures: Sequence[tuple[int, int]]) -> Path:
    """``val/WNID/*.JPEG`` of all thousand classes; ``pictures``: the true class and the one painted, below 512."""
    for wnid in wnids():
        (root / "val" / wnid).mkdir(parents=True)
    for place, (true, seen) in enumerate(pictures):
        picture = Image.fromarray(np.broadcast_to(colors(1000)[seen], (80, 100, 3)).copy())
        picture.save(root / "val" / wnids()[true] / f"ILSVRC2012_val_{place + 1:08d}.JPEG", format="PNG")
    return root


def lvis_file(path: Path) -> list[dict[str, Any]]:
    """Write annotations as LVIS v1 has them, with all that its rules are about; returns masks of a made detector.

    The masks are moved, missing, too many, of categories that were not looked for or not annotated in full, and in one
    picture more than 300.
    """
    from pycocotools import mask as typed_runs

    runs: Any = typed_runs
    draw = np.random.Generator(np.random.PCG64(5))
    height, width = 240, 320

    def box() -> list[int]:
        side = int(draw.choice([12, 50, 130]))
        w, h = (int(one) for one in draw.integers(side // 2, side + 1, 2))
        return [int(draw.integers(0, width - w)), int(draw.integers(0, height - h)), w, h]

    def result(image: int, category: int, place: Sequence[int], score: float) -> dict[str, Any]:
        x, y, w, h = place
        mask = np.zeros((height, width), np.uint8, order="F")
        mask[y : y + h, x : x + w] = 1
        counts = runs.encode(mask)["counts"].decode()
        shape = {"size": [height, width], "counts": counts}
        return {"image_id": image, "category_id": category, "segmentation": shape, "score": score}

    images: list[dict[str, Any]] = []
    notes: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image in range(1, 13):
        present = sorted(int(one) + 1 for one in draw.choice(6, 3, replace=False))
        absent = [one for one in range(1, 7) if one not in present]
        images.append(
            {
                "id": image,
                "height": height,
                "width": width,
                "coco_url": f"http://images.cocodataset.org/val2017/{image:012d}.jpg",
                "neg_category_ids": absent[:1],
                "not_exhaustive_category_ids": present[:1] if image % 3 == 0 else [],
            }
        )
        for category in (one for one in present for _ in range(2)):
            x, y, w, h = box()
            outline = [[x, y, x + w, y, x + w, y + h, x, y + h]]
            known = {"id": len(notes) + 1, "image_id": image, "category_id": category, "area": float(w * h)}
            notes.append({**known, "bbox": [x, y, w, h], "segmentation": outline})
            if draw.random() < 0.85:
                moved = (int(one) for one in draw.integers(-3, 4, 2))
                x, y = (max(0, old + by) for old, by in zip((x, y), moved, strict=True))
                results.append(result(image, category, (x, y, w, h), float(draw.random())))
        more = range(400 if image == 4 else 8)
        results += [result(image, int(draw.integers(1, 7)), box(), float(0.7 * draw.random())) for _ in more]
    categories = [{"id": n, "name": f"thing {n}", "frequency": "rcf"[n % 3]} for n in range(1, 7)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"info": {}, "images": images, "annotations": notes, "categories": categories}))
    return results
