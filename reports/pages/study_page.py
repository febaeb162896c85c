"""The frame of the pages of `attention` and `reproduce`: words, charts and plain tables, one self-contained file."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

import jinja2
from markupsafe import Markup

from vitdeploy import units
from vitdeploy._version import __version__
from vitdeploy.catalog.fact_table import DeviceFacts
from vitdeploy.reports.charts import charts
from vitdeploy.reports.pages.page import policy, script_json
from vitdeploy.results.record import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class PageFigure:
    """A chart of a panel."""

    id: str
    specification: charts.Specification

    @property
    def still(self) -> str:
        """The chart as a picture for print and for browsers without scripts, as a data address."""
        picture = charts.svg(self.specification).encode()
        return f"data:image/svg+xml;base64,{base64.b64encode(picture).decode()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PageTable:
    """Cells as texts."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    texts: Sequence[int]
    """Columns of words, which stand on the left; the others are numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One section of the page."""

    id: str
    title: str
    words: Sequence[str] = ()
    figure: PageFigure | None = None
    table: PageTable | None = None
    after: Sequence[str] = ()
    """Notes under the table."""


def page(*, title: str, lead: Sequence[str], panels: Sequence[Panel], run: Run, notes: Sequence[str]) -> bytes:
    """The page; every text in it is escaped, and nothing is fetched."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("vitdeploy.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    figures = [panel.figure for panel in panels if panel.figure]
    library = charts.javascript().replace("</script", "<\\/script") if figures else ""
    scripts = [text for text in (library, _template("study.js")) if text]
    rendered = environment.get_template("study.html.j2").render(
        title=title,
        lead=lead,
        panels=panels,
        run=run,
        facts=_facts(run),
        notes=notes,
        data=script_json(
            {
                "charts": {figure.id: figure.specification for figure in figures},
                "themes": {"light": charts.theme(dark=False), "dark": charts.theme(dark=True)},
            }
        ),
        style=Markup(_template("page.css") + _template("study.css")),  # noqa: S704 (our own files)
        scripts=[Markup(text) for text in scripts],  # noqa: S704 (our own file and the library's)
        policy=policy(scripts),
        version=__version__,
    )
    return rendered.encode()


def _facts(run: Run) -> list[tuple[str, str]]:
    """The machine and the protocol, as name and value."""
    facts = DeviceFacts(run.device.facts)
    case = run.results[0].case if run.results else None
    return [
        (name, str(value))
        for name, value in (
            ("device", f"{run.device.name}: {facts.title or ''}"),
            ("processor", facts.cpu),
            ("cores", facts.cores_physical),
            ("memory", facts.memory_bytes and units.size_bytes(facts.memory_bytes)),
            ("virtualization", facts.virtualization),
            ("runtime", ", ".join(sorted(run.runtimes))),
            ("target", case and case.target),
            ("threads", case and case.threads),
            ("boundary", case and case.boundary),
            ("rounds", f"{run.protocol.trials} fresh processes of each case, at least {run.protocol.min_time_s:g} s"),
            ("order", run.protocol.order),
            ("started", run.started_utc),
            ("run", run.id),
            ("vitdeploy", f"{run.vitdeploy.version} {(run.vitdeploy.commit or '')[:12]}"),
        )
        if value
    ]


def _template(name: str) -> str:
    """A text of ours that stands in the page as it is."""
    return resources.files("vitdeploy.reports").joinpath("templates", name).read_text(encoding="utf-8")
