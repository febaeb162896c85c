"""One self-contained page of evaluations: accuracy beside latency, the published chart, classes, the worst pictures."""

from collections.abc import Sequence
from functools import partial

from vitdeploy import units
from vitdeploy.reports.accuracy import Shown
from vitdeploy.reports.charts.accuracy_chart import latency_against_accuracy
from vitdeploy.reports.pages import chart_page, page


def render(shown: Sequence[Shown]) -> bytes:
    """The page; every text in it is escaped, and nothing is fetched."""
    datasets = list(dict.fromkeys(entry.evaluation.dataset.name for entry in shown))
    specifications = {name: latency_against_accuracy(name, shown) for name in datasets}
    figures = {name: chart for name, chart in specifications.items() if chart is not None}
    return chart_page.render(
        "evaluation.html.j2",
        "evaluation.css",
        {f"chart-{name}": chart for name, chart in figures.items()},
        shown=shown,
        title=_title(shown),
        charts=list(figures),
        stills={name: chart_page.still(chart) for name, chart in figures.items()},
        missing=units.MISSING,
        number=units.metric,
        milliseconds=_milliseconds,
        sheet=partial(page.data_address, "jpeg"),
    )


def _title(shown: Sequence[Shown]) -> str:
    if len(shown) == 1:
        entry = shown[0]
        figure = entry.headline
        result = f": {figure.name} {units.metric(figure.value, figure.unit)}" if figure else ""
        return f"{entry.evaluation.subjects[0].model} {entry.evaluation.subjects[0].target}{result}"
    return f"Accuracy of {len(shown)} files"


def _milliseconds(value: float) -> str:
    return units.milliseconds([value])[0]
