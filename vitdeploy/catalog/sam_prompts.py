"""Prompts of segment-anything models as arrays: points and a box for each object, padded to a static shape.

A decoder's graph takes ``point_coords`` ``(objects, SLOTS, 2)`` and ``point_labels`` ``(objects, SLOTS)``. Each slot
is a point or a corner of a box, in any order; slots that are not needed have the label `EMPTY_SLOT` and change nothing.
numpy only: the worker carries it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Point = tuple[float, float, int]
"""x, y and 1 for what is wanted or 0 for what is not."""
Box = tuple[float, float, float, float]
"""x and y of the upper left corner, then of the lower right one."""

COORDS: Final = "point_coords"
LABELS: Final = "point_labels"
EMBEDDINGS: Final = "image_embeddings"
MASKS: Final = "masks"
SCORES: Final = "iou_predictions"

FRAME = 1024
"""Side of the square that coordinates are given in, whatever the encoder's input is.

Source: ``PromptEncoder(input_image_size=(1024, 1024))`` of https://github.com/facebookresearch/segment-anything, kept
by EfficientViT-SAM, whose L models run their encoder at 512.
"""

EMBEDDING = (256, 64, 64)
"""Channels, height and width of an image's embedding. Source: the same."""

MASK_SIDE = 256
"""Side of the masks that a decoder returns, for the whole `FRAME`. Source: the same."""

CANDIDATES = 4
"""Masks for each object: the one for an unambiguous prompt, then three for a prompt that could mean several things."""

MOST_POINTS = 8
"""Points of one object beside a box; without a box two more. Source: a choice, above the five clicks of the papers."""

SLOTS = MOST_POINTS + 2
"""Points and corners of one object."""

EMPTY_SLOT, FIRST_CORNER, SECOND_CORNER = -1.0, 2.0, 3.0
"""Labels beside 0 and 1. Source: ``PromptEncoder._embed_points`` and ``_embed_boxes`` of the same code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What is asked for one object, in pixels of the picture or of the `FRAME`."""

    points: tuple[Point, ...] = ()
    box: Box | None = None

    @property
    def slots(self) -> int:
        """How many slots it takes."""
        return len(self.points) + 2 * (self.box is not None)

    def scaled(self, across: float, down: float) -> "Prompt":
        """The same prompt in a picture that is ``across`` times as wide and ``down`` times as high."""
        box = self.box
        return Prompt(
            points=tuple((x * across, y * down, label) for x, y, label in self.points),
            box=None if box is None else (box[0] * across, box[1] * down, box[2] * across, box[3] * down),
        )

    @property
    def words(self) -> str:
        """For people: ``2 points and a box``."""
        count = len(self.points)
        parts = [f"{count} point{'s' if count > 1 else ''}"] if count else []
        return " and ".join([*parts, *(["a box"] if self.box else [])])


def arrays(prompts: Sequence[Prompt], objects: int) -> dict[str, Floats]:
    """Coordinates and labels for a decoder of so many objects; those beyond the prompts are empty.

    Args:
        prompts: in the `FRAME`; at most ``objects``, each with at most `SLOTS` slots.
        objects: how many the decoder takes at once.
    """
    coords = np.zeros((objects, SLOTS, 2), np.float32)
    labels = np.full((objects, SLOTS), EMPTY_SLOT, np.float32)
    for row, prompt in enumerate(prompts):
        slots: list[tuple[float, float, float]] = [*prompt.points]
        if prompt.box is not None:
            slots += [(*prompt.box[:2], FIRST_CORNER), (*prompt.box[2:], SECOND_CORNER)]
        for place, (x, y, label) in enumerate(slots):
            coords[row, place] = x, y
            labels[row, place] = label
    return {COORDS: coords, LABELS: labels}


def example_prompts(index: int, objects: int) -> list[Prompt]:
    """Prompts of all kinds in the `FRAME`, for parity and timing: another kind with every index and object."""
    return [_KINDS[(index + place) % len(_KINDS)] for place in range(objects)]


_KINDS = (
    Prompt(points=((512.0, 384.0, 1),)),
    Prompt(box=(100.0, 150.0, 620.0, 600.0)),
    Prompt(points=((500.0, 375.0, 1), (200.0, 300.0, 0))),
    Prompt(points=((700.0, 320.0, 1), (760.0, 420.0, 1), (420.0, 140.0, 0)), box=(560.0, 200.0, 940.0, 620.0)),
    Prompt(points=tuple((256.0 + 64.0 * place, 320.0 + 16.0 * place, place % 2) for place in range(MOST_POINTS))),
)
"""A point, a box, points for and against, points and a box, as many points as there may be."""
