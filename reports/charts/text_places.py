"""Where the names of marks stand on a chart so that they meet no mark and no other name; plain arithmetic in px."""

import math
from collections.abc import Iterator, Sequence

LETTER_PX = 6.2
"""Width of a letter of the charts' 11 px text, a little more than measured: a browser's font may be wider."""

LINE_PX = 13.0
"""Height of a line of that text."""

MARK_PX = 7.0
"""Half the width of a mark, with its rim."""

SIDES = ("right", "left", "above", "below")
"""Sides of a mark, the best first."""

Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


def sides(marks: Sequence[tuple[float, float]], names: Sequence[str], width_px: float) -> list[str]:
    """The side on which each name stands, in order of the marks; empty: every side meets something or the edge.

    Args:
        marks: centers, from the left upper corner. Names of the first ones are placed first.
        names: one for each mark.
        width_px: of the plot.
    """
    taken = [(x - MARK_PX, y - MARK_PX, x + MARK_PX, y + MARK_PX) for x, y in marks]
    chosen: list[str] = []
    for place, ((x, y), name) in enumerate(zip(marks, names, strict=True)):
        others = [box for number, box in enumerate(taken) if number != place]
        free = ((side, box) for side, box in _boxes(x, y, name) if _is_free(box, others, width_px))
        side, box = next(free, ("", None))
        chosen.append(side)
        if box is not None:
            taken.append(box)
    return chosen


def share_of_log(value: float, span: Sequence[float]) -> float:
    """Where a value lies on a logarithmic axis: 0 at its low end, 1 at its high end."""
    low, high = math.log(span[0]), math.log(span[1])
    return (math.log(value) - low) / (high - low)


def _boxes(x: float, y: float, name: str) -> Iterator[tuple[str, Box]]:
    width, half = LETTER_PX * len(name), LINE_PX / 2
    for side in SIDES:
        if side == "right":
            yield side, (x + 10, y - half, x + 10 + width, y + half)
        elif side == "left":
            yield side, (x - 10 - width, y - half, x - 10, y + half)
        else:
            middle = y - 13 if side == "above" else y + 15
            yield side, (x - width / 2, middle - half, x + width / 2, middle + half)


def _is_free(box: Box, others: Sequence[Box], width_px: float) -> bool:
    left, top, right, bottom = box
    if left < 0 or right > width_px:
        return False
    return not any(
        left < o_right and o_left < right and top < o_bottom and o_top < bottom
        for o_left, o_top, o_right, o_bottom in others
    )
