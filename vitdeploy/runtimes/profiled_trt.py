"""The time of each layer of an engine, by TensorRT's own profiler, summed over layers that are called alike.

An engine's layers are what the builder fused, so they have no operator types; their names are made of those of the
graph's nodes (``node_conv2d_3 + node_relu_3``) or by the compiler (``__myl_Conv_myl0_12``), numbered in both.
Source: TensorRT's documentation, "Built-In TensorRT Profiling" and ``IProfiler``: with one attached, every launch waits
and reports each layer once, in milliseconds; never for a timed trial.
"""

import re
import statistics
from collections.abc import Mapping
from typing import Any

_NUMBERS = re.compile(r"(?<=[A-Za-z])\d+(?=[_\s\]]|$)|[_.]\d+(?=[_\s.\]+]|$)")
"""What makes names of one kind different: ``_12`` at an end, ``myl0`` in the middle; ``conv2d`` is a word."""

LONGEST = 80
"""Longer names are cut: a fused part lists all its nodes."""


def kind_of(layer: str) -> str:
    """What a layer is called without its numbers: ``node_conv2d_3 + node_relu_3`` → ``node_conv2d + node_relu``."""
    kind = " ".join(_NUMBERS.sub("", layer).split())
    return kind if len(kind) <= LONGEST else f"{kind[: LONGEST - 1]}…"


def make_profiler(trt: Any) -> Any:
    """A profiler of the package; ``layers`` has each layer's times, in milliseconds by launch."""

    class Profiler(trt.IProfiler):
        """Keeps all that is reported."""

        def __init__(self) -> None:
            trt.IProfiler.__init__(self)
            self.layers: dict[str, list[float]] = {}

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            """Called by TensorRT once a layer and launch."""
            self.layers.setdefault(layer_name, []).append(ms)

    return Profiler()


def total_ns_by_kind(layers: Mapping[str, list[float]]) -> dict[str, int]:
    """Nanoseconds of one launch by kind of layer; each layer counts with its median."""
    totals: dict[str, int] = {}
    for layer, times_ms in layers.items():
        kind = kind_of(layer)
        totals[kind] = totals.get(kind, 0) + round(1e6 * statistics.median(times_ms))
    return totals
