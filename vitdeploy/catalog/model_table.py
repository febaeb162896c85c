"""The table of models: a row registers what a file in `vitdeploy.models` builds.

Read through `vitdeploy.catalog.registry`, which adds the rows of other packages.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from vitdeploy.catalog.preprocessing import ZERO_TO_ONE, Preprocessing
from vitdeploy.catalog.spec import Attention, ModelSpec, Size

_PAPER = "arXiv 2205.14756v6; github.com/mit-han-lab/efficientvit"
_SEGMENTED: Final[Mapping[str, tuple[int, Size]]] = {"cityscapes": (19, (1024, 2048)), "ade20k": (150, (512, 512))}
"""Classes of a data set, and the size that its models are measured at."""


def _classifier(family: str, variant: str, side: int, *, builder: str, source: str) -> ModelSpec:
    return ModelSpec(
        name=f"{family}_{variant}",
        task="classification",
        builder=f"vitdeploy.models.{builder}",
        variant=variant,
        size=(side, side),
        dataset="imagenet",
        classes=1000,
        source=source,
    )


def _segmenter(family: str, variant: str, dataset: str, *, builder: str, stride: int, source: str) -> ModelSpec:
    classes, size = _SEGMENTED[dataset]
    return ModelSpec(
        name=f"{family}_{variant}_{dataset}",
        task="segmentation",
        builder=f"vitdeploy.models.{builder}",
        variant=f"{variant}-{dataset}",
        size=size,
        dataset=dataset,
        classes=classes,
        output_stride=stride,
        source=source,
    )


def _efficientvit(variant: str) -> ModelSpec:
    row = _classifier("efficientvit", variant, 224, builder="efficientvit:build", source=_PAPER)
    return replace(row, weight_names="vitdeploy.models.efficientvit:official_keys")


def _efficientvit_seg(variant: str, dataset: str) -> ModelSpec:
    return _segmenter("efficientvit_seg", variant, dataset, builder="efficientvit_seg:build", stride=8, source=_PAPER)


_BSD100: Final = (160, 240)
"""Input of the papers' BSD100 column: a 320x480 picture at half its size."""

_NEVER_RELEASED = (
    "vitdeploy's own design on the paper's building block: the authors never released their super-resolution model"
)


def _super_resolver(
    family: str,
    variant: str,
    *,
    source: str,
    name: str | None = None,
    module: str | None = None,
    multiple: int = 1,
    least: int = 1,
    attentions: tuple[Attention, ...] = ("own",),
    note: str | None = None,
) -> ModelSpec:
    """A network from a picture on a 0–1 scale to one ``x2`` or ``x4`` as high and wide."""
    return ModelSpec(
        name=name or f"{family}_{variant}",
        task="super-resolution",
        builder=f"vitdeploy.models.{module or family}:build",
        variant=variant,
        size=_BSD100,
        size_multiple=multiple,
        least_side=least,
        dataset="sr",
        classes=0,
        output="enlarged",
        scale=int(variant[-1]),
        attentions=attentions,
        preprocessing=ZERO_TO_ONE,
        note=note,
        source=source,
    )


def _efficientvit_sr(name: str, variant: str) -> ModelSpec:
    return _super_resolver(
        "efficientvit_sr",
        variant,
        name=name,
        attentions=("relu", "softmax"),
        note=_NEVER_RELEASED,
        source="arXiv 2205.14756v6, table 5, for the figures; the design is vitdeploy's",
    )


def _restormer() -> ModelSpec:
    row = _super_resolver("restormer", "x1", source="arXiv 2111.09881; github.com/swz30/Restormer", multiple=8)
    # It keeps the size, so a 320x480 picture is enlarged before it.
    return replace(row, name="restormer", variant="default", size=(320, 480), output="restored")


_TRANSFORMERS: Final = ("torch", "transformers")
_FOREIGN: Final = "vitdeploy.models.foreign_weights"


