"""Winograd's rows layer by layer: a fused inverted bottleneck direct, and with two and four output rows at a time.

    python -m vitdeploy.benchmarks.studies.winograd_layers [IN,OUT,HEIGHT,WIDTH …] [--alone] [--pairs N] [--threads N]

The block is a 3x3 convolution, GELU, a pointwise convolution and the shortcut, as in series L, in ONNX Runtime; with
``--alone`` it is a 3x3 convolution, and the shortcut where the channels allow one. The three files take turns. What it
shows decides `winograd.FEWEST_CHANNELS` and which tile comes first.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false

import argparse
import dataclasses
import tempfile
from pathlib import Path

import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from vitdeploy.artifacts.manifest import Artifact
from vitdeploy.benchmarks.studies import files_by_turns, paired_times
from vitdeploy.benchmarks.studies.command_line import print_table
from vitdeploy.catalog import registry
from vitdeploy.exporters.rewrites.modules import convolution
from vitdeploy.exporters.rewrites.winograd import TILES, Layer, WinogradBlock
from vitdeploy.exporters.rewrites.winograd_graph import winograd_convolutions
from vitdeploy.models.efficientvit_blocks import Residual

LAYERS = (
    (24, 96, 56, 56),
    (32, 128, 56, 56),
    (32, 128, 256, 512),
    (48, 192, 48, 48),
    (64, 256, 56, 56),
    (64, 256, 128, 256),
    (128, 512, 28, 28),
    (128, 512, 64, 128),
)
"""Channels in and inside, height and width. Source: the layers of L1 and L2 at 224x224 and 512x1024, of
EfficientNetV2-S at 384x384, and narrower ones to see where the gain ends."""


ALONE = ((60, 60, 64, 64), (64, 64, 128, 128), (128, 128, 64, 64), (256, 256, 64, 64))
"""The same of convolutions alone. Source: SwinIR-light, series L, the neck of SAM's encoders."""


class DirectBlock(nn.Module):
    """The block as published, its norms folded."""

    def __init__(self, spatial: tuple[Tensor, Tensor], act: nn.Module, point: tuple[Tensor, Tensor]) -> None:
        super().__init__()
        self.spatial = convolution(*spatial, padding=(1, 1))
        self.act = act
        self.point = convolution(*point)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, c, h, w)`` to the same shape."""
        return self.point(self.act(self.spatial(x)))


def block_weights(channels: int, inner: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor], torch.Generator]:
    """Weight and bias of a block's 3x3 and pointwise convolutions, and the generator that goes on from them."""
    generator = torch.Generator().manual_seed(0)
    spatial = (
        torch.randn(inner, channels, 3, 3, generator=generator) / (3 * channels**0.5),
        torch.randn(inner, generator=generator) / 10,
    )
    point = (
        torch.randn(channels, inner, 1, 1, generator=generator) / inner**0.5,
        torch.randn(channels, generator=generator) / 10,
    )
    return spatial, point, generator


def _files(layer: tuple[int, int, int, int], folder: Path) -> tuple[dict[str, Artifact], dict[str, float]]:
    """Name → file of each form that the height allows, and its largest error in deviations of the direct one."""
    channels, inner, height, width = layer
    spatial, point, generator = block_weights(channels, inner)
    act = nn.GELU(approximate="tanh")
    blocks: dict[str, nn.Module] = {"direct": DirectBlock(spatial, act, point)}
    blocks |= {f"{tile} rows": WinogradBlock(spatial, act, point, tile) for tile in TILES if height % tile == 0}
    x = torch.randn(1, channels, height, width, generator=generator)
    files: dict[str, Artifact] = {}
    outputs: dict[str, Tensor] = {}
    for name, block in blocks.items():
        module = Residual(block).eval()
        with torch.no_grad():
            outputs[name] = module(x)
        file = folder / name / "model.onnx"
        file.parent.mkdir(parents=True)
        registry.load("vitdeploy.exporters.to_onnx:plain")(module, x, file)
        files[name] = artifact(file, (height, width))
    exact = outputs["direct"]
    errors = {name: float((output - exact).abs().max() / exact.std()) for name, output in outputs.items()}
    return files, errors


