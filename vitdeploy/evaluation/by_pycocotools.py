"""Masks as run lengths and mask AP by pycocotools, for COCO and with LVIS's rules; a leaf, pycocotools is untyped."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportMissingTypeStubs=false, reportUnknownArgumentType=false, reportMissingParameterType=false, reportUnknownParameterType=false, reportAttributeAccessIssue=false, reportMissingModuleSource=false

import contextlib
import io
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as typed_runs
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

runs: Any = typed_runs
"""The library without its types, which know files and not the lists that it takes as well."""

LIBRARY = f"pycocotools {metadata.version('pycocotools')}"

Boolean = NDArray[np.bool_]

LVIS_DETECTIONS = 300
"""Boxes that count in one picture of LVIS, over all categories. Source: lvis-api, ``LVISResults(max_dets=300)``."""

FIGURES = {
    "coco": ("mask AP", "AP50", "AP75", "AP small", "AP medium", "AP large"),
    "lvis": ("mask AP", "AP50", "AP75", "AP small", "AP medium", "AP large", "AP rare", "AP common", "AP frequent"),
}
"""Data set → its figures, the headline first."""


def decode(segmentation: Any, height: int, width: int) -> Boolean:
    """The mask ``(h, w)`` of an annotation: polygons, run lengths as numbers or as text.

    Raises:
        ValueError: it is none of them.
    """
    if isinstance(segmentation, list):
        encoded = runs.merge(runs.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation, dict) and isinstance(segmentation.get("counts"), list):
        encoded = runs.frPyObjects(segmentation, height, width)
    elif isinstance(segmentation, dict) and "counts" in segmentation:
        encoded = segmentation
    else:
        msg = f"a segmentation is neither polygons nor run lengths: {str(segmentation)[:60]}"
        raise ValueError(msg)
    return np.asarray(runs.decode(encoded), np.bool_)


def encode(mask: Boolean) -> dict[str, Any]:
    """Run lengths of a mask ``(h, w)`` as COCO's results have them."""
    encoded = runs.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(side) for side in encoded["size"]], "counts": encoded["counts"].decode("ascii")}


class _Lvis(COCOeval):
    """COCO's evaluation with LVIS's rule for pictures that were not searched in full."""

    def __init__(self, truth: Any, results: Any, incomplete: Mapping[int, frozenset[int]]) -> None:
        super().__init__(truth, results, "segm")
        self._incomplete = incomplete

    def evaluateImg(self, imgId, catId, aRng, maxDet) -> Any:  # noqa: N802, N803 (the library's names)
        matches: Any = super().evaluateImg(imgId, catId, aRng, maxDet)
        if matches is not None and catId in self._incomplete.get(imgId, frozenset()):
            # What was not annotated there may still be right: it counts neither way.
            matches["dtIgnore"] = np.logical_or(matches["dtIgnore"], np.asarray(matches["dtMatches"]) == 0)
        return matches


class AveragePrecision:
    """The truth of some pictures, against which results are held."""

    def __init__(self, annotations: Path, images: Sequence[int], *, lvis: bool) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            self._truth: Any = COCO(str(annotations))
        for note in self._truth.anns.values():  # LVIS has no crowds and no such field; the library wants it
            note.setdefault("iscrowd", 0)
        self._images = sorted(images)
        self._lvis = lvis

    def evaluate(self, results: Iterable[Mapping[str, Any]]) -> "MatchedResults":
        """Match results in COCO's format with the truth."""
        counted = self._counted_in_lvis(results) if self._lvis else list(results)
        with contextlib.redirect_stdout(io.StringIO()):
            loaded = self._truth.loadRes(counted) if counted else _empty_results(self._truth)
            if self._lvis:
                incomplete = {
                    image: frozenset(self._truth.imgs[image].get("not_exhaustive_category_ids", ()))
                    for image in self._images
                }
                run = _Lvis(self._truth, loaded, incomplete)
                run.params.maxDets = [LVIS_DETECTIONS]
            else:
                run = COCOeval(self._truth, loaded, "segm")
            run.params.imgIds = self._images
            run.evaluate()
        return MatchedResults(run, self._images, lvis=self._lvis)

    def _counted_in_lvis(self, results: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The best results of each picture, of categories that were looked for in it."""
        by_image: dict[int, list[dict[str, Any]]] = {}
        for result in results:
            by_image.setdefault(result["image_id"], []).append(dict(result))
        counted: list[dict[str, Any]] = []
        for image, candidates in by_image.items():
            best = sorted(candidates, key=lambda result: -result["score"])[:LVIS_DETECTIONS]
            present = {note["category_id"] for note in self._truth.imgToAnns.get(image, ())}
            looked_for = present | set(self._truth.imgs[image].get("neg_category_ids", ()))
            counted += [result for result in best if result["category_id"] in looked_for]
        return counted


class MatchedResults:
    """Results that are matched; figures of all their pictures or of some."""

    def __init__(self, run: Any, images: Sequence[int], *, lvis: bool) -> None:
        self._run = run
        self._images = images
        self._lvis = lvis

    def percents(self, images: Sequence[int] | None = None) -> list[float]:
        """The figures of `FIGURES` in percent; NaN where there is nothing of that kind."""
        import copy

        params = copy.deepcopy(self._run.params)
        params.imgIds = list(self._images if images is None else images)
        with contextlib.redirect_stdout(io.StringIO()):
            self._run.accumulate(params)
        precision = self._run.eval["precision"]  # thresholds, recalls, categories, areas, most detections
        figures = [_mean(precision[:, :, :, 0, -1]), _mean(precision[0, :, :, 0, -1]), _mean(precision[5, :, :, 0, -1])]
        figures += [_mean(precision[:, :, :, area, -1]) for area in (1, 2, 3)]
        if self._lvis:
            categories = [self._run.cocoGt.cats[number].get("frequency", "") for number in params.catIds]
            for letter in "rcf":
                chosen = [place for place, frequency in enumerate(categories) if frequency == letter]
                figures.append(_mean(precision[:, :, chosen, 0, -1]))
        return figures

    def classes(self) -> list[tuple[int, float]]:
        """Category and its AP in percent over all pictures; NaN where it does not occur."""
        self.percents()
        precision = self._run.eval["precision"]
        return [(number, _mean(precision[:, :, place, 0, -1])) for place, number in enumerate(self._run.params.catIds)]

    def count(self, category: int) -> int:
        """Annotations of a category in the pictures."""
        return len(self._run.cocoGt.getAnnIds(imgIds=self._images, catIds=[category]))


def _mean(precision: Any) -> float:
    defined = precision[precision > -1]
    return float(100 * defined.mean()) if defined.size else float("nan")


def _empty_results(truth: Any) -> Any:
    """Results without a single one: the library cannot load an empty list."""
    empty = COCO()
    empty.dataset = {"images": truth.dataset["images"], "categories": truth.dataset["categories"], "annotations": []}
    empty.createIndex()
    return empty
