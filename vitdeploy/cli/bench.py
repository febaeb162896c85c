"""`bench`: latencies of models and artifacts, a row a case."""

from typing import TYPE_CHECKING, Annotated

import typer

from vitdeploy import units
from vitdeploy.cli import completion, console, outcome_errors
from vitdeploy.cli.console import CommandOutput, Table, Verbatim
from vitdeploy.cli.options import (
    AcceptLicence,
    Artifacts,
    Attention,
    Device,
    DryRun,
    Force,
    MinTime,
    Out,
    Priority,
    Resume,
    Size,
    Threads,
    Weights,
    request_of,
    share,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vitdeploy.api.bench import BenchOutcome
    from vitdeploy.results.record import Reason, Result

DETAILS = ("p99", "p90", "parity", "samples", "thr", "images/s")
"""Columns that a narrow terminal does without."""

MOST_NAMES = 3
"""Rows that a reason names; of more it says how many."""


def bench_command(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL…|ARTIFACT…]",
            help="Names from `vitdeploy models`, or folders that an export wrote; default: a suite.",
            autocompletion=completion.models,
        ),
    ] = None,
    targets: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            metavar="NAME",
            help="File format, a name from `vitdeploy targets`; default: the suite's; for models onnx-fp32.",
            autocompletion=completion.targets,
        ),
    ] = None,
    device: Device = None,
    suite: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What to time where nothing is named: a name from `vitdeploy suites`; default: demo.",
            autocompletion=completion.suites,
        ),
    ] = None,
    size: Size = None,
    batch: Annotated[int | None, typer.Option(metavar="N", help="Images per inference; default: 1.")] = None,
    attention: Attention = None,
    weights: Weights = None,
    accept_licence: AcceptLicence = False,
    threads: Threads = None,
    trials: Annotated[
        int | None,
        typer.Option(metavar="N", help="Fresh processes per case, exactly; default: 5, and more until it is clear."),
    ] = None,
    min_time_s: MinTime = 1.0,
    until: Annotated[
        float | None,
        typer.Option(metavar="SHARE", parser=share, help="Add trials until the interval is within it; default: 5%."),
    ] = None,
    time_budget_s: Annotated[
        float | None,
        typer.Option(
            "--time-budget",
            metavar="S",
            help="Add no trials after S seconds; default: three times what the first five take.",
        ),
    ] = None,
    priority: Priority = None,
    boundary: Annotated[
        str,
        typer.Option(
            metavar="host-to-host|compute",
            help="What is timed: with the copies to and from the device, or the computation alone.",
            autocompletion=completion.words("host-to-host", "compute"),
        ),
    ] = "host-to-host",
    streams: Annotated[
        int | None, typer.Option(metavar="N", help="Inferences in flight, for throughput; default: 1.")
    ] = None,
    graph: Annotated[
        str | None,
        typer.Option(
            metavar="on|off",
            help="Whether a GPU replays the inference as a CUDA graph; default: off.",
            autocompletion=completion.words("on", "off"),
        ),
    ] = None,
    yardstick: Annotated[
        str | None,
        typer.Option(
            metavar="on|off",
            help="Whether a small fixed network takes turns with each CPU case, to measure the machine; default: on.",
            autocompletion=completion.words("on", "off"),
        ),
    ] = None,
    sustained_s: Annotated[
        float | None,
        typer.Option(
            "--sustained",
            metavar="S",
            help="Also the latency after S seconds without a pause, when the device is warm.",
        ),
    ] = None,
    out: Out = None,
    artifacts: Artifacts = None,
    resume: Resume = False,
    force: Force = False,
    dry_run: DryRun = False,
) -> CommandOutput:
    """Time models and artifacts on a device.

    Each case is timed in fresh processes, those of all cases in turns, and every raw sample is kept. What is not
    exported yet is exported first. Without a model, an artifact or a suite it times the suite `demo`.

    Examples:
        vitdeploy bench
        vitdeploy bench efficientvit_b1 --target onnx-fp32 --size 224
        vitdeploy bench --suite cityscapes --device orin
        vitdeploy bench artifacts/efficientvit_b1/224x224/onnx-fp32 --trials 10 --out run.json
    """
    from vitdeploy.api import bench, cases

    request = request_of(cases.BenchRequest, locals())
    if dry_run:
        return console.plan(bench.bench_plan(what or [], request))
    with console.bar() as bar:
        return bench_output(bench.bench(what or [], request, progress=console.progress, on_trial=bar))


