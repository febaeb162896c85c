"""The history page: every case over runs and commits, with intervals and the changes of level marked.

One self-contained page, like that of `as_html`; its curves are drawn here, since a thousand runs of fifty cases are
too many marks for the report's interactive charts.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from vitdeploy import units
from vitdeploy.reports import shown_text
from vitdeploy.reports.pages import page
from vitdeploy.results.history import Change, History, Moment, Series

WIDTH, HEIGHT = 960, 150
"""Of a curve, in its own units."""

MARGIN = 0.08
"""Share of the height that is left free above and below."""

WITHIN = 0.02
"""A curve's scale covers at least so much either side, so that noise does not look like a mountain."""


MOST_DOTS = 80
"""Runs of a series that are drawn as dots too; of more, only those whose interval is missing, and single ones."""

TICKS = 5
"""Dates under a curve, the first and the last run's among them."""

MOST_WIDTHS = 4
"""An interval this many times as wide as the median one is no usual one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One series as shapes and words."""

    series: Series
    line: str
    bands: tuple[str, ...]
    """One for each stretch of two or more runs that have an interval; a run without one has none."""
    bars: tuple[tuple[float, float, float], ...]
    """Place, upper and lower end of the interval of a run between runs without one: a band needs two."""
    dots: tuple[tuple[float, float, bool], ...]
    """Place and height of runs, and whether the run has an interval."""
    without_interval: int
    """Runs whose interval is missing, with fewer than three trials."""
    marks: tuple[tuple[float, Change, str], ...]
    """Horizontal place, the change, and ``slower`` or ``faster``."""
    latest: str
    low: str
    high: str


def render(history: History) -> bytes:
    """The page; every text in it is escaped, and nothing is fetched."""
    history = shown_text.cleaned(history)
    instants = _instants(history.moments)
    places = _places(instants, len(history.moments))
    curves = [_curve(series, places) for series in history.series if series.medians_ms]
    changed = sorted(
        ((curve, change) for curve in curves for change in curve.series.changes),
        key=lambda pair: (pair[1].first.started_utc, -pair[1].ratio),
        reverse=True,
    )
    return page.render(
        "history.html.j2",
        styles=["page.css", "history.css"],
        scripts=[page.asset("history.js")],
        history=history,
        curves=curves,
        silent=[series for series in history.series if not series.medians_ms],
        changed=changed,
        width=WIDTH,
        height=HEIGHT,
        ticks=_ticks(instants),
        data={
            "moments": [[_commit(moment), moment.started_utc[:16].replace("T", " ")] for moment in history.moments],
            "curves": [
                {
                    "places": curve.series.places,
                    "across": [round(places[place], 1) for place in curve.series.places],
                    "medians": _rounded(curve.series.medians_ms),
                    "intervals": [None if bounds is None else _rounded(bounds) for bounds in curve.series.intervals_ms],
                }
                for curve in curves
            ],
        },
        commit=_commit,
        percent=units.percent,
    )


def _rounded(values: Sequence[float]) -> list[float]:
    return [float(f"{value:.5g}") for value in values]


def _instants(moments: Sequence[Moment]) -> list[datetime]:
    """When the runs were; empty where a moment is no date, which no run that was read has."""
    try:
        return [moment.instant for moment in moments]
    except ValueError:
        return []


def _seconds(instants: Sequence[datetime]) -> float:
    return (instants[-1] - instants[0]).total_seconds() if instants else 0.0


def _places(instants: Sequence[datetime], runs: int) -> list[float]:
    """Where each run stands on the axis of time; runs that have all one instant stand side by side."""
    seconds = _seconds(instants)
    if seconds <= 0:
        step = WIDTH / max(1, runs - 1)
        return [place * step for place in range(runs)]
    return [WIDTH * (instant - instants[0]).total_seconds() / seconds for instant in instants]


