"""The charts of a report, each defined once for page and picture; a leaf over altair and vl-convert, partly untyped.

What is untyped in altair goes in as plain values and comes out as `Specification`, Vega-Lite JSON data.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import altair as untyped_altair  # noqa: ICN001 (`alt` is the same without its types)
import vl_convert

from vitdeploy.catalog import registry
from vitdeploy.reports.charts import points
from vitdeploy.reports.report import ReportRow, families

alt: Any = untyped_altair
"""Altair without its types, which refuse much of what it takes."""

Specification = dict[str, Any]
"""A chart as Vega-Lite JSON data, without colors: those come with a `theme`."""

LIGHT = ("#0b66b0", "#d1480a", "#23803a", "#9333a8", "#8f6d00", "#0a7c8c", "#c01f58", "#5a6068")
DARK = ("#6cb4f5", "#ff9d66", "#6fd083", "#d79ced", "#e3c35a", "#5ed3e2", "#ff90b3", "#b6bcc6")
"""Hues of the families, the same order in both; each has a contrast above 4.5 with its paper (tested)."""

SHAPES = (
    *("circle", "square", "triangle-up", "triangle-right", "triangle-down", "triangle-left", "cross", "diamond"),
    "M0,-1L0.3,-0.3L1,0L0.3,0.3L0,1L-0.3,0.3L-1,0L-0.3,-0.3Z",  # a star
    "M-1,-0.3L1,-0.3L1,0.3L-1,0.3Z",  # a bar
)
"""Marks of the targets, in the catalog's order, so that a target looks the same in every report."""

SHOWN = "shown"
"""The parameter that says which case is looked at; the page's menu sets it."""

_SIGNED = "(datum.value > 0 ? '+' : '') + datum.label"

_STILL_FONT = "'Liberation Sans', Arial, Helvetica, sans-serif"
"""Pictures are laid out with a font that vl-convert ships, and shown with that or one of the same widths."""

_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', 'DejaVu Sans', sans-serif"


def theme(*, dark: bool) -> Mapping[str, Any]:
    """The Vega-Lite configuration that gives charts their colors."""
    ink, soft, line, paper = (
        ("#e7ecf2", "#9fabb8", "#2a3542", "#131a22") if dark else ("#17212b", "#54606d", "#e3e7ec", "#ffffff")
    )
    return {
        "background": "transparent",
        "font": _FONT,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "padding": {"left": 2, "right": 8, "top": 4, "bottom": 2},
        "view": {"stroke": None},
        "range": {
            "category": list(DARK if dark else LIGHT),
            "ordinal": {"scheme": "viridis", "extent": [0.3, 1.0] if dark else [0.0, 0.85]},
        },
        "axis": {
            "labelColor": soft,
            "titleColor": soft,
            "gridColor": line,
            "domain": False,
            "ticks": False,
            "labelPadding": 6,
            "labelFontSize": 11.5,
            "titleFontSize": 12,
            "titleFontWeight": "normal",
            "titlePadding": 8,
        },
        "legend": {
            "labelColor": ink,
            "titleColor": soft,
            "labelFontSize": 12,
            "titleFontSize": 12,
            "titleFontWeight": "normal",
            "labelLimit": 320,
            "symbolStrokeWidth": 1,
            "symbolBaseFillColor": soft,
            "symbolBaseStrokeColor": soft,
            "layout": {"top": {"anchor": "start", "direction": "horizontal", "margin": 14}},
        },
        "style": {
            "ink": {"color": ink, "fontSize": 11.5},
            "soft": {"color": soft, "fontSize": 11},
            "faint": {"color": soft, "strokeWidth": 1, "strokeOpacity": 0.5, "strokeDash": [2, 4]},
            "zero": {"color": soft, "strokeOpacity": 0.7},
            "dot": {"stroke": paper, "strokeWidth": 1.2},
        },
    }


