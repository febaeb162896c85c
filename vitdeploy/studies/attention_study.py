"""Attention against attention: how time grows with resolution, read off a run of `vitdeploy attention`.

Three kinds of series, each with linear and softmax attention: the module at equal width, the module at equal
arithmetic (the linear one is made wider), and whole networks. Everything is derived from the run.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from vitdeploy.catalog.model_table import ATTENTION_HEAD_DIM
from vitdeploy.catalog.spec import Size
from vitdeploy.results.quantities import CountOrZero, Milliseconds
from vitdeploy.results.record import By, Result, Run
from vitdeploy.studies import paired_rounds, published
from vitdeploy.studies.paired_rounds import Crossing, Estimate

SUITE = "attention-study"
"""How such runs call their suite."""

WIDTH: Final = 128
"""Channels of the softmax module, and of the linear one at equal width. Source: stage 3 of EfficientViT-B1."""

FIGURE_4_SIDES: Final = (24, 32, 40)
"""Feature maps of the published figure 4. Source: arXiv 2205.14756v6."""

UPPER: Final = 1024
"""From this many pixels on the exponent is fitted once more: small maps cost what a call costs."""

_MODULE = re.compile(r"attention_w(?P<width>[1-9]\d{0,8})", re.ASCII)

Kind = Literal["equal width", "equal arithmetic", "network"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Both attentions at one size; a side that has no figure says why."""

    size: Size
    linear: Result | None
    softmax: Result | None
    linear_ms: Estimate | None
    softmax_ms: Estimate | None
    speedup: Estimate | None
    """Softmax's time over linear's."""
    by: By | None
    """How that ratio was measured; None: there is none."""
    published: float | None
    """The same of figure 4, where it has this map."""

    @property
    def pixels(self) -> int:
        """Of the input: what the exponents are of."""
        return self.size[0] * self.size[1]

    @property
    def why_not(self) -> str | None:
        """Why a side has no figure."""
        sides = [r for r in (self.linear, self.softmax) if r is not None and r.status != "valid"]
        return "; ".join(reason.message for r in sides for reason in r.reasons[:1]) or None


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One kind over sizes, and what follows from it."""

    name: str
    kind: Kind
    points: tuple[Point, ...]
    linear_exponent: Estimate | None
    softmax_exponent: Estimate | None
    """Over all sizes that have a figure."""
    linear_exponent_upper: Estimate | None
    softmax_exponent_upper: Estimate | None
    """Over those from `UPPER` pixels of the attention's map on."""
    crossing: Crossing


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """What ran, by the runtime's own profiler."""

    case: str
    graph: Mapping[str, CountOrZero]
    """Operator → count, in the file."""
    ran_ms: Mapping[str, Milliseconds]
    """Operator → ms of an inference; empty where the runtime tells none."""
    said: str | None
    """Why it tells none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """The whole comparison."""

    run: Run
    series: tuple[Series, ...]
    kernels: tuple[Kernel, ...]


def study(run: Run, table: published.PublishedTable, kernels: Iterable[Kernel] = ()) -> Study:
    """What a run says of both attentions."""
    modules = [result for result in run.results if module_width(result) is not None]
    networks = [result for result in run.results if module_width(result) is None]
    softmax = [result for result in modules if result.case.attention == "softmax"]
    linear = [result for result in modules if result.case.attention == "relu"]
    figure_4 = _figure_4(table)
    series = [
        _series(
            f"module, equal width ({WIDTH} channels)",
            "equal width",
            [result for result in linear if module_width(result) == WIDTH],
            softmax,
            run,
            {},
            per_pixel=1,
        ),
        _series(
            "module, equal arithmetic",
            "equal arithmetic",
            [result for result in linear if module_width(result) == equal_width(_pixels(result))],
            [result for result in softmax if equal_width(_pixels(result)) != WIDTH],
            run,
            figure_4,
            per_pixel=1,
        ),
    ]
    for model in dict.fromkeys(result.case.model for result in networks):
        sides = {
            kind: [r for r in networks if r.case.model == model and r.case.attention == kind]
            for kind in ("relu", "softmax")
        }
        series.append(_series(model, "network", sides["relu"], sides["softmax"], run, {}, per_pixel=16 * 16))
    return Study(run=run, series=tuple(entry for entry in series if entry.points), kernels=tuple(kernels))


def module_width(result: Result) -> int | None:
    """Channels of an attention module alone; None for a network."""
    matched = _MODULE.fullmatch(result.case.model)
    return int(matched["width"]) if matched else None


def macs_per_pixel(width: int, pixels: int, *, softmax: bool) -> int:
    """Multiply-accumulates of a module for one pixel of its map.

    The stem, four projections' worth of pointwise convolutions, and two products: with the map's pixels for softmax,
    with the head's channels (and the denominator's row) for linear attention.
    """
    shared = 3 * width + 4 * width * width
    return shared + (2 * width * pixels if softmax else width * (2 * ATTENTION_HEAD_DIM + 2))


def equal_width(pixels: int) -> int:
    """Channels that give linear attention the arithmetic of softmax attention on `WIDTH`, to the nearest head."""
    softmax_macs = macs_per_pixel(WIDTH, pixels, softmax=True)
    widths = range(ATTENTION_HEAD_DIM, 4097, ATTENTION_HEAD_DIM)
    return min(widths, key=lambda width: abs(macs_per_pixel(width, pixels, softmax=False) - softmax_macs))


def _series(
    name: str,
    kind: Kind,
    linear: Sequence[Result],
    softmax: Sequence[Result],
    run: Run,
    figure_4: Mapping[Size, float],
    *,
    per_pixel: int,
) -> Series:
    """The series of two sides; ``per_pixel``: pixels of the input for one of the first map that is attended to."""
    by_size = [{result.case.size: result for result in reversed(side)} for side in (linear, softmax)]
    times: tuple[dict[int, dict[int, float]], dict[int, dict[int, float]]] = ({}, {})
    over_under: dict[int, dict[int, float]] = {}
    points: list[Point] = []
    for size in sorted(by_size[0].keys() | by_size[1].keys(), key=lambda size: (size[0] * size[1], size)):
        sides = [results.get(size) for results in by_size]
        latencies = [{} if side is None else paired_rounds.latencies(run, side) for side in sides]
        for side_times, rounds in zip(times, latencies, strict=True):
            if rounds:
                side_times[size[0] * size[1]] = rounds
        pair = [side for side in sides if side is not None]
        ratios = paired_rounds.ratios(run, pair[1:], pair[:1]) if len(pair) == 2 else {}
        if ratios:
            over_under[size[0] * size[1]] = ratios
        points.append(
            Point(
                size=size,
                linear=sides[0],
                softmax=sides[1],
                linear_ms=paired_rounds.typical(list(latencies[0].values())),
                softmax_ms=paired_rounds.typical(list(latencies[1].values())),
                speedup=paired_rounds.typical(list(ratios.values())),
                by=paired_rounds.way(run, pair) if ratios else None,
                published=figure_4.get(size),
            )
        )
    upper = [{size: rounds for size, rounds in side_times.items() if size >= UPPER * per_pixel} for side_times in times]
    return Series(
        name=name,
        kind=kind,
        points=tuple(points),
        linear_exponent=paired_rounds.exponent(times[0]),
        softmax_exponent=paired_rounds.exponent(times[1]),
        linear_exponent_upper=paired_rounds.exponent(upper[0]),
        softmax_exponent_upper=paired_rounds.exponent(upper[1]),
        crossing=paired_rounds.crossing(over_under),
    )


def _pixels(result: Result) -> int:
    return result.case.size[0] * result.case.size[1]


def _figure_4(table: published.PublishedTable) -> dict[Size, float]:
    """Size → softmax's time over linear's, as published."""
    ratios: dict[Size, float] = {}
    for claim in table.claims:
        ratio = table.published_ratio(claim)
        height, _, width = table.size_of(table.row(claim.slow), quick=False).partition("x")
        if ratio is not None:
            ratios[int(height), int(width)] = ratio
    return ratios


def peak_memory_bytes(result: Result | None) -> int | None:
    """The largest of a row's trials; None where there is no figure."""
    if result is None or result.status != "valid":
        return None
    return max((trial.peak_memory_bytes for trial in result.trials), default=None)
