"""COCO and LVIS data sets made here, and an oracle that answers in the place of the decoder."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.doubles import artifacts
from vitdeploy.artifacts.manifest import Artifact, Tensor
from vitdeploy.evaluation import prepare
from vitdeploy.evaluation.evaluate import evaluate
from vitdeploy.evaluation.record import ImageRecord

SIZE = (96, 160)


OBJECTS = 2


def box_mask(box: Sequence[float], size: tuple[int, int] = SIZE) -> NDArray[np.bool_]:
    left, top, width, height = (round(side) for side in box)
    made = np.zeros(size, np.bool_)
    made[top : top + height, left : left + width] = True
    return made


def polygon(box: Sequence[float]) -> list[list[float]]:
    x, y, w, h = box
    return [[x, y, x + w, y, x + w, y + h, x, y + h]]


BOXES = [(10, 8, 60, 50), (90, 20, 40, 60), (5, 70, 20, 16), (100, 10, 50, 30), (30, 30, 100, 40), (60, 60, 12, 30)]


def coco_set(root: Path, *, lvis: bool = False) -> Path:
    """Three pictures of two annotations each; the last annotation is given as run lengths."""
    images, notes = [], []
    folder = root / "val2017"
    folder.mkdir(parents=True)
    (root / "annotations").mkdir()
    for place in range(3):
        name = f"{place + 1:012d}.jpg"
        Image.new("RGB", (SIZE[1], SIZE[0]), (40 * place, 90, 120)).save(folder / name)
        image: dict[str, Any] = {"id": place + 1, "height": SIZE[0], "width": SIZE[1], "license": 3}
        if lvis:
            image |= {"coco_url": f"http://images.cocodataset.org/val2017/{name}"}
            image |= {"neg_category_ids": [3] if place == 0 else [], "not_exhaustive_category_ids": [2] * (place == 1)}
        else:
            image |= {"file_name": name}
        images.append(image)
        for second in range(2):
            box = BOXES[2 * place + second]
            outline: Any = polygon(box)
            if place == 2 and second == 1:
                flat = box_mask(box).flatten(order="F").astype(int)
                starts = np.flatnonzero(np.diff(np.concatenate([[0], flat, [0]])))
                edges = [0, *starts.tolist(), flat.size]
                outline = {"size": list(SIZE), "counts": np.diff(edges).tolist()}
            notes.append(
                {
                    "id": len(notes) + 1,
                    "image_id": place + 1,
                    "category_id": second + 1,
                    "area": float(box[2] * box[3]),
                    "bbox": list(box),
                    "segmentation": outline,
                    **({} if lvis else {"iscrowd": 0}),  # LVIS v1 has no such field
                }
            )
    categories: list[dict[str, Any]] = [{"id": n, "name": w} for n, w in ((1, "cat"), (2, "dog"), (3, "bird"))]
    if lvis:
        categories = [{**one, "frequency": letter} for one, letter in zip(categories, "fcr", strict=True)]
    file = "lvis_v1_val.json" if lvis else "instances_val2017.json"
    told = {"info": {}, "images": images, "annotations": notes, "categories": categories}
    (root / "annotations" / file).write_text(json.dumps(told))
    return root


def parts(folder: Path) -> tuple[Artifact, Artifact]:
    """An encoder and a decoder whose files are no models: the oracle answers for them."""
    image = Tensor(name="image", shape=(1, 3, 512, 512), dtype="float32", layout="NCHW")
    embedding = Tensor(name="image_embeddings", shape=(1, 256, 64, 64), dtype="float32", layout="NCHW")
    coords = Tensor(name="point_coords", shape=(OBJECTS, 10, 2), dtype="float32", layout="other")
    labels = Tensor(name="point_labels", shape=(OBJECTS, 10), dtype="float32", layout="other")
    answers = Tensor(name="masks", shape=(OBJECTS, 4, 256, 256), dtype="float32", layout="NCHW")
    common: dict[str, Any] = {"model": "efficientvit_sam_l0", "task": "segment-anything", "size": (512, 512)}
    encoder = artifacts.plain_file(folder / "e", b"e", **common, part="encoder", inputs=(image,), outputs=(embedding,))
    decoder = artifacts.plain_file(
        folder / "d", b"d", **common, part="decoder", inputs=(embedding, coords, labels), outputs=(answers,)
    )
    return encoder, decoder


class Oracle:
    """Answers a box with its own inside, and clicks with the annotation they hit; one of three masks is right."""

    def __init__(self, shift: int = 0) -> None:
        self.shift = shift
        self.asked: list[NDArray[Any]] = []

    def __call__(self, artifact: Artifact, feeds: Any, /) -> list[Any]:
        if artifact.manifest.part == "encoder":
            assert all(max(feed["image"].shape[:2]) == 512 for feed in feeds)
            return [{"image_embeddings": np.zeros((256, 64, 64), np.float32)} for _ in feeds]
        return [self._masks(feed) for feed in feeds]

    def _masks(self, feed: Any) -> dict[str, NDArray[Any]]:
        made = np.full((OBJECTS, 4, 256, 256), -8.0, np.float32)
        made[:, :3] = 8.0  # wrong ones, one of which stands where a prompt that is not ambiguous would be answered
        made[:, 3] = -8.0
        scores = np.tile(np.asarray([0.99, 0.1, 0.2, 0.9], np.float32), (OBJECTS, 1))
        grid = (np.arange(256) + 0.5) * 4  # pixel centers in the frame
        for row in range(OBJECTS):
            corners = [
                tuple(point)
                for point, label in zip(feed["point_coords"][row], feed["point_labels"][row], strict=True)
                if label >= 2
            ]
            self.asked.append(feed["point_labels"][row])
            if corners:
                (x0, y0), (x1, y1) = corners
                inside = (
                    (grid[:, None] >= y0) & (grid[:, None] < y1) & (grid >= x0 + self.shift) & (grid < x1 + self.shift)
                )
                made[row, 3][inside] = 8.0
        return {"masks": made, "iou_predictions": scores}


def run(prepared: prepare.PreparedEvaluation, answers: Any) -> list[ImageRecord]:
    found: Iterator[list[ImageRecord]] = evaluate(prepared.items, prepared.start, answers)
    return [one for group in found for one in group]
