"""The yardstick's layers, the same for every format: a mix of the large and small layers of our models.

A writer of a format (`to_onnx`, `to_tflite`) appends one layer after the other; here are their order, their shapes and
their seeded weights. numpy only.
"""

import math
from typing import Generic, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")
Floats = NDArray[np.float32]
Activation = Literal["none", "relu", "hard-swish"]

SIDE = 128
"""Height and width of the input."""

CLASSES = 1000

HEAD_CHANNELS = 16
"""Channels of one head of the linear attention. Source: EfficientViT (MIT) B0–B3, arXiv:2205.14756, table 8."""

EPSILON = 1e-5
"""Added to the denominator of the linear attention."""

_SEED = 20
_KEPT_BITS = 24
"""A weight is made of the upper bits of a random word: they fit into fp32 without rounding."""


class Writer(Protocol[T]):
    """A writer of one format; ``T`` is what it knows a tensor by. Weights are given as ``(out, in, height, width)``."""

    def image(self, side: int) -> T:
        """The input, three channels."""
        ...

    def convolution(
        self, x: T, weight: Floats, bias: Floats, *, stride: int, depthwise: bool, activation: Activation
    ) -> T:
        """A convolution of odd kernel whose output has ``1 / stride`` of the input's height and width."""
        ...

    def sum(self, x: T, y: T) -> T:
        """Elementwise."""
        ...

    def linear_attention(self, query: T, key: T, value: T) -> T:
        """``q (kᵀ [v 1])``, its last column the denominator of the others, for each head of `HEAD_CHANNELS`."""
        ...

    def classifier(self, x: T, weight: Floats, bias: Floats) -> T:
        """The mean over height and width, and a dense layer with a weight of ``(out, in)``."""
        ...

    def finish(self, logits: T) -> bytes:
        """The file."""
        ...


class _Blocks(Generic[T]):
    """Blocks of layers, with weights drawn in their order."""

    def __init__(self, writer: Writer[T]) -> None:
        self._writer = writer
        self._bits = np.random.PCG64(_SEED)

    def weights(self, outputs: int, inputs: int, *kernel: int) -> tuple[Floats, Floats]:
        """Weight and bias, scaled so that values neither vanish nor overflow. Source: He et al., arXiv:1502.01852."""
        fan_in = inputs * int(np.prod(kernel))
        largest = 2.0 ** round(math.log2(math.sqrt(6 / fan_in)))  # a power of two: nothing is rounded
        return self._uniform((outputs, inputs, *kernel), largest), self._uniform((outputs,), 0.125)

    def _uniform(self, shape: tuple[int, ...], largest: float) -> Floats:
        """Values in ±``largest``. Source: numpy's NEP 19 keeps the words of a seeded bit generator as they are."""
        words = self._bits.random_raw(int(np.prod(shape))) >> np.uint64(64 - _KEPT_BITS)
        centered = words.astype(np.float32) - np.float32(2 ** (_KEPT_BITS - 1))
        return (centered * np.float32(largest / 2 ** (_KEPT_BITS - 1))).reshape(shape)

    def convolution(
        self,
        x: T,
        inputs: int,
        outputs: int,
        *,
        kernel: int = 1,
        stride: int = 1,
        depthwise: bool = False,
        activation: Activation = "hard-swish",
    ) -> T:
        """One convolution."""
        weight, bias = self.weights(outputs, 1 if depthwise else inputs, kernel, kernel)
        return self._writer.convolution(x, weight, bias, stride=stride, depthwise=depthwise, activation=activation)

    def separable(self, x: T, channels: int, outputs: int, *, stride: int = 1) -> T:
        """A depthwise convolution and a 1x1."""
        x = self.convolution(x, channels, channels, kernel=3, stride=stride, depthwise=True)
        return self.convolution(x, channels, outputs, activation="none")

    def bottleneck(self, x: T, inputs: int, wide: int, outputs: int, *, stride: int = 1) -> T:
        """A 1x1 that widens, a depthwise convolution, a 1x1 that narrows: B0–B3."""
        return self.separable(self.convolution(x, inputs, wide), wide, outputs, stride=stride)

    def fused_bottleneck(self, x: T, channels: int, wide: int) -> T:
        """A 3x3 that widens and a 1x1 that narrows: L0–L3."""
        x = self.convolution(x, channels, wide, kernel=3)
        return self.convolution(x, wide, channels, activation="none")

    def attention(self, x: T, channels: int) -> T:
        """The linear attention with ReLU, between 1x1 convolutions."""
        query, key = (self.convolution(x, channels, channels, activation="relu") for _ in range(2))
        value = self.convolution(x, channels, channels, activation="none")
        attended = self._writer.linear_attention(query, key, value)
        return self.convolution(attended, channels, channels, activation="none")


def write(writer: Writer[T]) -> bytes:
    """The network in the writer's format: about 90 million multiply-adds and 1.2 million weights.

    Its layers are those of EfficientViT (MIT): a stem, inverted bottlenecks with and without a depthwise layer, the
    linear attention, and a wide head.
    """
    blocks = _Blocks(writer)
    x = blocks.convolution(writer.image(SIDE), 3, 16, kernel=3, stride=2)
    x = writer.sum(x, blocks.separable(x, 16, 16))
    x = blocks.bottleneck(x, 16, 64, 32, stride=2)
    x = writer.sum(x, blocks.fused_bottleneck(x, 32, 128))
    x = blocks.bottleneck(x, 32, 128, 64, stride=2)
    x = writer.sum(x, blocks.attention(x, 64))
    x = writer.sum(x, blocks.bottleneck(x, 64, 256, 64))
    x = blocks.bottleneck(x, 64, 256, 128, stride=2)
    x = writer.sum(x, blocks.attention(x, 128))
    x = writer.sum(x, blocks.bottleneck(x, 128, 512, 128))
    x = blocks.convolution(x, 128, 512)
    return writer.finish(writer.classifier(x, *blocks.weights(CLASSES, 512)))
