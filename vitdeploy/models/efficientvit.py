"""EfficientViT (MIT): the backbones B and L, and the classification models.

Source: Cai et al., "EfficientViT: Multi-Scale Linear Attention for High-Resolution Dense Prediction",
https://arxiv.org/abs/2205.14756, and https://github.com/mit-han-lab/efficientvit (Apache-2.0) for the
widths, depths, epsilons and keys.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from vitdeploy.catalog.spec import Attention
from vitdeploy.errors import unknown_name
from vitdeploy.models.efficientvit_blocks import (
    Activation,
    ConvLayer,
    Residual,
    chain,
    dsconv,
    fused_mbconv,
    mbconv,
    named,
    resblock,
    transformer_block,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BConfig:
    """A backbone of series B; stages 3 and 4 have attention."""

    widths: tuple[int, int, int, int, int]
    """Channels of the stem and of stages 1 to 4, at strides 2, 4, 8, 16 and 32."""
    depths: tuple[int, int, int, int, int]
    """Residual blocks in each of them; a stage's downsampling block counts in stages 1 and 2 only."""
    head_dim: int
    """Channels of one attention head."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LStage:
    """One stage of a backbone of series L; each one halves the resolution."""

    width: int
    depth: int
    """Residual blocks after the downsampling one."""
    block: Literal["res", "fmb", "mb", "att"]
    """``res`` is for the first stage; in ``att`` the downsampling block is an ``mb``."""
    expand: int = 4
    """Ratio of the inner width to the outer one; four times that in the downsampling block."""
    attention_kernel: int = 5
    """Kernel of the convolution that makes the second scale of ``att``; 3 is the ``att@3`` of the SAM-XL backbones."""


def l_stages(widths: tuple[int, ...], depths: tuple[int, ...]) -> tuple[LStage, ...]:
    """The five stages that all L backbones share, up to width and depth.

    Source: ``EfficientViTLargeBackbone`` of the official code, its default block list.
    """
    return (
        LStage(width=widths[0], depth=depths[0], block="res", expand=1),
        LStage(width=widths[1], depth=depths[1], block="fmb"),
        LStage(width=widths[2], depth=depths[2], block="fmb"),
        LStage(width=widths[3], depth=depths[3], block="mb"),
        LStage(width=widths[4], depth=depths[4], block="att", expand=6),
    )


B_BACKBONES = {
    "b0": BConfig(widths=(8, 16, 32, 64, 128), depths=(1, 2, 2, 2, 2), head_dim=16),
    "b1": BConfig(widths=(16, 32, 64, 128, 256), depths=(1, 2, 3, 3, 4), head_dim=16),
    "b2": BConfig(widths=(24, 48, 96, 192, 384), depths=(1, 3, 4, 4, 6), head_dim=32),
    "b3": BConfig(widths=(32, 64, 128, 256, 512), depths=(1, 4, 6, 6, 9), head_dim=32),
}
L_BACKBONES = {
    "l1": l_stages((32, 64, 128, 256, 512), (1, 1, 1, 6, 6)),
    "l2": l_stages((32, 64, 128, 256, 512), (1, 2, 2, 8, 8)),
    "l3": l_stages((64, 128, 256, 512, 1024), (1, 2, 2, 8, 8)),
}
L_HEAD_DIM = 32
"""Channels of one attention head in series L."""

CLASSIFIER_WIDTHS = {
    "b0": (1024, 1280),
    "b1": (1536, 1600),
    "b2": (2304, 2560),
    "b3": (2304, 2560),
    "l1": (3072, 3200),
    "l2": (3072, 3200),
    "l3": (6144, 6400),
}
"""Channels before and after the pooling of the classification head."""

NORM_EPS = {"b": 1e-5, "l": 1e-7}
"""Epsilon of all batch and layer norms of a series. Source: ``cls_model_zoo.py``, ``seg_model_zoo.py``."""


def tanh_gelu() -> nn.Module:
    """The activation of series L: GELU in its tanh form."""
    return nn.GELU(approximate="tanh")


ACTIVATIONS: dict[str, Activation] = {"b": nn.Hardswish, "l": tanh_gelu}
"""The activation of a series."""


class BBackbone(nn.Module):
    """Backbone of series B.

    Attributes:
        widths: channels of the maps it returns.
    """

    def __init__(self, config: BConfig, *, attention: Attention) -> None:
        super().__init__()
        self.widths = config.widths
        stem = config.widths[0]
        act = ACTIVATIONS["b"]
        self.input_stem = chain(
            ConvLayer(3, stem, 3, stride=2, act=act),
            *(Residual(dsconv(stem, act=act)) for _ in range(config.depths[0])),
        )
        self.stages = nn.ModuleList()
        for stage in (1, 2, 3, 4):
            before, width, depth = config.widths[stage - 1], config.widths[stage], config.depths[stage]
            attends = stage >= 3
            down = Residual(mbconv(before, width, stride=2, expand=4, act=act, fewer_norm=attends), shortcut=False)
            if attends:
                blocks = [
                    transformer_block(width, dim=config.head_dim, expand=4, act=act, attention=attention)
                    for _ in range(depth)
                ]
            else:
                blocks = [Residual(mbconv(width, width, expand=4, act=act)) for _ in range(depth - 1)]
            self.stages.append(chain(down, *blocks))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """``(n, 3, h, w)`` to the maps of the stem and of all stages, at strides 2, 4, 8, 16 and 32."""
        return _stage_maps(x, (self.input_stem, *self.stages))


class LBackbone(nn.Module):
    """Backbone of series L, and of the SAM models.

    Attributes:
        widths: channels of the maps it returns.
    """

    def __init__(self, stages: tuple[LStage, ...], *, attention: Attention) -> None:
        super().__init__()
        self.widths = tuple(stage.width for stage in stages)
        act = ACTIVATIONS["l"]
        before = 3
        self.stages = nn.ModuleList()
        for stage in stages:
            blocks = (_l_block(stage, act=act, attention=attention) for _ in range(stage.depth))
            self.stages.append(chain(_l_downsampling(before, stage, act=act), *blocks))
            before = stage.width

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """``(n, 3, h, w)`` to the maps of all stages, at strides 2, 4, 8 and so on."""
        return _stage_maps(x, self.stages)


class Classifier(nn.Module):
    """A backbone and the head that turns its last map into class logits."""

    def __init__(self, backbone: BBackbone | LBackbone, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        """``(n, 3, h, w)`` to logits ``(n, classes)``."""
        return self.head(self.backbone(x)[-1])


def build(variant: str, *, attention: Attention = "relu") -> nn.Module:
    """The ImageNet classifier ``b0`` to ``b3`` or ``l1`` to ``l3``, with torch's own initial weights."""
    backbone = build_backbone(variant, attention=attention)
    before, after = CLASSIFIER_WIDTHS[variant]
    act = ACTIVATIONS[variant[0]]
    head = chain(
        ConvLayer(backbone.widths[-1], before, act=act),
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        named(linear=nn.Linear(before, after, bias=False), norm=nn.LayerNorm(after), act=act()),
        named(linear=nn.Linear(after, 1000)),
    )
    return set_norm_eps(Classifier(backbone, head), NORM_EPS[variant[0]])


