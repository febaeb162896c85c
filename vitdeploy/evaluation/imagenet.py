"""ImageNet's validation pictures: in class folders, beside the devkit's list, or as Kaggle hands them out.

A class is the place of its WordNet id among the thousand in alphabetic order, as torchvision's ``ImageFolder`` counts
and every checkpoint here was trained. Source: ILSVRC2012_devkit_t12/readme.txt; torchvision/datasets/imagenet.py.
"""

import csv
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vitdeploy import documents
from vitdeploy.errors import UnreadableFile
from vitdeploy.evaluation.dataset import DataSetFiles, DataSetItem, folder_contents, wrong_layout
from vitdeploy.images import labels

CLASSES = 1000
SPLIT = "val"
SUFFIXES = (".jpeg", ".jpg", ".png")

DEVKIT = Path("ILSVRC2012_devkit_t12") / "data"
TRUTH = "ILSVRC2012_validation_ground_truth.txt"
META = "meta.mat"
KAGGLE = "LOC_val_solution.csv"

MAPPINGS = ("LOC_synset_mapping.txt", "synset_words.txt", "imagenet_class_index.json")
"""Files that list the thousand WordNet ids: needed where not every class has a folder."""

_WNID = re.compile(r"^n\d{8}$")


def find(root: Path, split: str = SPLIT) -> DataSetFiles:
    """The pictures, each with its class.

    Raises:
        UnreadableFile: none of the known layouts, or classes that cannot be numbered.
    """
    for folder in (root / split, root):
        if folder.is_dir() and any(_WNID.match(p.name) for p in folder.iterdir()):
            return _from_folders(root, folder, split)
    truth = next((p for p in (root / DEVKIT / TRUTH, root / "data" / TRUTH, root / TRUTH) if p.is_file()), None)
    if truth is not None:
        return _from_devkit(root, truth, split)
    if (root / KAGGLE).is_file():
        return _from_kaggle(root, split)
    raise wrong_layout(
        "ImageNet validation set",
        root,
        [f"{split}/nXXXXXXXX/*.JPEG", f"{DEVKIT / TRUTH} beside flat pictures", KAGGLE],
        "Sort the pictures into class folders, or unpack ILSVRC2012_devkit_t12.tar.gz there.",
    )


def _from_folders(root: Path, folder: Path, split: str) -> DataSetFiles:
    names = sorted(p.name for p in folder.iterdir() if p.is_dir() and _WNID.match(p.name))
    order = names if len(names) == CLASSES else _mapping([root, folder, root.parent])
    if order is None:
        raise UnreadableFile(
            f"{folder} has {len(names)} class folders, not {CLASSES}, so their numbers are not known: looked for one "
            f"of {', '.join(MAPPINGS)} in {root} as well, and found {folder_contents(root)}",
            f"Put one of those files there, or make a folder for each of the {CLASSES} classes.",
        )
    number = {name: place for place, name in enumerate(order)}
    strangers = [name for name in names if name not in number]
    if strangers:
        raise UnreadableFile(
            f"{folder / strangers[0]} is none of the {CLASSES} classes", "Remove it, or name another folder."
        )
    items = [
        DataSetItem(name=f"{name}/{path.name}", image=path, truth=number[name])
        for name in names
        for path in sorted((folder / name).iterdir())
        if path.suffix.lower() in SUFFIXES
    ]
    if not items:
        raise wrong_layout("ImageNet validation set", folder, ["*.JPEG in its class folders"], "Unpack the pictures.")
    return _data_set(root, split, items, f"{len(names)} class folders")


def _from_devkit(root: Path, truth: Path, split: str) -> DataSetFiles:
    meta = truth.parent / META
    if not meta.is_file():
        raise UnreadableFile(
            f"{meta} is not there, and {truth.name} numbers the classes in an order of its own",
            "Unpack the devkit whole.",
        )
    order = _class_numbers(meta)
    numbers = _numbers(truth)
    folder = _flat(root, split)
    items: list[DataSetItem] = []
    for place, number in enumerate(numbers, 1):
        name = f"ILSVRC2012_val_{place:08d}.JPEG"
        path = folder / name
        problem = None if 1 <= number <= CLASSES else f"{truth.name} says class {number}"
        truth_class = order[number - 1] if problem is None else None
        items.append(DataSetItem(name=name, image=path, truth=truth_class, problem=problem))
    return _data_set(root, split, items, f"flat pictures with {truth.name}")


