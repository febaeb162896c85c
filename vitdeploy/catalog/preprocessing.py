"""Preprocessing: how 8-bit pixels become a model's input, where that is known from, and the options that state it.

Standard library only: descriptions of models hold it, and the worker carries it to devices.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, get_args

from vitdeploy.errors import UsageError

ChannelOrder = Literal["rgb", "bgr"]
Source = Literal["known", "file", "given", "assumed"]
"""``known``: by the catalog or the model's package; ``file``: from the model's own files; ``given``: by options;
``assumed``: nobody says it."""
Channels = tuple[float, float, float]

IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_STD: Final = (0.229, 0.224, 0.225)
"""RGB mean and deviation that most ImageNet-trained models were trained with, on a 0–1 scale."""

BYTE_SCALE: Final = 1 / 255
"""Takes 8-bit pixels to 0–1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """An input is ``(pixel · scale − mean) / std``; its channels, mean and std are in ``channel_order``."""

    mean: Channels = IMAGENET_MEAN
    std: Channels = IMAGENET_STD
    scale: float = BYTE_SCALE
    channel_order: ChannelOrder = "rgb"
    source: Source = "known"

    @property
    def words(self) -> str:
        """In one line: ``mean 0.485 0.456 0.406, std 0.229 0.224 0.225, scale 1/255, rgb (known)``."""
        mean, std = (" ".join(f"{value:g}" for value in values) for values in (self.mean, self.std))
        scale = "1/255" if math.isclose(self.scale, BYTE_SCALE, rel_tol=1e-6) else f"{self.scale:g}"
        return f"mean {mean}, std {std}, scale {scale}, {self.channel_order} ({self.source})"

    @property
    def divisor(self) -> float:
        """What pixels are divided by: 255 for 0–1, exactly."""
        return 1 / self.scale


IMAGENET: Final = Preprocessing()
"""As ImageNet-trained models take it."""

ZERO_TO_ONE: Final = Preprocessing(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
"""Pixels on a 0–1 scale, not normalized: what super-resolution takes and returns."""


def assumed(task: str) -> Preprocessing:
    """Where nobody says it: pixels on a 0–1 scale for images from images, else ImageNet's."""
    return replace(ZERO_TO_ONE if task == "super-resolution" else IMAGENET, source="assumed")


@dataclass(frozen=True, slots=True, kw_only=True)
class PreprocessingOptions:
    """``--mean --std --scale --channel-order``; None: as the model has it."""

    mean: Channels | None = None
    std: Channels | None = None
    scale: float | None = None
    channel_order: ChannelOrder | None = None

    def over(self, own: Preprocessing) -> Preprocessing | None:
        """The options over a model's own preprocessing; None where no option is given.

        Raises:
            UsageError: nothing is known of the model, and the options leave mean or deviation open.
        """
        fields = {name: getattr(self, name) for name in ("mean", "std", "scale", "channel_order")}
        given = {name: value for name, value in fields.items() if value is not None}
        if not given:
            return None
        if own.source == "assumed" and not {"mean", "std"} <= set(given):
            raise UsageError(
                f"--{' and --'.join(sorted(given)).replace('_', '-')} alone do not say how pixels become inputs",
                "Give --mean and --std as well; --mean 0,0,0 --std 1,1,1 leaves scaled pixels as they are.",
            )
        return replace(own, **given, source="given")


def options(
    *,
    mean: str | Sequence[float] | None = None,
    std: str | Sequence[float] | None = None,
    scale: str | float | None = None,
    channel_order: str | None = None,
) -> PreprocessingOptions:
    """The options from their texts, or from numbers.

    Raises:
        UsageError: one of them is no such value.
    """
    if channel_order is not None and channel_order not in get_args(ChannelOrder):
        raise UsageError(f"--channel-order {channel_order!r} is not one of rgb, bgr", "Use --channel-order rgb.")
    return PreprocessingOptions(
        mean=_channels("mean", mean),
        std=_channels("std", std, above_zero=True),
        scale=_scale(scale),
        channel_order=channel_order,  # pyright: ignore[reportArgumentType]
    )


def _channels(name: str, value: str | Sequence[float] | None, *, above_zero: bool = False) -> Channels | None:
    if value is None:
        return None
    words: Sequence[Any] = value.split(",") if isinstance(value, str) else list(value)
    try:
        numbers = tuple(float(word) for word in words)
    except (TypeError, ValueError):
        numbers = ()
    if len(numbers) != 3 or not all(math.isfinite(number) and (number > 0 or not above_zero) for number in numbers):
        kind = "three numbers above 0" if above_zero else "three numbers"
        raise UsageError(f"--{name} {value!r} is not {kind}", f"Write it as --{name} 0.5,0.5,0.5.")
    return numbers[0], numbers[1], numbers[2]


def _scale(value: str | float | None) -> float | None:
    if value is None:
        return None
    above, _, below = str(value).partition("/")
    try:
        number = float(above) / float(below or 1)
    except (ValueError, ZeroDivisionError):
        number = 0.0
    if not math.isfinite(number) or number <= 0:
        raise UsageError(f"--scale {value!r} is not a number above 0", "Write it as --scale 1/255, or --scale 1.")
    return number