def latency_against_macs(rows: Sequence[ReportRow]) -> Specification | None:
    """Median latency over arithmetic, both logarithmic; None where fewer than two rows can be shown.

    Dashed diagonals are equal speeds in multiply-accumulates a second.
    """
    shown = [row for row in rows if row.quotable and row.result.macs and not row.throughput]
    if len(shown) < 2:
        return None
    dots = points.latencies(shown)
    across = points.span([dot["macs"] for dot in dots], 1.7)
    up = points.span([end for dot in dots for end in (dot["low"], dot["high"])], 1.7)
    x = alt.X(
        "macs:Q",
        title="multiply-accumulates an image",
        scale=alt.Scale(type="log", domain=across, nice=False),
        axis=alt.Axis(format="~s", values=points.ticks(across)),
    )
    y = alt.Y(
        "median:Q",
        title="median latency, ms",
        scale=alt.Scale(type="log", domain=up, nice=False),
        axis=alt.Axis(format=",.6~g", values=points.ticks(up)),
    )
    targets = list(dict.fromkeys(dot["target"] for dot in dots))
    seen = list(dict.fromkeys(dot["family"] for dot in dots))
    color = alt.Color("family:N", title=None, scale=_hues(rows), legend=_legend(symbolType="circle", values=seen))
    shape = alt.Shape(
        "target:N", title=None, scale=alt.Scale(domain=targets, range=[_shape(t) for t in targets]), legend=_legend()
    )
    picked = alt.selection_point(name="family", fields=["family"], bind="legend")
    strength = alt.condition(picked, alt.value(1.0), alt.value(0.15))
    base = alt.Chart(alt.Data(values=dots)).encode(x=x, color=color, opacity=strength)
    lines = base.mark_line(strokeWidth=1.5, strokeOpacity=0.45).encode(y=y, detail="target:N")
    spread = base.mark_rule(strokeWidth=2.5, strokeCap="round").encode(y=alt.Y("low:Q"), y2="high:Q")
    marks = base.mark_point(filled=True, size=130, style="dot").encode(
        y=y, shape=shape, tooltip=_tooltips(case="case", said="median", interval="95 % interval", arithmetic="MACs")
    )
    names = (
        base.mark_text(style="ink", align="left", dx=8, dy=13)
        .encode(y=y, text="label:N")
        .transform_filter("datum.label !== ''")
    )
    layers = alt.layer(*_diagonals(across, up, x, y), lines, spread, marks.add_params(picked), names)
    return _finished(layers.properties(height=380))


def spread_of_samples(rows: Sequence[ReportRow]) -> Specification | None:
    """How far samples lie from their case's median: 5–95 % thin, 25–75 % thick, a dot for each trial's median."""
    shown = [row for row in rows if row.quotable]
    if not shown:
        return None
    bars = [points.bars(row) for row in shown]
    dots = [dot for row in shown for dot in points.trials(row)]
    order = [bar["case"] for bar in bars]
    y = alt.Y("case:N", sort=order, title=None, axis=None, scale=alt.Scale(paddingInner=0, paddingOuter=0))
    color = alt.Color("family:N", scale=_hues(rows), legend=None)
    tips = _tooltips(case="case", said="median", samples="samples", central="25–75 %", wide="5–95 %")
    title = "distance from the case's median, %"
    x = alt.X("p05:Q", title=title, axis=alt.Axis(orient="top", labelExpr=_SIGNED, tickCount=6))
    both = alt.Chart(alt.Data(values=bars)).encode(y=y, color=color, tooltip=tips)
    thin = both.mark_rule(strokeWidth=2, yOffset=7).encode(x=x, x2="p95:Q")
    thick = both.mark_bar(height=10, opacity=0.3, yOffset=7).encode(x="p25:Q", x2="p75:Q")
    trials = (
        alt.Chart(alt.Data(values=dots))
        .mark_point(filled=True, size=64, style="dot", opacity=1, yOffset=7)
        .encode(x="distance:Q", y=y, color=color, tooltip=_tooltips(case="case", trial="trial", said="its median"))
    )
    names = (
        alt.Chart(alt.Data(values=bars))
        .mark_text(style="ink", align="left", baseline="middle", yOffset=-8)
        .encode(x=alt.value(0), y=y, text="case:N")
    )
    zero = alt.Chart(alt.Data(values=[{"at": 0}])).mark_rule(style="zero").encode(x="at:Q")
    return _finished(alt.layer(zero, thin, thick, trials, names).properties(height=alt.Step(38)))


def distribution(rows: Sequence[ReportRow]) -> Specification | None:
    """The distribution of one case, a line a trial, up to the 99th percentile; `SHOWN` says which case.

    Each trial is carried as its `points.STEPS` + 1 quantiles; the slowest hundredth is told in words.
    """
    shown = [row for row in rows if row.quotable]
    if not shown:
        return None
    curves = [curve for row in shown for curve in points.curves(row)]
    words = [points.extent(row) for row in shown]
    chosen = alt.param(name=SHOWN, value=words[0]["case"])
    lines = (
        alt.Chart(alt.Data(values=curves))
        .transform_filter(f"datum.case === {SHOWN}")
        .transform_flatten(["ms"])
        .transform_window(step="row_number()", groupby=["trial"], frame=[None, None])
        .transform_calculate(share=f"(datum.step - 1) / {points.STEPS}")
        .transform_filter("datum.share <= 0.99")
        .mark_line(strokeWidth=2, strokeOpacity=0.85)
        .encode(
            x=alt.X("ms:Q", scale=alt.Scale(zero=False, nice=False), title="time of one call, ms", axis=_few_ticks()),
            y=alt.Y("share:Q", axis=alt.Axis(format="%", tickCount=5), title="share of the samples that took less"),
            color=alt.Color("trial:O", title="trial", legend=_legend(symbolType="stroke", columns=10)),
            order=alt.Order("share:Q"),
            tooltip=[
                alt.Tooltip("trial:O", title="trial"),
                alt.Tooltip("ms:Q", title="ms", format=".4~g"),
                alt.Tooltip("share:Q", title="share that took less", format=".0%"),
            ],
        )
        .add_params(chosen)
    )
    said = (
        alt.Chart(alt.Data(values=words))
        .transform_filter(f"datum.case === {SHOWN}")
        .mark_text(style="soft", align="right", baseline="top")
        .encode(x=alt.value("width"), y=alt.value(280 + 44), text="words:N")
    )
    return _finished(alt.layer(lines, said).properties(height=280))


