"""Segment anything: the prompt encoder and the mask decoder that all SAM models here share, and their export form.

Parameter names are Meta's, so official checkpoints load. One implementation serves EfficientViT-SAM, whose files
have these keys, and `vitdeploy.models.sam_vit`, which renames them.

Source: Kirillov et al., "Segment Anything", https://arxiv.org/abs/2304.02643, and
https://github.com/facebookresearch/segment-anything (Apache-2.0) for widths, depths and keys.
"""

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from vitdeploy.catalog.sam_prompts import CANDIDATES, EMBEDDING, FRAME

WIDTH, HEIGHT_WIDTH = EMBEDDING[0], EMBEDDING[1:]
HEADS = 8
MLP_WIDTH = 2048
LAYERS = 2
MASK_CHANNELS = 16
CORNERS = 4
"""Learned tokens of prompts: against, for, upper left corner, lower right corner."""

ABSENT = -1e4
"""Added to the score of a slot that holds nothing: its weight is then 0 in fp32 and in half precision alike."""


class LayerNorm2d(nn.LayerNorm):
    """Layer norm over the channels of a map, as one operator: its mean square would leave half precision in pieces."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name in torch
        """``(n, c, h, w)`` to the same shape."""
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Positions(nn.Module):
    """Random Fourier features of places in the unit square.

    Attributes:
        positional_encoding_gaussian_matrix: ``(2, width / 2)``.
    """

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, features))

    def forward(self, places: Tensor) -> Tensor:
        """``(…, 2)``, x and y from 0 to 1, to ``(…, width)``."""
        phases = 2 * math.pi * ((2 * places - 1) @ self.positional_encoding_gaussian_matrix)
        return torch.cat([torch.sin(phases), torch.cos(phases)], dim=-1)


class PromptEncoder(nn.Module):
    """Points, boxes and masks as tokens and as a map.

    Attributes:
        pe_layer: the position of a point.
        point_embeddings: what kind of point it is, in the order of its label.
        not_a_point_embed: stands in for the box where there is none.
        mask_downscaling: from a mask to a map.
        no_mask_embed: stands in for that map where there is no mask.
    """

    def __init__(self, *, eps: float) -> None:
        super().__init__()
        self.pe_layer = Positions(WIDTH // 2)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, WIDTH) for _ in range(CORNERS))
        self.not_a_point_embed = nn.Embedding(1, WIDTH)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, MASK_CHANNELS // 4, 2, stride=2),
            LayerNorm2d(MASK_CHANNELS // 4, eps=eps),
            nn.GELU(),
            nn.Conv2d(MASK_CHANNELS // 4, MASK_CHANNELS, 2, stride=2),
            LayerNorm2d(MASK_CHANNELS, eps=eps),
            nn.GELU(),
            nn.Conv2d(MASK_CHANNELS, WIDTH, 1),
        )
        self.no_mask_embed = nn.Embedding(1, WIDTH)

    def get_dense_pe(self) -> Tensor:
        """The position of every place of the image's embedding, ``(1, 256, 64, 64)``."""
        rows, columns = (
            (torch.arange(side, dtype=torch.float32, device=self.no_mask_embed.weight.device) + 0.5) / side
            for side in HEIGHT_WIDTH
        )
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        return self.pe_layer(torch.stack([x, y], dim=-1)).permute(2, 0, 1).unsqueeze(0)

    def forward(
        self, points: tuple[Tensor, Tensor] | None, boxes: Tensor | None, masks: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Prompts as sparse ``(n, tokens, 256)`` and dense ``(n, 256, 64, 64)`` embeddings.

        Args:
            points: coordinates ``(n, p, 2)`` in the 1024 frame and labels ``(n, p)``: 1 for, 0 against, -1 padding.
            boxes: ``(n, 4)`` or ``(n, 1, 4)`` in the same frame.
            masks: low-resolution logits ``(n, 1, 256, 256)``.
        """
        tokens: list[Tensor] = []
        count = 1
        if points is not None:
            tokens.append(self._points(*points, pad=boxes is None))
            count = points[0].shape[0]
        if boxes is not None:
            corners = boxes.reshape(-1, 2, 2)
            tokens.append(self.place(corners) + self.kinds()[2:])
            count = corners.shape[0]
        if masks is not None and not tokens:
            count = masks.shape[0]
        sparse = torch.cat(tokens, dim=1) if tokens else self.no_mask_embed.weight.new_empty(count, 0, WIDTH)
        dense = self.no_mask() if masks is None else self.mask_downscaling(masks)
        return sparse, dense.expand(count, -1, -1, -1)

    def place(self, coords: Tensor) -> Tensor:
        """The position of pixels' centers: ``(n, p, 2)`` in the 1024 frame to ``(n, p, 256)``."""
        return self.pe_layer((coords + 0.5) / FRAME)

    def kinds(self) -> Tensor:
        """The tokens of the four labels, ``(4, 256)``."""
        return torch.cat([self._kind(label) for label in range(CORNERS)])

    def no_mask(self) -> Tensor:
        """The map that stands in for a mask, ``(1, 256, 64, 64)``."""
        return self.no_mask_embed.weight.reshape(1, -1, 1, 1).expand(-1, -1, *HEIGHT_WIDTH)

    def _kind(self, label: int) -> Tensor:
        return cast("Tensor", self.point_embeddings[label].weight)

    def _points(self, coords: Tensor, labels: Tensor, *, pad: bool) -> Tensor:
        if pad:
            coords = torch.cat([coords, torch.zeros_like(coords[:, :1])], dim=1)
            labels = torch.cat([labels, -torch.ones_like(labels[:, :1])], dim=1)
        padding = (labels == -1).unsqueeze(-1)
        tokens = torch.where(padding, self.not_a_point_embed.weight, self.place(coords))
        for label in (0, 1):
            matches = (labels == label).unsqueeze(-1)
            tokens = torch.where(matches, tokens + self._kind(label), tokens)
        return tokens


class Attention(nn.Module):
    """Attention whose inner width may be smaller than its tokens."""

    def __init__(self, *, downsample: int = 1) -> None:
        super().__init__()
        inner = WIDTH // downsample
        self.q_proj = nn.Linear(WIDTH, inner)
        self.k_proj = nn.Linear(WIDTH, inner)
        self.v_proj = nn.Linear(WIDTH, inner)
        self.out_proj = nn.Linear(inner, WIDTH)

    def forward(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
        """``(n, a, 256)`` attends to ``(n, b, 256)``; ``bias`` ``(n, 1, 1, b)`` is added to the scores."""
        q, k, v = _split_heads(self.q_proj(q)), _split_heads(self.k_proj(k)), _split_heads(self.v_proj(v))
        attended = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.out_proj(attended.transpose(1, 2).flatten(2))


class TwoWayBlock(nn.Module):
    """Tokens attend to themselves and to the image, then the image to the tokens."""

    def __init__(self, *, first: bool, eps: float) -> None:
        super().__init__()
        self.first = first
        self.self_attn = Attention()
        self.norm1 = nn.LayerNorm(WIDTH, eps=eps)
        self.cross_attn_token_to_image = Attention(downsample=2)
        self.norm2 = nn.LayerNorm(WIDTH, eps=eps)
        self.mlp = Mlp()
        self.norm3 = nn.LayerNorm(WIDTH, eps=eps)
        self.norm4 = nn.LayerNorm(WIDTH, eps=eps)
        self.cross_attn_image_to_token = Attention(downsample=2)

    def forward(
        self, tokens: Tensor, image: Tensor, token_pe: Tensor, image_pe: Tensor, bias: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Tokens ``(n, t, 256)`` and image ``(n, 4096, 256)``, both with their positions, to the same shapes."""
        if self.first:  # the tokens are their own positions here
            tokens = self.self_attn(tokens, tokens, tokens, bias)
        else:
            placed = tokens + token_pe
            tokens = tokens + self.self_attn(placed, placed, tokens, bias)
        tokens = self.norm1(tokens)
        tokens = self.norm2(tokens + self.cross_attn_token_to_image(tokens + token_pe, image + image_pe, image))
        tokens = self.norm3(tokens + self.mlp(tokens))
        image = image + self.cross_attn_image_to_token(image + image_pe, tokens + token_pe, tokens, bias)
        return tokens, self.norm4(image)


class Mlp(nn.Module):
    """The two layers between the attentions of a block."""

    def __init__(self) -> None:
        super().__init__()
        self.lin1 = nn.Linear(WIDTH, MLP_WIDTH)
        self.lin2 = nn.Linear(MLP_WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, t, 256)`` to the same shape."""
        return self.lin2(torch.relu(self.lin1(x)))


class TwoWayTransformer(nn.Module):
    """The blocks, and one last look of the tokens at the image."""

    def __init__(self, *, eps: float, final_eps: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TwoWayBlock(first=index == 0, eps=eps) for index in range(LAYERS))
        self.final_attn_token_to_image = Attention(downsample=2)
        self.norm_final_attn = nn.LayerNorm(WIDTH, eps=final_eps)

    def forward(self, tokens: Tensor, image: Tensor, image_pe: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
        """Tokens ``(n, t, 256)`` and image ``(n, 4096, 256)`` to the same shapes."""
        token_pe = tokens
        for layer in self.layers:
            tokens, image = layer(tokens, image, token_pe, image_pe, bias)
        attended = self.final_attn_token_to_image(tokens + token_pe, image + image_pe, image)
        return self.norm_final_attn(tokens + attended), image


class Layers(nn.Module):
    """Linear layers with ReLU in between."""

    def __init__(self, out: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, out)])

    def forward(self, x: Tensor) -> Tensor:
        """``(n, t, 256)`` to ``(n, t, out)``."""
        for layer in self.layers[:-1]:
            x = torch.relu(layer(x))
        return self.layers[-1](x)


class Upscaling(nn.Sequential):
    """From the places of the embedding to the pixels of the masks, four to a side of each place.

    Both enlargements have strides as wide as their kernels: a pixel depends on one place alone.
    """

    def __init__(self) -> None:
        super().__init__(
            nn.ConvTranspose2d(WIDTH, WIDTH // 4, 2, stride=2),
            LayerNorm2d(WIDTH // 4, eps=1e-6),
            nn.GELU(),
            nn.ConvTranspose2d(WIDTH // 4, WIDTH // 8, 2, stride=2),
            nn.GELU(),
        )

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name in torch
        """``(n, 4096, 256)`` to ``(n, 32, 256, 256)``."""
        x = input.transpose(1, 2).reshape(-1, WIDTH, *HEIGHT_WIDTH)
        for layer in self:
            x = layer(x)
        return x


class MaskDecoder(nn.Module):
    """Masks and how good they are, from an image's embedding and the embeddings of prompts."""

    def __init__(self, *, eps: float, final_eps: float) -> None:
        super().__init__()
        self.transformer = TwoWayTransformer(eps=eps, final_eps=final_eps)
        self.iou_token = nn.Embedding(1, WIDTH)
        self.mask_tokens = nn.Embedding(CANDIDATES, WIDTH)
        self.output_upscaling = Upscaling()
        self.output_hypernetworks_mlps = nn.ModuleList(Layers(WIDTH // 8) for _ in range(CANDIDATES))
        self.iou_prediction_head = Layers(CANDIDATES)

    def forward(
        self,
        image_embeddings: Tensor,
        image_pe: Tensor,
        sparse_prompt_embeddings: Tensor,
        dense_prompt_embeddings: Tensor,
        multimask_output: bool,
    ) -> tuple[Tensor, Tensor]:
        """Mask logits ``(n, 1 or 3, 256, 256)`` and predicted IoU ``(n, 1 or 3)`` for ``n`` prompts on one image.

        Args:
            image_embeddings: ``(1, 256, 64, 64)``.
            image_pe: the positions of its places, of the same shape.
            sparse_prompt_embeddings: ``(n, tokens, 256)``.
            dense_prompt_embeddings: ``(n, 256, 64, 64)``.
            multimask_output: the three masks of an ambiguous prompt, not the one of a clear one.
        """
        masks, scores = self.candidates(image_embeddings, image_pe, sparse_prompt_embeddings, dense_prompt_embeddings)
        selection = slice(1, None) if multimask_output else slice(0, 1)
        return masks[:, selection], scores[:, selection]

    def candidates(
        self, image: Tensor, image_pe: Tensor, sparse: Tensor, dense: Tensor, bias: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """All four masks ``(n, 4, 256, 256)`` and their scores ``(n, 4)``, the one for a clear prompt first.

        Args:
            image: ``(1, 256, 64, 64)``.
            image_pe: of the same shape.
            sparse: ``(n, tokens, 256)``.
            dense: ``(n, 256, 64, 64)``, or 1 for all prompts.
            bias: ``(n, tokens)``: what is added to the score of each token.
        """
        count = sparse.shape[0]
        own = torch.cat([self.iou_token.weight, self.mask_tokens.weight]).unsqueeze(0).expand(count, -1, -1)
        tokens = torch.cat([own, sparse], dim=1)
        if bias is not None:
            bias = functional.pad(bias, (own.shape[1], 0)).reshape(count, 1, 1, -1)
        flat = (image + dense).flatten(2).transpose(1, 2).expand(count, -1, -1)
        tokens, flat = self.transformer(tokens, flat, image_pe.flatten(2).transpose(1, 2), bias)
        maps = self.output_upscaling(flat)
        # Slices of length one and not indices, which would become a Gather that XNNPACK's delegate does not take.
        mine = [tokens[:, index : index + 1] for index in range(1 + CANDIDATES)]
        weights = [mlp(token) for mlp, token in zip(self.output_hypernetworks_mlps, mine[1:], strict=True)]
        masks = (torch.cat(weights, dim=1) @ maps.flatten(2)).reshape(count, CANDIDATES, *maps.shape[-2:])
        return masks, self.iou_prediction_head(mine[0]).flatten(1)


class Decoder(nn.Module):
    """Prompt encoder and mask decoder as one static graph, with the same masks as the two called one by one.

    Each object has a fixed number of slots. Meta's tokens are as many as there are points and corners, and one more
    that stands in for a missing box; here a slot that holds nothing is given no weight in any attention, and so is
    that further token where there is a box. Labels are told apart by arithmetic that every parser knows.
    """

    def __init__(self, prompt_encoder: PromptEncoder, mask_decoder: MaskDecoder) -> None:
        super().__init__()
        self.prompt_encoder = prompt_encoder
        self.mask_decoder = mask_decoder

    def forward(self, image_embeddings: Tensor, point_coords: Tensor, point_labels: Tensor) -> tuple[Tensor, Tensor]:
        """Four masks ``(n, 4, 256, 256)`` and scores ``(n, 4)`` for each of ``n`` objects.

        Args:
            image_embeddings: ``(1, 256, 64, 64)``.
            point_coords: ``(n, slots, 2)`` in the 1024 frame.
            point_labels: ``(n, slots)``: 0 against, 1 for, 2 and 3 the corners of a box, -1 nothing.
        """
        encoder = self.prompt_encoder
        label = point_labels.unsqueeze(-1)
        # 1 where the label is this one and 0 elsewhere, for whole numbers.
        is_kind = torch.cat([torch.relu(1 - (label - kind).abs()) for kind in range(CORNERS)], dim=-1)
        tokens = encoder.place(point_coords) + is_kind @ encoder.kinds()
        stand_in = encoder.not_a_point_embed.weight.unsqueeze(0).expand(tokens.shape[0], -1, -1)
        nothing, has_box = torch.relu(-point_labels), is_kind[:, :, 2:3].sum(dim=1)
        return self.mask_decoder.candidates(
            image_embeddings,
            encoder.get_dense_pe(),
            torch.cat([tokens, stand_in], dim=1),
            encoder.no_mask(),
            ABSENT * torch.cat([nothing, has_box], dim=1),
        )


def _split_heads(x: Tensor) -> Tensor:
    """``(n, t, width)`` to ``(n, heads, t, width / heads)``."""
    n, count, width = x.shape
    return x.reshape(n, count, HEADS, width // HEADS).transpose(1, 2)
