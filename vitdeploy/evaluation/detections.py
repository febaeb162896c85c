"""Mask AP of a detector's boxes: all masks at once, and the drop by leaving out groups of pictures."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vitdeploy.catalog import registry
from vitdeploy.evaluation import image_records
from vitdeploy.evaluation.coco import AnnotationSource
from vitdeploy.evaluation.record import ClassFigure, Figure
from vitdeploy.evaluation.summary import known
from vitdeploy.results import stats

GROUPS = 20
"""Of the jackknife. Source: Kott 2001 has 15 or more; each group costs one summing up."""


def figures(
    dataset: str, source: AnnotationSource, ours: Path, theirs: Path | None
) -> tuple[tuple[Figure, ...], tuple[ClassFigure, ...]]:
    """The figures and those of each category, from the records of all pictures.

    Args:
        dataset: ``coco`` or ``lvis``.
        ours: records of the artifact.
        theirs: records of the reference; None: there is none.
    """
    lvis = dataset == "lvis"
    scored = [int(record.image) for record in image_records.records(ours) if record.status == "scored"]
    if theirs is not None:
        other = {int(record.image) for record in image_records.records(theirs) if record.status == "scored"}
        scored = [image for image in scored if image in other]
    truth: Any = registry.load("vitdeploy.evaluation.by_pycocotools:AveragePrecision")(
        source.annotations, scored, lvis=lvis
    )
    names = registry.load("vitdeploy.evaluation.by_pycocotools:FIGURES")[dataset]
    mine = truth.evaluate(_results(ours, set(scored)))
    reference = None if theirs is None else truth.evaluate(_results(theirs, set(scored)))
    values: list[float] = mine.percents()
    others: list[float] | None = None if reference is None else reference.percents()
    left_out = (
        []
        if reference is None
        else [
            [b - a for a, b in zip(mine.percents(part), reference.percents(part), strict=True)]
            for part in _without_each_group(scored)
        ]
    )
    shown = tuple(
        _figure(name, values[place], None if others is None else others[place], [row[place] for row in left_out])
        for place, name in enumerate(names)
    )
    return shown, _classes(source, mine, reference)


def _figure(name: str, value: float, other: float | None, left_out: list[float]) -> Figure:
    if other is None or math.isnan(value) or math.isnan(other):
        return Figure(name=name, unit="%", value=known(value))
    drops = [drop for drop in left_out if not math.isnan(drop)]
    interval = stats.jackknife_interval(other - value, drops) if len(drops) == len(left_out) else None
    return Figure(
        name=name,
        unit="%",
        value=value,
        reference=other,
        drop=other - value,
        drop_ci95=interval,
        interval=f"95 %, jackknife of {len(drops)} groups of pictures" if interval else "none: too few pictures",
    )


def _classes(source: AnnotationSource, mine: Any, reference: Any) -> tuple[ClassFigure, ...]:
    ours: Mapping[int, float] = dict(mine.classes())
    others: Mapping[int, float] = {} if reference is None else dict(reference.classes())
    return tuple(
        ClassFigure(
            name=category.name,
            value=known(ours.get(category.id)),
            count=mine.count(category.id),
            reference=known(others.get(category.id)),
        )
        for category in source.categories
    )


def _without_each_group(images: list[int]) -> Iterator[list[int]]:
    """All pictures but every so-manieth, for each group."""
    groups = min(GROUPS, len(images))
    if groups < stats.FEWEST_FOR_INTERVAL:
        return
    for group in range(groups):
        yield [image for place, image in enumerate(images) if place % groups != group]


def _results(path: Path, images: set[int]) -> Iterator[dict[str, Any]]:
    """The masks of the records, in COCO's results format."""
    for record in image_records.records(path):
        image = int(record.image)
        if image not in images:
            continue
        for mask in record.masks:
            if mask.segmentation is not None:
                entry = {"image_id": image, "category_id": mask.category, "score": mask.score}
                yield {**entry, "segmentation": dict(mask.segmentation)}
