"""A page with interactive charts, each with a still picture for print and for browsers without scripts."""

from collections.abc import Mapping, Sequence
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
            **_drawn(specifications),
            "themes": {"light": vega.theme(dark=False), "dark": vega.theme(dark=True)},
            "shown": vega.SHOWN,
        },
        undrawn=drawing.fault,
        **values,
    )


def _drawn(specifications: Mapping[str, vega.Specification]) -> Mapping[str, Any]:
    """Charts that name their data sets, the data sets by column, and their texts: what is alike stands there once.

    Written out, 500 cases take three times the bytes; ``page.js`` makes rows of the columns.
    """
    texts: dict[tuple[str, ...], int] = {}
    sets = {name: rows for chart in specifications.values() for name, rows in chart.get("datasets", {}).items()}
    return {
        "charts": {
            name: {**chart, "datasets": list(chart.get("datasets", {}))} for name, chart in specifications.items()
        },
        "rows": {name: _by_column(rows, texts) for name, rows in sets.items()},
        "texts": list(texts),
    }


def _by_column(rows: Sequence[Mapping[str, Any]], texts: dict[tuple[str, ...], int]) -> Mapping[str, Any]:
    fields = list(rows[0]) if rows else []
    assert all(list(row) == fields for row in rows), "the rows of a data set have the same fields"
    return {"count": len(rows), "columns": {field: _column([row[field] for row in rows], texts) for field in fields}}


def _column(values: Sequence[Any], texts: dict[tuple[str, ...], int]) -> Any:
    """The values, or where they are texts the number of a list of texts, to which they are added, and places in it."""
    if not all(isinstance(value, str) for value in values):
        return values
    places = {text: place for place, text in enumerate(dict.fromkeys(values))}
    return {"texts": texts.setdefault(tuple(places), len(texts)), "at": [places[text] for text in values]}


def still(chart: vega.Specification) -> str | None:
    """The chart as a picture, as a data address; None: it could not be drawn."""
    picture = vega.svg(chart)
    return None if picture is None else page.data_address("svg+xml", picture.encode())
