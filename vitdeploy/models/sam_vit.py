"""SAM ViT-B, -L and -H: segment anything as first published, with a plain vision transformer as its image encoder.

Inside, names are Meta's; the state dict has those of transformers' ``SamModel``, so its files load as they are, and
Meta's own by `transformers_tensors`.

Source: Kirillov et al., "Segment Anything", https://arxiv.org/abs/2304.02643,
https://github.com/facebookresearch/segment-anything (Apache-2.0), and ``models/sam`` of
https://github.com/huggingface/transformers for keys and epsilons.
"""

# pyright: reportUnknownMemberType=false

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vitdeploy.catalog.sam_prompts import EMBEDDING, FRAME
from vitdeploy.errors import entry
from vitdeploy.models.efficientvit_sam import Encoder, Sam
from vitdeploy.models.foreign_weights import renamed_key
from vitdeploy.models.sam_decoder import Decoder, LayerNorm2d, MaskDecoder, PromptEncoder
from vitdeploy.models.weights import StateDict

EPS, FINAL_EPS = 1e-6, 1e-5
"""Epsilon of all layer norms, and of the decoder's last one.

Source: ``SamMaskDecoderConfig`` and ``SamTwoWayTransformer`` of transformers.
"""

SHARED = "shared_image_embedding.positional_embedding"
TIED = "prompt_encoder.shared_embedding.positional_embedding"
"""Two keys of one tensor in transformers' state dict; files of the hub may hold either or both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VitConfig:
    """A vision transformer."""

    width: int
    depth: int
    heads: int
    everywhere: tuple[int, ...]
    """Blocks that attend to the whole map; the others attend within windows."""
    side: int = FRAME
    """Height and width of the input."""
    patch: int = 16
    window: int = 14


CONFIGS = {
    "b": VitConfig(width=768, depth=12, heads=12, everywhere=(2, 5, 8, 11)),
    "l": VitConfig(width=1024, depth=24, heads=16, everywhere=(5, 11, 17, 23)),
    "h": VitConfig(width=1280, depth=32, heads=16, everywhere=(7, 15, 23, 31)),
}
"""The published models. Source: ``build_sam.py`` of the official code."""


class RelativeAttention(nn.Module):
    """Softmax attention over a map, with learned vectors for the distance of two places in rows and in columns.

    Attributes:
        qkv: queries, keys and values.
        proj: the last projection.
        rel_pos_h: one vector a distance in rows, ``(2 * side - 1, width / heads)``.
        rel_pos_w: the same in columns.
    """

    def __init__(self, width: int, heads: int, side: int) -> None:
        super().__init__()
        self.heads = heads
        self.side = side
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.rel_pos_h = nn.Parameter(torch.empty(2 * side - 1, width // heads))
        self.rel_pos_w = nn.Parameter(torch.empty(2 * side - 1, width // heads))

    def forward(self, x: Tensor) -> Tensor:
        """``(n, side, side, width)`` to the same shape."""
        n, side, _, width = x.shape
        qkv = self.qkv(x).reshape(n, side * side, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=self._bias(q))
        return self.proj(mixed.transpose(1, 2).reshape(n, side, side, width))

    def _bias(self, q: Tensor) -> Tensor:
        """What distance adds to the score of each query and key, ``(n, heads, side * side, side * side)``."""
        n, heads, count, depth = q.shape
        side = self.side
        # Constant indices, not arithmetic in the graph: row i holds the vectors of the distances i, i - 1, …
        places = [[row - column + side - 1 for column in range(side)] for row in range(side)]
        index = torch.tensor(places, device="cpu").to(q.device)
        by_row = q.reshape(n, heads, side, side, depth)
        rows = by_row @ self.rel_pos_h[index].transpose(1, 2).reshape(1, 1, side, depth, side)
        columns = by_row.transpose(2, 3) @ self.rel_pos_w[index].transpose(1, 2).reshape(1, 1, side, depth, side)
        bias = rows.unsqueeze(-1) + columns.transpose(2, 3).unsqueeze(-2)
        return bias.reshape(n, heads, count, count)


class Mlp(nn.Module):
    """Two linear layers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.lin1 = nn.Linear(width, 4 * width)
        self.lin2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """``(…, width)`` to the same shape."""
        return self.lin2(functional.gelu(self.lin1(x)))


