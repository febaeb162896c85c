"""The chart of an evaluation: latency against accuracy, published and measured; a leaf over altair, partly untyped."""

from collections.abc import Sequence
from typing import Any

from vitdeploy.evaluation import published
from vitdeploy.reports.accuracy import Shown
from vitdeploy.reports.charts import points, text_places
from vitdeploy.reports.charts.vega import (
    Specification,
    alt,
    chart_of,
    finished,
    in_lines,
    legend,
    log_axis,
    tooltips,
)

HEIGHT_PX = 420

NARROW_PX = 560
"""A chart below this width has the names of the narrow layout. Source: ``page.js``, which changes its axes there."""

LAYOUTS = {"wide": 820.0, "narrow": 270.0}
"""Layout → the width in px that its names are placed for: of a still picture, and of a page of 400 px."""

_OFFSETS: dict[str, dict[str, Any]] = {
    "right": {"align": "left", "dx": 10, "dy": 1},
    "left": {"align": "right", "dx": -10, "dy": 1},
    "above": {"align": "center", "dx": 0, "dy": -13},
    "below": {"align": "center", "dx": 0, "dy": 15},
}


def latency_against_accuracy(dataset: str, shown: Sequence[Shown]) -> Specification | None:
    """Published points as rings, measured ones as filled marks; None without one.

    A name stands where it meets no other one; one without room is in the tooltip alone.
    """
    values = [*_measured(dataset, shown), *_published(dataset)]
    if not values:
        return None
    across = points.span([value["ms"] for value in values], 1.25)
    up = _linear_span([value["value"] for value in values])
    for layout, width_px in LAYOUTS.items():
        _place_names(values, layout, across, up, width_px)
    figure = next((entry.headline.name for entry in shown if entry.headline), "accuracy")
    title = f"{figure}, {'dB' if figure == 'PSNR' else '%'}"
    base = chart_of(values).encode(
        x=log_axis(alt.X, "ms", "latency, ms", across, format=",.6~g", labelOverlap=True),
        y=alt.Y("value:Q", scale=alt.Scale(domain=up, nice=False), title=title),
    )
    color = {"field": "entry", "type": "nominal", "title": None, "legend": legend(columns=1, labelLimit=0)}
    marks = base.mark_point(filled=True, size=130, strokeWidth=2).encode(
        color=alt.Color(**color),
        stroke=alt.Stroke(**color),
        fillOpacity=alt.condition("datum.kind == 'measured'", alt.value(1), alt.value(0.12)),
        tooltip=tooltips(name="name", said="said", where="where"),
    )
    layers = [marks, *(layer for layout in LAYOUTS for layer in _names(base, values, layout))]
    return finished(alt.layer(*layers).properties(height=HEIGHT_PX))


def _names(base: Any, values: Sequence[dict[str, Any]], layout: str) -> list[Any]:
    """A layer of names for each side of the marks that is used, drawn where the chart is as wide as its layout."""
    used = [side for side in _OFFSETS if any(value[f"{layout}_side"] == side for value in values)]
    fits = f"width {'<' if layout == 'narrow' else '>='} {NARROW_PX}"
    return [
        base.mark_text(baseline="middle", style="soft", **_OFFSETS[side])
        .encode(text=f"{layout}_name:N")
        .transform_filter(f"{fits} && datum.{layout}_side == '{side}'")
        for side in used
    ]


def _place_names(
    values: Sequence[dict[str, Any]], layout: str, across: Sequence[float], up: Sequence[float], width_px: float
) -> None:
    """Write into each value on which side of its mark its name stands; empty: there is no room."""
    where = [
        (
            width_px * text_places.share_of_log(value["ms"], across),
            HEIGHT_PX * (up[1] - value["value"]) / (up[1] - up[0]),
        )
        for value in values
    ]
    sides = text_places.sides(where, [value[f"{layout}_name"] for value in values], width_px)
    for value, side in zip(values, sides, strict=True):
        value[f"{layout}_side"] = side


def _linear_span(values: Sequence[float]) -> tuple[float, float]:
    """What the vertical axis covers: the values and a tenth of their range on both sides."""
    low, high = min(values), max(values)
    margin = 0.1 * (high - low) or 1.0
    return low - margin, high + margin


def _published(dataset: str) -> list[dict[str, Any]]:
    return [
        {
            "name": point.name,
            "wide_name": point.name,
            "narrow_name": point.name,
            "value": point.value,
            "ms": point.latency_ms,
            "where": f"published: {point.where}",
            "entry": in_lines(f"published: {point.where}"),
            "kind": "published",
            "said": f"{point.value:g} at {point.latency_ms:g} ms, {point.source}",
        }
        for point in published.points(dataset)
    ]


def _measured(dataset: str, shown: Sequence[Shown]) -> list[dict[str, Any]]:
    return [
        {
            "name": entry.label,
            "wide_name": _short_name(dataset, entry, with_target=True),
            "narrow_name": _short_name(dataset, entry, with_target=False),
            "value": entry.headline.value,
            "ms": latency.median_ms,
            "where": f"measured: {latency.device}",
            "entry": in_lines(f"measured: {latency.device}"),
            "kind": "measured",
            "said": f"{entry.headline.value:.3f} at {latency.median_ms:.3g} ms",
        }
        for entry in shown
        if entry.evaluation.dataset.name == dataset and entry.headline is not None and entry.headline.value is not None
        for latency in entry.latencies
        if latency.part != "decoder"
    ]


def _short_name(dataset: str, entry: Shown, *, with_target: bool) -> str:
    """The model without the data set that the chart names, and on a wide chart its target."""
    subject = entry.evaluation.subjects[0]
    model = subject.model.removesuffix(f"_{dataset}")
    return f"{model} {subject.target}" if with_target else model
