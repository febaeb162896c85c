"""Sentences about a report's row: what explains a change, what a long load did, and why a figure is missing."""

from collections.abc import Sequence

from vitdeploy import units
from vitdeploy.results import stats
from vitdeploy.results.record import Attribution, Result, Trial


def attribution(attribution: Attribution | None) -> tuple[str, ...]:
    """What explains a duel's difference: the operators with their times, and what changed in the graph."""
    if attribution is None:
        return ()
    lines = [
        f"{share.name}: {share.base_ms:.3g} → {share.head_ms:.3g} ms an inference "
        f"({share.head_ms - share.base_ms:+.3g})"
        for share in attribution.operators
    ]
    changed = ", ".join(f"{name} {before} → {after}" for name, (before, after) in attribution.graph.items())
    if attribution.unlisted:
        lines.append(f"The graphs are not compared: files of {' and '.join(attribution.unlisted)} list no operators")
    else:
        lines.append(f"In the graph: {changed}" if changed else "The graphs have the same operators")
    return (*lines, *([attribution.said] if attribution.said else []))


def sustained(result: Result) -> tuple[str, ...]:
    """What a long load did, in one line; nothing where the run had none."""
    heat = result.sustained
    if heat is None:
        return ()
    burst, after = units.milliseconds([heat.burst_ms, heat.sustained_ms])
    slowed = "it did not slow down" if heat.slowed_after_s is None else f"slower from {heat.slowed_after_s:.0f} s on"
    throttled = "" if heat.throttled_after_s is None else f", throttled from {heat.throttled_after_s:.0f} s on"
    change = heat.sustained_ms / heat.burst_ms
    return (f"burst {burst} ms, under sustained load {after} ms ({change:.2f} ×); {slowed}{throttled}",)


def lacking(result: Result, trials: Sequence[Trial]) -> dict[str, str]:
    """Figure that a valid row cannot give (a field of `Summary`) → why."""
    summary, reasons = result.summary, dict[str, str]()
    if summary is None or result.status != "valid":
        return reasons
    if summary.median_ci95_ms is None:
        reasons["median_ci95_ms"] = f"an interval needs {stats.FEWEST_FOR_INTERVAL} trials, not {summary.trials}"
    worth = stats.effective_count([trial.samples_ns for trial in trials])
    for name, probability, shown in (("p90_ms", 0.90, summary.p90_ms), ("p99_ms", 0.99, summary.p99_ms)):
        if shown is None and any(trial.sample_kind != "inference" for trial in trials):
            reasons[name] = "medians of blocks have no percentiles of single inferences"
        elif shown is None:
            reasons[name] = (
                f"{name.removesuffix('_ms')} needs {stats.fewest_samples(probability)} independent samples, "
                f"and these {summary.samples} are worth {worth:.0f}"
            )
    return reasons
