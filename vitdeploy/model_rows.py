"""The table of models: a row registers what a file in `vitdeploy.models` builds.

Read through `vitdeploy.catalog`, which adds the rows of other packages.
"""

from typing import Final

from vitdeploy.spec import ModelSpec, Size

_PAPER = "arXiv 2205.14756v6; github.com/mit-han-lab/efficientvit"
_CITYSCAPES: Final = (1024, 2048)
_ADE20K: Final = (512, 512)


def _efficientvit(variant: str, side: int) -> ModelSpec:
    return ModelSpec(
        name=f"efficientvit_{variant}",
        task="classification",
        builder="vitdeploy.models.efficientvit:build",
        variant=variant,
        size=(side, side),
        dataset="imagenet",
        classes=1000,
        weight_names="vitdeploy.models.efficientvit:official_keys",
        source=_PAPER,
    )


def _efficientvit_seg(variant: str, dataset: str, classes: int, size: Size) -> ModelSpec:
    return ModelSpec(
        name=f"efficientvit_seg_{variant}_{dataset}",
        task="segmentation",
        builder="vitdeploy.models.efficientvit_seg:build",
        variant=f"{variant}-{dataset}",
        size=size,
        dataset=dataset,
        classes=classes,
        output_stride=8,
        source=_PAPER,
    )


MODELS: Final = (
    *(_efficientvit(variant, 224) for variant in ("b0", "b1", "b2", "b3", "l1", "l2", "l3")),
    *(_efficientvit_seg(v, "cityscapes", 19, _CITYSCAPES) for v in ("b0", "b1", "b2", "b3", "l1", "l2")),
    *(_efficientvit_seg(v, "ade20k", 150, _ADE20K) for v in ("b1", "b2", "b3", "l1", "l2")),
)