def _ticks(instants: Sequence[datetime]) -> list[tuple[float, str]]:
    """Places in percent of the width, and dates, or times of the day where all runs are of one."""
    seconds = _seconds(instants)
    if seconds <= 0:
        return [(0.0, _shown(instant, "%Y-%m-%d")) for instant in instants[:1]]
    first = instants[0]
    form = "%Y-%m-%d" if seconds > 2 * 86400 else "%m-%d %H:%M"
    labels = [_shown(first + timedelta(seconds=seconds * part / (TICKS - 1)), form) for part in range(TICKS)]
    return [
        (100 * part / (TICKS - 1), label) for part, label in enumerate(labels) if part == 0 or label != labels[part - 1]
    ]


def _shown(instant: datetime, form: str) -> str:
    return instant.astimezone(timezone.utc).strftime(form)


def _curve(series: Series, places: Sequence[float]) -> Curve:
    low, high = _scale(series)

    def x(place: int) -> float:
        return places[place]

    def y(value: float) -> float:
        return HEIGHT * (1 - MARGIN - (1 - 2 * MARGIN) * (value - low) / (high - low))

    def band(stretch: Sequence[tuple[int, tuple[float, float]]]) -> str:
        # What is far outside of the picture is cut there, and not at its edge: an end at the edge would look like one.
        upper = [(x(place), max(y(bounds[1]), -HEIGHT)) for place, bounds in stretch]
        lower = [(x(place), min(y(bounds[0]), 2 * HEIGHT)) for place, bounds in stretch]
        return _points([*upper, *reversed(lower)])

    stretches = _stretches(series)
    alone = {stretch[0][0] for stretch in stretches if len(stretch) == 1}
    dots = tuple(
        (round(x(place), 1), round(y(value), 1), bounds is not None)
        for place, value, bounds in zip(series.places, series.medians_ms, series.intervals_ms, strict=True)
        if bounds is None or place in alone or len(series.places) <= MOST_DOTS
    )
    latest, shown_low, shown_high = units.milliseconds([series.medians_ms[-1], low, high])
    return Curve(
        series=series,
        line=_points((x(place), y(value)) for place, value in zip(series.places, series.medians_ms, strict=True)),
        bands=tuple(band(stretch) for stretch in stretches if len(stretch) > 1),
        bars=tuple(
            (round(x(place), 1), round(max(y(bounds[1]), -HEIGHT), 1), round(min(y(bounds[0]), 2 * HEIGHT), 1))
            for ((place, bounds),) in (stretch for stretch in stretches if len(stretch) == 1)
        ),
        dots=dots,
        without_interval=sum(bounds is None for bounds in series.intervals_ms),
        marks=tuple(
            (round(x(series.places[c.place]), 1), c, "slower" if c.ratio > 1 else "faster") for c in series.changes
        ),
        latest=latest,
        low=shown_low,
        high=shown_high,
    )


def _scale(series: Series) -> tuple[float, float]:
    """What the curve covers: all medians, and the usual intervals; an absurd one runs out of the picture."""
    low, high = min(series.medians_ms), max(series.medians_ms)
    middle = series.medians_ms[-1]
    widths = sorted(upper - lower for lower, upper in filter(None, series.intervals_ms))
    widest = MOST_WIDTHS * widths[len(widths) // 2] if widths else 0.0
    usual = [bounds for bounds in series.intervals_ms if bounds is not None and bounds[1] - bounds[0] <= widest]
    low, high = min([low, *(lower for lower, _ in usual)]), max([high, *(upper for _, upper in usual)])
    return min(low, middle * (1 - WITHIN)), max(high, middle * (1 + WITHIN))


def _stretches(series: Series) -> list[list[tuple[int, tuple[float, float]]]]:
    """Runs that follow each other in the series and have an interval, each with its place."""
    stretches: list[list[tuple[int, tuple[float, float]]]] = []
    interrupted = True
    for place, bounds in zip(series.places, series.intervals_ms, strict=True):
        if bounds is not None:
            if interrupted:
                stretches.append([])
            stretches[-1].append((place, bounds))
        interrupted = bounds is None
    return stretches


def _points(places: "Iterator[tuple[float, float]] | Sequence[tuple[float, float]]") -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)


def _commit(moment: Moment) -> str:
    return moment.commit[:10] or moment.id[:24]
