"""Vega-Lite for all charts: theme, rendering, and the axes and marks they share; a leaf over altair.

What is untyped in altair goes in as plain values and comes out as `Specification`, Vega-Lite JSON data.
"""

import hashlib
import json
import textwrap
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, cast

import altair as untyped_altair  # noqa: ICN001 (`alt` is the same without its types)

from vitdeploy.reports import shown_text
from vitdeploy.reports.charts import drawing, points

alt: Any = untyped_altair
"""Altair without its types, which refuse much of what it takes."""

Specification = dict[str, Any]
"""A chart as Vega-Lite JSON data, without colors: those come with a `theme`."""

LIGHT = ("#0b66b0", "#d1480a", "#23803a", "#9333a8", "#8f6d00", "#0a7c8c", "#c01f58", "#5a6068")
DARK = ("#6cb4f5", "#ff9d66", "#6fd083", "#d79ced", "#e3c35a", "#5ed3e2", "#ff90b3", "#b6bcc6")
"""Hues of the families, the same order in both; each has a contrast above 4.5 with its paper (tested)."""

SHOWN = "shown"
"""The parameter that says which case is looked at; the page's menu sets it."""

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
            # Behind text that lies on lines: strokes of the paper's color.
            "halo": {"color": paper, "stroke": paper, "strokeWidth": 5, "strokeJoin": "round", "fontSize": 11.5},
            "soft": {"color": soft, "fontSize": 11},
            "faint": {"color": soft, "strokeWidth": 1, "strokeOpacity": 0.5, "strokeDash": [2, 4]},
            "zero": {"color": soft, "strokeOpacity": 0.7},
            "dot": {"stroke": paper, "strokeWidth": 1.2},
        },
    }


def svg(chart: Specification, *, width_px: int = 820, dark: bool = False) -> str | None:
    """The chart as an SVG document; None: it could not be drawn."""
    return drawing.svg({**chart, "width": width_px}, {**theme(dark=dark), "font": _STILL_FONT})


@cache
def javascript() -> str | None:
    """Vega, Vega-Lite and vega-embed as one script that needs no network; it sets ``window.vegaEmbed``."""
    return drawing.script("window.vegaEmbed = vegaEmbed;")


def finished(chart: Any) -> Specification:
    """The chart as data that takes the width of its place and none of altair's own theme."""
    specification: Specification = chart.properties(width="container").to_dict()
    specification.pop("config", None)
    datasets: dict[str, Any] = {}
    specification = _named(specification, datasets)
    if datasets:
        specification["datasets"] = datasets
    return shown_text.cleaned(specification)


def _named(part: Any, datasets: dict[str, Any]) -> Any:
    """A part of a specification with its rows by name; they are added to ``datasets``, each set once."""
    if isinstance(part, list):
        return [_named(inner, datasets) for inner in cast("list[Any]", part)]
    if not isinstance(part, dict):
        return part
    plain = cast("dict[str, Any]", part)
    if isinstance(held := plain.get("values"), _Rows):
        name = f"data-{held[:32]}"
        datasets[name] = held.rows
        return {"name": name}
    return {key: _named(inner, datasets) for key, inner in plain.items()}


class _Rows(str):
    """Rows of a chart's data as altair is given them: a text, which it hands on as it is.

    Rows themselves it would copy and check one by one: a minute for a report of 500 cases.
    """

    __slots__ = ("rows",)
    rows: Sequence[Mapping[str, Any]]


def chart_of(values: Sequence[Mapping[str, Any]]) -> Any:
    """A chart of these rows."""
    held = _Rows(hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest())
    held.rows = values
    return alt.Chart(alt.Data(values=held))


def log_scale(span: Sequence[float]) -> Any:
    """The logarithmic scale that covers ``span`` and no more."""
    return alt.Scale(type="log", domain=span, nice=False)


def log_axis(channel: Any, field: str, title: str, span: Sequence[float], **axis: Any) -> Any:
    """``alt.X`` or ``alt.Y`` of a field on a logarithmic scale, with round ticks where ``axis`` names none."""
    return channel(
        f"{field}:Q", title=title, scale=log_scale(span), axis=alt.Axis(**{"values": points.ticks(span), **axis})
    )


def tooltips(**titles: str) -> list[Any]:
    """Field → its title in the tooltip."""
    return [alt.Tooltip(f"{field}:N", title=title) for field, title in titles.items()]


LEGEND_COLUMNS = 38
"""Letters of a legend's line: what a page of 400 pixels has room for."""

LEGEND_BREAK = " \N{BROKEN BAR} "
"""Where a legend's entry is broken into lines; a line break would not survive the cleaning of the texts."""


def legend(**options: Any) -> Any:
    """A legend above the chart; entries of `in_lines` are shown in their lines."""
    expression = f"split(datum.label, '{LEGEND_BREAK}')"
    return alt.Legend(orient="top", **{"labelExpr": expression, **options})


def in_lines(*parts: str) -> str:
    """An entry of a legend: each part on its own line, and broken where a narrow page would cut it."""
    options: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}
    return LEGEND_BREAK.join(line for part in parts for line in textwrap.wrap(part, LEGEND_COLUMNS, **options))


def reference_line(at: float, **encoding: Any) -> Any:
    """A line at the value that means no difference; ``encoding``: the channel of the field ``at``."""
    return chart_of([{"at": at}]).mark_rule(style="zero").encode(**encoding)


def intervals(base: Any) -> Any:
    """Vertical bars from ``low`` to ``high``."""
    return base.mark_rule(strokeWidth=2.5, strokeCap="round").encode(y="low:Q", y2="high:Q")


def dots(base: Any, size: int, **options: Any) -> Any:
    """Filled marks with a rim in the color of the paper."""
    return base.mark_point(filled=True, size=size, style="dot", **options)
