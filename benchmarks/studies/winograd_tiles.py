"""Winograd beyond the rows of stride 1: tiles over both axes, which no export uses, and the phases of stride 2.

    python -m vitdeploy.benchmarks.studies.winograd_tiles [IN,OUT,HEIGHT,WIDTH …] [--stride 2] [--pairs N] [--threads N]

A fused block as in series L: a 3x3 convolution, GELU and a pointwise convolution, in ONNX Runtime, by turns. Forms of
stride 1: direct, the rows that an export has, and F(4x4, 3x3), a quarter of the multiplications, as matrix products or
as one grouped convolution. Forms of stride 2: direct, and odd and even input rows apart, of which the odd ones make a
filter of two taps: 5 products for 6, or 9 for 12. HEIGHT and WIDTH are those of the output.

Source: Lavin and Gray, https://arxiv.org/abs/1509.09308; F(m, 2) by the same construction from the points 0, 1, -1, 2.
"""

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from vitdeploy.artifacts.manifest import Artifact
from vitdeploy.benchmarks.studies import files_by_turns, paired_times, winograd_layers
from vitdeploy.benchmarks.studies.command_line import print_table
from vitdeploy.catalog import registry
from vitdeploy.exporters.rewrites.modules import convolution
from vitdeploy.exporters.rewrites.winograd import PHASES, TILES, Tile, WinogradBlock

LAYERS: Final = {
    1: ((64, 256, 128, 256), (128, 512, 64, 128), (128, 512, 28, 28)),
    2: ((32, 512, 128, 256), (64, 1024, 64, 128), (64, 1024, 28, 28)),
}
"""Stride → layers. Source: L1 and L2 at 224x224 and 512x1024."""

ROWS = 4
"""Output rows, and columns, of a tile."""

OUTPUTS: Final = ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1))
"""A transposed of F(4, 3)."""

PHASE_TILES: Final[Mapping[int, Tile]] = {
    2: PHASES,
    4: Tile(
        inputs=((2, -1, -2, 1, 0), (0, -2, -1, 1, 0), (0, 2, -3, 1, 0), (0, -1, 0, 1, 0), (0, 2, -1, -2, 1)),
        kernels=((1 / 2, 0), (-1 / 2, -1 / 2), (-1 / 6, 1 / 6), (1 / 6, 1 / 3), (0, 1)),
    ),
}
"""Output rows of stride 2 at a time → the matrices of F(m, 2)."""


class Direct(nn.Module):
    """The block as published, its norms folded."""

    def __init__(self, spatial: tuple[Tensor, Tensor], point: tuple[Tensor, Tensor], stride: int) -> None:
        super().__init__()
        self.spatial = convolution(*spatial, padding=(1, 1), stride=(stride, stride))
        self.act = nn.GELU(approximate="tanh")
        self.point = convolution(*point)

    def forward(self, x: Tensor) -> Tensor:
        """``(1, in, h, w)`` to ``(1, in, h / stride, w / stride)``."""
        return self.point(self.act(self.spatial(x)))


