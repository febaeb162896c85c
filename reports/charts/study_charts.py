"""The charts of `attention` and `reproduce`; a leaf over altair, partly untyped, as `charts` is."""

from collections.abc import Sequence
from typing import Any

import altair as untyped_altair  # noqa: ICN001 (`alt` is the same without its types)

from vitdeploy.reports import study_words
from vitdeploy.reports.charts import points
from vitdeploy.reports.charts.charts import Specification
from vitdeploy.studies.attention_study import Series, Study
from vitdeploy.studies.paired_rounds import Estimate
from vitdeploy.studies.published import Claim
from vitdeploy.studies.reproduction import Reproduction

alt: Any = untyped_altair

DASHES = {"linear": [1, 0], "softmax": [7, 4]}


def scaling(study: Study) -> Specification | None:
    """Median time over pixels, both logarithmic: a line a series and attention; None without two sizes."""
    dots = [dot for one in study.series for dot in _dots(one)]
    if len({dot["pixels"] for dot in dots}) < 2:
        return None
    across = points.span([dot["pixels"] for dot in dots], 1.3)
    up = points.span([end for dot in dots for end in (dot["low"], dot["high"])], 1.4)
    names = list(dict.fromkeys(dot["series"] for dot in dots))
    base = alt.Chart(alt.Data(values=dots)).encode(
        x=alt.X(
            "pixels:Q",
            title="pixels of the input (side of a square one)",
            scale=alt.Scale(type="log", domain=across, nice=False),
            axis=alt.Axis(
                values=sorted({dot["pixels"] for dot in dots}),
                labelExpr="round(sqrt(datum.value)) + '²'",
                labelOverlap=True,
            ),
        ),
        color=alt.Color(
            "series:N",
            title=None,
            scale=alt.Scale(domain=names),
            legend=alt.Legend(orient="top", columns=1, labelLimit=0),
        ),
        detail="line:N",
    )
    y = alt.Y(
        "ms:Q",
        title="median time, ms",
        scale=alt.Scale(type="log", domain=up, nice=False),
        axis=alt.Axis(format=",.6~g", values=points.ticks(up)),
    )
    dash = alt.StrokeDash(
        "attention:N",
        title=None,
        scale=alt.Scale(domain=list(DASHES), range=list(DASHES.values())),
        legend=alt.Legend(orient="top", symbolType="stroke", symbolStrokeWidth=2),
    )
    lines = base.mark_line(strokeWidth=2).encode(y=y, strokeDash=dash)
    spread = base.mark_rule(strokeWidth=2.5, strokeCap="round").encode(y="low:Q", y2="high:Q")
    marks = base.mark_point(filled=True, size=64, style="dot").encode(
        y=y,
        tooltip=[alt.Tooltip(f"{f}:N", title=t) for f, t in (("line", "series"), ("size", "size"), ("said", "median"))],
    )
    return _finished(alt.layer(lines, spread, marks).properties(height=430))


def speedups(study: Study) -> Specification | None:
    """Softmax's time over linear's at each size, with the published figure 4; None without any."""
    dots: list[dict[str, Any]] = [
        {
            "series": one.name,
            "pixels": point.pixels,
            "size": "×".join(map(str, point.size)),
            **_estimate(point.speedup),
            "said": study_words.ratio(point.speedup),
        }
        for one in study.series
        for point in one.points
        if point.speedup is not None
    ]
    if not dots:
        return None
    published = [
        {"pixels": point.pixels, "ratio": point.published, "words": f"figure 4: {point.published:.1f}"}
        for one in study.series
        for point in one.points
        if point.published is not None
    ]
    values = [end for dot in dots for end in (dot["low"], dot["high"])] + [float(p["ratio"] or 1) for p in published]
    up = points.span([*values, 1.0], 1.25)
    across = points.span([dot["pixels"] for dot in dots], 1.3)
    x = alt.X(
        "pixels:Q",
        title="pixels of the input (side of a square one)",
        scale=alt.Scale(type="log", domain=across, nice=False),
        axis=alt.Axis(
            values=sorted({dot["pixels"] for dot in dots}),
            labelExpr="round(sqrt(datum.value)) + '²'",
            labelOverlap=True,
        ),
    )
    scale = alt.Scale(type="log", domain=up, nice=False)
    y = alt.Y("value:Q", title="softmax ÷ linear", scale=scale, axis=alt.Axis(format=",.3~g", values=points.ticks(up)))
    names = list(dict.fromkeys(dot["series"] for dot in dots))
    color = alt.Color("series:N", title=None, scale=alt.Scale(domain=names), legend=alt.Legend(orient="top", columns=1))
    base = alt.Chart(alt.Data(values=dots)).encode(x=x, color=color)
    tips = [alt.Tooltip(f"{f}:N", title=t) for f, t in (("series", "series"), ("size", "size"), ("said", "ratio"))]
    one = alt.Chart(alt.Data(values=[{"at": 1}])).mark_rule(style="zero").encode(y=alt.Y("at:Q", scale=scale))
    layers = [
        one,
        base.mark_line(strokeWidth=2).encode(y=y),
        base.mark_rule(strokeWidth=2.5, strokeCap="round").encode(y="low:Q", y2="high:Q"),
        base.mark_point(filled=True, size=64, style="dot").encode(y=y, tooltip=tips),
    ]
    if published:
        layers.append(_diamonds(published, x, alt.Y("ratio:Q", scale=scale)))
    return _finished(alt.layer(*layers).properties(height=320))


