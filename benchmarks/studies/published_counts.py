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


def _rows(table: str, size: Size | None = None) -> tuple[Published, ...]:
    """``model [side] parameters MACs`` a line."""
    found: list[Published] = []
    for line in table.strip().splitlines():
        words = line.split()
        at = size or (int(words[1]), int(words[1]))
        found.append(Published(model=words[0], size=at, parameters_m=words[-2], macs_g=words[-1]))
    return tuple(found)


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
"""

_SEGFORMER_COUNTS = (
    "the published figure is that of ADE20K's 150 classes at Cityscapes' size, and counts biases, norms and ReLU too"
)
_SEGNEXT_COUNTS = "the published figure counts norms and further operators too"
_UNEXPLAINED = "the published figure is above the MACs of the released architecture, and what it counts is not said"
_NOT_RELEASED = "EfficientNetV2's own paper does not count what its released weights are"
_WHOLE = "the published parameters are those of encoder, prompt encoder and mask decoder together"


def _city(model: str, parameters_m: str | None, macs_g: str, differ: str = _SEGFORMER_COUNTS) -> Published:
    """A row of the Cityscapes table whose authors' tool counts more than MACs."""
    return Published(
        model=f"{model}_cityscapes",
        size=(1024, 2048),
        parameters_m=parameters_m,
        macs_g=macs_g,
        macs_differ=differ,
        parameters_differ="the published parameters are those with ADE20K's 150 classes"
        if model == "segnext_t"
        else None,
    )


def _encoder(model: str, side: int, parameters_m: str, macs_g: str, differ: str | None = None) -> Published:
    """An encoder of a segment-anything model."""
    return Published(
        model=f"{model}.encoder",
        size=(side, side),
        parameters_m=parameters_m,
        macs_g=macs_g,
        parameters_differ=_WHOLE,
        macs_differ=differ,
    )


def _restorer(model: str, parameters_m: str, differ: str | None = None) -> Published:
    """A super-resolution network, whose MACs are published for another size or not at all."""
    return Published(model=model, size=(160, 240), parameters_m=parameters_m, macs_g=None, parameters_differ=differ)


PUBLISHED: Final = (
    *_rows(_IMAGENET),
    Published(
        model="efficientnetv2_s", size=(384, 384), parameters_m="22", macs_g="8.4", parameters_differ=_NOT_RELEASED
    ),
    Published(
        model="efficientnetv2_l",
        size=(480, 480),
        parameters_m="120",
        macs_g="53",
        parameters_differ=_NOT_RELEASED,
        macs_differ=_NOT_RELEASED,
    ),
    *_rows(_CITYSCAPES, (1024, 2048)),
    *_rows(_ADE20K, (512, 512)),
    Published(
        model="efficientvit_seg_b3_ade20k",
        size=(512, 512),
        parameters_m="39",
        macs_g="22",
        parameters_differ="39.55 M are printed as 39M",
    ),
    Published(
        model="segformer_b2_ade20k",
        size=(512, 512),
        parameters_m="28",
        macs_g="62",
        parameters_differ="27.46 M are printed as 27.5M by SegFormer's paper, and from there as 28M",
    ),
    Published(model="segformer_b3_ade20k", size=(512, 512), parameters_m=None, macs_g="79.0"),
    Published(model="segnext_t_ade20k", size=(512, 512), parameters_m="4.3", macs_g="6.6", macs_differ=_UNEXPLAINED),
    _city(
        "deeplabv3plus_mobilenetv2",
        "15",
        "555",
        "the published figure is 2 % above the MACs; with 150 classes instead of 19 they come to 553",
    ),
    _city("segnext_t", "4.3", "51", _SEGNEXT_COUNTS),
    _city("segnext_s", "14", "125", _SEGNEXT_COUNTS),
    _city("segnext_b", "28", "276", _SEGNEXT_COUNTS),
    _city("segnext_l", "49", "578", _UNEXPLAINED),
    _city("segformer_b0", None, "125.5"),
    _city("segformer_b1", "14", "244"),
    _city("segformer_b2", None, "717.1"),
    _city("segformer_b3", "47", "963"),
    _city("segformer_b4", None, "1240.6"),
    _city("segformer_b5", "85", "1460"),
    _encoder("efficientvit_sam_l0", 512, "35", "35"),
    _encoder("efficientvit_sam_l1", 512, "48", "49"),
    _encoder("efficientvit_sam_l2", 512, "61", "69"),
    _encoder("efficientvit_sam_xl0", 1024, "117", "185"),
    _encoder("efficientvit_sam_xl1", 1024, "203", "322"),
    _encoder("sam_vit_h", 1024, "641", "2973", "the published figure leaves the relative positions out"),
    _restorer("bsrn_x2", "0.332"),
    _restorer("bsrn_x4", "0.352"),
    _restorer("vapsr_x4", "0.342"),
    _restorer("swinir_light_x2", "0.878", "the published figure leaves the tables of positions out"),
    _restorer("swinir_light_x4", "0.897", "the published figure leaves the tables of positions out"),
)
"""Every printed count of a model that is here."""


def of(model: str, size: Size) -> Published | None:
    """What is printed about ``model`` at ``size``."""
    return next((one for one in PUBLISHED if (one.model, one.size) == (model, size)), None)