def bench_output(outcome: "BenchOutcome") -> CommandOutput:
    """The table of a run; failed and invalid rows keep their reason and show no figure."""
    from vitdeploy.catalog.fact_table import DeviceFacts
    from vitdeploy.reports import explanations

    run = outcome.run
    here = DeviceFacts(run.host).cpu if run.device.name == "local" else None  # another device's is not this machine's
    title = f"{run.device.name}, {DeviceFacts(run.device.facts).cpu or here or ''}".rstrip(", ")
    heads = ("case", "thr", "median ms", "95 % interval", "p90", "p99", "images/s", "samples", "parity", "status")
    rows = [[cells[head] for head in heads] for cells in result_cells(run.results)]
    table = Table(title=title, heads=heads, right=(1, 2, 3, 4, 5, 6, 7), rows=rows, details=DETAILS)
    reasons = reason_lines([(row.case.name, reason) for row in run.results for reason in row.reasons])
    notes = result_notes(run.results)
    notes += [f"{row.case.name}: {line}." for row in run.results for line in explanations.sustained(row)]
    failures = outcome_errors.of_results(run.results, outcome.exit_code)
    return CommandOutput(
        document=run,
        human=[table, *reasons, *notes, Verbatim(str(outcome.path))],
        next_command=("report", str(outcome.path), "--format", "html"),
        exit_code=outcome.exit_code,
        failures=failures,
    )


def reason_lines(reasons: "Sequence[tuple[str, Reason]]") -> list[str]:
    """Each reason once, with the rows that have it."""
    names: dict[tuple[str, str], list[str]] = {}
    for name, reason in reasons:
        names.setdefault((reason.message, reason.hint), []).append(name)
    return [f"{_few(rows)}: {message}. {hint}" for (message, hint), rows in names.items()]


def _few(names: "Sequence[str]") -> str:
    """All names, or the first and how many more where they are many."""
    return ", ".join(names) if len(names) <= MOST_NAMES else f"{names[0]} and {len(names) - 1} others"


def result_cells(results: "Sequence[Result]") -> list[dict[str, str]]:
    """The cells of each result by their heads; results that are not valid have no figures."""
    valid = [result.summary if result.status == "valid" else None for result in results]
    medians = units.milliseconds([summary and summary.median_ms for summary in valid])
    p90s = units.milliseconds([summary and summary.p90_ms for summary in valid])
    p99s = units.milliseconds([summary and summary.p99_ms for summary in valid])
    rows: list[dict[str, str]] = []
    for result, summary, median, p90, p99 in zip(results, valid, medians, p90s, p99s, strict=True):
        bounds = summary.median_ci95_ms if summary else None
        rows.append({
            "device": result.case.device,
            "case": result.case.name,
            "thr": str(result.case.threads) if result.case.threads else units.MISSING,
            "median ms": median,
            "95 % interval": units.interval(bounds[0], bounds[1], bounds[0]) if bounds else units.MISSING,
            "p90": p90,
            "p99": p99,
            "images/s": f"{summary.throughput_per_s:.1f}" if summary else units.MISSING,
            "samples": f"{summary.samples} in {summary.trials}" if summary else units.MISSING,
            "trials": str(len(result.trials)),
            "parity": console.parity_words(result.parity) if result.parity else units.MISSING,
            "status": console.status(result),
        })  # fmt: skip
    return rows


def result_notes(results: "Sequence[Result]") -> list[str]:
    """What must be said of these figures: random or official weights, and the notes of their models."""
    from vitdeploy.catalog import checkpoint_identity
    from vitdeploy.reports import official_weights

    weights = sorted({result.case.weights for result in results if result.case.weights.startswith("random")})
    words = " and ".join(map(checkpoint_identity.weights_words, weights))
    random = [f"{words.capitalize()}: the times are real, the outputs mean nothing."]
    return [*(random if weights else []), *official_weights.notes(results), *console.model_notes(results)]
