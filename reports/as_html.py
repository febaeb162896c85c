"""One self-contained page: figures, interactive charts and reasons; for desks, phones, the dark and print.

Nothing is fetched, and the page's policy forbids it: the scripts stand in the page and are named to the
browser by their digests, so that a text that slipped through the escaping could not run either.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from markupsafe import Markup

from vitdeploy import units
from vitdeploy.reports import cells, origins, shown_text
from vitdeploy.reports.cells import Cells
from vitdeploy.reports.charts import points, report_charts, vega
from vitdeploy.reports.pages import chart_page, page
from vitdeploy.reports.report import Report, ReportRow, Section, but_target, families
from vitdeploy.results import stats
from vitdeploy.results.record import Case

SUFFIX = ".html"

STILLS = ("macs", "spread")
"""Charts that are also pictures, for print and for browsers without scripts."""

MOST_DRAWN = 150
"""Cases of a report whose pictures are drawn: of 500 they take 10 s and 3 MB, and nobody can read them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One target of a model, as long as its median."""

    cells: Cells
    percent: float
    """Of the slowest in its group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One model on several targets."""

    name: str
    family: str
    size: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartFigure:
    """A chart of the page."""

    id: str
    title: str
    caption: str
    specification: vega.Specification
    still: str | None
    """The same chart as a picture for print and for browsers without scripts, as a data address."""


def render(report: Report) -> bytes:
    """The report as HTML; every text in it is escaped, and nothing is fetched."""
    report = shown_text.cleaned(report)
    overview, detail = _overview(report), _detail(report)
    return chart_page.render(
        "report.html.j2",
        None,
        {figure.id: figure.specification for figure in (*overview, *detail)},
        report=report,
        origins=origins.grouped(report.origins),
        tables=[(section, cells.of(section.rows)) for section in report.sections],
        groups=[group for section in report.sections if not section.throughput for group in _groups(section)],
        overview=overview,
        detail=detail,
        menu=[row.label for row in report.rows if row.quotable],
        jpeg=partial(page.data_address, "jpeg"),
        colors={name: index % len(vega.LIGHT) for index, name in enumerate(families(report.rows))},
        light=vega.LIGHT,
        dark=vega.DARK,
        missing=units.MISSING,
        fewest=stats.FEWEST_FOR_INTERVAL,
        faster_interval=cells.faster_interval,
        name=cells.name,
        lacking_words=cells.lacking,
        remark=cells.remark,
        breakable=_breakable,
        grouped=_grouped,
        prose=_prose,
    )


def _overview(report: Report) -> list[ChartFigure]:
    """The charts that compare the cases."""
    latency = [row for row in report.rows if not row.throughput]
    left_out = sum(row.quotable and not row.result.macs for row in latency)
    macs = report_charts.latency_against_macs(report.rows)
    caption = (
        "Equal arithmetic need not take equal time: a dashed diagonal is one speed, and a model above the diagonal is "
        "slower than its arithmetic suggests. Vertical bars are 95 % intervals, where they are longer than the mark. "
        "Touch a family in the legend to single it out."
    )
    if left_out:
        caption += f" {left_out} cases whose arithmetic is not known are left out."
    return [_figure("macs", "Latency against arithmetic", caption, macs, report)] if macs else []


def _detail(report: Report) -> list[ChartFigure]:
    """The charts that say how well the figures are known."""
    steady = (
        "The samples of each case against its median: the thick bar holds the middle half of them, the thin line nine "
        "tenths, a dot is the median of one trial. Distant dots: fresh processes differ from each other; that spread, "
        "not the samples', makes the interval."
    )
    shape = (
        f"A line a trial, up to the 99th percentile. Drawn from {points.steps(report.rows) + 1} quantiles of each "
        f"trial; all {_grouped(report.tally.samples)} samples of the report are in the run file."
    )
    order = (
        "All cases take turns. What moves all of them at once is the machine, not the model; the chosen case is drawn "
        "strongly."
    )
    candidates = (
        ("spread", "How steady every figure is", steady, report_charts.spread_of_samples(report.rows)),
        ("distribution", "Distribution of its samples", shape, report_charts.distribution(report.rows)),
        ("drift", "Its trials in the order of the run", order, report_charts.drift(report.rows)),
    )
    return [
        _figure(name, title, caption, chart, report) for name, title, caption, chart in candidates if chart is not None
    ]


def _figure(name: str, title: str, caption: str, chart: vega.Specification, report: Report) -> ChartFigure:
    drawn = name in STILLS and len(report.rows) <= MOST_DRAWN
    still = chart_page.still(chart) if drawn else None
    if name in STILLS and not drawn:
        caption += f" Not drawn for print: {len(report.rows)} cases are more than {MOST_DRAWN}."
    return ChartFigure(id=name, title=title, caption=caption, specification=chart, still=still)


def _groups(section: Section) -> list[Group]:
    """Models that were measured on several targets, the slowest target as the measure of the others."""
    grouped: dict[tuple[str, Case], list[ReportRow]] = {}
    for row in section.rows:
        if row.quotable:
            grouped.setdefault((row.run_id, but_target(row.result)), []).append(row)
    return [_group(rows) for rows in grouped.values() if len(rows) > 1]


def _group(rows: Sequence[ReportRow]) -> Group:
    shown = sorted(cells.of(rows), key=_median)
    slowest = max(map(_median, shown))
    return Group(
        name=cells.name(rows[0]),
        family=rows[0].family,
        size=", ".join(filter(None, (shown[0].size, shown[0].conditions))),
        bars=tuple(Bar(cells=entry, percent=round(100 * _median(entry) / slowest, 2)) for entry in shown),
    )


def _breakable(name: str) -> Markup:
    """A model's name that a narrow place may break after an underscore."""
    return Markup("_<wbr>").join(name.split("_"))


def _prose(text: str) -> Markup:
    """A sentence, with what stands in backticks as code."""
    spans = cells.code_spans(text)
    return Markup().join(Markup("<code>{}</code>").format(part) if code else part for part, code in spans)


def _grouped(count: int) -> str:
    """``42 700``, with spaces that do not break."""
    return f"{count:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def _median(shown: Cells) -> float:
    return shown.row.result.summary.median_ms if shown.row.result.summary else 0.0