def drift(rows: Sequence[ReportRow]) -> Specification | None:
    """Each trial's median against its case's, in the order in which the trials were run.

    What moves all cases together is the machine. The case that `SHOWN` names is drawn strongly.
    """
    shown = [row for row in rows if row.quotable]
    dots = [dot for row in shown for dot in points.trials(row)]
    if not shown or not dots:
        return None
    chosen = alt.param(name=SHOWN, value=dots[0]["case"])
    strength = alt.condition(f"datum.case === {SHOWN}", alt.value(1.0), alt.value(0.28))
    base = alt.Chart(alt.Data(values=dots)).encode(
        x=alt.X("order:Q", title="trials of the run, in order", scale=alt.Scale(nice=False), axis=_few_ticks()),
        y=alt.Y(
            "distance:Q", title="trial's median against its case's, %", axis=alt.Axis(labelExpr=_SIGNED, tickCount=5)
        ),
        color=alt.Color("family:N", scale=_hues(rows), legend=None),
        opacity=strength,
        detail="case:N",
    )
    lines = base.mark_line(strokeWidth=1.5)
    marks = base.mark_point(filled=True, size=52, style="dot").encode(
        tooltip=_tooltips(case="case", trial="trial", said="its median", steady="state")
    )
    zero = alt.Chart(alt.Data(values=[{"at": 0}])).mark_rule(style="zero").encode(y="at:Q")
    return _finished(alt.layer(zero, lines, marks.add_params(chosen)).properties(height=280))


def png(chart: Specification, *, width_px: int = 820, dark: bool = False, scale: float = 2) -> bytes:
    """The chart as a PNG of ``width_px`` times ``scale`` pixels."""
    paper = {"background": "#131a22" if dark else "#ffffff", "padding": 16, "font": _STILL_FONT}
    return vl_convert.vegalite_to_png({**chart, "width": width_px}, scale=scale, config={**theme(dark=dark), **paper})


def svg(chart: Specification, *, width_px: int = 820, dark: bool = False) -> str:
    """The chart as an SVG document."""
    return vl_convert.vegalite_to_svg({**chart, "width": width_px}, config={**theme(dark=dark), "font": _STILL_FONT})


@cache
def javascript() -> str:
    """Vega, Vega-Lite and vega-embed as one script that needs no network; it sets ``window.vegaEmbed``."""
    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")


def _finished(chart: Any) -> Specification:
    """The chart as data that takes the width of its place and none of altair's own theme."""
    found: Specification = chart.properties(width="container").to_dict()
    found.pop("config", None)
    return found


def _shape(target: str) -> str:
    known = list(registry.targets())
    return SHAPES[known.index(target) % len(SHAPES)] if target in known else "stroke"


def _tooltips(**titles: str) -> list[Any]:
    return [alt.Tooltip(f"{field}:N", title=title) for field, title in titles.items()]


def _few_ticks() -> Any:
    return alt.Axis(tickCount=6)


def _legend(**options: Any) -> Any:
    return alt.Legend(orient="top", **options)


def _hues(rows: Sequence[ReportRow]) -> Any:
    """One hue a family, the same in every chart and on the page: by the order of all rows."""
    return alt.Scale(domain=families(rows))


def _diagonals(across: Sequence[float], up: Sequence[float], x: Any, y: Any) -> list[Any]:
    """Dashed lines of equal speed, named where they leave the chart at the top or enter it at the bottom."""
    lines, above, below = points.speeds(across, up)
    layers = [alt.Chart(alt.Data(values=lines)).mark_line(style="faint").encode(x=x, y=y, detail="words:N")]
    for places, options in ((above, {"align": "center", "dy": -4}), (below, {"align": "left", "dx": 9, "dy": -4})):
        named = alt.Chart(alt.Data(values=places)).mark_text(style="soft", baseline="bottom", **options)
        layers += [named.encode(x=x, y=y, text="words:N")] if places else []
    return layers
