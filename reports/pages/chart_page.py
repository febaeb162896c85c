"""A page with interactive charts, each with a still picture for print and for browsers without scripts."""

from collections.abc import Mapping
from typing import Any

from vitdeploy.reports.charts import vega
from vitdeploy.reports.pages import page


def render(template: str, style: str | None, specifications: Mapping[str, vega.Specification], **values: Any) -> bytes:
    """The page; ``specifications``: element id → chart; ``style``: the template's own style sheet."""
    library = [vega.javascript().replace("</script", "<\\/script")] if specifications else []
    return page.render(
        template,
        styles=["page.css", *([style] if style else [])],
        scripts=[*library, page.asset("page.js")],
        data={
            "charts": specifications,
            "themes": {"light": vega.theme(dark=False), "dark": vega.theme(dark=True)},
            "shown": vega.SHOWN,
        },
        **values,
    )


def still(chart: vega.Specification) -> str:
    """The chart as a picture, as a data address."""
    return page.data_address("svg+xml", vega.svg(chart).encode())
