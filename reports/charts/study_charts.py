"""The charts of `attention` and `reproduce`; a leaf over altair, partly untyped."""

from collections.abc import Sequence
from typing import Any

from vitdeploy.reports import study_words
from vitdeploy.reports.charts import points
from vitdeploy.reports.charts.vega import (
    Specification,
    alt,
    chart_of,
    dots,
    finished,
    in_lines,
    intervals,
    legend,
    log_axis,
    log_scale,
    reference_line,
    tooltips,
)
from vitdeploy.studies.attention_study import Series, Study
from vitdeploy.studies.paired_rounds import Estimate
from vitdeploy.studies.published import Claim
from vitdeploy.studies.reproduction import Reproduction

DASHES = {"linear": [1, 0], "softmax": [7, 4]}

SHAPES = ("circle", "square", "triangle-up", "cross", "triangle-down", "triangle-right")
"""Marks of the series, in order: lines that lie on each other are told apart by them, and without color."""


def scaling(study: Study) -> Specification | None:
    """Median time over pixels, both logarithmic: a line a series and attention; None without two sizes."""
    values = _latencies(study)
    if len({value["pixels"] for value in values}) < 2:
        return None
    base = chart_of(values).encode(x=_pixels(values), color=_series_color(values, labelLimit=0), detail="line:N")
    shape = _series_shape(values, labelLimit=0)
    y = log_axis(alt.Y, "value", "median time, ms", points.span(_ends(values), 1.4), format=",.6~g")
    dash = alt.StrokeDash(
        "attention:N",
        title=None,
        scale=alt.Scale(domain=list(DASHES), range=list(DASHES.values())),
        legend=legend(symbolType="stroke", symbolStrokeWidth=2),
    )
    lines = base.mark_line(strokeWidth=2).encode(y=y, strokeDash=dash)
    marks = dots(base, 64).encode(y=y, shape=shape, tooltip=tooltips(line="series", size="size", said="median"))
    return finished(alt.layer(lines, intervals(base), marks).properties(height=430))


def speedups(study: Study) -> Specification | None:
    """Softmax's time over linear's at each size, with the published figure 4; None without any."""
    measured = [(series, point) for series in study.series for point in series.points]
    values: list[dict[str, Any]] = [
        {
            "series": series.name,
            "pixels": point.pixels,
            "size": "×".join(map(str, point.size)),
            **_estimate(point.speedup),
            "said": study_words.ratio(point.speedup),
        }
        for series, point in measured
        if point.speedup is not None
    ]
    if not values:
        return None
    published: list[dict[str, Any]] = [
        {"pixels": point.pixels, "ratio": point.published, "words": f"figure 4: {point.published:.1f}"}
        for _, point in measured
        if point.published is not None
    ]
    up = points.span([*_ends(values), *(value["ratio"] for value in published), 1.0], 1.25)
    x, y = _pixels(values), log_axis(alt.Y, "value", "softmax ÷ linear", up, format=",.3~g")
    base = chart_of(values).encode(x=x, color=_series_color(values))
    layers = [
        reference_line(1, y=alt.Y("at:Q", scale=log_scale(up))),
        base.mark_line(strokeWidth=2).encode(y=y),
        intervals(base),
        dots(base, 64).encode(
            y=y, shape=_series_shape(values), tooltip=tooltips(series="series", size="size", said="ratio")
        ),
        *_diamonds(published, x, alt.Y("ratio:Q", scale=log_scale(up))),
    ]
    return finished(alt.layer(*layers).properties(height=320))


def claims(reproduction: Reproduction) -> Specification | None:
    """Each claim's measured ratio with its interval, and the published one; None where nothing was measured."""
    # Two columns of one table may claim different ratios of one pair: each has a line of its own.
    shown = [(_label(outcome.claim, reproduction), outcome) for outcome in reproduction.answers if outcome.measured]
    if not shown:
        return None
    values: list[dict[str, Any]] = [
        {
            "claim": label,
            "words": outcome.claim.words,
            **_estimate(outcome.measured),
            "said": study_words.ratio(outcome.measured),
        }
        for label, outcome in shown
    ]
    published: list[dict[str, Any]] = [
        {"claim": label, "ratio": outcome.published, "words": f"published {outcome.published:.3g}"}
        for label, outcome in shown
        if outcome.published is not None
    ]
    across = points.span([*_ends(values), *(value["ratio"] for value in published), 1.0], 1.2)
    x = log_axis(alt.X, "value", "times faster", across, orient="top", format=",.3~g")
    labels = [label for label, _ in shown]
    y = alt.Y("claim:N", sort=labels, title=None, axis=None, scale=alt.Scale(paddingInner=0, paddingOuter=0))
    base = chart_of(values).encode(y=y)
    tips = tooltips(claim="pair", words="claim", said="measured")

    def names(style: str) -> Any:
        text = base.mark_text(style=style, align="left", baseline="middle", yOffset=-9)
        return text.encode(x=alt.value(0), text="claim:N")

    layers = [
        reference_line(1, x=alt.X("at:Q", scale=log_scale(across))),
        base.mark_rule(style="ink", strokeWidth=3, strokeCap="round", yOffset=7).encode(x="low:Q", x2="high:Q"),
        dots(base, 90, opacity=1, yOffset=7).encode(x=x, tooltip=tips),
        names("halo"),  # the names lie on the lines of the grid
        names("ink"),
        *_diamonds(published, alt.X("ratio:Q", scale=log_scale(across)), y, offset=7),
    ]
    return finished(alt.layer(*layers).properties(height=alt.Step(42)))


