"""The charts of a report, each defined once for page and picture; a leaf over altair, partly untyped."""

from collections.abc import Sequence
from typing import Any

from vitdeploy.catalog import registry
from vitdeploy.reports.charts import points
from vitdeploy.reports.charts.vega import (
    SHOWN,
    Specification,
    alt,
    chart_of,
    dots,
    finished,
    intervals,
    legend,
    log_axis,
    reference_line,
    tooltips,
)
from vitdeploy.reports.report import ReportRow, families

SHAPES = (
    *("circle", "square", "triangle-up", "triangle-right", "triangle-down", "triangle-left", "cross", "diamond"),
    "M0,-1L0.3,-0.3L1,0L0.3,0.3L0,1L-0.3,0.3L-1,0L-0.3,-0.3Z",  # a star
    "M-1,-0.3L1,-0.3L1,0.3L-1,0.3Z",  # a bar
)
"""Marks of the targets, in the catalog's order, so that a target looks the same in every report."""

FEW_TICKS: Any = alt.Axis(tickCount=6)
_SIGNED = "(datum.value > 0 ? '+' : '') + datum.label"


def latency_against_macs(rows: Sequence[ReportRow]) -> Specification | None:
    """Median latency over arithmetic, both logarithmic; None where fewer than two rows can be shown.

    Dashed diagonals are equal speeds in multiply-accumulates a second.
    """
    shown = [row for row in rows if row.quotable and row.result.macs and not row.throughput]
    if len(shown) < 2:
        return None
    values = points.latencies(shown)
    across = points.span([value["macs"] for value in values], 1.7)
    up = points.span([end for value in values for end in (value["low"], value["high"])], 1.7)
    x = log_axis(alt.X, "macs", "multiply-accumulates an image", across, format="~s")
    y = log_axis(alt.Y, "median", "median latency, ms", up, format=",.6~g")
    targets = list(dict.fromkeys(value["target"] for value in values))
    names = list(dict.fromkeys(value["family"] for value in values))
    color = alt.Color("family:N", title=None, scale=_hues(rows), legend=legend(symbolType="circle", values=names))
    shape = alt.Shape(
        "target:N", title=None, scale=alt.Scale(domain=targets, range=[_shape(t) for t in targets]), legend=legend()
    )
    picked = alt.selection_point(name="family", fields=["family"], bind="legend")
    strength = alt.condition(picked, alt.value(1.0), alt.value(0.15))
    base = chart_of(values).encode(x=x, color=color, opacity=strength)
    lines = base.mark_line(strokeWidth=1.5, strokeOpacity=0.45).encode(y=y, detail="target:N")
    tips = tooltips(case="case", said="median", interval="95 % interval", arithmetic="MACs")
    marks = dots(base, 130).encode(y=y, shape=shape, tooltip=tips)
    labels = base.mark_text(style="ink", align="left", dx=8, dy=13).encode(y=y, text="label:N")
    named = labels.transform_filter("datum.label !== ''")
    layers = alt.layer(*_diagonals(across, up, x, y), lines, intervals(base), marks.add_params(picked), named)
    return finished(layers.properties(height=380))


def spread_of_samples(rows: Sequence[ReportRow]) -> Specification | None:
    """How far samples lie from their case's median: 5–95 % thin, 25–75 % thick, a dot for each trial's median."""
    shown = [row for row in rows if row.quotable]
    if not shown:
        return None
    bars = [points.bars(row) for row in shown]
    medians = [median for row in shown for median in points.trials(row)]
    # Without a sort the cases stand in the rows' order; naming it would repeat every label in every layer.
    y = alt.Y("case:N", sort=None, title=None, axis=None, scale=alt.Scale(paddingInner=0, paddingOuter=0))
    color = alt.Color("family:N", scale=_hues(rows), legend=None)
    tips = tooltips(case="case", said="median", samples="samples", central="25–75 %", wide="5–95 %")
    title = "distance from the case's median, %"
    x = alt.X("p05:Q", title=title, axis=alt.Axis(orient="top", labelExpr=_SIGNED, tickCount=6))
    both = chart_of(bars).encode(y=y, color=color, tooltip=tips)
    thin = both.mark_rule(strokeWidth=2, yOffset=7).encode(x=x, x2="p95:Q")
    thick = both.mark_bar(height=10, opacity=0.3, yOffset=7).encode(x="p25:Q", x2="p75:Q")
    trials = dots(chart_of(medians), 64, opacity=1, yOffset=7).encode(
        x="distance:Q", y=y, color=color, tooltip=tooltips(case="case", trial="trial", said="its median")
    )
    names = (
        chart_of(bars)
        .mark_text(style="ink", align="left", baseline="middle", yOffset=-8)
        .encode(x=alt.value(0), y=y, text="case:N")
    )
    return finished(alt.layer(reference_line(0, x="at:Q"), thin, thick, trials, names).properties(height=alt.Step(38)))


