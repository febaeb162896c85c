"""Winograd's rows in an ONNX graph: the dense 3x3 convolutions that no block of ours holds, and those of user graphs.

Each becomes the nodes of `vitdeploy.exporters.rewrites.winograd.WinogradRows`, or of stride 2 by `PHASES`. The maps of
output rows stay apart through activations and pointwise convolutions that follow, and meet behind them.
"""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Collection, Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from onnx_ir.passes import common as common_passes
from onnxscript import ir

from vitdeploy.exporters.rewrites import winograd
from vitdeploy.exporters.rewrites.winograd import Layer

PIXEL_BY_PIXEL: Final = frozenset({"Relu", "Gelu", "HardSwish", "Sigmoid", "Tanh", "LeakyRelu", "Elu"})
"""Operators of one input that treat every value alike."""

FLOAT: Final = ir.DataType.FLOAT


def winograd_convolutions(proto: Any, left_out: Collection[str] = ()) -> tuple[Any, dict[str, int]]:
    """``proto`` with the convolutions replaced that gain by it, and layer → rows at a time; else ``proto`` itself.

    Args:
        left_out: layers that stay, as `Layer.tile` has them; their rows at a time are 1.
    """
    if not any(node.op_type == "Conv" for node in proto.graph.node):
        return proto, {}
    model = ir.from_proto(proto)
    common_passes.ShapeInferencePass()(model)
    tiles: dict[str, int] = {}
    for node in list(model.graph):
        layer = _layer(node)
        if layer is None or layer.tile() is None:
            continue
        tile = layer.tile(left_out)
        tiles[layer.name] = tile or 1
        if tile is not None:
            _replace(model.graph, node, layer, tile)
    if set(tiles.values()) <= {1}:
        return proto, tiles
    for name in [name for name, value in model.graph.initializers.items() if not value.uses()]:
        del model.graph.initializers[name]
    return ir.to_proto(model), tiles


def _layer(node: Any) -> Layer | None:
    """The layer that a node is; None: it is no dense 3x3 convolution that may gain, or a shape is not known."""
    if node.op_type != "Conv" or node.domain or any(_constant(value) is None for value in node.inputs[1:]):
        return None
    image, weight = node.inputs[0].shape, _constant(node.inputs[1])
    if image is None or weight is None or not image.is_static() or len(image) != 4 or weight.shape[2:] != (3, 3):
        return None
    out_channels, in_channels = weight.shape[:2]
    strides = _numbers(node, "strides", [1, 1])
    padded = _numbers(node, "pads", [0]) == [1, 1, 1, 1]
    if strides == [1, 1]:  # "same" of stride 2 pads one side only
        padded = padded or _text(node, "auto_pad", "NOTSET").startswith("SAME")
    plain = _numbers(node, "dilations", [1, 1]) == [1, 1] and strides in ([1, 1], [2, 2])
    if weight.dtype != np.float32 or in_channels != image[1] or not padded or not plain:
        return None
    # A layer that narrows would do its transforms where channels are many and save where they are few.
    if out_channels < winograd.FEWEST_CHANNELS:
        return None
    # Stride 2 saves a sixth only, so its rows must meet where channels are few.
    if strides == [2, 2] and not any(_narrows(user) for user in _followers(node)):
        return None
    return Layer(in_channels, out_channels, int(image[2]), int(image[3]), strides[0])


