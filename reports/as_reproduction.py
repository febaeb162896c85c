"""The page of `vitdeploy reproduce`: published beside measured, the claims' ratios, and what differs."""

from vitdeploy import units
from vitdeploy.reports import shown_text, study_words
from vitdeploy.reports.charts import study_charts as charts
from vitdeploy.reports.pages import study_page
from vitdeploy.reports.pages.study_page import PageTable, Panel
from vitdeploy.studies.published import Claim
from vitdeploy.studies.reproduction import ClaimOutcome, Reproduction

RATIOS = (
    "A ratio is taken within each round of this run, where both sides ran under the same conditions; its bar is the "
    "95 % interval over rounds. Diamonds are the published ratios: quoted, or derived from the pair's published values."
)

FOREIGN_COLUMNS = (
    "Columns marked * are of another device, size or protocol and not comparable with what was measured here; "
    "≈ was read from a chart."
)

SIGNS = {True: "same", False: "differs", None: "not stated"}


def render(reproduction: Reproduction) -> bytes:
    """The table as HTML; every text in it is escaped, and nothing is fetched."""
    reproduction = shown_text.cleaned(reproduction)
    return study_page.render(
        title=reproduction.table.title,
        lead=_lead(reproduction),
        panels=[
            Panel(
                id="claims",
                title="Speed-ups, published and measured",
                words=(RATIOS, *study_words.way_words(reproduction.run)),
                chart=charts.claims(reproduction),
                table=_claims(reproduction),
                after=tuple(dict.fromkeys(study_words.claim_notes(reproduction.answers))),
            ),
            Panel(
                id="figures",
                title="Every row",
                words=() if all(reproduction.comparable.values()) else (FOREIGN_COLUMNS,),
                table=_figures(reproduction),
                after=study_words.row_notes(reproduction),
            ),
            Panel(
                id="protocol",
                title="What differs from the published protocol",
                words=("Ratios can be compared despite most of these differences; absolute latencies cannot.",),
                table=_checklist(reproduction),
            ),
            Panel(id="sources", title="Where the published figures come from", words=_sources(reproduction)),
        ],
        run=reproduction.run,
        notes=[
            *(["--quick: at a smaller size than published; leave it out for the table's own."] * reproduction.smaller),
            *study_words.disturbed_words(reproduction.run),
        ],
    )


def _lead(reproduction: Reproduction) -> list[str]:
    """The first claims that were measured; where two are of one pair, with the device that each is of."""
    answers = [answer for answer in reproduction.answers if answer.measured and answer.claim.column][:4]
    pairs = [(answer.claim.slow, answer.claim.fast) for answer in answers]
    lines: list[str] = []
    for pair, answer in zip(pairs, answers, strict=True):
        published = "" if answer.published is None else f", published {answer.published:.3g}"
        if published and pairs.count(pair) > 1:
            published += f" ({reproduction.table.columns[answer.claim.column or ''].device.split(',')[0]})"
        lines.append(f"{pair[0]} ÷ {pair[1]}: {study_words.ratio(answer.measured)}{published}")
    return lines


def _claims(reproduction: Reproduction) -> PageTable:
    rows = tuple(
        (
            answer.claim.words,
            f"{answer.claim.slow} ÷ {answer.claim.fast}",
            _published(answer),
            study_words.ratio(answer.measured),
            study_words.WAYS[answer.by],
            _column_words(answer.claim, reproduction),
            answer.claim.source,
        )
        for answer in reproduction.answers
    )
    heads = ("claim", "pair", "published", "measured here", "by", "published for", "source")
    return PageTable(heads=heads, rows=rows, texts=(0, 1, 4, 5, 6), chief=3)


def _published(answer: ClaimOutcome) -> str:
    """The published ratio, and whether it is quoted or follows from the values."""
    if answer.published is None:
        return units.MISSING
    return f"{answer.published:.3g}" + ("" if answer.claim.ratio is not None else " (derived)")


def _column_words(claim: Claim, reproduction: Reproduction) -> str:
    if claim.column is None:
        return ""
    column = reproduction.table.columns[claim.column]
    return f"{column.device}, batch {column.batch or 'not stated'}"


def _figures(reproduction: Reproduction) -> PageTable:
    columns = reproduction.table.columns
    heads = (
        *("model", "size run", "measured here", "peak memory", reproduction.table.quality or "quality"),
        *(f"{name}{'' if reproduction.comparable[name] else ' *'}" for name in columns),
        "why there is no figure",
    )
    rows = tuple(
        (
            figure.row.name,
            f"{figure.size[0]}×{figure.size[1]}",
            *study_words.measured_cells(figure),
            *study_words.published_cells(figure, columns),
            figure.why_not or "",
        )
        for figure in reproduction.figures
    )
    return PageTable(heads=heads, rows=rows, texts=(0, len(heads) - 1), chief=2)


def _checklist(reproduction: Reproduction) -> PageTable:
    rows = tuple((row.what, row.published, row.measured, SIGNS[row.same]) for row in reproduction.differences)
    return PageTable(heads=("", "published", "here", ""), rows=rows, texts=(0, 1, 2, 3))


def _sources(reproduction: Reproduction) -> tuple[str, ...]:
    return tuple(
        f"{name}: {column.device}, {column.unit}, batch {column.batch or 'not stated'}, {column.boundary}"
        f"{', read from a chart' if column.chart else ''}; {column.source}"
        for name, column in reproduction.table.columns.items()
    )
