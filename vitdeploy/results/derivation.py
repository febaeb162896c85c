"""Derivation of a row: summary, reasons and status from its trials, when it is measured and whenever it is read.

What stands in a file is never believed. The types of what is derived are here too; `record` has those of what is
recorded.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from vitdeploy.catalog.fact_table import TrialFacts
from vitdeploy.results import stats, sustained, validity

if TYPE_CHECKING:
    from vitdeploy.results.record import Protocol, Result, Trial


class Reason(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why a row is what it is: a code for programs, a sentence and a hint for people."""

    code: str
    message: str
    hint: str


class Summary(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the trials say. Percentiles are null where the count does not allow them."""

    samples: int
    trials: int
    median_ms: float
    median_ci95_ms: tuple[float, float] | None
    p90_ms: float | None
    p99_ms: float | None
    throughput_per_s: float
    energy_mj: float | None


class Sustained(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a long load did to the figure; derived from the samples."""

    burst_ms: float
    """Median of what a usual trial would have measured."""
    sustained_ms: float
    """Median of the last tenth of the time."""
    slowed_after_s: float | None
    """When it became slower than the burst for good; None: it did not."""
    throttled_after_s: float | None
    """When the machine first said that it slows itself down; None: it did not, or does not show it."""


def rederive(result: "Result", protocol: "Protocol | None" = None, *, tails: bool = True) -> "Result":
    """``result`` with the summary, the reasons and the status that its trials support; failed rows stay failed.

    Under a long load slowing down is what is measured, and does not make a row invalid.

    Args:
        tails: derive the percentiles too; a reader that shows none saves a third of the time.
    """
    parity = validity.judged_parity(result.parity)
    blocks = [np.asarray(trial.samples_ns, dtype=np.float64) for trial in result.trials]
    trials = validity.judged_trials(result.trials, blocks)
    long = protocol is not None and protocol.sustained_s is not None
    derived = [
        Reason(code=code, message=message, hint=hint)
        for code, message, hint in validity.findings(trials, parity)
        if not (long and code in validity.OF_HEAT)
    ]
    codes = {reason.code for reason in result.reasons}
    # An error of the device's outputs that no parity records can only have ended the row.
    ended_by_outputs = validity.PARITY_FAILED in codes and not any(r.code == validity.PARITY_FAILED for r in derived)
    if result.status == "failed" or codes & validity.FAILING or ended_by_outputs:
        return msgspec.structs.replace(
            result, trials=trials, parity=parity, status="failed", summary=None, sustained=None
        )
    kept = [reason for reason in result.reasons if reason.code not in validity.DERIVED]
    lost = sum(reason.code == validity.LOST for reason in kept)
    if protocol is not None and (finding := validity.incomplete(len(trials), lost, protocol.trials)):
        kept.append(Reason(code=finding[0], message=finding[1], hint=finding[2]))
    summary = _summary(trials, blocks, result.case.batch, tails=tails)
    # Of a duel the interval of its ratio says how noisy it was.
    quiet = long or (result.side is not None and all(trial.turns is not None for trial in trials))
    noise = None if quiet else validity.noisy(trials, summary.median_ci95_ms if summary else None)
    noisy = () if noise is None else (Reason(code=noise[0], message=noise[1], hint=noise[2]),)
    return msgspec.structs.replace(
        result,
        trials=trials,
        parity=parity,
        summary=summary,
        reasons=(*derived, *noisy, *kept),
        status="invalid" if derived or not trials else "valid",
        sustained=_sustained(result, protocol) if long and protocol is not None else None,
    )


def _sustained(result: "Result", protocol: "Protocol") -> Sustained | None:
    trials = result.trials
    heat = sustained.of_trials(
        [trial.samples_ns for trial in trials if trial.sample_kind == "inference"],
        burst_s=protocol.min_time_s,
        streams=result.case.streams,
    )
    if heat is None:
        return None
    throttled = [TrialFacts(trial.facts).throttled_after_s for trial in trials]
    return Sustained(
        burst_ms=heat.burst_ns / 1e6,
        sustained_ms=heat.sustained_ns / 1e6,
        slowed_after_s=heat.slowed_after_s,
        throttled_after_s=min((time_s for time_s in throttled if time_s is not None), default=None),
    )


def _summary(
    trials: Sequence["Trial"], blocks: Sequence[NDArray[np.float64]], batch: int, *, tails: bool
) -> Summary | None:
    """The figures of a row; None without a sample."""
    sampled = [trial for trial in trials if trial.samples_ns]
    if not sampled:
        return None
    blocks = [block for block in blocks if block.size]
    count = sum(block.size for block in blocks)
    latencies = all(trial.sample_kind == "inference" for trial in sampled)
    medians = [stats.median(block) for block in blocks]
    interval = stats.interval_of_medians(medians, resolution=resolution_ns(sampled))
    p90, p99 = stats.percentiles(blocks, (0.90, 0.99)) if latencies and tails else (None, None)
    return Summary(
        samples=count,
        trials=len(blocks),
        median_ms=stats.geometric_mean(medians) / 1e6,
        median_ci95_ms=None if interval is None else (interval[0] / 1e6, interval[1] / 1e6),
        p90_ms=_ms(p90),
        p99_ms=_ms(p99),
        throughput_per_s=batch * count / (sum(trial.wall_ns for trial in sampled) / 1e9),
        energy_mj=None,
    )


def resolution_ns(trials: Sequence["Trial"]) -> int:
    """The step in which the trials' times are told, by their tool's word or else by the samples; 0: none is seen."""
    known = [trial.resolution_ns for trial in trials]
    if known and None not in known:
        return max(step for step in known if step is not None)
    return stats.resolution([trial.samples_ns for trial in trials])


def _ms(value_ns: float | None) -> float | None:
    return None if value_ns is None else value_ns / 1e6
