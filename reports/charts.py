"""The charts of a report: one definition serves the page and static pictures; a leaf over altair, partly untyped."""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import vl_convert

from vitdeploy.reports.report import Row, trial_median_ms

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#9467BD", "#8C564B")
"""One color a target. Source: Okabe & Ito, "Color Universal Design": distinct for color-blind readers too."""

QUANTILES = np.linspace(0, 1, 101)
"""Of each trial's samples; the page carries these, the run file every sample."""

CENTRAL = (0.05, 0.25, 0.75, 0.95)
"""Quantiles that the spread chart draws as its thin and thick bars."""


def latency_against_macs(rows: Sequence[Row]) -> Any:
    """Median latency of each valid row over its MACs, both logarithmic, with the interval; None without two rows."""
    points = pd.DataFrame([_point(row) for row in rows if row.quotable and row.result.macs])
    if len(points) < 2:
        return None
    base = alt.Chart(points).encode(
        x=alt.X("gmacs:Q", scale=alt.Scale(type="log"), title="multiply-accumulates per image (G)"),
        color=alt.Color("target:N", scale=_colors(points["target"]), title=None, legend=_legend()),
    )
    tooltip = ["case:N", "target:N", _ms("median", "median ms"), _ms("low", "from"), _ms("high", "to"), "gmacs:Q"]
    spread = base.mark_rule(strokeWidth=2).encode(y=alt.Y("low:Q", title="median latency (ms)"), y2="high:Q")
    dots = base.mark_point(filled=True, size=90, opacity=0.9).encode(
        y=alt.Y("median:Q", scale=alt.Scale(type="log")),
        shape=alt.Shape("task:N", title=None, legend=_legend()),
        tooltip=tooltip,
    )
    return alt.layer(spread, dots).properties(width="container", height=340)


def spread_of_samples(rows: Sequence[Row]) -> Any:
    """How far samples lie from their row's median: 5–95 % thin, 25–75 % thick, one dot a trial's median."""
    shown = [row for row in rows if row.quotable]
    if not shown:
        return None
    bars = pd.DataFrame([_bars(row) for row in shown])
    dots = pd.DataFrame([dot for row in shown for dot in _trial_dots(row)])
    order = list(bars["case"])
    y = alt.Y("case:N", sort=order, title=None, axis=alt.Axis(labelLimit=260))
    color = alt.Color("target:N", scale=_colors(bars["target"]), legend=None)
    tooltip = ["case:N", _ms("median", "median ms"), "samples:Q"]
    thin = (
        alt.Chart(bars)
        .mark_rule(strokeWidth=1.5)
        .encode(
            x=alt.X("p05:Q", title="distance from the row's median (%)"), x2="p95:Q", y=y, color=color, tooltip=tooltip
        )
    )
    thick = (
        alt.Chart(bars)
        .mark_bar(height=9, opacity=0.55)
        .encode(x="p25:Q", x2="p75:Q", y=y, color=color, tooltip=tooltip)
    )
    trials = (
        alt.Chart(dots)
        .mark_point(filled=True, size=26, opacity=1)
        .encode(
            x="distance:Q", y=y, color=color, tooltip=["case:N", "trial:O", _ms("median", "its median ms"), "steady:N"]
        )
    )
    return alt.layer(thin, thick, trials).properties(width="container", height=alt.Step(24))


def samples_of_a_case(rows: Sequence[Row]) -> Any:
    """The distribution function of each trial of one case, which a menu chooses."""
    shown = [row for row in rows if row.quotable]
    if not shown:
        return None
    curves = pd.DataFrame([point for row in shown for point in _curve(row)])
    cases = list(dict.fromkeys(curves["case"]))
    chosen = alt.param(name="shown", value=cases[0], bind=alt.binding_select(options=cases, name="case "))
    return (
        alt.Chart(curves)
        .mark_line(interpolate="monotone", strokeWidth=1.8)
        .encode(
            x=alt.X("ms:Q", scale=alt.Scale(zero=False), title="latency of one inference (ms)"),
            y=alt.Y("share:Q", axis=alt.Axis(format="%"), title="share of the samples that are faster"),
            color=alt.Color("trial:O", scale=alt.Scale(scheme="viridis"), legend=_legend("trial")),
            order="share:Q",
            tooltip=["case:N", "trial:O", _ms("ms", "ms"), alt.Tooltip("share:Q", format=".0%")],
        )
        .add_params(chosen)
        .transform_filter("datum.case === shown")
        .properties(width="container", height=300)
    )


def specification(chart: Any) -> dict[str, Any]:
    """The chart as Vega-Lite JSON data."""
    return chart.to_dict()


def picture(chart: Any, *, width_px: int = 760) -> bytes:
    """The chart as a PNG."""
    specified = chart.to_dict()
    specified["width"] = width_px
    return vl_convert.vegalite_to_png(specified, scale=2)


def javascript() -> str:
    """Vega, Vega-Lite and vega-embed as one script that needs no network; it sets ``window.vegaEmbed``."""
    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")


def _point(row: Row) -> dict[str, Any]:
    case, summary = row.result.case, row.result.summary
    assert summary is not None
    low, high = summary.median_ci95_ms or (summary.median_ms, summary.median_ms)
    return {
        "case": case.name,
        "target": case.target,
        "task": row.task,
        "gmacs": (row.result.macs or 0) / 1e9,
        "median": summary.median_ms,
        "low": low,
        "high": high,
    }


def _bars(row: Row) -> dict[str, Any]:
    assert row.result.summary is not None
    median = row.result.summary.median_ms
    samples = np.concatenate([np.asarray(trial.samples_ns) for trial in row.result.trials]) / 1e6
    values = [_distance(value, median) for value in np.quantile(samples, CENTRAL)]
    names = ("p05", "p25", "p75", "p95")
    labels = {"case": row.result.case.name, "target": row.result.case.target, "median": median}
    return {**labels, "samples": len(samples), **dict(zip(names, values, strict=True))}


def _trial_dots(row: Row) -> list[dict[str, Any]]:
    assert row.result.summary is not None
    median = row.result.summary.median_ms
    return [
        {
            "case": row.result.case.name,
            "target": row.result.case.target,
            "trial": number,
            "median": trial_median_ms(trial),
            "distance": _distance(trial_median_ms(trial), median),
            "steady": trial.steady,
        }
        for number, trial in enumerate(row.result.trials, 1)
        if trial.samples_ns
    ]


def _curve(row: Row) -> list[dict[str, Any]]:
    return [
        {"case": row.result.case.name, "trial": number, "share": round(float(share), 2), "ms": round(float(value), 4)}
        for number, trial in enumerate(row.result.trials, 1)
        if trial.samples_ns
        for share, value in zip(QUANTILES, np.quantile(np.asarray(trial.samples_ns) / 1e6, QUANTILES), strict=True)
    ]


def _distance(value: float, median: float) -> float:
    return round((float(value) / median - 1) * 100, 3)


def _ms(field: str, title: str) -> alt.Tooltip:
    return alt.Tooltip(f"{field}:Q", title=title, format=".4~g")


def _legend(title: str | None = None) -> alt.Legend:
    return alt.Legend(orient="top", title=title, labelLimit=200)


def _colors(targets: Any) -> alt.Scale:
    names = sorted(set(targets))
    return alt.Scale(domain=names, range=[COLORS[i % len(COLORS)] for i in range(len(names))])
