"""Warnings of an evaluation that follow from its records: what its figures leave out or do not mean."""

from collections.abc import Iterator

from vitdeploy.evaluation.summary import AccuracySummary

_RANDOM = "random:"


def warnings(summed: AccuracySummary, *, weights: str, asked: int, images: int) -> Iterator[str]:
    """What has to be said beside the figures.

    Args:
        weights: as in a subject: ``random:0`` or ``sha256:…``.
        asked: pictures that were evaluated.
        images: pictures in the split.
    """
    if weights.startswith(_RANDOM):
        seed = weights.removeprefix(_RANDOM)
        yield f"Made with random weights (seed {seed}): the figures say only that everything runs."
    if asked < images:
        yield f"Only {asked} of {images} pictures: not the published figure."
    if summed.not_scored:
        yield f"{pictures(summed.not_scored)} not scored and in no figure."
    if summed.not_finite:
        yield f"{pictures(summed.not_finite)} answered with NaN or Inf, and in every figure."
    if summed.adapted:
        yield f"{pictures(summed.adapted)} padded or cut into tiles, which the published protocol does not do."
    if summed.paired is not None and summed.paired < summed.scored:
        yield f"The drop is over the {summed.paired} pictures that the reference scored as well."


def pictures(count: int) -> str:
    """``1 picture was`` or ``3 pictures were``."""
    return "1 picture was" if count == 1 else f"{count} pictures were"
