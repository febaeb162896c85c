"""What `sweep` prints: the figures of each device, and how the trials came about."""

from typing import TYPE_CHECKING, Any

from vitdeploy import units
from vitdeploy.catalog import registry
from vitdeploy.cli import console
from vitdeploy.cli.console import CommandOutcome
from vitdeploy.evaluation.metric_words import number, signed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vitdeploy.fleet.evaluations import EvaluationResult
    from vitdeploy.fleet.request import SweepOutcome
    from vitdeploy.results.record import Run


def sweep(outcome: "SweepOutcome") -> CommandOutcome:
    """The tables of a sweep: the run's device by device, then the evaluations; what failed keeps its reason."""
    found = list(outcome.evaluated)
    timed = _timed(outcome, outcome.run) if outcome.run is not None else []
    documents = [one.outcome.evaluation for one in found if one.outcome is not None]
    return CommandOutcome(
        document={"run": outcome.run, "evaluations": documents} if found else outcome.run,
        human=[*timed, *([_evaluations(found)] if found else [])],
        exit_code=outcome.exit_code,
        failures=[(f"{one.words}: {one.error.message}", one.error.hint) for one in found if one.error is not None],
    )


def _evaluations(found: "Sequence[EvaluationResult]") -> Any:
    """One figure a row, with its drop against fp32 torch; the documents have the rest."""
    heads = ("evaluation", "figure", "value", "drop", "pictures", "document")
    shown = console.table("evaluations", *heads, right=(2, 3, 4))
    for one in found:
        if one.outcome is None:
            shown.add_row(one.words, *[units.MISSING] * 4, "failed")
            continue
        made = one.outcome.evaluation
        figure = made.figures[0]
        pictures = f"{made.dataset.scored} of {made.dataset.asked}"
        value, drop = number(figure.value, figure.unit), signed(figure.drop, figure.unit)
        shown.add_row(one.words, figure.name, value, drop, pictures, str(one.outcome.path))
    return shown


def _timed(outcome: "SweepOutcome", run: "Run") -> list[Any]:
    results = sorted(run.results, key=lambda result: result.case.device)
    valid = [r.summary if r.status == "valid" else None for r in results]
    medians = units.milliseconds([s.median_ms if s else None for s in valid])
    heads = ("device", "case", "thr", "median ms", "95 % interval", "images/s", "trials", "status")
    shown = console.table(f"{run.protocol.suite}: {run.id}", *heads, right=(2, 3, 4, 5, 6))
    for result, summary, median in zip(results, valid, medians, strict=True):
        bounds = summary.median_ci95_ms if summary else None
        shown.add_row(
            result.case.device,
            result.case.name,
            str(result.case.threads) if result.case.threads else units.MISSING,
            median,
            units.interval(bounds[0], bounds[1], bounds[0]) if bounds else units.MISSING,
            f"{summary.throughput_per_s:.1f}" if summary else units.MISSING,
            str(len(result.trials)),
            console.status(result),
        )
    reasons = [
        f"{result.case.name} on {result.case.device}: {reason.message}. {reason.hint}"
        for result in results
        for reason in result.reasons
    ]
    weights = sorted({r.case.weights for r in results if r.case.weights.startswith("random")})
    notes = [f"Weights are {' and '.join(weights)}: the times are real, the outputs mean nothing."] if weights else []
    notes += registry.notes(r.case.model for r in results)
    counts = f"{outcome.taken} trials were taken"
    counts += f", {outcome.found} were there before" if outcome.found else ""
    counts += f", {outcome.twice} came twice and count once" if outcome.twice else ""
    return [shown, *dict.fromkeys(reasons), *notes, counts, str(outcome.path)]
