"""`attention` and `reproduce`: published figures beside measured ones, exponents, crossings, and what differs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vitdeploy import units
from vitdeploy.cli import completion, console
from vitdeploy.cli.console import CommandOutput, Table, Verbatim
from vitdeploy.cli.options import Artifacts, Device, DryRun, Force, Resume, Threads, request_of
from vitdeploy.errors import UsageError

if TYPE_CHECKING:
    from vitdeploy.api.attention import AttentionOutcome
    from vitdeploy.api.reproduce import ReproduceOutcome
    from vitdeploy.studies.reproduction import ClaimOutcome, MeasuredRow, Reproduction

Quick = Annotated[bool, typer.Option("--quick", help="Sizes and rounds that take minutes on a laptop.")]
Trials = Annotated[
    int | None, typer.Option(metavar="N", help="Rounds: fresh processes of each case; default: 7, quick 6.")
]
StudyMinTime = Annotated[
    float | None, typer.Option("--min-time", metavar="S", help="Sampling time of a trial; default: 1, quick 0.3.")
]
By = Annotated[
    str | None,
    typer.Option(
        metavar="turns|trials",
        help="Rows whose ratio is told: short turns, or whole trials one after the other; default: turns.",
        autocompletion=completion.words("turns", "trials"),
    ),
]
StudyOut = Annotated[
    Path | None, typer.Option(metavar="RUN.json", help="File of the run; default: a new one in runs/.")
]
Page = Annotated[Path | None, typer.Option(metavar="FILE.html", help="File of the page; default: beside the run.")]
Earlier = Annotated[
    Path | None, typer.Option("--from", metavar="RUN.json", help="Show an earlier run again; nothing is measured.")
]


def attention_command(
    *,
    device: Device = None,
    target: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="File format; default: onnx-fp32, on phones tflite-fp32.",
            autocompletion=completion.targets,
        ),
    ] = None,
    quick: Quick = False,
    network: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL",
            help="Whole network, beside the modules; default: efficientvit_b1.",
            autocompletion=completion.models,
        ),
    ] = None,
    threads: Threads = None,
    by: By = None,
    trials: Trials = None,
    min_time_s: StudyMinTime = None,
    out: StudyOut = None,
    page: Page = None,
    artifacts: Artifacts = None,
    resume: Resume = False,
    force: Force = False,
    earlier: Earlier = None,
    dry_run: DryRun = False,
) -> CommandOutput:
    """Time ReLU linear against softmax attention over resolutions.

    The attention modules are timed alone, and in whole networks. The page shows where one becomes faster.

    Examples:
        vitdeploy attention --quick
        vitdeploy attention --device orin --target trt-fp16
    """
    from vitdeploy.api import attention
    from vitdeploy.api.studies import StudyRequest

    if earlier is not None:
        return attention_output(attention.attention_of(earlier, page))
    request = request_of(StudyRequest, locals())
    if dry_run:
        return console.plan(attention.attention_plan(network or [], request))
    with console.bar() as bar:
        return attention_output(attention.attention(network or [], request, progress=console.progress, on_trial=bar))


def reproduce_command(
    table: Annotated[
        str | None,
        typer.Argument(
            metavar="[TABLE]", help="Name of a table; without one they are listed.", autocompletion=completion.tables
        ),
    ] = None,
    *,
    device: Device = None,
    target: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="File format; default: the published one where the device has it.",
            autocompletion=completion.targets,
        ),
    ] = None,
    quick: Quick = False,
    threads: Threads = None,
    by: By = None,
    trials: Trials = None,
    min_time_s: StudyMinTime = None,
    out: StudyOut = None,
    page: Page = None,
    artifacts: Artifacts = None,
    resume: Resume = False,
    force: Force = False,
    earlier: Earlier = None,
    dry_run: DryRun = False,
) -> CommandOutput:
    """Measure a published table's rows again.

    Each figure stands beside the measured one, each claimed speed-up beside its measured ratio, and what differs
    from the published protocol is listed.

    Examples:
        vitdeploy reproduce
        vitdeploy reproduce imagenet --quick
    """
    from vitdeploy.api import reproduce
    from vitdeploy.api.studies import StudyRequest

    if earlier is not None:
        if table is not None:
            raise UsageError(f"both the table {table} and --from were given", "A run knows its table: name one.")
        return reproduce_output(reproduce.reproduction_of(earlier, page))
    if table is None:
        rows = reproduce.published_list()
        return console.listing("table", rows, ("reproduce", rows[0].name, "--quick", "--dry-run"))
    request = request_of(StudyRequest, locals())
    if dry_run:
        return console.plan(reproduce.reproduce_plan(table, request))
    with console.bar() as bar:
        return reproduce_output(reproduce.reproduce(table, request, progress=console.progress, on_trial=bar))


def attention_output(outcome: "AttentionOutcome") -> CommandOutput:
    """Both attentions at every size, the exponents, the crossings, and the kernels that ran."""
    from vitdeploy.reports import study_words

    study = outcome.study
    heads = (
        *("size", "linear ms", "softmax ms", "softmax / linear", "by", "figure 4", "linear MACs", "softmax MACs"),
        *("linear peak", "softmax peak"),
    )
    details = ("softmax peak", "linear peak", "softmax MACs", "linear MACs", "figure 4", "by")
    parts: list[Table | str | Verbatim] = []
    for series in study.series:
        rows = [study_words.point_cells(point, "x") for point in series.points]
        right = (1, 2, 3, 5, 6, 7, 8, 9)
        parts.append(Table(title=series.name, heads=heads, right=right, rows=rows, details=details))
        parts += [f"{'x'.join(map(str, point.size))}: {point.why_not}" for point in series.points if point.why_not]
        parts += [*study_words.series_words(series), ""]
    parts += [
        *study_words.way_words(study.run),
        *study_words.disturbed_words(study.run),
        *console.model_notes(study.run.results),
    ]
    parts += map(study_words.kernel_words, study.kernels)
    parts += map(Verbatim, (str(outcome.path), str(outcome.page)))
    return CommandOutput(
        document=study_words.attention_json(study),
        human=parts,
        next_command=("report", str(outcome.path), "--format", "csv"),
    )


def reproduce_output(outcome: "ReproduceOutcome") -> CommandOutput:
    """Published beside measured, the claims' ratios, and the checklist of differences."""
    from vitdeploy.reports import study_words

    reproduction = outcome.reproduction
    claims = Table(
        title="speed-ups",
        heads=("claim", "slow", "fast", "published", "measured here", "by", "source"),
        right=(3, 4),
        details=("source", "slow", "fast"),
        rows=[_claim_cells(answer) for answer in reproduction.answers],
    )
    signs = {True: "same", False: "DIFFERS", None: "not stated"}
    checklist = Table(
        title="what differs from the published protocol",
        heads=("", "published", "here", ""),
        rows=[(line.what, line.published, line.measured, signs[line.same]) for line in reproduction.differences],
    )
    human = [
        _figures(reproduction),
        *notes(reproduction),
        claims,
        *study_words.way_words(reproduction.run),
        *study_words.disturbed_words(reproduction.run),
        *study_words.claim_notes(reproduction.answers),
        checklist,
    ]
    paths = map(Verbatim, (str(outcome.path), str(outcome.page)))
    return CommandOutput(
        document=_document(reproduction),
        human=[*human, *paths],
        next_command=("report", str(outcome.path), "--format", "csv"),
    )


