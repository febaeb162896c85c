"""What `attention` and `reproduce` print: published beside measured, exponents, crossings, and what differs."""

from typing import TYPE_CHECKING, Any

from vitdeploy import units
from vitdeploy.catalog import registry
from vitdeploy.cli import console
from vitdeploy.cli.console import CommandOutcome
from vitdeploy.reports import study_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vitdeploy.api.attention import AttentionOutcome
    from vitdeploy.api.listings import ListingRow
    from vitdeploy.api.reproduce import ReproduceOutcome
    from vitdeploy.studies.reproduction import ClaimOutcome, MeasuredRow, Reproduction

SIGNS = {True: "same", False: "DIFFERS", None: "not stated"}


def attention(outcome: "AttentionOutcome") -> CommandOutcome:
    """Both attentions at every size, the exponents, the crossings, and what ran."""
    study = outcome.study
    parts: list[Any] = []
    for series in study.series:
        table = console.table(
            series.name,
            *("size", "linear ms", "softmax ms", "softmax / linear", "figure 4", "linear MACs", "softmax MACs"),
            *("linear peak", "softmax peak"),
            right=(1, 2, 3, 4, 5, 6, 7, 8),
        )
        for point in series.points:
            table.add_row(*study_words.point_cells(point, "x"))
        parts.append(table)
        parts += [f"{'x'.join(map(str, p.size))}: {p.why_not}" for p in series.points if p.why_not]
        parts += [*study_words.series_words(series), ""]
    parts += registry.notes(result.case.model for result in study.run.results)
    parts += map(study_words.kernel_words, study.kernels)
    parts += [str(outcome.path), str(outcome.page)]
    return CommandOutcome(document=study_words.attention_json(study), human=parts)


def reproduction(outcome: "ReproduceOutcome") -> CommandOutcome:
    """Published beside measured, the claims' ratios, and the checklist."""
    found = outcome.reproduction
    table = found.table
    columns = shown_columns(found)
    figures = console.table(
        table.title,
        *("model", "size run", table.quality or "quality"),
        *(f"{column}{'' if found.comparable[column] else ' *'}" for column in columns),
        *("measured", "peak memory", "why not"),
        right=tuple(range(2, 5 + len(columns))),
    )
    for figure in found.figures:
        row = figure.row
        values = [study_words.value(table.columns[c], row.values[c]) if c in row.values else "" for c in columns]
        figures.add_row(
            row.name,
            f"{figure.size[0]}x{figure.size[1]}",
            "" if row.quality is None else f"{row.quality:g}",
            *values,
            study_words.latency(figure.latency) if figure.latency else units.MISSING,
            units.size_bytes(figure.peak_memory_bytes) if figure.peak_memory_bytes else "",
            figure.why_not or "",
        )
    claims = console.table("speed-ups", "claim", "slow", "fast", "published", "measured here", "source", right=(3, 4))
    for answer in found.answers:
        claims.add_row(*_answer(answer))
    checklist = console.table("what differs from the published protocol", "", "published", "here", "")
    for line in found.differences:
        checklist.add_row(line.what, line.published, line.measured, SIGNS[line.same])
    return CommandOutcome(
        document=_document(found),
        human=[figures, *notes(found), claims, *study_words.claim_notes(found.answers), checklist, str(outcome.path),
               str(outcome.page)],
    )  # fmt: skip


def shown_columns(found: "Reproduction") -> list[str]:
    """The columns a terminal has room for: all but charts that no claim rests on and that are of another device."""
    claimed = {name for claim in found.table.claims for name in (claim.column, claim.fast_column)}
    return [
        name
        for name, column in found.table.columns.items()
        if not column.chart or name in claimed or column.runs_on == found.run.device.name
    ]


def published_tables(rows: "Sequence[ListingRow]") -> CommandOutcome:
    """Which tables there are."""
    return console.listing("tables", rows)


def notes(found: "Reproduction") -> list[str]:
    """What must be said of the figures."""
    lines: list[str] = []
    away = [name for name in found.table.columns if name not in shown_columns(found)]
    if away:
        lines.append(f"read from charts, on the page and in --json: {', '.join(away)}")
    if not all(found.comparable.values()):
        lines.append(
            "* not comparable with the measured column: another device, size or protocol. The ratios below still stand."
        )
    if found.smaller:
        lines.append(
            "--quick: at a smaller size than published, where ratios may differ; leave it out for the table's."
        )
    elif found.quick:
        lines.append("--quick: rows of a ratio alone, in fewer and shorter rounds, at the published sizes.")
    lines += study_words.row_notes(found)
    lines += registry.notes(result.case.model for result in found.run.results)
    return lines


def _answer(answer: "ClaimOutcome") -> list[str]:
    claim = answer.claim
    published = units.MISSING if answer.published is None else f"{answer.published:.3g}x"
    derived = "" if claim.ratio is not None or answer.published is None else " (derived)"
    column = f" on {claim.column}" if claim.column else ""
    measured = study_words.ratio(answer.measured)
    return [claim.words, claim.slow, claim.fast, published + column + derived, measured, claim.source]


def _figure(figure: "MeasuredRow") -> dict[str, Any]:
    return {
        "name": figure.row.name,
        "model": figure.row.model,
        "size": figure.size,
        "published": figure.row.values,
        "latency_ms": figure.latency,
        "images_per_s": figure.images_per_s,
        "peak_memory_bytes": figure.peak_memory_bytes,
        "macs": figure.macs,
        "why_not": figure.why_not,
        "note": figure.row.note,
    }


def _document(found: "Reproduction") -> dict[str, Any]:
    return {
        "table": found.name,
        "title": found.table.title,
        "quick": found.quick,
        "run": found.run.id,
        "device": found.run.device,
        "columns": found.table.columns,
        "comparable": found.comparable,
        "rows": [_figure(figure) for figure in found.figures],
        "claims": [
            {
                **_claim(answer),
                "measured": answer.measured,
                "holds": answer.holds,
                "why_not": answer.why_not,
            }
            for answer in found.answers
        ],
        "differences": found.differences,
    }


def _claim(answer: "ClaimOutcome") -> dict[str, Any]:
    claim = answer.claim
    return {
        "words": claim.words,
        "slow": claim.slow,
        "fast": claim.fast,
        "column": claim.column,
        "quoted": claim.ratio,
        "published": answer.published,
        "source": claim.source,
        "note": claim.note,
    }
