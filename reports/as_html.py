"""One self-contained page: tables, interactive charts and reasons, readable on a phone, in print and in the dark."""

import json
from dataclasses import dataclass
from typing import Any

import jinja2

from vitdeploy import __version__, units
from vitdeploy.reports import charts
from vitdeploy.reports.as_markdown import parity_words
from vitdeploy.reports.report import Report, Row, Section

SUFFIX = ".html"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One row of a table, as it is shown."""

    row: Row
    median: str
    interval: str
    p90: str
    p99: str
    throughput: str
    load: str
    first: str
    memory: str
    parity: str
    macs: str
    params: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A chart of the page."""

    id: str
    title: str
    caption: str
    specification: dict[str, Any]


def render(report: Report) -> bytes:
    """The report as HTML; every string in it is escaped, and nothing is fetched."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("vitdeploy.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    figures = _figures(report)
    page = environment.get_template("report.html.j2").render(
        report=report,
        tables=[(section, _lines(section)) for section in report.sections],
        figures=figures,
        data=_script_json({figure.id: figure.specification for figure in figures}),
        library=charts.javascript().replace("</script", "<\\/script") if figures else "",
        version=__version__,
        missing=units.MISSING,
    )
    return page.encode()


def _figures(report: Report) -> list[Figure]:
    latency = [row for row in report.rows if not row.throughput]
    candidates = (
        (
            "macs",
            "Latency against arithmetic",
            "Equal arithmetic need not take equal time: what lies higher loses it elsewhere. Bars: 95 % intervals.",
            charts.latency_against_macs(latency),
        ),
        (
            "spread",
            "How steady each figure is",
            "Distance from the row's median: 25–75 % of the samples thick, 5–95 % thin, a dot for each trial's median.",
            charts.spread_of_samples(latency),
        ),
        (
            "samples",
            "Every trial of one case",
            "Share of inferences faster than a time, at 101 quantiles a trial; the run file has every sample.",
            charts.samples_of_a_case(list(report.rows)),
        ),
    )
    return [
        Figure(id=name, title=title, caption=caption, specification=charts.specification(chart))
        for name, title, caption, chart in candidates
        if chart is not None
    ]


def _lines(section: Section) -> list[Line]:
    rows = section.rows
    shown = [row.result.summary if row.quotable else None for row in rows]
    medians = units.milliseconds([s.median_ms if s else None for s in shown])
    p90s = units.milliseconds([s.p90_ms if s else None for s in shown])
    p99s = units.milliseconds([s.p99_ms if s else None for s in shown])
    loads = units.milliseconds([row.load_ms for row in rows])
    firsts = units.milliseconds([row.first_ms for row in rows])
    return [
        Line(
            row=row,
            median=median,
            interval=_interval(row),
            p90=p90,
            p99=p99,
            throughput=f"{summary.throughput_per_s:.1f}" if summary else units.MISSING,
            load=load,
            first=first,
            memory=units.size_bytes(row.peak_memory_bytes) if row.peak_memory_bytes else units.MISSING,
            parity=parity_words(row),
            macs=units.count(row.result.macs) if row.result.macs else units.MISSING,
            params=units.count(row.result.params) if row.result.params else units.MISSING,
        )
        for row, summary, median, p90, p99, load, first in zip(
            rows, shown, medians, p90s, p99s, loads, firsts, strict=True
        )
    ]


def _interval(row: Row) -> str:
    summary = row.result.summary
    if not row.quotable or summary is None or summary.median_ci95_ms is None:
        return units.MISSING
    low, high = summary.median_ci95_ms
    return units.interval(low, high, low)


def _script_json(data: Any) -> str:
    """``data`` as JSON that cannot end the script element it stands in.

    Source: https://html.spec.whatwg.org/multipage/scripting.html#restrictions-for-contents-of-script-elements
    """
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