def _segformer(variant: str, dataset: str) -> ModelSpec:
    builder, source = "from_transformers:build_segformer", "arXiv 2105.15203; github.com/NVlabs/SegFormer"
    return replace(
        _segmenter("segformer", variant, dataset, builder=builder, stride=4, source=source),
        enlarge="bilinear",
        attentions=("own",),
        requires=_TRANSFORMERS,
        weight_tensors=f"{_FOREIGN}:segformer",
    )


def _from_transformers(family: str, variant: str, *, multiple: int = 32, source: str) -> ModelSpec:
    """A classifier that transformers builds."""
    return replace(
        _classifier(family, variant, 224, builder=f"from_transformers:build_{family}", source=source),
        size_multiple=multiple,
        attentions=("own",),
        requires=_TRANSFORMERS,
        weight_tensors=f"{_FOREIGN}:{family}",
    )


_DEEPLAB = ModelSpec(
    name="deeplabv3plus_mobilenetv2_cityscapes",
    task="segmentation",
    builder="vitdeploy.models.deeplabv3plus:build",
    variant="cityscapes",
    size=(1024, 2048),
    dataset="cityscapes",
    classes=19,
    output_stride=4,
    enlarge="bilinear",
    attentions=("own",),
    requires=_TRANSFORMERS,
    weight_tensors=f"{_FOREIGN}:deeplabv3plus",
    source="arXiv 1802.02611; github.com/open-mmlab/mmsegmentation, deeplabv3plus_m-v2-d8",
)

_BSRN = "arXiv 2205.05996; github.com/xiaom233/BSRN"


def _efficientvit_sam(variant: str, side: int) -> ModelSpec:
    # Stages end at strides 32 and 64, and their maps are enlarged to 64x64 by whole factors.
    sides = (128, 256, 512, 1024)
    row = ModelSpec(
        name=f"efficientvit_sam_{variant}",
        task="segment-anything",
        builder="vitdeploy.models.efficientvit_sam:build",
        variant=variant,
        size=(side, side),
        sizes=tuple((side, side) for side in sides),
        dataset="sa-1b",
        classes=0,
        output="image_embeddings",
        source="arXiv 2402.05008; github.com/mit-han-lab/efficientvit",
    )
    return _in_parts(row)


def _sam_vit(variant: str) -> ModelSpec:
    row = ModelSpec(
        name=f"sam_vit_{variant}",
        task="segment-anything",
        builder="vitdeploy.models.sam_vit:build",
        variant=variant,
        size=(1024, 1024),
        sizes=((1024, 1024),),
        dataset="sa-1b",
        classes=0,
        output="image_embeddings",
        attentions=("own",),
        weight_tensors="vitdeploy.models.sam_vit:transformers_tensors",
        source="arXiv 2304.02643; github.com/facebookresearch/segment-anything; transformers' SamModel",
    )
    return _in_parts(row)


_BEYOND_A_PHONE: Final = {"tflite-fp32": "at 1024x1024 it needs more memory and time than a phone has"}


def _in_parts(row: ModelSpec) -> ModelSpec:
    """A segment-anything model with the rows of its two parts."""
    encoder = replace(
        row,
        name=f"{row.name}.encoder",
        part="encoder",
        builder=f"{row.builder}_encoder",
        refused=_BEYOND_A_PHONE if row.size[0] > 512 else {},
    )
    decoder = replace(
        row,
        name=f"{row.name}.decoder",
        part="decoder",
        builder=f"{row.builder}_decoder",
        output="masks",
        more_outputs=("iou_predictions",),
    )
    return replace(row, parts=(encoder, decoder))


_FROZEN_BASES = (
    "the bases of its matrix factorization, which the reference draws at random in every forward, are drawn once, "
    "from seed 0"
)


def _segnext(variant: str, dataset: str) -> ModelSpec:
    source = "arXiv 2209.08575; github.com/Visual-Attention-Network/SegNeXt"
    row = _segmenter("segnext", variant, dataset, builder="segnext:build", stride=8, source=source)
    names = "vitdeploy.models.segnext:official_keys"
    return replace(row, enlarge="bilinear", attentions=("own",), note=_FROZEN_BASES, weight_names=names)


