"""Published parameter counts and multiply-accumulates, as printed, for the catalogue table and the tests of models.

Sources: arXiv 2205.14756v6, tables 2 to 4 (classification and segmentation), and the README of
github.com/mit-han-lab/efficientvit for EfficientViT's own; arXiv 2402.05008 for EfficientViT-SAM, whose parameters are
those of the whole model and whose MACs are the encoder's.
"""

from dataclasses import dataclass
from typing import Final

from vitdeploy.spec import Size


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What is printed about one model at one resolution."""

    model: str
    size: Size
    parameters_m: str
    """In millions, in the digits printed."""
    macs_g: str
    """In billions, in the digits printed."""
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
efficientnetv2_s 384 22 8.4
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
efficientvit_seg_b3_ade20k 39 22
efficientvit_seg_l1_ade20k 40 36
efficientvit_seg_l2_ade20k 51 45
segnext_s_ade20k 14 16
segnext_b_ade20k 28 35
segformer_b1_ade20k 14 16
segformer_b2_ade20k 28 62
segformer_b4_ade20k 64 96
"""

_SEGFORMER_COUNTS = (
    "the published figure is that of ADE20K's 150 classes at Cityscapes' size, and counts biases, norms and ReLU too"
)

_SEGNEXT_COUNTS = "the published figure counts norms and further operators too"


def _city(model: str, parameters_m: str, macs_g: str, differ: str = _SEGFORMER_COUNTS) -> Published:
    """A row of the Cityscapes table whose authors' tool counts more than MACs."""
    return Published(
        model=f"{model}_cityscapes",
        size=(1024, 2048),
        parameters_m=parameters_m,
        macs_g=macs_g,
        macs_differ=differ,
    )


PUBLISHED: Final = (
    *_rows(_IMAGENET),
    *_rows(_CITYSCAPES, (1024, 2048)),
    *_rows(_ADE20K, (512, 512)),
    _city(
        "deeplabv3plus_mobilenetv2",
        "15",
        "555",
        "the published figure is 2 % above the MACs; with 150 classes instead of 19 they come to 553",
    ),
    _city("segnext_s", "14", "125", _SEGNEXT_COUNTS),
    _city("segnext_b", "28", "276", _SEGNEXT_COUNTS),
    _city("segnext_l", "49", "578", _SEGNEXT_COUNTS),
    _city("segformer_b1", "14", "244"),
    _city("segformer_b3", "47", "963"),
    _city("segformer_b5", "85", "1460"),
)
"""Every printed count of a model that is here."""


def of(model: str, size: Size) -> Published | None:
    """What is printed about ``model`` at ``size``."""
    return next((one for one in PUBLISHED if (one.model, one.size) == (model, size)), None)