def _numbers(truth: Path) -> list[int]:
    try:
        return [int(line) for line in documents.read_bytes(truth, what="class numbers").split()]
    except (OSError, ValueError, UnicodeDecodeError) as error:
        raise UnreadableFile(f"{truth} is not a list of class numbers: {error}", "Unpack the devkit again.") from error


def _flat(root: Path, split: str) -> Path:
    candidates = [root / split, root / "ILSVRC2012_img_val", root]
    for folder in candidates:
        if folder.is_dir() and next(folder.glob("ILSVRC2012_val_*.JPEG"), None) is not None:
            return folder
    looked = [f"{p.relative_to(root) if p != root else '.'}/ILSVRC2012_val_*.JPEG" for p in candidates]
    raise wrong_layout("ImageNet validation set", root, looked, "Unpack ILSVRC2012_img_val.tar there.")


def _class_numbers(meta: Path) -> list[int]:
    """Class of each ILSVRC2012_ID from 1 to 1000, the order in which the devkit numbers."""
    from scipy import io

    try:
        synsets: Any = io.loadmat(str(meta), squeeze_me=True, struct_as_record=False)["synsets"]
        wnids = {int(synset.ILSVRC2012_ID): str(synset.WNID) for synset in synsets if int(synset.num_children) == 0}
    except (OSError, ValueError, KeyError, AttributeError, TypeError, NotImplementedError) as error:
        raise UnreadableFile(
            f"{meta} is not the devkit's table of classes: {error}", "Unpack the devkit again."
        ) from error
    if sorted(wnids) != list(range(1, CLASSES + 1)):
        raise UnreadableFile(f"{meta} has {len(wnids)} classes without children, not {CLASSES}", "Unpack it again.")
    place = {wnid: index for index, wnid in enumerate(sorted(wnids.values()))}
    return [place[wnids[number]] for number in range(1, CLASSES + 1)]


def _from_kaggle(root: Path, split: str) -> DataSetFiles:
    order = _mapping([root])
    if order is None:
        raise UnreadableFile(f"{root} has {KAGGLE} and no {MAPPINGS[0]}", "Put it there: it numbers the classes.")
    number = {name: place for place, name in enumerate(order)}
    folders = (root / "ILSVRC" / "Data" / "CLS-LOC" / split, root / split, root)
    folder = next((p for p in folders if p.is_dir() and next(p.glob("*.JPEG"), None)), None)
    if folder is None:
        raise wrong_layout("ImageNet validation set", root, [f"ILSVRC/Data/CLS-LOC/{split}/*.JPEG"], "Unpack it there.")
    items: list[DataSetItem] = []
    with (root / KAGGLE).open(newline="") as stream:
        for row in csv.DictReader(stream):
            name, wnid = f"{row.get('ImageId')}.JPEG", (row.get("PredictionString") or "").split(" ")[0]
            problem = None if wnid in number else f"{KAGGLE} says class {wnid!r}"
            items.append(DataSetItem(name=name, image=folder / name, truth=number.get(wnid), problem=problem))
    return _data_set(root, split, sorted(items, key=lambda item: item.name), f"flat pictures with {KAGGLE}")


def _mapping(folders: Sequence[Path]) -> list[str] | None:
    """The thousand WordNet ids in the order of the classes, from the first file that lists them."""
    for path in (folder / name for folder in folders for name in MAPPINGS):
        if not path.is_file():
            continue
        try:
            text = documents.read_bytes(path, what="classes").decode()
            if path.suffix == ".json":
                entries: Mapping[str, Sequence[str]] = json.loads(text)
                wnids = [str(entries[str(place)][0]) for place in range(len(entries))]
            else:
                wnids = [line.split(" ")[0] for line in text.splitlines() if line.strip()]
        except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
            raise UnreadableFile(f"{path} is not a list of classes: {error}", "Replace or remove it.") from error
        if len(wnids) != CLASSES or len(set(wnids)) != CLASSES:
            raise UnreadableFile(f"{path} lists {len(set(wnids))} classes, not {CLASSES}", "Replace or remove it.")
        return wnids
    return None


def _data_set(root: Path, split: str, items: Sequence[DataSetItem], layout: str) -> DataSetFiles:
    checked = [
        item if item.problem or item.image.is_file() else replace(item, problem=f"{item.image} is not there")
        for item in items
    ]
    return DataSetFiles(
        name="imagenet", split=split, root=root, items=checked, classes=labels.names("imagenet"), layout=layout
    )
