"""SwinIR, lightweight: super-resolution by softmax attention inside windows that shift between blocks.

Attribute names are dictated by the official checkpoints. Those also hold the mask of shifted windows for the size
that was trained on; it follows from the size alone, so here it is made for the size that comes in.

Source: https://arxiv.org/abs/2108.10257, and https://github.com/JingyunLiang/SwinIR (architecture; the code is ours).
"""

import torch
from torch import Tensor, nn

from vitdeploy.errors import entry
from vitdeploy.models.efficientvit_blocks import named

SCALES = {"x2": 2, "x4": 4}

WIDTH = 60
HEADS = 6
GROUPS = 4
"""Groups of blocks, each under a shortcut of its own."""
BLOCKS = 6
"""Blocks of a group; every second one has shifted windows."""
EXPAND = 2
WINDOW = 8
"""Side of a window in pixels."""

TRAINED_SIDE = 64
"""Of the images that the mask in the checkpoints is for. Source: ``img_size`` of ``lightweight_sr``."""

RGB_MEAN = (0.4488, 0.4371, 0.4040)
"""Taken from the image and given back to the result. Source: the official code."""

MASKED = -100.0
"""Added where two pixels of a shifted window are no neighbors. Source: the official code."""


class WindowAttention(nn.Module):
    """Softmax attention of several heads among the pixels of a window, with a bias for their relative position.

    Attributes:
        relative_position_bias_table: ``((2 * WINDOW - 1)^2, heads)``.
        relative_position_index: ``(WINDOW^2, WINDOW^2)``, rows of the table.
        qkv: to queries, keys and values.
        proj: back.
    """

    relative_position_index: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * WINDOW - 1) ** 2, HEADS))
        self.register_buffer("relative_position_index", _relative_position_index())
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.proj = nn.Linear(WIDTH, WIDTH)
        self.softmax = nn.Softmax(dim=-1)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Windows ``(n, windows, WINDOW^2, WIDTH)`` to the same shape.

        Args:
            x: the windows.
            mask: ``(windows, 1, WINDOW^2, WINDOW^2)``, added to the logits of each head.
        """
        n, windows, pixels, _ = x.shape
        q, k, v = self.qkv(x).reshape(n, windows, pixels, 3, HEADS, -1).permute(3, 0, 1, 4, 2, 5).unbind(0)
        bias = self.relative_position_bias_table[self.relative_position_index.flatten()]
        logits = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
        logits = logits + bias.reshape(pixels, pixels, HEADS).permute(2, 0, 1)
        if mask is not None:
            logits = logits + mask
        return self.proj((self.softmax(logits) @ v).transpose(2, 3).reshape(n, windows, pixels, -1))


class Block(nn.Module):
    """Attention inside windows, then an MLP, each one residual and behind a norm.

    Attributes:
        shift: how far the windows are moved, in pixels.
    """

    UNREAD_BUFFERS = ("attn_mask",)
    """As many windows as the picture of its training had; `shift_mask` makes it for every size."""

    def __init__(self, shift: int) -> None:
        super().__init__()
        self.shift = shift
        if shift:
            # Only so that official files fit.
            windows = (TRAINED_SIDE // WINDOW) ** 2
            self.register_buffer("attn_mask", torch.zeros(windows, WINDOW**2, WINDOW**2))
        self.norm1 = nn.LayerNorm(WIDTH)
        self.attn = WindowAttention()
        self.norm2 = nn.LayerNorm(WIDTH)
        self.mlp = named(fc1=nn.Linear(WIDTH, EXPAND * WIDTH), act=nn.GELU(), fc2=nn.Linear(EXPAND * WIDTH, WIDTH))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """``(n, h, w, WIDTH)`` to the same shape."""
        height, width = x.shape[1:3]
        moved = self.norm1(x)
        if self.shift:
            moved = roll(moved, self.shift)
        moved = merge_windows(self.attn(split_windows(moved), mask if self.shift else None), height, width)
        if self.shift:
            moved = roll(moved, -self.shift)
        x = x + moved
        return x + self.mlp(self.norm2(x))


class BlockList(nn.Module):
    """The blocks of a group."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(WINDOW // 2 * (index % 2)) for index in range(BLOCKS))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """``(n, h, w, WIDTH)`` to the same shape."""
        for block in self.blocks:
            x = block(x, mask)
        return x


class Group(nn.Module):
    """Blocks and a convolution under one shortcut (RSTB)."""

    def __init__(self) -> None:
        super().__init__()
        self.residual_group = BlockList()
        self.conv = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """``(n, h, w, WIDTH)`` to the same shape."""
        deep = self.residual_group(x, mask).permute(0, 3, 1, 2)
        return x + self.conv(deep).permute(0, 2, 3, 1)


class SwinIr(nn.Module):
    """The network."""

    rgb_mean: Tensor

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.conv_first = nn.Conv2d(3, WIDTH, 3, padding=1)
        self.patch_embed = named(norm=nn.LayerNorm(WIDTH))
        self.layers = nn.ModuleList(Group() for _ in range(GROUPS))
        self.norm = nn.LayerNorm(WIDTH)
        self.conv_after_body = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        self.upsample = nn.Sequential(nn.Conv2d(WIDTH, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale))
        mean = torch.tensor(RGB_MEAN, device="cpu").reshape(1, 3, 1, 1)
        self.register_buffer("rgb_mean", mean, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """An RGB image ``(n, 3, h, w)`` on a 0–1 scale, h and w multiples of `WINDOW`, to one ``scale`` as large."""
        mask = shift_mask(x.shape[-2], x.shape[-1], x.device).to(x.dtype)
        shallow = self.conv_first(x - self.rgb_mean)
        deep = self.patch_embed(shallow.permute(0, 2, 3, 1))
        for layer in self.layers:
            deep = layer(deep, mask)
        deep = self.norm(deep).permute(0, 3, 1, 2)
        return self.upsample(shallow + self.conv_after_body(deep)) + self.rgb_mean


def build(variant: str) -> nn.Module:
    """Lightweight SwinIR ``x2`` or ``x4``, with torch's own initial weights."""
    return SwinIr(entry("SwinIR variant", variant, SCALES, "vitdeploy models"))


