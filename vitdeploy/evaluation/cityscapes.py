"""Cityscapes: leftImg8bit beside gtFine, the 19 classes that are evaluated.

Source: https://github.com/mcordts/cityscapesScripts, ``helpers/labels.py`` and its README's folder structure.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vitdeploy.evaluation.dataset import DataSetFiles, DataSetItem, folder_contents, wrong_layout
from vitdeploy.images import labels

IGNORE = 255

_TRAIN_OF_ID = dict(enumerate((7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)))

TRAIN_IDS = np.full(256, IGNORE, np.uint8)
"""Label id → train id; all others are not evaluated."""
for _train, _id in _TRAIN_OF_ID.items():
    TRAIN_IDS[_id] = _train

SPLIT = "val"


def find(root: Path, split: str = SPLIT) -> DataSetFiles:
    """The pictures of a split, each with its label map.

    Raises:
        UnreadableFile: the folders are not those of Cityscapes.
    """
    images = root / "leftImg8bit" / split
    if not images.is_dir():
        raise wrong_layout(
            "Cityscapes",
            root,
            [f"leftImg8bit/{split}/CITY/*_leftImg8bit.png with gtFine/{split}/CITY/*_gtFine_labelIds.png"],
            "Name the folder that holds leftImg8bit and gtFine.",
        )
    if not (root / "gtFine" / split).is_dir():
        raise wrong_layout(
            "Cityscapes",
            root,
            [f"gtFine/{split} beside leftImg8bit/{split}"],
            "Unpack gtFine_trainvaltest.zip there as well.",
        )
    paths = sorted(images.glob("*/*_leftImg8bit.png"))
    if not paths:
        raise wrong_layout(
            "Cityscapes",
            images,
            ["CITY/*_leftImg8bit.png"],
            f"It holds {folder_contents(images)}; unpack the archive again.",
        )
    items = [_item(path, root, split) for path in paths]
    kinds = {item.label.name.rpartition("_")[2] for item in items if item.label}
    return DataSetFiles(
        name="cityscapes",
        split=split,
        root=root,
        items=items,
        classes=labels.names("cityscapes"),
        layout=f"leftImg8bit and gtFine, labels from {' and '.join(sorted(kinds)) or 'nowhere'}",
    )


def _item(image: Path, root: Path, split: str) -> DataSetItem:
    stem = image.name.removesuffix("_leftImg8bit.png")
    folder = root / "gtFine" / split / image.parent.name
    candidates = [folder / f"{stem}_gtFine_{kind}.png" for kind in ("labelIds", "labelTrainIds")]
    label = next((path for path in candidates if path.is_file()), None)
    problem = None if label else f"no label: neither {candidates[0]} nor {candidates[1].name}"
    return DataSetItem(name=f"{image.parent.name}/{stem}", image=image, label=label, problem=problem)


def train_ids(label: NDArray[np.uint8], path: Path) -> NDArray[np.uint8]:
    """A label file's values as train ids, `IGNORE` for what is not evaluated."""
    return label if path.name.endswith("_labelTrainIds.png") else TRAIN_IDS[label]