def distribution(rows: Sequence[ReportRow]) -> Specification | None:
    """The distribution of one case, a line a trial, up to the 99th percentile; `SHOWN` says which case.

    Each trial is carried as its quantiles at `points.steps`; the slowest hundredth is told in words.
    """
    shown = [row for row in rows if row.quotable]
    if not shown:
        return None
    count = points.steps(rows)
    curves = [curve for row in shown for curve in points.curves(row, count)]
    words = [points.extent(row) for row in shown]
    chosen = alt.param(name=SHOWN, value=words[0]["case"])
    lines = (
        chart_of(curves)
        .transform_filter(f"datum.case === {SHOWN}")
        .transform_flatten(["ms"])
        .transform_window(step="row_number()", groupby=["trial"], frame=[None, None])
        .transform_calculate(share=f"(datum.step - 1) / {count}")
        .transform_filter("datum.share <= 0.99")
        .mark_line(strokeWidth=2, strokeOpacity=0.85)
        .encode(
            x=alt.X("ms:Q", scale=alt.Scale(zero=False, nice=False), title="time of one call, ms", axis=FEW_TICKS),
            y=alt.Y("share:Q", axis=alt.Axis(format="%", tickCount=5), title="share of the samples that took less"),
            color=alt.Color("trial:O", title="trial", legend=legend(symbolType="stroke", columns=10)),
            order=alt.Order("share:Q"),
            tooltip=[
                alt.Tooltip("trial:O", title="trial"),
                alt.Tooltip("ms:Q", title="ms", format=".4~g"),
                alt.Tooltip("share:Q", title="share that took less", format=".0%"),
            ],
        )
        .add_params(chosen)
    )
    caption = (
        chart_of(words)
        .transform_filter(f"datum.case === {SHOWN}")
        .mark_text(style="soft", align="right", baseline="top")
        .encode(x=alt.value("width"), y=alt.value(280 + 44), text="words:N")
    )
    return finished(alt.layer(lines, caption).properties(height=280))


def drift(rows: Sequence[ReportRow]) -> Specification | None:
    """Each trial's median against its case's, in the order in which the trials were run.

    What moves all cases together is the machine. The case that `SHOWN` names is drawn strongly.
    """
    shown = [row for row in rows if row.quotable]
    medians = [median for row in shown for median in points.trials(row)]
    if not medians:
        return None
    chosen = alt.param(name=SHOWN, value=medians[0]["case"])
    strength = alt.condition(f"datum.case === {SHOWN}", alt.value(1.0), alt.value(0.28))
    base = chart_of(medians).encode(
        x=alt.X("order:Q", title="trials of the run, in order", scale=alt.Scale(nice=False), axis=FEW_TICKS),
        y=alt.Y(
            "distance:Q", title="trial's median against its case's, %", axis=alt.Axis(labelExpr=_SIGNED, tickCount=5)
        ),
        color=alt.Color("family:N", scale=_hues(rows), legend=None),
        opacity=strength,
        detail="case:N",
    )
    lines = base.mark_line(strokeWidth=1.5)
    marks = dots(base, 52).encode(tooltip=tooltips(case="case", trial="trial", said="its median", steady="state"))
    return finished(alt.layer(reference_line(0, y="at:Q"), lines, marks.add_params(chosen)).properties(height=280))


def _shape(target: str) -> str:
    names = list(registry.targets())
    return SHAPES[names.index(target) % len(SHAPES)] if target in names else "stroke"


def _hues(rows: Sequence[ReportRow]) -> Any:
    """One hue a family, the same in every chart and on the page: by the order of all rows."""
    return alt.Scale(domain=families(rows))


def _diagonals(across: Sequence[float], up: Sequence[float], x: Any, y: Any) -> list[Any]:
    """Dashed lines of equal speed, named where they leave the chart at the top or enter it at the bottom."""
    lines, above, below = points.speeds(across, up)
    layers = [chart_of(lines).mark_line(style="faint").encode(x=x, y=y, detail="words:N")]
    for places, options in ((above, {"align": "center", "dy": -4}), (below, {"align": "left", "dx": 9, "dy": -4})):
        named = chart_of(places).mark_text(style="soft", baseline="bottom", **options)
        layers += [named.encode(x=x, y=y, text="words:N")] if places else []
    return layers
