"""EfficientViT-SAM: segment anything with an EfficientViT (MIT) image encoder.

Source: Zhang et al., "EfficientViT-SAM: Accelerated Segment Anything Model Without Performance Loss",
https://arxiv.org/abs/2402.05008, and ``sam.py`` of https://github.com/mit-han-lab/efficientvit (Apache-2.0).
"""

from dataclasses import dataclass

from torch import Tensor, nn

from vitdeploy.catalog.sam_prompts import EMBEDDING
from vitdeploy.catalog.spec import Attention
from vitdeploy.errors import entry
from vitdeploy.models.efficientvit import ACTIVATIONS, L_BACKBONES, LBackbone, LStage, l_stages, set_norm_eps
from vitdeploy.models.efficientvit_blocks import ConvLayer, Residual, UpsampleTo, chain, fused_mbconv
from vitdeploy.models.sam_decoder import Decoder, LayerNorm2d, MaskDecoder, PromptEncoder

NORM_EPS = 1e-6
"""Epsilon of all batch and layer norms, those of the mask decoder too. Source: ``sam_model_zoo.py``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamConfig:
    """An image encoder."""

    stages: tuple[LStage, ...]
    depth: int
    """Blocks of the neck."""
    expand: int
    """Ratio of a neck block's inner width to its outer one."""


def xl_stages(depths: tuple[int, ...]) -> tuple[LStage, ...]:
    """The six stages of the XL backbones, up to their depths; the last two attend.

    Source: ``efficientvit_sam_xl0`` of the official code.
    """
    return (
        LStage(width=32, depth=depths[0], block="res", expand=1),
        LStage(width=64, depth=depths[1], block="fmb"),
        LStage(width=128, depth=depths[2], block="fmb"),
        LStage(width=256, depth=depths[3], block="fmb"),
        LStage(width=512, depth=depths[4], block="att", attention_kernel=3),
        LStage(width=1024, depth=depths[5], block="att", expand=6, attention_kernel=3),
    )


CONFIGS = {
    "l0": SamConfig(stages=l_stages((32, 64, 128, 256, 512), (1, 1, 1, 4, 4)), depth=4, expand=1),
    "l1": SamConfig(stages=L_BACKBONES["l1"], depth=8, expand=1),
    "l2": SamConfig(stages=L_BACKBONES["l2"], depth=12, expand=1),
    "xl0": SamConfig(stages=xl_stages((0, 1, 1, 2, 3, 3)), depth=6, expand=4),
    "xl1": SamConfig(stages=xl_stages((1, 2, 2, 4, 6, 6)), depth=12, expand=4),
}
"""The published models."""


class Neck(nn.Module):
    """Brings the last three maps to one width and 64x64, adds them up and refines the sum.

    Attributes:
        input_ops: one a map, the coarsest first.
        middle: the residual blocks.
        output_ops: the last projection, alone in a list because the official neck has one.
    """

    def __init__(self, config: SamConfig) -> None:
        super().__init__()
        width, side, _ = EMBEDDING
        act = ACTIVATIONS["l"]
        self.input_ops = nn.ModuleList(
            chain(ConvLayer(stage.width, width), UpsampleTo(side)) for stage in config.stages[:-4:-1]
        )
        self.middle = chain(
            *(Residual(fused_mbconv(width, width, expand=config.expand, act=act)) for _ in range(config.depth))
        )
        self.output_ops = nn.ModuleList([chain(ConvLayer(width, width, bias=True, norm=False))])

    def forward(self, maps: tuple[Tensor, ...]) -> Tensor:
        """The backbone's maps to ``(n, 256, 64, 64)``."""
        coarse, middle, fine = (op(level) for op, level in zip(self.input_ops, maps[:-4:-1], strict=True))
        return self.output_ops[0](self.middle(coarse + (middle + fine)))


class ImageEncoder(nn.Module):
    """Backbone, neck and layer norm."""

    def __init__(self, config: SamConfig, *, attention: Attention) -> None:
        super().__init__()
        self.backbone = LBackbone(config.stages, attention=attention)
        self.neck = Neck(config)
        self.norm = LayerNorm2d(EMBEDDING[0])

    def forward(self, x: Tensor) -> Tensor:
        """``(n, 3, s, s)`` to ``(n, 256, 64, 64)``."""
        return self.norm(self.neck(self.backbone(x)))


class Sam(nn.Module):
    """The three parts of a segment-anything model; whoever uses it calls them one by one."""

    def __init__(self, image_encoder: nn.Module, prompt_encoder: PromptEncoder, mask_decoder: MaskDecoder) -> None:
        super().__init__()
        self.image_encoder = image_encoder
        self.prompt_encoder = prompt_encoder
        self.mask_decoder = mask_decoder


class Encoder(nn.Module):
    """The image encoder under its key in the whole model."""

    def __init__(self, image_encoder: nn.Module) -> None:
        super().__init__()
        self.image_encoder = image_encoder

    def forward(self, image: Tensor) -> Tensor:
        """``(n, 3, s, s)`` to ``(n, 256, 64, 64)``."""
        return self.image_encoder(image)


def build(variant: str, *, attention: Attention = "relu") -> nn.Module:
    """The whole model ``l0`` to ``l2``, ``xl0`` or ``xl1``, with torch's own initial weights."""
    prompt_encoder, mask_decoder = _prompted()
    return set_norm_eps(Sam(_image_encoder(variant, attention), prompt_encoder, mask_decoder), NORM_EPS)


def build_encoder(variant: str, *, attention: Attention = "relu") -> nn.Module:
    """Its image encoder."""
    return set_norm_eps(Encoder(_image_encoder(variant, attention)), NORM_EPS)


def build_decoder(variant: str, *, attention: Attention = "relu") -> nn.Module:
    """Its prompt encoder and mask decoder as one graph, the same for all variants."""
    del variant, attention
    return set_norm_eps(Decoder(*_prompted()), NORM_EPS)


def _image_encoder(variant: str, attention: Attention) -> ImageEncoder:
    config = entry("EfficientViT-SAM variant", variant, CONFIGS, "vitdeploy models")
    return ImageEncoder(config, attention=attention)


def _prompted() -> tuple[PromptEncoder, MaskDecoder]:
    return PromptEncoder(eps=NORM_EPS), MaskDecoder(eps=NORM_EPS, final_eps=NORM_EPS)