class _Rows:
    """The nodes that take the place of one convolution."""

    def __init__(self, name: str, shape: tuple[int, ...]) -> None:
        self.name, self.shape = name, shape
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, kind: str, *inputs: Any, shape: Sequence[int] | None = None, **attributes: Any) -> "_Value":
        node = ir.node(kind, inputs, attributes, name=f"{self.name}_{len(self.nodes)}")
        (result,) = node.outputs
        result.name, result.type = f"{self.name}_{len(self.nodes)}_out", ir.TensorType(FLOAT)
        result.shape = ir.Shape(self.shape if shape is None else shape)
        self.nodes.append(node)
        return _Value(self, result)

    def constant(self, content: Any) -> Any:
        tensor = ir.tensor(content, name=f"{self.name}_constant_{len(self.constants)}")
        kind, shape = ir.TensorType(tensor.dtype), ir.Shape(content.shape)
        value = ir.Value(name=tensor.name, const_value=tensor, type=kind, shape=shape)
        self.constants.append(value)
        return value

    def conv(
        self,
        source: Any,
        kernel: torch.Tensor,
        bias: Any = None,
        *,
        channels: int,
        groups: int = 1,
        width: int | None = None,
        **attributes: Any,
    ) -> "_Value":
        """A convolution of this name's maps, as high as a map of output rows, and as wide where no width is named."""
        more = () if bias is None else (bias,)
        shape = (self.shape[0], channels, self.shape[2], self.shape[3] if width is None else width)
        weights = self.constant(kernel.float().contiguous().numpy())
        return self.add("Conv", source, weights, *more, shape=shape, group=groups, **attributes)


class _Value:
    """A value of the new nodes; a sum of two is a node more."""

    def __init__(self, rows: _Rows, value: Any) -> None:
        self.rows, self.value = rows, value

    def __add__(self, other: "_Value") -> "_Value":
        return self.rows.add("Add", self.value, other.value)


