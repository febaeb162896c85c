"""The frame of the pages of `attention` and `reproduce`: words, charts and plain tables, one self-contained file."""

from collections.abc import Sequence
from dataclasses import dataclass

from vitdeploy.catalog import registry
from vitdeploy.reports import origins
from vitdeploy.reports.charts.vega import Specification
from vitdeploy.reports.pages import chart_page
from vitdeploy.results.record import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class PageTable:
    """Cells as texts."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    texts: Sequence[int]
    """Columns of words, which stand on the left; the others are numbers."""
    chief: int | None = None
    """Column of the figure that the table is read for; a narrow page shows it first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One section of the page."""

    id: str
    title: str
    words: Sequence[str] = ()
    chart: Specification | None = None
    table: PageTable | None = None
    after: Sequence[str] = ()
    """Notes under the table."""


def render(*, title: str, lead: Sequence[str], panels: Sequence[Panel], run: Run, notes: Sequence[str]) -> bytes:
    """The page; what has to be said of the run's models goes with ``notes``."""
    cases = [result.case for result in run.results]
    origin = origins.of(run)
    return chart_page.render(
        "study.html.j2",
        "study.css",
        {f"{panel.id}-chart": panel.chart for panel in panels if panel.chart},
        title=title,
        lead=lead,
        panels=panels,
        facts=(("target", ", ".join(sorted({case.target for case in cases}))), *origin.machine, *origin.protocol),
        notes=[*notes, *registry.notes(case.model for case in cases)],
        still=chart_page.still,
    )