def claims(found: Reproduction) -> Specification | None:
    """Each claim's measured ratio with its interval, and the published one; None where nothing was measured."""
    shown = [answer for answer in found.answers if answer.measured is not None]
    if not shown:
        return None
    # Two columns of one table may claim different ratios of one pair: each has a line of its own.
    labels = [_label(answer.claim, found) for answer in shown]
    dots: list[dict[str, Any]] = [
        {
            "claim": label,
            "words": answer.claim.words,
            **_estimate(answer.measured),
            "said": study_words.ratio(answer.measured),
        }
        for answer, label in zip(shown, labels, strict=True)
        if answer.measured is not None
    ]
    published = [
        {"claim": label, "ratio": answer.published, "words": f"published {answer.published:.3g}"}
        for answer, label in zip(shown, labels, strict=True)
        if answer.published is not None
    ]
    values = [end for dot in dots for end in (dot["low"], dot["high"])] + [float(p["ratio"] or 1) for p in published]
    across = points.span([*values, 1.0], 1.2)
    scale = alt.Scale(type="log", domain=across, nice=False)
    x = alt.X(
        "value:Q",
        title="times faster",
        scale=scale,
        axis=alt.Axis(orient="top", format=",.3~g", values=points.ticks(across)),
    )
    y = alt.Y("claim:N", sort=labels, title=None, axis=None, scale=alt.Scale(paddingInner=0, paddingOuter=0))
    base = alt.Chart(alt.Data(values=dots)).encode(y=y)
    tips = [alt.Tooltip(f"{f}:N", title=t) for f, t in (("claim", "pair"), ("words", "claim"), ("said", "measured"))]
    layers = [
        alt.Chart(alt.Data(values=[{"at": 1}])).mark_rule(style="zero").encode(x=alt.X("at:Q", scale=scale)),
        base.mark_rule(style="ink", strokeWidth=3, strokeCap="round", yOffset=7).encode(x="low:Q", x2="high:Q"),
        base.mark_point(filled=True, size=90, style="dot", opacity=1, yOffset=7).encode(x=x, tooltip=tips),
        base.mark_text(style="ink", align="left", baseline="middle", yOffset=-9).encode(x=alt.value(0), text="claim:N"),
    ]
    if published:
        layers.append(_diamonds(published, alt.X("ratio:Q", scale=scale), y, offset=7))
    return _finished(alt.layer(*layers).properties(height=alt.Step(42)))


def _diamonds(values: Sequence[dict[str, Any]], x: Any, y: Any, offset: int = 0) -> Any:
    """Hollow marks of what is published."""
    return (
        alt.Chart(alt.Data(values=list(values)))
        .mark_point(shape="diamond", filled=False, size=120, strokeWidth=2, color="#d1480a", opacity=1, yOffset=offset)
        .encode(x=x, y=y, tooltip=[alt.Tooltip("words:N", title="published")])
    )


def _label(claim: Claim, found: Reproduction) -> str:
    column = found.table.columns[claim.column].device.split(",")[0] if claim.column else "no claim"
    return f"{claim.slow} ÷ {claim.fast} ({column})"


def _dots(one: Series) -> list[dict[str, Any]]:
    return [
        {
            "series": _with_exponents(one),
            "attention": attention,
            "line": f"{one.name}, {attention}",
            "pixels": point.pixels,
            "size": "×".join(map(str, point.size)),
            "ms": found.value,
            "low": found.interval[0] if found.interval else found.value,
            "high": found.interval[1] if found.interval else found.value,
            "said": study_words.latency(found),
        }
        for point in one.points
        for attention, found in (("linear", point.linear_ms), ("softmax", point.softmax_ms))
        if found is not None
    ]


def _with_exponents(one: Series) -> str:
    """A series in the legend: its name, and the power of the pixels that either attention's time grows with."""
    if one.kind == "equal arithmetic":  # another width at each size: a slope over them is of nothing
        return one.name
    fitted = [
        f"{attention} ∝ pixels^{study_words.ratio(found)}"
        for attention, found in (("linear", one.linear_exponent), ("softmax", one.softmax_exponent))
        if found is not None
    ]
    return f"{one.name}: {', '.join(fitted)}" if fitted else one.name


def _estimate(found: Estimate | None) -> dict[str, float]:
    assert found is not None
    low, high = found.interval or (found.value, found.value)
    return {"value": found.value, "low": low, "high": high}


def _finished(chart: Any) -> Specification:
    """The chart as data that takes the width of its place and none of altair's own theme."""
    made: Specification = chart.properties(width="container").to_dict()
    made.pop("config", None)
    return made