def _replace(graph: Any, node: Any, layer: Layer, tile: int) -> None:
    (output,) = node.outputs
    n, height = int(node.inputs[0].shape[0]), layer.height // layer.stride
    width = -(-layer.width // layer.stride)
    weight = torch.from_numpy(np.array(_constant(node.inputs[1])))
    rows = _Rows(f"{output.name}_rows", (n, weight.shape[0], height // tile, width))
    made = _output_maps(rows, node, weight, tile) if layer.stride == 1 else _maps_of_stride_2(rows, node, weight)
    maps, last = _carried(rows, made, node)
    replaced = [node, *_followers(node)]
    channels = int(last.shape[1]) if last.shape is not None else weight.shape[0]
    wide = rows.add("Concat", *maps, shape=(n, channels, height // tile, tile * width), axis=3)
    whole = np.array([n, channels, height, width], np.int64)
    result = rows.add("Reshape", wide.value, rows.constant(whole), shape=whole.tolist()).value
    for value in rows.constants:
        graph.register_initializer(value)
    graph.insert_before(last.producer(), rows.nodes)
    _take_the_place(graph, last, result)
    for old in reversed(replaced):
        graph.remove(old, safe=True)


def _output_maps(rows: _Rows, node: Any, weight: torch.Tensor, tile: int) -> list[Any]:
    """The transforms, the products and their sums: the maps of output rows."""
    out, channels = weight.shape[:2]
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    products: list[_Value] = []
    for place, (taps, kernel) in enumerate(
        zip(winograd.TILES[tile].inputs, winograd.product_kernels(weight, tile), strict=True)
    ):
        column = torch.tensor(taps).reshape(1, 1, -1, 1).expand(channels, 1, -1, 1)
        source = rows.conv(
            node.inputs[0], column, channels=channels, groups=channels, strides=[tile, 1], pads=[1, 0, 1, 0]
        ).value
        own = bias if place == winograd.BIASED else None
        products.append(rows.conv(source, kernel, own, channels=out, pads=[0, 1, 0, 1]))

    def scaled(name: str, value: _Value) -> _Value:
        factor = torch.full((out, 1, 1, 1), winograd.SCALES[tile][name])
        return rows.conv(value.value, factor, channels=out, groups=out)

    return [value.value for value in winograd.output_rows(products, scaled)]


def _maps_of_stride_2(rows: _Rows, node: Any, weight: torch.Tensor) -> list[Any]:
    """The maps of the output rows 0, 2, … and 1, 3, …, of three odd and two even rows of the input."""
    out, channels = weight.shape[:2]
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    first, middle, last = (weight[:, :, row : row + 1].double() for row in range(3))

    def product(taps: Sequence[float], kernel: torch.Tensor, own: Any = None) -> _Value:
        column = torch.tensor(taps, dtype=torch.float).reshape(1, 1, -1, 1).expand(channels, 1, -1, 1)
        source = rows.conv(
            node.inputs[0],
            column,
            channels=channels,
            groups=channels,
            width=int(node.inputs[0].shape[3]),
            strides=[2 * winograd.PHASE_TILE, 1],
            pads=[1, 0, 0, 0],
        ).value
        return rows.conv(source, kernel, own, channels=out, strides=[1, 2], pads=[0, 1, 0, 1])

    odd = [
        product((before, 0, here, 0, after), near * first + far * last)
        for (before, here, after), (near, far) in zip(winograd.PHASES.inputs, winograd.PHASES.kernels, strict=True)
    ]
    even = [product(taps, middle, bias) for taps in ((0, 1, 0, 0, 0), (0, 0, 0, 1, 0))]
    return [((odd[0] + odd[1]) + even[0]).value, ((odd[1] + odd[2]) + even[1]).value]


def _followers(node: Any) -> list[Any]:
    """The activations and pointwise convolutions behind ``node``, each read by the next one alone."""
    found: list[Any] = []
    last = node.outputs[0]
    while not last.is_graph_output() and len(uses := list(last.uses())) == 1 and _is_pointwise(uses[0][0]):
        found.append(uses[0][0])
        (last,) = found[-1].outputs
    return found


def _carried(rows: _Rows, maps: list[Any], node: Any) -> tuple[list[Any], Any]:
    """The maps behind what follows ``node``, and the last value replaced."""
    last = node.outputs[0]
    for user in _followers(node):
        (last,) = user.outputs
        shape = (*rows.shape[:1], int(last.shape[1]), *rows.shape[2:])
        attributes = dict(user.attributes)
        maps = [rows.add(user.op_type, each, *user.inputs[1:], shape=shape, **attributes).value for each in maps]
    return maps, last


def _narrows(node: Any) -> bool:
    """Whether a pointwise node has fewer channels behind it than before it."""
    return int(node.outputs[0].shape[1]) < int(node.inputs[0].shape[1])


def _is_pointwise(node: Any) -> bool:
    """Whether a node computes each pixel of its first input by itself, with no more values than before."""
    before, after = node.inputs[0].shape if node.inputs and node.inputs[0] is not None else None, node.outputs[0].shape
    if node.domain or before is None or after is None or not after.is_static():
        return False
    if node.op_type in PIXEL_BY_PIXEL:
        return len(node.inputs) == 1
    weight = _constant(node.inputs[1]) if node.op_type == "Conv" else None
    if weight is None or weight.shape[2:] != (1, 1) or any(_constant(value) is None for value in node.inputs[1:]):
        return False
    plain = _numbers(node, "strides", [1, 1]) == [1, 1] and not any(_numbers(node, "pads", [0]))
    return plain and _numbers(node, "group", [1]) == [1] and weight.shape[0] <= weight.shape[1]


def _take_the_place(graph: Any, old: Any, new: Any) -> None:
    """Whoever takes ``old`` takes ``new``, which has its name where it leaves the graph."""
    for index, output in enumerate(graph.outputs):
        if output is old:
            new.name, old.name = old.name, f"{old.name}_direct"
            graph.outputs[index] = new
    ir.convenience.replace_all_uses_with(old, new)


def _constant(value: Any) -> NDArray[Any] | None:
    if value is None or value.const_value is None or value.is_graph_input():
        return None
    return value.const_value.numpy()


def _numbers(node: Any, name: str, default: list[int]) -> list[int]:
    attribute = node.attributes.get(name)
    if attribute is None:
        return default
    return [attribute.as_int()] if attribute.type == ir.AttributeType.INT else list(attribute.as_ints())


def _text(node: Any, name: str, default: str) -> str:
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.as_string()