class BothAxes(nn.Module):
    """The block of stride 1 with F(4x4, 3x3): 36 products of a sixteenth of the pixels.

    Args:
        grouped: the products are one convolution of 36 groups, else 36 matrix products.
    """

    def __init__(self, spatial: tuple[Tensor, Tensor], point: tuple[Tensor, Tensor], *, grouped: bool) -> None:
        super().__init__()
        weight, bias = spatial
        out, channels = weight.shape[:2]
        inputs, kernels = (torch.tensor(matrix, dtype=torch.double) for matrix in (TILES[4].inputs, TILES[4].kernels))
        outputs = torch.tensor(OUTPUTS, dtype=torch.double)
        products = torch.einsum("ia,ocab,jb->ijoc", kernels, weight.double(), kernels).reshape(36, out, channels)
        self.rows = nn.ModuleList(
            convolution(
                taps.reshape(1, 1, 6, 1).expand(channels, 1, 6, 1), groups=channels, stride=(4, 1), padding=(1, 0)
            )
            for taps in inputs
        )
        self.columns = nn.ModuleList(
            convolution(
                taps.reshape(1, 1, 1, 6).expand(channels, 1, 1, 6), groups=channels, stride=(1, 4), padding=(0, 1)
            )
            for taps in inputs
        )
        tiles = torch.einsum("ia,jb->ijab", inputs, inputs).reshape(36, 1, 6, 6)
        self.tiles = convolution(tiles, stride=(4, 4), padding=(1, 1))
        shared = torch.zeros(36, out)
        shared[7] = bias  # the product that counts once in every output
        self.grouped = (
            convolution(products.reshape(36 * out, channels, 1, 1), shared.reshape(-1), groups=36) if grouped else None
        )
        self.act = nn.GELU(approximate="tanh")
        self.products, self.bias, self.outputs, self.point, self.point_bias = (
            nn.Parameter(value.float())
            for value in (
                products,
                bias[:, None],
                torch.einsum("ia,jb->ijab", outputs, outputs).reshape(16, 36),
                point[0][:, :, 0, 0],
                point[1][:, None],
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(1, in, h, w)`` to the same shape."""
        _, channels, height, width = x.shape
        high, wide = height // ROWS, width // ROWS
        if self.grouped is not None:
            parts = [columns(rows(x)) for rows in self.rows for columns in self.columns]
            sums = self.outputs @ self.grouped(torch.cat(parts, dim=1)).reshape(36, -1)
            maps = sums.reshape(16, -1, high * wide)
        else:
            tiles = self.tiles(x.reshape(channels, 1, height, width)).reshape(channels, 36, high * wide)
            sums = self.outputs @ (self.products @ tiles.transpose(0, 1)).reshape(36, -1)
            maps = sums.reshape(16, -1, high * wide) + self.bias
        narrow = self.point @ self.act(maps) + self.point_bias
        return narrow.reshape(4, 4, channels, high, wide).permute(2, 3, 0, 4, 1).reshape(1, channels, height, width)


class PhaseRows(nn.Module):
    """The block of stride 2, ``tile`` output rows at a time from the odd and the even rows of the input."""

    def __init__(self, spatial: tuple[Tensor, Tensor], point: tuple[Tensor, Tensor], tile: int) -> None:
        super().__init__()
        weight, bias = spatial
        out, channels = weight.shape[:2]
        matrices = PHASE_TILES[tile]
        first, middle, last = (weight[:, :, row : row + 1].double() for row in range(3))

        def picked(taps: Mapping[int, float]) -> nn.Module:
            column = torch.zeros(2 * tile + 1)
            for place, factor in taps.items():
                column[place] = factor
            column = column.reshape(1, 1, -1, 1).expand(channels, 1, -1, 1)
            return convolution(column, groups=channels, stride=(2 * tile, 1), padding=(1, 0))

        def product(kernel: Tensor, added: Tensor | None = None) -> nn.Module:
            return convolution(kernel, added, stride=(1, 2), padding=(0, 1))

        self.odd = nn.ModuleList(picked({2 * place: tap for place, tap in enumerate(taps)}) for taps in matrices.inputs)
        self.even = nn.ModuleList(picked({2 * row + 1: 1.0}) for row in range(tile))
        self.odd_products = nn.ModuleList(product(near * first + far * last) for near, far in matrices.kernels)
        self.even_product = product(middle, bias)
        self.scales = nn.ModuleList(
            convolution(torch.full((out, 1, 1, 1), factor), groups=out) for factor in (-1.0, 2.0, 4.0, 8.0)
        )
        self.act = nn.GELU(approximate="tanh")
        self.point = convolution(*point)

    def forward(self, x: Tensor) -> Tensor:
        """``(1, in, h, w)`` to ``(1, in, h / 2, w / 2)``."""
        products = [product(rows(x)) for rows, product in zip(self.odd, self.odd_products, strict=True)]
        even = [self.even_product(rows(x)) for rows in self.even]
        negative, twofold, fourfold, eightfold = self.scales
        if len(products) == 3:
            sums = [products[0] + products[1], products[1] + products[2]]
        else:
            near, far = products[1] + products[2], products[1] + negative(products[2])
            sums = [
                products[0] + near + products[3],
                far + twofold(products[3]),
                near + fourfold(products[3]),
                products[4] + (far + eightfold(products[3])),
            ]
        maps = [self.point(self.act(odd + own)) for odd, own in zip(sums, even, strict=True)]
        n, channels, height, width = maps[0].shape
        return torch.cat(maps, dim=3).reshape(n, channels, len(maps) * height, width)


def _forms(layer: tuple[int, int, int, int], stride: int) -> dict[str, nn.Module]:
    channels, inner, *_ = layer
    spatial, point, _ = winograd_layers.block_weights(channels, inner)
    direct: dict[str, nn.Module] = {"direct": Direct(spatial, point, stride)}
    if stride == 2:
        return direct | {f"{tile} rows by phases": PhaseRows(spatial, point, tile) for tile in PHASE_TILES}
    return direct | {
        f"{ROWS} rows": WinogradBlock(spatial, nn.GELU(approximate="tanh"), point, ROWS),
        "4x4, matrix products": BothAxes(spatial, point, grouped=False),
        "4x4, grouped convolution": BothAxes(spatial, point, grouped=True),
    }


def _files(layer: tuple[int, int, int, int], stride: int, folder: Path) -> tuple[dict[str, Artifact], dict[str, float]]:
    """Name → file, and its largest error in deviations of the direct form."""
    channels, _, height, width = layer
    size = height * stride, width * stride
    x = torch.randn(1, channels, *size, generator=torch.Generator().manual_seed(1))
    files: dict[str, Artifact] = {}
    errors: dict[str, float] = {}
    forms = _forms(layer, stride)
    with torch.no_grad():
        exact = forms["direct"].eval()(x)
    for name, module in forms.items():
        with torch.no_grad():
            output = module.eval()(x)
        errors[name] = float((output - exact).abs().max() / exact.std())
        file = folder / name.replace(" ", "-") / "model.onnx"
        file.parent.mkdir(parents=True)
        registry.load("vitdeploy.exporters.to_onnx:plain")(module, x, file)
        files[name] = winograd_layers.artifact(file, size)
    return files, errors


def main() -> None:
    """Time the forms and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("layers", nargs="*", type=winograd_layers.layer_of, metavar="IN,OUT,HEIGHT,WIDTH")
    parser.add_argument("--stride", type=int, choices=list(LAYERS), default=1)
    parser.add_argument("--pairs", type=int, default=files_by_turns.PAIRS)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    rows: list[tuple[str, ...]] = []
    for layer in options.layers or LAYERS[options.stride]:
        with tempfile.TemporaryDirectory(prefix="vitdeploy-winograd-") as folder:
            files, errors = _files(layer, options.stride, Path(folder))
            run = files_by_turns.timed(files, pairs=options.pairs, threads=options.threads)
            for name in list(files)[1:]:
                times = run.compared("direct", name)
                channels, inner, height, width = layer
                block = f"{channels} → {inner} at {height}x{width}"
                times_ms = f"{times.first_ms:.2f}", f"{times.second_ms:.2f}"
                rows.append((block, name, *times_ms, *times.cells, f"{errors[name]:.1e}"))
    heads = ("block", "form", "direct, ms", "this, ms", *paired_times.HEADS, "largest error")
    print_table(f"blocks of stride {options.stride} in ONNX Runtime, {options.threads} threads, by turns", heads, rows)


if __name__ == "__main__":
    main()