def _figures(reproduction: "Reproduction") -> Table:
    from vitdeploy.reports import study_words

    published = reproduction.table
    columns = shown_columns(reproduction)
    heads = (
        *("model", "size run", published.quality or "quality"),
        *(column if reproduction.comparable[column] else f"{column} *" for column in columns),
        *("measured", "peak memory", "why not"),
    )
    rows = [
        (
            figure.row.name,
            f"{figure.size[0]}x{figure.size[1]}",
            *study_words.published_cells(figure, {name: published.columns[name] for name in columns}),
            *study_words.measured_cells(figure),
            figure.why_not or "",
        )
        for figure in reproduction.figures
    ]
    return Table(
        title=published.title,
        heads=heads,
        right=range(2, 5 + len(columns)),
        rows=rows,
        details=("peak memory", "size run"),
    )


def shown_columns(reproduction: "Reproduction") -> list[str]:
    """The columns that fit a terminal: no charts of other devices, unless a claim rests on them."""
    published = reproduction.table
    claimed = {name for claim in published.claims for name in (claim.column, claim.fast_column)}
    return [
        name
        for name, column in published.columns.items()
        if not column.chart or name in claimed or column.runs_on == reproduction.run.device.name
    ]


def notes(reproduction: "Reproduction") -> list[str]:
    """What must be said of the figures."""
    from vitdeploy.reports import study_words

    lines: list[str] = []
    shown = shown_columns(reproduction)
    hidden = [name for name in reproduction.table.columns if name not in shown]
    if hidden:
        lines.append(f"read from charts, on the page and in --json: {', '.join(hidden)}")
    if not all(reproduction.comparable.values()):
        lines.append(
            "* not comparable with the measured column: another device, size or protocol. "
            "The ratios below can still be compared."
        )
    if reproduction.smaller:
        lines.append(
            "--quick: at a smaller size than published, where ratios may differ; leave it out for the table's."
        )
    elif reproduction.quick:
        lines.append("--quick: rows of a ratio alone, in fewer and shorter rounds, at the published sizes.")
    return [*lines, *study_words.row_notes(reproduction), *console.model_notes(reproduction.run.results)]


def _claim_cells(answer: "ClaimOutcome") -> list[str]:
    from vitdeploy.reports import study_words

    claim = answer.claim
    published = units.MISSING if answer.published is None else f"{answer.published:.3g}x"
    derived = "" if claim.ratio is not None or answer.published is None else " (derived)"
    column = f" on {claim.column}" if claim.column else ""
    measured = study_words.ratio(answer.measured)
    return [
        claim.words,
        claim.slow,
        claim.fast,
        published + column + derived,
        measured,
        study_words.WAYS[answer.by],
        claim.source,
    ]


def _document(reproduction: "Reproduction") -> dict[str, Any]:
    from vitdeploy.reports import study_words

    return {
        "table": reproduction.name,
        "title": reproduction.table.title,
        "quick": reproduction.quick,
        "run": reproduction.run.id,
        "groups": reproduction.run.groups,
        "disturbed": study_words.disturbed_words(reproduction.run),
        "device": reproduction.run.device,
        "columns": reproduction.table.columns,
        "comparable": reproduction.comparable,
        "rows": [_row_document(figure) for figure in reproduction.figures],
        "claims": [_claim_document(answer) for answer in reproduction.answers],
        "differences": reproduction.differences,
    }


def _row_document(figure: "MeasuredRow") -> dict[str, Any]:
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


def _claim_document(answer: "ClaimOutcome") -> dict[str, Any]:
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
        "measured": answer.measured,
        "by": answer.by,
        "holds": answer.holds,
        "why_not": answer.why_not,
    }
