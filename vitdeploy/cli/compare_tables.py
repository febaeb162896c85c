"""What the deciding verbs print: verdicts with their intervals and reasons, acceptances, calibrations."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vitdeploy import units
from vitdeploy.catalog import registry
from vitdeploy.cli import console
from vitdeploy.cli.console import CommandOutcome
from vitdeploy.results import comparison

if TYPE_CHECKING:
    from vitdeploy.api.calibrate import CalibrateOutcome
    from vitdeploy.api.compare import CompareOutcome
    from vitdeploy.api.duel import DuelOutcome
    from vitdeploy.api.verify import VerifyOutcome
    from vitdeploy.results.baselines import Baseline
    from vitdeploy.results.comparison import Compared
    from vitdeploy.results.verdict import Comparison


def duel(outcome: "DuelOutcome") -> CommandOutcome:
    """A duel's two medians, its verdict, and what it could have shown."""
    compared = outcome.compared
    medians = units.milliseconds([r.summary.median_ms if r.summary else None for r in outcome.run.results])
    sides = console.table(None, "side", "case", "median ms", "trials", "status", right=(2, 3))
    for result, median in zip(outcome.run.results, medians, strict=True):
        sides.add_row(result.side or "", result.case.name, median, str(len(result.trials)), console.status(result))
    reasons = [f"{r.side}: {reason.message}. {reason.hint}" for r in outcome.run.results for reason in r.reasons]
    return CommandOutcome(
        document={"run": str(outcome.path), **_document(compared)},
        human=[sides, *_verdicts(compared), *reasons, str(outcome.path)],
        exit_code=outcome.exit_code,
    )


def compare(outcome: "CompareOutcome") -> CommandOutcome:
    """Every case's verdict with its interval and reason."""
    return CommandOutcome(
        document={"exit_code": outcome.exit_code, **_document(outcome.compared)},
        human=_verdicts(outcome.compared),
        exit_code=outcome.exit_code,
    )


def accepted(baseline: "Baseline") -> CommandOutcome:
    """Which cases a baseline has, and which were not accepted."""
    acceptance = baseline.acceptance
    left = [r.case.name for r in baseline.run.results if r.case.name not in acceptance.artifacts]
    count = f"{len(acceptance.artifacts)} case" + "s" * (len(acceptance.artifacts) != 1)
    lines = [f"{count} of {acceptance.suite} on {acceptance.device} accepted by {acceptance.who}: {acceptance.because}"]
    lines += [f"not accepted, because its figure is not valid: {name}" for name in left]
    return CommandOutcome(
        document={"path": str(baseline.path), "acceptance": acceptance, "left_out": left},
        human=[*lines, str(baseline.path)],
    )


def calibrated(outcome: "CalibrateOutcome") -> CommandOutcome:
    """A device's noise, and what follows from it."""
    found = outcome.calibration
    table = console.table(f"{found.device}, {found.case}, {found.pairs} pairs of the same file", "question", "answer")
    for question, answer in (
        ("spread between fresh processes", f"{found.run_spread:.2%} (standard deviation)"),
        ("drift that a pair shares", f"{found.drift:.2%}"),
        ("autocorrelation within a process", f"{found.autocorrelation:.2f}"),
        (
            f"false `slower` at {found.alpha:g}, ±{found.max_slowdown:.1%}",
            _rate(found.false_alarms, found.comparisons, found.false_alarm_rate_ci95),
        ),
        (
            f"interval above no change at {found.alpha:g}",
            _rate(found.false_alarms_any, found.comparisons, found.false_alarm_any_rate_ci95),
        ),
        (
            "smallest slowdown seen in 95 %",
            ", ".join(f"{count} pairs {ratio - 1:.1%}" for count, ratio in found.detectable.items()),
        ),
        (
            f"pairs that show {(1 + found.max_slowdown) ** 2 - 1:.1%}",
            str(found.recommended_pairs) if found.recommended_pairs else "more than 50",
        ),
        ("--max-slowdown for 10 pairs", f"{found.recommended_max_slowdown:.1%}"),
    ):
        table.add_row(question, answer)
    return CommandOutcome(
        document={"calibration": found, "path": str(outcome.path), "run": str(outcome.run_path)},
        human=[table, str(outcome.path)],
    )


def verified(outcome: "VerifyOutcome") -> CommandOutcome:
    """Every link of the chain, and the first that is broken."""
    table = console.table(None, "of", "link", "state", "what was found")
    for link in outcome.links:
        table.add_row(link.of, link.what, link.state.upper() if link.state == "changed" else link.state, link.said)
    absent = sum(link.state == "not here" for link in outcome.links)
    note = [f"{absent} of {len(outcome.links)} links could not be checked: they are not here."] if absent else []
    return CommandOutcome(
        document={"path": str(outcome.path), "links": outcome.links},
        human=[table, *note],
        exit_code=outcome.error.exit_code if outcome.error else 0,
        failures=[(outcome.error.message, outcome.error.hint)] if outcome.error else [],
    )


def _rate(found: int, tried: int, interval: tuple[float, float]) -> str:
    return f"{found} of {tried} null comparisons, {interval[0]:.2%} … {interval[1]:.2%}"


def _verdicts(compared: "Compared") -> Sequence[Any]:
    table = console.table(
        f"{compared.head} against {compared.base}", "case", "verdict", "head / base", "interval", "would have shown",
        right=(2, 4),
    )  # fmt: skip
    for one in compared.comparisons:
        table.add_row(one.case.name, one.verdict, *_figures(one))
    reasons = [f"{one.case.name}: {one.reason}." for one in compared.comparisons]
    bound = (
        f"Bound ±{compared.max_slowdown:.1%}; either end of an interval errs in {compared.alpha:.2%} over all cases."
    )
    return [
        table,
        *reasons,
        *(f"{line}." for line in comparison.explained(compared.attribution)),
        bound,
        *compared.notes,
        *registry.notes(one.case.model for one in compared.comparisons),
    ]


def _figures(one: "Comparison") -> tuple[str, str, str]:
    if one.ratio is None or one.interval is None or one.detectable is None:
        return units.MISSING, units.MISSING, units.MISSING
    low, high = one.interval
    return f"{one.ratio:.4f}", f"{low:.4f} … {high:.4f}", f"{one.detectable - 1:.1%}"


def _document(compared: "Compared") -> dict[str, Any]:
    return {
        "base": compared.base,
        "head": compared.head,
        "historical": compared.historical,
        "max_slowdown": compared.max_slowdown,
        "alpha": compared.alpha,
        "comparisons": compared.comparisons,
        "notes": compared.notes,
        "attribution": compared.attribution,
    }