def _diamonds(values: Sequence[dict[str, Any]], x: Any, y: Any, offset: int = 0) -> list[Any]:
    """A layer of hollow marks of what is published; none where nothing is."""
    marks = chart_of(values).mark_point(
        shape="diamond", filled=False, size=120, strokeWidth=2, color="#d1480a", opacity=1, yOffset=offset
    )
    return [marks.encode(x=x, y=y, tooltip=tooltips(words="published"))] if values else []


def _pixels(values: Sequence[dict[str, Any]]) -> Any:
    """The horizontal axis of both attention charts: pixels, with the side of a square input as label."""
    sizes = sorted({value["pixels"] for value in values})
    return log_axis(
        alt.X,
        "pixels",
        "pixels of the input (side of a square one)",
        points.span(sizes, 1.3),
        values=sizes,
        labelExpr="round(sqrt(datum.value)) + '²'",
        labelOverlap=True,
    )


def _series_color(values: Sequence[dict[str, Any]], **options: Any) -> Any:
    names = list(dict.fromkeys(value["series"] for value in values))
    return alt.Color("series:N", title=None, scale=alt.Scale(domain=names), legend=legend(columns=1, **options))


def _series_shape(values: Sequence[dict[str, Any]], **options: Any) -> Any:
    """The mark of each series; its legend is that of the color, because both are of one field."""
    names = list(dict.fromkeys(value["series"] for value in values))
    scale = alt.Scale(domain=names, range=[SHAPES[place % len(SHAPES)] for place in range(len(names))])
    return alt.Shape("series:N", title=None, scale=scale, legend=legend(columns=1, **options))


def _ends(values: Sequence[dict[str, Any]]) -> list[float]:
    return [end for value in values for end in (value["low"], value["high"])]


def _label(claim: Claim, reproduction: Reproduction) -> str:
    column = reproduction.table.columns[claim.column].device.split(",")[0] if claim.column else "no claim"
    return f"{claim.slow} ÷ {claim.fast} ({column})"


def _latencies(study: Study) -> list[dict[str, Any]]:
    """The points of all lines. A row that two series share, the softmax module, is drawn with the first of them."""
    drawn: set[tuple[str, str]] = set()
    values: list[dict[str, Any]] = []
    for series in study.series:
        for point in series.points:
            for attention, result, latency in (
                ("linear", point.linear, point.linear_ms),
                ("softmax", point.softmax, point.softmax_ms),
            ):
                if latency is None or result is None or (key := (attention, result.case.name)) in drawn:
                    continue
                drawn.add(key)
                value = {
                    "series": _with_exponents(series),
                    "attention": attention,
                    "line": f"{series.name}, {attention}",
                    "pixels": point.pixels,
                    "size": "×".join(map(str, point.size)),
                    **_estimate(latency),
                    "said": study_words.latency(latency),
                }
                values.append(value)
    return values


def _with_exponents(series: Series) -> str:
    """A series in the legend: its name, and the power of the pixels that either attention's time grows with."""
    if series.kind == "equal arithmetic":  # another width at each size: a slope over them is of nothing
        return in_lines(series.name)
    fitted = [
        f"{attention} ∝ pixels^{study_words.ratio(exponent)}"
        for attention, exponent in (("linear", series.linear_exponent), ("softmax", series.softmax_exponent))
        if exponent is not None
    ]
    return in_lines(series.name, *fitted)


def _estimate(estimate: Estimate | None) -> dict[str, float]:
    assert estimate is not None, "only what was measured is drawn"
    low, high = estimate.interval or (estimate.value, estimate.value)
    return {"value": estimate.value, "low": low, "high": high}