def build_backbone(variant: str, *, attention: Attention) -> BBackbone | LBackbone:
    """The backbone ``b0`` to ``b3`` or ``l1`` to ``l3``; its norms still have torch's epsilon."""
    if variant in B_BACKBONES:
        return BBackbone(B_BACKBONES[variant], attention=attention)
    if variant in L_BACKBONES:
        return LBackbone(L_BACKBONES[variant], attention=attention)
    raise unknown_name("EfficientViT variant", variant, (*B_BACKBONES, *L_BACKBONES), "vitdeploy models")


def set_norm_eps(module: nn.Module, eps: float) -> nn.Module:
    """Give all batch and layer norms of ``module`` this epsilon, and return it."""
    for part in module.modules():
        if isinstance(part, (nn.BatchNorm2d, nn.LayerNorm)):
            part.eps = eps
    return module


def official_keys(keys: Iterable[str]) -> dict[str, str]:
    """Map a classification checkpoint's keys, official or timm's, to the official ones.

    A key of neither kind is mapped to itself, so that it is reported as unexpected.

    Source: ``timm/models/efficientvit_mit.py`` of https://github.com/huggingface/pytorch-image-models.
    """
    keys = list(keys)
    # timm calls the first stage "stem" in both series; only the residual block in it tells them apart.
    is_l = any(key.startswith("stem.res0.main.conv1.") for key in keys)
    return {key: _official_key(key, is_l=is_l) for key in keys}


def _official_key(key: str, *, is_l: bool) -> str:
    for timm, official in _TIMM_HEAD.items():
        if key.startswith(timm):
            return official + key.removeprefix(timm)
    stem = "backbone.stages.0.op_list" if is_l else "backbone.input_stem.op_list"
    match key.split("."):
        case ["stem", "in_conv", *rest]:
            return ".".join([stem, "0", *rest])
        case ["stem", block, *rest] if block.removeprefix("res").isdecimal():
            return ".".join([stem, str(int(block.removeprefix("res")) + 1), *rest])
        case ["stages", stage, "blocks", block, *rest] if stage.isdecimal():
            return ".".join(["backbone.stages", str(int(stage) + is_l), "op_list", block, *rest])
        case _:
            return key


_TIMM_HEAD = {
    "head.in_conv.": "head.op_list.0.",
    "head.classifier.0.": "head.op_list.2.linear.",
    "head.classifier.1.": "head.op_list.2.norm.",
    "head.classifier.4.": "head.op_list.3.linear.",
}


def _l_downsampling(before: int, stage: LStage, *, act: Activation) -> nn.Module:
    if stage.block == "res":
        return ConvLayer(before, stage.width, 3, stride=2, act=act)
    expand = 4 * stage.expand
    if stage.block == "fmb":
        main = fused_mbconv(before, stage.width, stride=2, expand=expand, act=act)
    else:
        main = mbconv(before, stage.width, stride=2, expand=expand, act=act, fewer_norm=True)
    return Residual(main, shortcut=False)


def _l_block(stage: LStage, *, act: Activation, attention: Attention) -> nn.Module:
    width, expand = stage.width, stage.expand
    match stage.block:
        case "res":
            return Residual(resblock(width, act=act))
        case "fmb":
            return Residual(fused_mbconv(width, width, expand=expand, act=act))
        case "mb":
            return Residual(mbconv(width, width, expand=expand, act=act, fewer_norm=True))
        case "att":
            return transformer_block(
                width, dim=L_HEAD_DIM, expand=expand, act=act, attention=attention, kernel=stage.attention_kernel
            )


def _stage_maps(x: Tensor, stages: Iterable[nn.Module]) -> tuple[Tensor, ...]:
    maps: list[Tensor] = []
    for stage in stages:
        x = stage(x)
        maps.append(x)
    return tuple(maps)
