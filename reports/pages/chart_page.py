"""A page with interactive charts, each with a still picture for print and for browsers without scripts."""

from collections.abc import Mapping
from typing import Any

from vitdeploy.reports.charts import drawing, vega
from vitdeploy.reports.pages import page


def render(template: str, style: str | None, specifications: Mapping[str, vega.Specification], **values: Any) -> bytes:
    """The page; ``specifications``: element id → chart; ``style``: the template's own style sheet."""
    library = vega.javascript() if specifications else None
    return page.render(
        template,
        styles=["page.css", *([style] if style else [])],
        scripts=[*([library.replace("</script", "<\\/script")] if library else []), page.asset("page.js")],
        data={
            "charts": specifications,
            "themes": {"light": vega.theme(dark=False), "dark": vega.theme(dark=True)},
            "shown": vega.SHOWN,
        },
        undrawn=drawing.fault,
        **values,
    )


def still(chart: vega.Specification) -> str | None:
    """The chart as a picture, as a data address; None: it could not be drawn."""
    picture = vega.svg(chart)
    return None if picture is None else page.data_address("svg+xml", picture.encode())