def _files_alone(layer: tuple[int, int, int, int], folder: Path) -> tuple[dict[str, Artifact], dict[str, float]]:
    """As `_files`, of a convolution alone, replaced in the graph."""
    channels, out, height, width = layer
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(out, channels, 3, 3, generator=generator) / (3 * channels**0.5)
    conv = convolution(weight, torch.randn(out, generator=generator) / 10, padding=(1, 1))
    module = Residual(conv).eval() if channels == out else nn.Sequential(conv).eval()
    x = torch.randn(1, channels, height, width, generator=generator)
    direct = folder / "direct" / "model.onnx"
    direct.parent.mkdir(parents=True)
    registry.load("vitdeploy.exporters.to_onnx:plain")(module, x, direct)
    files, errors = {"direct": artifact(direct, (height, width))}, {"direct": 0.0}
    with torch.no_grad():
        exact = module(x)
    name = Layer(channels, out, height, width).name
    for tile in TILES:
        others = [f"{name}:{other}" for other in TILES if other != tile]
        graph, tiles = winograd_convolutions(onnx.load(str(direct)), others)
        if tiles.get(name) != tile:
            continue
        file = folder / f"{tile} rows" / "model.onnx"
        file.parent.mkdir()
        onnx.save(graph, str(file))
        files[f"{tile} rows"] = artifact(file, (height, width))
        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        output = torch.from_numpy(session.run(None, {graph.graph.input[0].name: x.numpy()})[0])
        errors[f"{tile} rows"] = float((output - exact).abs().max() / exact.std())
    return files, errors


def artifact(file: Path, size: tuple[int, int]) -> Artifact:
    """The file of one block as an artifact that can be timed."""
    spec = registry.find_model("efficientvit_l1")
    variant = dataclasses.replace(registry.variant_of(spec, "onnx-fp32"), size=size)
    graph = onnx.load(str(file), load_external_data=False).graph
    tensor = registry.load("vitdeploy.exporters.to_onnx:tensor")
    return files_by_turns.artifact_of(
        file, variant, spec, inputs=list(map(tensor, graph.input)), outputs=list(map(tensor, graph.output))
    )


def layer_of(text: str) -> tuple[int, int, int, int]:
    """``IN,OUT,HEIGHT,WIDTH``."""
    channels, inner, height, width = map(int, text.split(","))
    return channels, inner, height, width


def main() -> None:
    """Time the layers and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("layers", nargs="*", type=layer_of, metavar="IN,OUT,HEIGHT,WIDTH")
    parser.add_argument("--alone", action="store_true", help="a convolution alone")
    parser.add_argument("--pairs", type=int, default=files_by_turns.PAIRS)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    rows: list[tuple[str, ...]] = []
    for layer in options.layers or (ALONE if options.alone else LAYERS):
        with tempfile.TemporaryDirectory(prefix="vitdeploy-winograd-") as folder:
            files, errors = (_files_alone if options.alone else _files)(layer, Path(folder))
            run = files_by_turns.timed(files, pairs=options.pairs, threads=options.threads)
            for name in list(files)[1:]:
                times = run.compared("direct", name)
                channels, inner, height, width = layer
                block = f"{channels} → {inner} at {height}x{width}"
                times_ms = f"{times.first_ms:.2f}", f"{times.second_ms:.2f}"
                rows.append((block, name, *times_ms, *times.cells, f"{errors[name]:.1e}"))
    heads = ("block", "form", "direct, ms", "this, ms", *paired_times.HEADS, "largest error")
    print_table(
        f"{'convolutions' if options.alone else 'fused blocks'} in ONNX Runtime, {options.threads} threads, by turns",
        heads,
        rows,
    )


if __name__ == "__main__":
    main()
