"""Published parameter counts and multiply-accumulates, as printed, for the catalogue table and the tests of models.

Sources: arXiv 2205.14756v6, tables 2 to 4 (classification and segmentation), and the README of
github.com/mit-han-lab/efficientvit for EfficientViT's own; arXiv 2402.05008 for segment-anything, whose parameters are
those of the whole model and whose MACs are the encoder's; arXiv 2105.15203, tables 1 and 2, for the SegFormers that are
in none of these; arXiv 2205.05996 (BSRN), 2210.05960 (VapSR) and 2108.10257 (SwinIR).
"""

from dataclasses import dataclass
from typing import Final

from vitdeploy.catalog.spec import Size


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What is printed about one model at one resolution."""

    model: str
    size: Size
    parameters_m: str | None
    """In millions, in the digits printed; None: not printed."""
    macs_g: str | None
    """In billions, in the digits printed; None: not printed for this size."""
    parameters_differ: str | None = None
    """Why a right count does not give the printed parameters; None: it does."""
    macs_differ: str | None = None
    """Why a right count does not give the printed MACs; None: it does."""


def _rows(
    table: str, size: Size | None = None, *, parameters_differ: str | None = None, macs_differ: str | None = None
) -> tuple[Published, ...]:
    """``model [side] parameters MACs`` a line, ``-`` where a count is not printed."""
    rows: list[Published] = []
    for line in table.strip().splitlines():
        model, *side, parameters_m, macs_g = line.split()
        rows.append(
            Published(
                model=model,
                size=size or (int(side[0]), int(side[0])),
                parameters_m=None if parameters_m == "-" else parameters_m,
                macs_g=None if macs_g == "-" else macs_g,
                parameters_differ=parameters_differ,
                macs_differ=macs_differ,
            )
        )
    return tuple(rows)


_IMAGENET = """
efficientvit_b1 224 9.1 0.52
efficientvit_b1 256 9.1 0.68
efficientvit_b1 288 9.1 0.86
efficientvit_b2 224 24 1.6
efficientvit_b2 256 24 2.1
efficientvit_b2 288 24 2.6
efficientvit_b3 224 49 4.0
efficientvit_b3 256 49 5.2
efficientvit_b3 288 49 6.5
efficientvit_l1 224 53 5.3
efficientvit_l2 224 64 6.9
efficientvit_l2 256 64 9.1
efficientvit_l2 288 64 11
efficientvit_l2 320 64 14
efficientvit_l2 384 64 20
efficientvit_l3 224 246 28
efficientvit_l3 256 246 36
efficientvit_l3 288 246 46
efficientvit_l3 320 246 56
efficientvit_l3 384 246 81
efficientnetv2_m 480 54 25
convnext_t 224 29 4.5
convnext_s 224 50 8.7
convnext_b 224 89 15
convnext_l 224 198 34
swin_b 224 88 15
"""

_CITYSCAPES = """
efficientvit_seg_b0_cityscapes 0.7 4.4
efficientvit_seg_b1_cityscapes 4.8 25
efficientvit_seg_b2_cityscapes 15 74
efficientvit_seg_b3_cityscapes 40 179
efficientvit_seg_l1_cityscapes 40 282
efficientvit_seg_l2_cityscapes 53 396
"""

_ADE20K = """
efficientvit_seg_b1_ade20k 4.8 3.1
efficientvit_seg_b2_ade20k 15 9.1
efficientvit_seg_l1_ade20k 40 36
efficientvit_seg_l2_ade20k 51 45
segnext_s_ade20k 14 16
segnext_b_ade20k 28 35
segformer_b1_ade20k 14 16
segformer_b4_ade20k 64 96
segformer_b3_ade20k - 79.0
"""

_SEGFORMERS = """
segformer_b0_cityscapes - 125.5
segformer_b1_cityscapes 14 244
segformer_b2_cityscapes - 717.1
segformer_b3_cityscapes 47 963
segformer_b4_cityscapes - 1240.6
segformer_b5_cityscapes 85 1460
"""

_SEGNEXTS = """
segnext_s_cityscapes 14 125
segnext_b_cityscapes 28 276
"""

_SAM_ENCODERS = """
efficientvit_sam_l0.encoder 512 35 35
efficientvit_sam_l1.encoder 512 48 49
efficientvit_sam_l2.encoder 512 61 69
efficientvit_sam_xl0.encoder 1024 117 185
efficientvit_sam_xl1.encoder 1024 203 322
"""

_RESTORERS = """
bsrn_x2 0.332 -
bsrn_x4 0.352 -
vapsr_x4 0.342 -
"""

_SWINIRS = """
swinir_light_x2 0.878 -
swinir_light_x4 0.897 -
"""

_CITY: Final = (1024, 2048)
_SCENE: Final = (512, 512)
_RESTORER: Final = (160, 240)
"""Of a super-resolution network's input; its MACs are published for another size or not at all."""

