"""One self-contained page of evaluations: accuracy beside latency, the published chart, classes, the worst pictures."""

import base64
from collections.abc import Sequence
from importlib import resources

import jinja2
from markupsafe import Markup

from vitdeploy import units
from vitdeploy._version import __version__
from vitdeploy.evaluation import metric_words
from vitdeploy.reports import accuracy
from vitdeploy.reports.accuracy import Shown
from vitdeploy.reports.charts import charts
from vitdeploy.reports.pages.page import policy, script_json


def render(shown: Sequence[Shown]) -> bytes:
    """The page; every text in it is escaped, and nothing is fetched."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("vitdeploy.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    datasets = list(dict.fromkeys(one.evaluation.dataset.name for one in shown))
    specifications = {name: accuracy.chart(name, shown) for name in datasets}
    figures = {name: chart for name, chart in specifications.items() if chart is not None}
    library = charts.javascript().replace("</script", "<\\/script") if figures else ""
    scripts = [text for text in (library, _template("page.js")) if text]
    page = environment.get_template("evaluation.html.j2").render(
        shown=shown,
        title=_title(shown),
        charts=list(figures),
        stills={name: _data_address("svg+xml", charts.svg(chart).encode()) for name, chart in figures.items()},
        data=script_json(
            {
                "charts": {f"chart-{name}": chart for name, chart in figures.items()},
                "themes": {"light": charts.theme(dark=False), "dark": charts.theme(dark=True)},
                "shown": charts.SHOWN,
            }
        ),
        style=Markup(_template("page.css") + _template("evaluation.css")),  # noqa: S704 (our own files)
        scripts=[Markup(text) for text in scripts],  # noqa: S704 (our own file and the library's)
        policy=policy(scripts),
        version=__version__,
        missing=units.MISSING,
        number=metric_words.number,
        milliseconds=_milliseconds,
        sheet=_sheet,
    )
    return page.encode()


def _title(shown: Sequence[Shown]) -> str:
    if len(shown) == 1:
        one = shown[0]
        figure = one.headline
        said = f": {figure.name} {metric_words.number(figure.value, figure.unit)}" if figure else ""
        return f"{one.evaluation.subjects[0].model} {one.evaluation.subjects[0].target}{said}"
    return f"Accuracy of {len(shown)} files"


def _milliseconds(value: float) -> str:
    return units.milliseconds([value])[0]


def _sheet(data: bytes) -> str:
    return _data_address("jpeg", data)


def _template(name: str) -> str:
    return resources.files("vitdeploy.reports").joinpath("templates", name).read_text(encoding="utf-8")


def _data_address(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
