"""The chart of an evaluation: latency against accuracy, published and measured; a leaf over altair, partly untyped."""

from collections.abc import Sequence
from typing import Any

from vitdeploy.evaluation import published
from vitdeploy.reports.accuracy import Shown
from vitdeploy.reports.charts.vega import Specification, alt, chart_of, finished, legend, tooltips


def latency_against_accuracy(dataset: str, shown: Sequence[Shown]) -> Specification | None:
    """Published points as rings, measured ones as filled marks; None without one."""
    values = [*_published(dataset), *_measured(dataset, shown)]
    if not values:
        return None
    figure = next((entry.headline.name for entry in shown if entry.headline), "accuracy")
    latency = alt.Scale(type="log", nice=False, padding=40)
    accuracy = alt.Scale(zero=False, nice=True, padding=20)
    base = chart_of(values).encode(
        x=alt.X("ms:Q", scale=latency, title="latency, ms"),
        y=alt.Y("value:Q", scale=accuracy, title=f"{figure}, {'dB' if figure == 'PSNR' else '%'}"),
    )
    color = {"field": "where", "type": "nominal", "title": None, "legend": legend(columns=1, labelLimit=900)}
    marks = base.mark_point(filled=True, size=130, strokeWidth=2).encode(
        color=alt.Color(**color),
        stroke=alt.Stroke(**color),
        fillOpacity=alt.condition("datum.kind == 'measured'", alt.value(1), alt.value(0.12)),
        tooltip=tooltips(name="name", said="said", where="where"),
    )
    names = base.mark_text(align="left", dx=10, dy=1, style="soft").encode(text="name:N")
    return finished(alt.layer(marks, names).properties(height=420))


def _published(dataset: str) -> list[dict[str, Any]]:
    return [
        {
            "name": point.name,
            "value": point.value,
            "ms": point.latency_ms,
            "where": f"published: {point.where}",
            "kind": "published",
            "said": f"{point.value:g} at {point.latency_ms:g} ms, {point.source}",
        }
        for point in published.points(dataset)
    ]


def _measured(dataset: str, shown: Sequence[Shown]) -> list[dict[str, Any]]:
    return [
        {
            "name": entry.label,
            "value": entry.headline.value,
            "ms": latency.median_ms,
            "where": f"measured: {latency.device}",
            "kind": "measured",
            "said": f"{entry.headline.value:.3f} at {latency.median_ms:.3g} ms",
        }
        for entry in shown
        if entry.evaluation.dataset.name == dataset and entry.headline is not None and entry.headline.value is not None
        for latency in entry.latencies
        if latency.part != "decoder"
    ]