_SEGFORMER_COUNTS = (
    "the published figure is that of ADE20K's 150 classes at Cityscapes' size, and counts biases, norms and ReLU too"
)
_SEGNEXT_COUNTS = "the published figure counts norms and further operators too"
_DEEPLAB_COUNTS = "the published figure is 2 % above the MACs; with 150 classes instead of 19 they come to 553"
_UNEXPLAINED = "the published figure is above the MACs of the released architecture, and what it counts is not said"
_NOT_RELEASED = "the counts in EfficientNetV2's own paper are not those of its released weights"
_WHOLE = "the published parameters are those of encoder, prompt encoder and mask decoder together"
_ADE_CLASSES = "the published parameters are those with ADE20K's 150 classes"
_B2_ROUNDED = "27.46 M are printed as 27.5M by SegFormer's paper, and from there as 28M"
_NO_RELATIVE = "the published figure leaves the relative positions out"
_NO_TABLES = "the published figure leaves the tables of positions out"

PUBLISHED: Final = (
    *_rows(_IMAGENET),
    *_rows("efficientnetv2_s 384 22 8.4", parameters_differ=_NOT_RELEASED),
    *_rows("efficientnetv2_l 480 120 53", parameters_differ=_NOT_RELEASED, macs_differ=_NOT_RELEASED),
    *_rows(_CITYSCAPES, _CITY),
    *_rows(_ADE20K, _SCENE),
    *_rows("efficientvit_seg_b3_ade20k 39 22", _SCENE, parameters_differ="39.55 M are printed as 39M"),
    *_rows("segformer_b2_ade20k 28 62", _SCENE, parameters_differ=_B2_ROUNDED),
    *_rows("segnext_t_ade20k 4.3 6.6", _SCENE, macs_differ=_UNEXPLAINED),
    *_rows("deeplabv3plus_mobilenetv2_cityscapes 15 555", _CITY, macs_differ=_DEEPLAB_COUNTS),
    *_rows("segnext_t_cityscapes 4.3 51", _CITY, parameters_differ=_ADE_CLASSES, macs_differ=_SEGNEXT_COUNTS),
    *_rows(_SEGNEXTS, _CITY, macs_differ=_SEGNEXT_COUNTS),
    *_rows("segnext_l_cityscapes 49 578", _CITY, macs_differ=_UNEXPLAINED),
    *_rows(_SEGFORMERS, _CITY, macs_differ=_SEGFORMER_COUNTS),
    *_rows(_SAM_ENCODERS, parameters_differ=_WHOLE),
    *_rows("sam_vit_h.encoder 1024 641 2973", parameters_differ=_WHOLE, macs_differ=_NO_RELATIVE),
    *_rows(_RESTORERS, _RESTORER),
    *_rows(_SWINIRS, _RESTORER, parameters_differ=_NO_TABLES),
)
"""Every printed count of a model that is here."""


def of(model: str, size: Size) -> Published | None:
    """What is printed about ``model`` at ``size``."""
    return next((row for row in PUBLISHED if (row.model, row.size) == (model, size)), None)
