"""Class names and colors of the data sets, in the order of the logits, as text files in this folder."""

import colorsys
from functools import cache
from importlib.resources import files

from vitdeploy.errors import unknown_name

Color = tuple[int, int, int]
"""Red, green, blue; 0–255."""

DATASETS = ("imagenet", "cityscapes", "ade20k")

NAMELESS = "classes:"
"""Prefix of the data set of a user's own model; the number of its classes follows."""

_GOLDEN_ANGLE = 0.618033988749895
"""Steps of the golden ratio spread hues evenly, however many there are."""


def names(dataset: str) -> tuple[str, ...]:
    """The classes' names. Source: the first line of the data set's file."""
    return tuple(name for name, _ in _rows(dataset))


def palette(dataset: str) -> tuple[Color, ...]:
    """The classes' official colors; where there are none, distinct hues in a fixed order."""
    return tuple(color or _hue(index) for index, (_, color) in enumerate(_rows(dataset)))


@cache
def _rows(dataset: str) -> tuple[tuple[str, Color | None], ...]:
    if dataset.startswith(NAMELESS):
        return tuple((f"class {index}", None) for index in range(int(dataset.removeprefix(NAMELESS))))
    if dataset not in DATASETS:
        raise unknown_name("data set", dataset, DATASETS, "vitdeploy models")
    lines = files(__name__).joinpath(f"{dataset}.txt").read_text(encoding="utf-8").splitlines()[1:]
    return tuple(_row(line) for line in lines)


def _row(line: str) -> tuple[str, Color | None]:
    """``#rrggbb name`` or ``name``."""
    if not line.startswith("#"):
        return line, None
    code, _, name = line.partition(" ")
    return name, (int(code[1:3], 16), int(code[3:5], 16), int(code[5:7], 16))


def _hue(index: int) -> Color:
    red, green, blue = colorsys.hsv_to_rgb(index * _GOLDEN_ANGLE % 1, 0.65, 0.9)
    return round(red * 255), round(green * 255), round(blue * 255)
