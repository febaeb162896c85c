"""What `attention` and `reproduce` print: published beside measured, exponents, crossings, and what differs."""

from typing import TYPE_CHECKING, Any

from vitdeploy import units
from vitdeploy.catalog import registry
from vitdeploy.cli import console
from vitdeploy.cli.console import CommandOutcome
from vitdeploy.studies import attention_study
from vitdeploy.studies.reproduction import shown_latency, shown_ratio, shown_value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vitdeploy.api.attention import AttentionOutcome
    from vitdeploy.api.listings import ListingRow
    from vitdeploy.api.reproduce import ReproduceOutcome
    from vitdeploy.studies.attention_study import Point
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
            table.add_row(*_point(point))
        parts.append(table)
        parts += [f"{'x'.join(map(str, p.size))}: {p.why_not}" for p in series.points if p.why_not]
        parts += [*attention_study.words(series), ""]
    parts += registry.notes(result.case.model for result in study.run.results)
    parts += [line for kernel in study.kernels for line in attention_study.kernel_words(kernel)]
    parts += [str(outcome.path), str(outcome.page)]
    return CommandOutcome(document=attention_study.as_json(study), human=parts)


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
        values = [shown_value(table.columns[c], row.values[c]) if c in row.values else "" for c in columns]
        figures.add_row(
            row.name,
            f"{figure.size[0]}x{figure.size[1]}",
            "" if row.quality is None else f"{row.quality:g}",
            *values,
            shown_latency(figure.latency) if figure.latency else units.MISSING,
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
        human=[figures, *notes(found), claims, *_claim_notes(found.answers), checklist, str(outcome.path),
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
    lines += [f"{figure.row.name}: {figure.row.note}" for figure in found.figures if figure.row.note]
    lines += registry.notes(result.case.model for result in found.run.results)
    return lines


def _point(point: "Point") -> list[str]:
    sides = (point.linear, point.softmax)
    return [
        "x".join(map(str, point.size)),
        *(shown_latency(found).replace(" ms", "") if found else units.MISSING
          for found in (point.linear_ms, point.softmax_ms)),
        shown_ratio(point.speedup) if point.speedup else units.MISSING,
        f"≈{point.published:.1f}" if point.published else "",
        *(units.count(side.macs) if side and side.macs else "" for side in sides),
        *(units.size_bytes(peak) if (peak := attention_study.peak_memory_bytes(side)) else "" for side in sides),
    ]  # fmt: skip


def _answer(answer: "ClaimOutcome") -> list[str]:
    claim = answer.claim
    published = units.MISSING if answer.published is None else f"{answer.published:.3g}x"
    derived = "" if claim.ratio is not None or answer.published is None else " (derived)"
    column = f" on {claim.column}" if claim.column else ""
    measured = shown_ratio(answer.measured) if answer.measured else units.MISSING
    return [claim.words, claim.slow, claim.fast, published + column + derived, measured, claim.source]


def _claim_notes(answers: "Sequence[ClaimOutcome]") -> list[str]:
    lines: list[str] = []
    for answer in answers:
        if answer.claim.note:
            lines.append(f"{answer.claim.words}: {answer.claim.note}")
        if answer.why_not:
            lines.append(f"{answer.claim.words}: not measured; {answer.why_not}")
    return lines


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
