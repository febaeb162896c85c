"""`sweep`: latencies and accuracies from many devices at once."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitdeploy import units
from vitdeploy.cli import bench, console, outcome_errors
from vitdeploy.cli.console import CommandOutput, Table, Verbatim
from vitdeploy.cli.options import Artifacts, DryRun, Force, Out, Resume, request_of
from vitdeploy.errors import VitdeployError, worst_exit_code

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vitdeploy.fleet.api import SweepOutcome
    from vitdeploy.fleet.evaluations import EvaluationResult
    from vitdeploy.results.record import Run


def sweep_command(
    plan: Annotated[Path, typer.Argument(metavar="PLAN.toml", help="Models, targets, sizes, devices; docs/fleet.md.")],
    *,
    scheduler: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="tcp://HOST:8786; default: a Dask cluster on this machine.")
    ] = None,
    out: Out = None,
    artifacts: Artifacts = None,
    resume: Resume = False,
    force: Force = False,
    dry_run: DryRun = False,
) -> CommandOutput:
    """Time a plan's models on many devices at once.

    The work is shared out by Dask. It may be stopped at any moment; --resume goes on.

    Examples:
        vitdeploy sweep plan.toml --out sweep.json
        vitdeploy sweep plan.toml --scheduler tcp://10.0.0.5:8786
    """
    from vitdeploy.fleet import api
    from vitdeploy.fleet.api import SweepRequest

    request = request_of(SweepRequest, locals())
    if dry_run:
        return console.plan(api.sweep_plan(plan, request))
    with console.bar() as bar:
        return sweep_output(api.sweep(plan, request, progress=console.progress, on_trial=bar))


def sweep_output(outcome: "SweepOutcome") -> CommandOutput:
    """The tables of a sweep: the run's device by device, then the evaluations; failed rows keep their reason."""
    timed = _timed(outcome, outcome.run) if outcome.run is not None else []
    evaluations = [row.outcome.evaluation for row in outcome.evaluated if row.outcome is not None]
    return CommandOutput(
        document={"run": outcome.run, "evaluations": evaluations} if outcome.evaluated else outcome.run,
        human=[*timed, *([_evaluations(outcome.evaluated)] if outcome.evaluated else [])],
        next_command=("report", str(outcome.path), "--format", "html") if outcome.run is not None else (),
        exit_code=outcome.exit_code,
        failures=[
            *outcome_errors.of_results(outcome.run.results if outcome.run is not None else (), _code_of(outcome.run)),
            *(
                VitdeployError(f"{row.words}: {row.error.message}", row.error.hint)
                for row in outcome.evaluated
                if row.error is not None
            ),
        ],
    )


def _code_of(run: "Run | None") -> int:
    """What the rows of a run ask for, beside evaluations."""
    from vitdeploy.benchmarks.bench import exit_code_of

    return worst_exit_code(exit_code_of(result) for result in run.results) if run is not None else 0


def _evaluations(rows: "Sequence[EvaluationResult]") -> Table:
    """One figure a row, with its drop against fp32 torch; the documents have the rest."""
    heads = ("evaluation", "figure", "value", "drop", "pictures", "document")
    cells: list[Sequence[str]] = []
    for row in rows:
        if row.outcome is None:
            cells.append((row.words, *[units.MISSING] * 4, "failed"))
            continue
        data, figure = row.outcome.evaluation.dataset, row.outcome.evaluation.figures[0]
        value, drop = units.metric(figure.value, figure.unit), units.signed_metric(figure.drop, figure.unit)
        pictures = f"{data.scored} of {data.asked}"
        cells.append((row.words, figure.name, value, drop, pictures, str(row.outcome.path)))
    return Table(title="evaluations", heads=heads, right=(2, 3, 4), rows=cells)


def _timed(outcome: "SweepOutcome", run: "Run") -> "list[Table | str | Verbatim]":
    results = sorted(run.results, key=lambda result: result.case.device)
    heads = ("device", "case", "thr", "median ms", "95 % interval", "images/s", "trials", "status")
    rows = [[cells[head] for head in heads] for cells in bench.result_cells(results)]
    table = Table(
        title=f"{run.protocol.suite}: {run.id}",
        heads=heads,
        right=(2, 3, 4, 5, 6),
        rows=rows,
        details=("trials", "thr"),
    )
    reasons = [
        f"{result.case.name} on {result.case.device}: {reason.message}. {reason.hint}"
        for result in results
        for reason in result.reasons
    ]
    counts = f"{outcome.taken} trials were taken"
    counts += f", {outcome.found} were there before" if outcome.found else ""
    counts += f", {outcome.twice} arrived twice, counted once" if outcome.twice else ""
    return [table, *dict.fromkeys(reasons), *bench.result_notes(results), counts, Verbatim(str(outcome.path))]
