"""The page of `vitdeploy reproduce`: published beside measured, the claims' ratios, and what differs."""

from vitdeploy import units
from vitdeploy.catalog import registry
from vitdeploy.reports.charts import study_charts as charts
from vitdeploy.reports.pages.study_page import PageFigure, PageTable, Panel, page
from vitdeploy.studies import reproduction
from vitdeploy.studies.published import Claim
from vitdeploy.studies.reproduction import ClaimOutcome, Reproduction

RATIOS = (
    "A ratio is taken within each round of this run, where both sides met the same machine; its bar is the 95 % "
    "interval over rounds. Diamonds are the published ratios: quoted, or derived from the published values of the pair."
)

SIGNS = {True: "same", False: "differs", None: "not stated"}


def render(found: Reproduction) -> bytes:
    """The table as HTML; every text in it is escaped, and nothing is fetched."""
    chart = charts.claims(found)
    return page(
        title=found.table.title,
        lead=[_short(answer) for answer in found.answers if answer.measured and answer.claim.column][:4],
        panels=[
            Panel(
                id="claims",
                title="Speed-ups, published and measured",
                words=(RATIOS,),
                figure=PageFigure(id="chart", specification=chart) if chart else None,
                table=_claims(found),
                after=tuple(dict.fromkeys(_claim_notes(found))),
            ),
            Panel(
                id="figures",
                title="Every row",
                words=_figure_words(found),
                table=_figures(found),
                after=tuple(f"{figure.row.name}: {figure.row.note}" for figure in found.figures if figure.row.note),
            ),
            Panel(
                id="protocol",
                title="What differs from the published protocol",
                words=("A ratio survives most of these differences, an absolute figure none of them.",),
                table=_checklist(found),
            ),
            Panel(id="sources", title="Where the published figures come from", words=_sources(found)),
        ],
        run=found.run,
        notes=[
            *(
                ["--quick: at a smaller size than published; leave it out for the table's own."]
                if found.smaller
                else []
            ),
            *registry.notes(result.case.model for result in found.run.results),
        ],
    )


def _short(answer: ClaimOutcome) -> str:
    assert answer.measured is not None
    published = "" if answer.published is None else f", published {answer.published:.3g}"
    measured = reproduction.shown_ratio(answer.measured)
    return f"{answer.claim.slow} ÷ {answer.claim.fast}: {measured}{published}"


def _claims(found: Reproduction) -> PageTable:
    rows = tuple(
        (
            answer.claim.words,
            f"{answer.claim.slow} ÷ {answer.claim.fast}",
            published_words(answer),
            reproduction.shown_ratio(answer.measured) if answer.measured else units.MISSING,
            _column_words(answer.claim, found),
            answer.claim.source,
        )
        for answer in found.answers
    )
    heads = ("claim", "pair", "published", "measured here", "published for", "source")
    return PageTable(heads=heads, rows=rows, texts=(0, 1, 4, 5))


def published_words(answer: ClaimOutcome) -> str:
    """The published ratio, and whether it is quoted or follows from the values."""
    if answer.published is None:
        return units.MISSING
    return f"{answer.published:.3g}" + ("" if answer.claim.ratio is not None else " (derived)")


def _column_words(claim: Claim, found: Reproduction) -> str:
    if claim.column is None:
        return ""
    column = found.table.columns[claim.column]
    return f"{column.device}, batch {column.batch or 'not stated'}"


def _claim_notes(found: Reproduction) -> list[str]:
    lines: list[str] = []
    for answer in found.answers:
        lines += [f"{answer.claim.words}: {answer.claim.note}"] if answer.claim.note else []
        lines += [f"{answer.claim.words}: not measured; {answer.why_not}"] if answer.why_not else []
    return lines


def _figure_words(found: Reproduction) -> tuple[str, ...]:
    foreign = [name for name, same in found.comparable.items() if not same]
    if not foreign:
        return ()
    return (
        (
            "Columns marked * are of another device, size or protocol and not comparable with what was measured here; "
            "≈ was read from a chart."
        ),
    )


def _figures(found: Reproduction) -> PageTable:
    columns = found.table.columns
    heads = (
        *("model", "size run", "measured here", "peak memory", found.table.quality or "quality"),
        *(f"{name}{'' if found.comparable[name] else ' *'}" for name in columns),
        "why there is no figure",
    )
    rows = tuple(
        (
            figure.row.name,
            f"{figure.size[0]}×{figure.size[1]}",
            reproduction.shown_latency(figure.latency) if figure.latency else units.MISSING,
            units.size_bytes(figure.peak_memory_bytes) if figure.peak_memory_bytes else "",
            "" if figure.row.quality is None else f"{figure.row.quality:g}",
            *(reproduction.shown_value(c, figure.row.values[n]) if n in figure.row.values else ""
              for n, c in columns.items()),
            figure.why_not or "",
        )
        for figure in found.figures
    )  # fmt: skip
    return PageTable(heads=heads, rows=rows, texts=(0, len(heads) - 1))


def _checklist(found: Reproduction) -> PageTable:
    rows = tuple((one.what, one.published, one.measured, SIGNS[one.same]) for one in found.differences)
    return PageTable(heads=("", "published", "here", ""), rows=rows, texts=(0, 1, 2, 3))


def _sources(found: Reproduction) -> tuple[str, ...]:
    return tuple(
        f"{name}: {column.device}, {column.unit}, batch {column.batch or 'not stated'}, {column.boundary}"
        f"{', read from a chart' if column.chart else ''}; {column.source}"
        for name, column in found.table.columns.items()
    )
