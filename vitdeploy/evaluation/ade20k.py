"""ADE20K as the scene parsing benchmark has it: 150 classes, images beside annotations.

Source: http://sceneparsing.csail.mit.edu (ADEChallengeData2016); sizes as the official evaluation script of
https://github.com/mit-han-lab/efficientvit, applications/efficientvit_seg.
"""

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vitdeploy.catalog.spec import Size
from vitdeploy.evaluation.dataset import DataSetFiles, DataSetItem, wrong_layout
from vitdeploy.images import labels

IGNORE = 255
SHORT_SIDE = 512
MULTIPLE = 32
SPLIT = "validation"
FOLDER = "ADEChallengeData2016"


def find(root: Path, split: str = SPLIT) -> DataSetFiles:
    """The pictures of a split, each with its label map.

    Raises:
        UnreadableFile: the folders are not those of ADE20K.
    """
    base = next((p for p in (root, root / FOLDER) if (p / "images" / split).is_dir()), None)
    if base is None or not (base / "annotations" / split).is_dir():
        raise wrong_layout(
            "ADE20K",
            base or root,
            [f"images/{split}/*.jpg with annotations/{split}/*.png", f"those below {FOLDER}"],
            f"Name the folder {FOLDER} of the scene parsing benchmark (not the full ADE20K).",
        )
    paths = sorted((base / "images" / split).glob("*.jpg"))
    if not paths:
        raise wrong_layout("ADE20K", base / "images" / split, ["*.jpg"], "Unpack the archive again.")
    items: list[DataSetItem] = []
    for path in paths:
        label = base / "annotations" / split / f"{path.stem}.png"
        problem = None if label.is_file() else f"no label: {label} is not there"
        items.append(DataSetItem(name=path.stem, image=path, label=label if problem is None else None, problem=problem))
    return DataSetFiles(
        name="ade20k",
        split=split,
        root=base,
        items=items,
        classes=labels.names("ade20k"),
        layout=f"images and annotations of {FOLDER}",
    )


def official_size(height: int, width: int, short: int = SHORT_SIDE) -> Size:
    """What a picture is resized to: its short side to 512, its long side in proportion, up to a multiple of 32."""
    if height < width:
        return short, math.ceil(width / height * short / MULTIPLE) * MULTIPLE
    return math.ceil(height / width * short / MULTIPLE) * MULTIPLE, short


def train_ids(label: NDArray[np.uint8], _: Path) -> NDArray[np.uint8]:
    """A label file's values as classes from 0; its 0, "other", is `IGNORE`."""
    return label - np.uint8(1)  # 0 wraps around to 255
