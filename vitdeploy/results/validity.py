"""Validity of a row: why its figure may not be quoted, and what has to be said of it, from its trials and its parity.

Everything here is derived when a row is measured and derived again when it is read.
"""

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from vitdeploy.artifacts import recorded_parity
from vitdeploy.artifacts.manifest import Parity
from vitdeploy.catalog.fact_table import TrialFacts
from vitdeploy.errors import ParityFailed, error_classes, reason_code
from vitdeploy.results import noise, stats, steady

if TYPE_CHECKING:
    from vitdeploy.results.record import Trial

Finding = tuple[str, str, str]
"""Code, message and hint of a `record.Reason`."""

MOST_UNSTEADY = 0.2
"""More than this share of trials that are not steady makes a row noisy, and where they share a trend, invalid. Source:
contract, "A run"."""

NOISY = 0.05
"""A wider half of the interval is flagged. Source: contract, "Commands": the default of ``--until``."""

FEWEST_SAMPLES = 10
"""A trial with fewer samples says too little of itself. Source: peers.md, E (hyperfine's least count)."""

PARITY_FAILED = reason_code(ParityFailed)

INVALIDATING = frozenset({PARITY_FAILED, "throttled", "not-steady", "too-few-samples"})
"""Codes of the reasons that follow from the trials and the parity; they make a row invalid."""

OF_HEAT = frozenset({"throttled", "not-steady"})
"""Under a long load these are what is measured."""

INCOMPLETE = "incomplete"
LOST = "trial-lost"
"""Remarks: they do not make a row invalid."""

DERIVED = INVALIDATING | {INCOMPLETE, "noisy"}
"""Codes of all reasons that are derived again; the others are kept as they were recorded."""

FAILING = frozenset(map(reason_code, error_classes())) - {PARITY_FAILED}
"""Codes of reasons that only a failed row has: the errors that ended it."""


def judged_trials(trials: Sequence["Trial"], blocks: Sequence[NDArray[np.float64]]) -> tuple["Trial", ...]:
    """The trials with what their own samples, readings and numbers say of them, where that is worse than they claim.

    Args:
        blocks: the samples of each trial.
    """
    labels = steady.classify_all(blocks)
    return tuple(_judged_trial(trial, label) for trial, label in zip(trials, labels, strict=True))


def _judged_trial(trial: "Trial", steadiness: steady.Steadiness) -> "Trial":
    if trial.steady != "steady" or trial.sample_kind != "inference":
        steadiness = trial.steady
    throttled = trial.throttled or _saw_throttling(trial)
    parity = judged_parity(trial.parity)
    if (steadiness, throttled, parity) == (trial.steady, trial.throttled, trial.parity):
        return trial
    return msgspec.structs.replace(trial, steady=steadiness, throttled=throttled, parity=parity)


def judged_parity(parity: Parity | None) -> Parity | None:
    """The parity as failed, where it claims to have passed and its own numbers say otherwise."""
    if parity is None or not parity.passed:
        return parity
    reason = recorded_parity.failure(parity)
    return parity if reason is None else msgspec.structs.replace(parity, passed=False, reason=reason)


def findings(trials: Sequence["Trial"], parity: Parity | None) -> Iterator[Finding]:
    """Why the figure of a row may not be quoted, as far as it follows from its trials and its parity."""
    if parity is not None and not parity.passed:
        yield (
            PARITY_FAILED,
            f"the file does not compute what the model computes: {parity.reason}",
            "Run `vitdeploy check` on the artifact, and do not deploy it.",
        )
    refused = [trial.parity.reason for trial in trials if trial.parity is not None and not trial.parity.passed]
    if refused:
        yield (
            PARITY_FAILED,
            f"the device's outputs differ from this computer's in {len(refused)} of {len(trials)} trials: {refused[0]}",
            "Do not deploy it there; look for fp16 arithmetic or another runtime on the device.",
        )
    if throttled := sum(trial.throttled for trial in trials):
        yield (
            "throttled",
            f"the clock was throttled in {throttled} of {len(trials)} trials",
            "Let the device cool down, or measure with --sustained.",
        )
    unsteady = [trial.steady for trial in trials if trial.steady != "steady"]
    if _share_a_trend(trials):
        yield (
            "not-steady",
            f"{len(unsteady)} of {len(trials)} trials were not steady ({', '.join(sorted(set(unsteady)))})",
            "Let the machine cool down, or raise --min-time, so that the warm-up ends before the samples.",
        )
    fewest = min((trial.inferences for trial in trials), default=0)
    if trials and fewest < FEWEST_SAMPLES:
        yield (
            "too-few-samples",
            f"a trial has {fewest} samples, fewer than {FEWEST_SAMPLES}",
            "Raise --min-time.",
        )


def _share_a_trend(trials: Sequence["Trial"]) -> bool:
    """Whether the trials drift alike, as by warming up or by heat: then no figure is typical of the case.

    Noise of the machine takes single trials up or down, and shows in the interval. A trend is one that most trials
    share, and that is larger than their scatter; with fewer than three trials, each that is not steady counts.
    """
    alone = [trial for trial in trials if not trial.in_pair]  # what both sides of a pair saw in turns cancels
    unsteady = [trial for trial in alone if trial.steady != "steady"]
    if len(unsteady) <= MOST_UNSTEADY * len(alone):
        return False
    if len(alone) < stats.FEWEST_FOR_INTERVAL:
        return True
    drifts = [stats.drift(trial.samples_ns) for trial in unsteady]
    alike = max(([drift for drift in drifts if drift > 0], [drift for drift in drifts if drift < 0]), key=len)
    typical = abs(sum(alike)) / max(1, len(alike))
    return 2 * len(alike) > len(alone) and typical > stats.scatter([trial.samples_ns for trial in alone])


def noisy(trials: Sequence["Trial"], interval: tuple[float, float] | None) -> Finding | None:
    """That the machine was not quiet, and who disturbed it; the figure holds, and its interval is wide."""
    unsteady = sum(trial.steady != "steady" for trial in trials)
    wide = None if interval is None else stats.half_share(interval)
    if (wide is None or wide <= NOISY) and unsteady <= MOST_UNSTEADY * len(trials):
        return None
    causes = noise.causes([TrialFacts(trial.facts) for trial in trials], [trial.samples_ns for trial in trials])
    what = (
        f"the interval is ±{wide:.0%}" if wide is not None and wide > NOISY else f"{unsteady} of {len(trials)} drifted"
    )
    return (
        "noisy",
        f"{what}: {'; '.join(causes) or 'no cause is visible'}",
        "Stop other work on the machine, raise --time-budget, or compare two files by `vitdeploy duel`.",
    )


def incomplete(trials: int, lost: int, planned: int) -> Finding | None:
    """That fewer trials were run than the protocol says; None: they were not."""
    if trials + lost >= planned:
        return None
    return INCOMPLETE, f"{trials} of {planned} trials were run", "Go on with --resume."


def _saw_throttling(trial: "Trial") -> bool:
    events = re.fullmatch(r"(\d+) events", str(trial.facts.get("throttle", "")), re.ASCII)
    return TrialFacts(trial.facts).throttled_after_s is not None or (events is not None and int(events[1][:18]) > 0)