class Block(nn.Module):
    """Attention, within windows or everywhere, and a multi-layer perceptron; both are added to their input."""

    def __init__(self, config: VitConfig, *, window: int | None) -> None:
        super().__init__()
        self.window = window
        self.norm1 = nn.LayerNorm(config.width, eps=EPS)
        self.attn = RelativeAttention(config.width, config.heads, window or config.side // config.patch)
        self.norm2 = nn.LayerNorm(config.width, eps=EPS)
        self.mlp = Mlp(config.width)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, h, w, width)`` to the same shape."""
        normed = self.norm1(x)
        if self.window is None:
            x = x + self.attn(normed)
        else:
            x = x + merge_windows(self.attn(split_windows(normed, self.window)), x.shape, self.window)
        return x + self.mlp(self.norm2(x))


class PatchEmbed(nn.Module):
    """Patches as vectors."""

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, config.width, config.patch, stride=config.patch)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, 3, side, side)`` to ``(n, side / patch, side / patch, width)``."""
        return self.proj(x).permute(0, 2, 3, 1)


class ImageEncoder(nn.Module):
    """The vision transformer and the neck that brings its map to the decoder's width."""

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        side, out = config.side // config.patch, EMBEDDING[0]
        self.patch_embed = PatchEmbed(config)
        self.pos_embed = nn.Parameter(torch.empty(1, side, side, config.width))
        self.blocks = nn.ModuleList(
            Block(config, window=None if place in config.everywhere else config.window) for place in range(config.depth)
        )
        self.neck = nn.Sequential(
            nn.Conv2d(config.width, out, 1, bias=False),
            LayerNorm2d(out, eps=EPS),
            nn.Conv2d(out, out, 3, padding=1, bias=False),
            LayerNorm2d(out, eps=EPS),
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(n, 3, 1024, 1024)`` to ``(n, 256, 64, 64)``."""
        x = self.patch_embed(x) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.neck(x.permute(0, 3, 1, 2))


def split_windows(x: Tensor, side: int) -> Tensor:
    """A map ``(n, h, w, c)`` in windows ``(n * count, side, side, c)``, filled up with zeros below and on the right."""
    n, height, width, channels = x.shape
    rows, columns = -(-height // side), -(-width // side)
    x = functional.pad(x, (0, 0, 0, columns * side - width, 0, rows * side - height))
    x = x.reshape(n, rows, side, columns, side, channels).transpose(2, 3)
    return x.reshape(n * rows * columns, side, side, channels)


def merge_windows(x: Tensor, shape: tuple[int, ...], side: int) -> Tensor:
    """The windows of `split_windows` as the map of ``shape`` that they were."""
    n, height, width, channels = shape
    rows, columns = -(-height // side), -(-width // side)
    x = x.reshape(n, rows, columns, side, side, channels).transpose(2, 3)
    return x.reshape(n, rows * side, columns * side, channels)[:, :height, :width]


def build(variant: str) -> nn.Module:
    """The whole model ``b``, ``l`` or ``h``, with torch's own initial weights."""
    return named_as_transformers(Sam(_image_encoder(variant), *_prompted()))


def build_encoder(variant: str) -> nn.Module:
    """Its image encoder."""
    return named_as_transformers(Encoder(_image_encoder(variant)))


def build_decoder(variant: str) -> nn.Module:
    """Its prompt encoder and mask decoder as one graph, the same for all variants."""
    del variant
    return named_as_transformers(Decoder(*_prompted()))


def named_as_transformers(module: nn.Module) -> nn.Module:
    """``module``, whose names are Meta's, with a state dict that has transformers' keys, in both directions."""

    # All are taken out before any is put back: a new name of one may be the old name of another.
    def renamed(_: nn.Module, state: dict[str, Any], prefix: str, local: Any) -> None:
        del local
        taken = {key.removeprefix(prefix): state.pop(key) for key in list(state) if key.startswith(prefix)}
        for key, tensor in taken.items():
            new = transformers_key(key)
            state[f"{prefix}{new}"] = tensor
            if new == SHARED:
                state[f"{prefix}{TIED}"] = tensor

    def restored(owner: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
        state.pop(f"{prefix}{TIED}", None)
        new = {key: f"{prefix}{transformers_key(key)}" for key in _own_keys(owner)}
        taken = {key: state.pop(name) for key, name in new.items() if name in state}
        state.update({f"{prefix}{key}": tensor for key, tensor in taken.items()})

    module.register_state_dict_post_hook(renamed)
    module.register_load_state_dict_pre_hook(restored)
    return module


def transformers_tensors(checkpoint: StateDict) -> StateDict:
    """Meta's checkpoint, or one of the hub, under transformers' keys; the tensor with two keys is given both."""
    authors = any(key.startswith("image_encoder.") for key in checkpoint)
    tensors = {transformers_key(key) if authors else key: tensor for key, tensor in checkpoint.items()}
    for key, other in ((SHARED, TIED), (TIED, SHARED)):
        if key in tensors:
            tensors.setdefault(other, tensors[key])
    return tensors


_RULES = (
    (r"^image_encoder\.", "vision_encoder."),
    (r"^prompt_encoder\.pe_layer\.positional_encoding_gaussian_matrix$", SHARED),
    (r"^vision_encoder\.patch_embed\.proj\.", "vision_encoder.patch_embed.projection."),
    (r"^vision_encoder\.blocks\.(\d+)\.norm([12])\.", r"vision_encoder.layers.\1.layer_norm\2."),
    (r"^vision_encoder\.blocks\.", "vision_encoder.layers."),
    (r"^vision_encoder\.neck\.0\.", "vision_encoder.neck.conv1."),
    (r"^vision_encoder\.neck\.1\.", "vision_encoder.neck.layer_norm1."),
    (r"^vision_encoder\.neck\.2\.", "vision_encoder.neck.conv2."),
    (r"^vision_encoder\.neck\.3\.", "vision_encoder.neck.layer_norm2."),
    (r"^prompt_encoder\.point_embeddings\.", "prompt_encoder.point_embed."),
    (r"^prompt_encoder\.mask_downscaling\.0\.", "prompt_encoder.mask_embed.conv1."),
    (r"^prompt_encoder\.mask_downscaling\.1\.", "prompt_encoder.mask_embed.layer_norm1."),
    (r"^prompt_encoder\.mask_downscaling\.3\.", "prompt_encoder.mask_embed.conv2."),
    (r"^prompt_encoder\.mask_downscaling\.4\.", "prompt_encoder.mask_embed.layer_norm2."),
    (r"^prompt_encoder\.mask_downscaling\.6\.", "prompt_encoder.mask_embed.conv3."),
    (r"^(mask_decoder\.transformer\.layers\.\d+)\.norm([1-4])\.", r"\1.layer_norm\2."),
    (r"^mask_decoder\.transformer\.norm_final_attn\.", "mask_decoder.transformer.layer_norm_final_attn."),
    (r"^mask_decoder\.output_upscaling\.0\.", "mask_decoder.upscale_conv1."),
    (r"^mask_decoder\.output_upscaling\.1\.", "mask_decoder.upscale_layer_norm."),
    (r"^mask_decoder\.output_upscaling\.3\.", "mask_decoder.upscale_conv2."),
    (r"^(mask_decoder\.(?:output_hypernetworks_mlps\.\d+|iou_prediction_head))\.layers\.0\.", r"\1.proj_in."),
    (r"^(mask_decoder\.(?:output_hypernetworks_mlps\.\d+|iou_prediction_head))\.layers\.2\.", r"\1.proj_out."),
    (r"^(mask_decoder\.(?:output_hypernetworks_mlps\.\d+|iou_prediction_head))\.layers\.1\.", r"\1.layers.0."),
)
"""Meta's names and what transformers calls them. Source: ``convert_sam_to_hf.py`` of transformers."""


def transformers_key(key: str) -> str:
    """Meta's key as transformers'. Not for keys that are transformers' already: both have a ``layers.0``."""
    return renamed_key(key, _RULES)


def _own_keys(module: nn.Module) -> Iterable[str]:
    return [name for name, _ in (*module.named_parameters(), *module.named_buffers())]


def _image_encoder(variant: str) -> ImageEncoder:
    return ImageEncoder(entry("SAM ViT variant", variant, CONFIGS, "vitdeploy models"))


def _prompted() -> tuple[PromptEncoder, MaskDecoder]:
    return PromptEncoder(eps=EPS), MaskDecoder(eps=EPS, final_eps=FINAL_EPS)
