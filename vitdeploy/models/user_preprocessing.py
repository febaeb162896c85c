"""Preprocessing and input size of user models, as their files and packages state them.

Sources: ``transformers`` for the fields of ``preprocessor_config.json`` and what its image processors make of them;
timm's ``pretrained_cfg``; https://github.com/onnx/onnx/blob/main/docs/MetadataProps.md for ONNX.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from vitdeploy.catalog.preprocessing import BYTE_SCALE, ZERO_TO_ONE, Preprocessing
from vitdeploy.catalog.spec import Size
from vitdeploy.errors import Impossible, UnreadableFile

PROCESSOR_FILE: Final = "preprocessor_config.json"

NOT_AFFINE: Final = ("do_color_quantize", "do_apply_palette", "do_grayscale")
"""Steps of an image processor that are no ``(pixel · scale − mean) / std``."""

_RANGES: Final[Mapping[str, Preprocessing]] = {
    "NominalRange_0_255": replace(ZERO_TO_ONE, scale=1.0, source="file"),
    "Normalized_0_1": replace(ZERO_TO_ONE, source="file"),
    "Normalized_1_1": Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), source="file"),
}
"""``Image.NominalPixelRange`` of an ONNX file's metadata."""


def of_marks(marks: Mapping[str, Any], default: Size) -> tuple[Size, Preprocessing | None]:
    """Input size and preprocessing by a ``pretrained_cfg``, as timm marks its models."""
    mean, std = marks.get("mean"), marks.get("std")
    known = None if mean is None or std is None else Preprocessing(mean=_channels(mean), std=_channels(std))
    return _side(tuple(marks.get("input_size") or ())[-2:]) or default, known


def of_onnx(proto: Any) -> Preprocessing | None:
    """By the metadata of an ONNX file."""
    notes = {entry.key: entry.value for entry in proto.metadata_props}
    known = _RANGES.get(notes.get("Image.NominalPixelRange", ""))
    if known is None:
        return None
    return replace(known, channel_order="bgr" if notes.get("Image.BitmapPixelFormat", "").startswith("Bgr") else "rgb")


def of_transformers(name: str, config: Any, default: Size) -> tuple[Size, Preprocessing | None]:
    """Input size and preprocessing by a folder's image processor, else by its configuration.

    Raises:
        UnreadableFile: its ``preprocessor_config.json`` is no JSON object.
        Impossible: it does more to a picture than scale and normalize it.
    """
    processor = _processor(name)
    size, known = of_marks(getattr(config, "pretrained_cfg", None) or {}, default)
    size = _side(_processor_size(processor)) or _side(getattr(config, "image_size", None)) or size
    return size, of_processor(name, processor) if processor else known


def of_processor(name: str, processor: Mapping[str, Any]) -> Preprocessing:
    """By the fields of an image processor of transformers.

    Raises:
        Impossible: it does more to a picture than scale and normalize it.
    """
    others = [step for step in NOT_AFFINE if processor.get(step)]
    if others:
        raise Impossible(
            f"{PROCESSOR_FILE} of {name} asks for {', '.join(others)}, which this version does not do",
            "Export the model to ONNX yourself and give it as onnx:FILE with --mean and --std.",
        )
    scale = float(processor.get("rescale_factor") or BYTE_SCALE) if processor.get("do_rescale", True) else 1.0
    mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    said: Any = processor.get("image_mean")
    if said is not None and processor.get("do_normalize", "image_mean" in processor):
        mean, std = _channels(said), _channels(processor.get("image_std") or 1.0)
    if processor.get("rescale_offset"):  # EfficientNet: pixel · scale − 1 before the normalization
        mean = (mean[0] + 1, mean[1] + 1, mean[2] + 1)
    if processor.get("include_top"):  # EfficientNet for classification: divided by the deviation once more
        std = (std[0] ** 2, std[1] ** 2, std[2] ** 2)
    order = "bgr" if processor.get("do_flip_channel_order") else "rgb"
    return Preprocessing(mean=mean, std=std, scale=scale, channel_order=order, source="file")


def _processor(name: str) -> dict[str, Any]:
    """The fields of a folder's image processor with its class's defaults; empty: it has none."""
    from transformers.utils import hub

    try:  # OSError: neither in the folder nor in the cache
        file = hub.cached_file(name, PROCESSOR_FILE, local_files_only=True)
    except OSError:
        return {}
    if file is None:
        return {}
    try:
        fields: Any = json.loads(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UnreadableFile(f"{file} is not a readable JSON file: {error}", "Save the processor again.") from error
    if not isinstance(fields, dict):
        raise UnreadableFile(f"{file} holds a {type(fields).__name__}, not an object", "Save the processor again.")
    try:
        from transformers import AutoImageProcessor

        # A class that does not normalize has no `do_normalize`; what the file does not say is the class's default.
        defaults: dict[str, Any] = AutoImageProcessor.from_pretrained(name, local_files_only=True).to_dict()
    except (
        ImportError,
        OSError,
        ValueError,
        TypeError,
        AttributeError,
        KeyError,
    ):  # no class of that name, or one that needs a package that is not here: the file has to do
        return fields
    return {"do_normalize": False, "do_rescale": False, **_set(defaults), **_set(fields)}


def _set(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not None}


def _processor_size(processor: Mapping[str, Any]) -> Any:
    """What a picture is cropped to, else resized to; None: it keeps its size."""
    if processor.get("crop_size") and processor.get("do_center_crop", True):
        return processor["crop_size"]
    return processor.get("size") if processor.get("do_resize", True) else None


def _side(size: Any) -> Size | None:
    """Height and width from a number, a pair, or a dict of transformers."""
    if isinstance(size, Mapping):
        if "height" in size and "width" in size:
            return int(size["height"]), int(size["width"])
        size = size.get("shortest_edge") or size.get("longest_edge")
    if isinstance(size, int):
        return size, size
    pair = tuple(size or ())
    return (int(pair[0]), int(pair[1])) if len(pair) == 2 else None


def _channels(values: Any) -> tuple[float, float, float]:
    numbers = [float(values)] * 3 if isinstance(values, int | float) else [float(value) for value in values]
    red, green, blue = numbers * 3 if len(numbers) == 1 else numbers
    return red, green, blue
