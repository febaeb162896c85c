"""What `sweep` prints: the figures of each device, and how the trials came about."""

from typing import TYPE_CHECKING

from vitdeploy import tables, units
from vitdeploy.tables import Outcome

if TYPE_CHECKING:
    from vitdeploy.orders import SweepOutcome


def sweep(outcome: "SweepOutcome") -> Outcome:
    """The table of a sweep's run, device by device; failed and invalid rows keep their reason and show no figure."""
    results = sorted(outcome.run.results, key=lambda result: result.case.device)
    valid = [r.summary if r.status == "valid" else None for r in results]
    medians = units.milliseconds([s.median_ms if s else None for s in valid])
    heads = ("device", "case", "thr", "median ms", "95 % interval", "images/s", "trials", "status")
    shown = tables.table(f"{outcome.run.protocol.suite}: {outcome.run.id}", *heads, right=(2, 3, 4, 5, 6))
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
            tables.status(result),
        )
    reasons = [
        f"{result.case.name} on {result.case.device}: {reason.message}. {reason.hint}"
        for result in results
        for reason in result.reasons
    ]
    weights = sorted({r.case.weights for r in results if r.case.weights.startswith("random")})
    notes = [f"Weights are {' and '.join(weights)}: the times are real, the outputs mean nothing."] if weights else []
    counts = f"{outcome.taken} trials were taken"
    counts += f", {outcome.found} were there before" if outcome.found else ""
    counts += f", {outcome.twice} came twice and count once" if outcome.twice else ""
    return Outcome(
        document=outcome.run,
        human=[shown, *dict.fromkeys(reasons), *notes, counts, str(outcome.path)],
        exit_code=outcome.exit_code,
    )