def split_windows(x: Tensor) -> Tensor:
    """``(n, h, w, c)`` to ``(n, windows, WINDOW^2, c)``."""
    n, height, width, channels = x.shape
    tiles = x.reshape(n, height // WINDOW, WINDOW, width // WINDOW, WINDOW, channels)
    return tiles.transpose(2, 3).reshape(n, -1, WINDOW**2, channels)


def merge_windows(windows: Tensor, height: int, width: int) -> Tensor:
    """What `split_windows` took apart."""
    n, _, _, channels = windows.shape
    tiles = windows.reshape(n, height // WINDOW, width // WINDOW, WINDOW, WINDOW, channels)
    return tiles.transpose(2, 3).reshape(n, height, width, channels)


def roll(x: Tensor, pixels: int) -> Tensor:
    """``(n, h, w, c)`` moved up and left; what leaves comes back at the other end.

    As ``torch.roll``, whose ONNX form asks for shapes at run time.
    """
    x = torch.cat([x[:, pixels:], x[:, :pixels]], dim=1)
    return torch.cat([x[:, :, pixels:], x[:, :, :pixels]], dim=2)


def shift_mask(height: int, width: int, device: torch.device) -> Tensor:
    """``(windows, 1, WINDOW^2, WINDOW^2)``: `MASKED` for pixels that only the shift brought into one window, else 0."""
    rows, columns = _bands(height, device), _bands(width, device)
    regions = split_windows((rows[:, None] * 3 + columns)[None, :, :, None]).flatten(1, 2)
    regions = regions.reshape(-1, 1, WINDOW**2)
    apart = (regions[:, :, :, None] != regions[:, :, None, :]).float()
    return apart * MASKED


def _bands(side: int, device: torch.device) -> Tensor:
    """``(side,)``: 0 before the last window, 1 in its first half, 2 in the half that comes from the other end."""
    places = torch.arange(side, device=device)
    return (places >= side - WINDOW).float() + (places >= side - WINDOW // 2).float()


def _relative_position_index() -> Tensor:
    """``(WINDOW^2, WINDOW^2)``: for two pixels of a window, the row of their relative position in the table."""
    places = torch.arange(WINDOW, device="cpu")
    row, column = (axis.flatten() for axis in torch.meshgrid(places, places, indexing="ij"))
    down, across = row[:, None] - row + WINDOW - 1, column[:, None] - column + WINDOW - 1
    return down * (2 * WINDOW - 1) + across