def _efficientnetv2(variant: str, side: int) -> ModelSpec:
    source = "arXiv 2104.00298; github.com/google/automl; timm's tf_efficientnetv2"
    row = _classifier("efficientnetv2", variant, side, builder="efficientnetv2:build", source=source)
    return replace(row, attentions=("own",), preprocessing=Preprocessing(mean=_HALF, std=_HALF))


_HALF = (0.5, 0.5, 0.5)
"""Mean and deviation that map 0–1 to -1–1. Source: timm's ``IMAGENET_INCEPTION_MEAN``."""

_VAPSR = "arXiv 2210.05960; github.com/zhoumumu/VapSR"
_SWINIR = "arXiv 2108.10257; github.com/JingyunLiang/SwinIR"

ATTENTION_HEAD_DIM: Final = 16
"""Channels of one head of an attention module alone. Source: backbones B0 and B1 of the official code."""

WIDEST_ATTENTION: Final = 4096


def attention_module(name: str) -> ModelSpec | None:
    """The row of ``attention_wN``, an attention module alone of N channels; None for any other name.

    There are too many of them for the table: `vitdeploy attention` asks for the widths that it needs.
    """
    match = re.fullmatch(r"attention_w([1-9]\d{0,3})", name)
    width = int(match[1]) if match else 0
    if not 0 < width <= WIDEST_ATTENTION or width % ATTENTION_HEAD_DIM:
        return None
    return ModelSpec(
        name=name,
        task="attention",
        builder="vitdeploy.models.attention_module:build",
        variant=str(width),
        size=(32, 32),
        size_multiple=1,
        dataset="none",
        classes=0,
        output="features",
        output_stride=1,
        note="an attention module alone: what its features mean is not asked",
        source=_PAPER,
    )


MODELS: Final = (
    *(_efficientvit(variant) for variant in ("b0", "b1", "b2", "b3", "l1", "l2", "l3")),
    *(_efficientvit_seg(v, "cityscapes") for v in ("b0", "b1", "b2", "b3", "l1", "l2")),
    *(_efficientvit_seg(v, "ade20k") for v in ("b1", "b2", "b3", "l1", "l2")),
    _efficientvit_sr("efficientvit_sr_x2", "x2"),
    _efficientvit_sr("efficientvit_sr_w075_x2", "w075-x2"),
    *(_super_resolver("bsrn", variant, least=15, source=_BSRN) for variant in ("x2", "x4")),
    *(_efficientvit_sam(v, 512) for v in ("l0", "l1", "l2")),
    *(_efficientvit_sam(v, 1024) for v in ("xl0", "xl1")),
    *(_sam_vit(v) for v in ("b", "l", "h")),
    replace(_super_resolver("vapsr", "x2", source=_VAPSR), weight_variant="vitdeploy.models.vapsr:released_variant"),
    _super_resolver("vapsr", "x4", source=_VAPSR),
    *(
        _super_resolver("swinir_light", variant, module="swinir", multiple=8, source=_SWINIR)
        for variant in ("x2", "x4")
    ),
    _restormer(),
    *(_segnext(v, "cityscapes") for v in "tsbl"),
    *(_segnext(v, "ade20k") for v in "tsbl"),
    *(_efficientnetv2(variant, side) for variant, side in (("s", 384), ("m", 480), ("l", 480))),
    *(_segformer(v, "cityscapes") for v in ("b0", "b1", "b2", "b3", "b4", "b5")),
    *(_segformer(v, "ade20k") for v in ("b0", "b1", "b2", "b3", "b4", "b5")),
    _DEEPLAB,
    *(
        _from_transformers("convnext", v, source="arXiv 2201.03545; github.com/facebookresearch/ConvNeXt")
        for v in "tsbl"
    ),
    # Below 224 pixels the last map is smaller than a window; between the multiples the windows are padded.
    _from_transformers("swin", "b", multiple=224, source="arXiv 2103.14030; github.com/microsoft/Swin-Transformer"),
)
