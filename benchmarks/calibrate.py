"""Calibration of a device from an A/A duel: its noise, the rate of false alarms, and the pairs that a duel needs.

Null comparisons are made from the real pairs: some of them are drawn and each is turned round by a coin, which
changes nothing where both sides are the same file.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy import stats as distributions

from vitdeploy.benchmarks import duel
from vitdeploy.catalog import registry
from vitdeploy.catalog.fact_table import DeviceFacts
from vitdeploy.devices import device_facts
from vitdeploy.devices.inventory import Device
from vitdeploy.errors import Impossible, NoValidMeasurement
from vitdeploy.results import calibration, effects, record, stats, verdict
from vitdeploy.results.calibration import Calibration
from vitdeploy.results.effects import Effect
from vitdeploy.results.record import Case, Result, Run

PAIRS = 20
"""Enough to draw a duel's twelve of them in 125,970 ways."""

FEWEST_PAIRS = 4

FIRST_TARGET = "onnx-fp32"
"""Of a device that is for its CPU: what most runs there are of."""

COMPARISONS = 2000
"""Null comparisons that are made. Source: peers.md C.5 asks for 200 at least."""

COUNTS = (6, 10, 12, 15, 20, 30, 50)
"""Numbers of pairs whose detectable change is told, the defaults of `duel.PAIRS` among them."""

BOUNDS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.1)
"""What people give to ``--max-slowdown``."""


def target_of(device: Device, facts: DeviceFacts) -> str:
    """The target that tells a device's noise: the first one that computes on what the device is for.

    That is the NVIDIA GPU of a device that has one, the cores of a phone, and else the CPU. The targets are taken in
    the order of the device file, onnx-fp32 before the others.

    Raises:
        Impossible: the device file names no target that can be run.
    """
    listed = [name for name in (FIRST_TARGET, *device.targets) if name in device.targets]
    usable = [name for name in listed if registry.find_target(name).runtime is not None]
    for compute in ("cuda", "phone", "cpu"):
        for name in usable:
            if device_facts.compute_of(name, device, facts) == compute:
                return name
    raise Impossible(f"{device.name} runs no target", "Name targets in its device file.")


def calibrate(run: Run, *, alpha: float, max_slowdown: float, seed: int = 0) -> Calibration:
    """The calibration that an A/A duel supports.

    Raises:
        NoValidMeasurement: fewer than four pairs were measured, or the run is no duel.
    """
    if len(run.couples) != 1:
        raise NoValidMeasurement(f"run {run.id} is no duel", "Calibrate again.")
    ((a, b),) = run.couples
    by: record.By = "trials" if run.duel is None else run.duel.by
    drawn = duel.PAIRS[by]
    medians = [_medians(side) for side in (a, b)]
    shared = sorted(medians[0].keys() & medians[1].keys())
    if len(shared) < FEWEST_PAIRS:
        raise NoValidMeasurement(f"{len(shared)} pairs were measured", "Free the machine, and calibrate again.")
    first, second = (np.array([side[pair] for pair in shared]) for side in medians)
    differences = np.array(list(effects.pair_differences(a.trials, b.trials).values()))
    spread, drift = _spreads(first, second, differences)
    slower, above = _false_alarms(differences, a.case, drawn, alpha=alpha, max_slowdown=max_slowdown, seed=seed)
    needed = {count: _detectable(spread, count, alpha=alpha, max_slowdown=max_slowdown) for count in COUNTS}
    threshold = (1 + max_slowdown) ** 2
    return Calibration(
        schema=calibration.SCHEMA,
        device=run.device.name,
        facts=run.device.facts,
        run_id=run.id,
        case=a.case.name,
        started_utc=run.started_utc,
        pairs=len(shared),
        by=by,
        run_spread=spread,
        drift=drift,
        autocorrelation=float(np.median([stats.autocorrelation(t.samples_ns) for t in (*a.trials, *b.trials)])),
        comparisons=COMPARISONS,
        alpha=alpha,
        false_alarms=slower,
        false_alarm_rate_ci95=binomial_interval(slower, COMPARISONS),
        false_alarms_any=above,
        false_alarm_any_rate_ci95=binomial_interval(above, COMPARISONS),
        max_slowdown=max_slowdown,
        detectable={str(count): value for count, value in needed.items()},
        recommended_pairs=next((count for count, value in needed.items() if value <= threshold), None),
        recommended_max_slowdown=_recommended_bound(spread, drawn, alpha=alpha),
    )


def binomial_interval(count: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Clopper and Pearson's exact interval of a rate. Source: doi:10.1093/biomet/26.4.404."""
    low = 0.0 if count == 0 else float(distributions.beta.ppf((1 - confidence) / 2, count, total - count + 1))
    high = 1.0 if count == total else float(distributions.beta.ppf((1 + confidence) / 2, count + 1, total - count))
    return low, high


def _medians(side: Result) -> dict[int, float]:
    """Pair → log median."""
    return {t.pair: math.log(float(np.median(t.samples_ns))) for t in side.trials if t.pair is not None}


def _spreads(
    first: NDArray[np.float64], second: NDArray[np.float64], differences: NDArray[np.float64]
) -> tuple[float, float]:
    """A process's own spread, from the differences; and the drift that pairs share, from what is left of their means.

    With own variance s² and shared variance d² a difference has 2s², a mean of two d² + s²/2. Processes that took turns
    share more of what the machine does than whole trials, one after the other.
    """
    own = float(np.var(differences, ddof=1)) / 2
    shared = float(np.var((first + second) / 2, ddof=1)) - own / 2
    return math.sqrt(own), math.sqrt(max(0.0, shared))


def _false_alarms(
    differences: NDArray[np.float64], case: Case, drawn: int, *, alpha: float, max_slowdown: float, seed: int
) -> tuple[int, int]:
    """Of null comparisons of so many pairs: those called ``slower``, and those with an interval above no change."""
    generator = np.random.default_rng(seed)
    drawn = min(drawn, len(differences))
    slower = above = 0
    for _ in range(COMPARISONS):
        chosen = generator.choice(differences, drawn, replace=False) * generator.choice((-1.0, 1.0), drawn)
        effect = effects.paired(chosen.tolist())
        assert effect is not None, "more pairs are drawn than a spread needs"
        above += effect.chance_of(0.0) < alpha
        decided = verdict.decide({case: effect}, max_slowdown=max_slowdown, alpha=alpha)
        slower += decided[case].verdict == "slower"
    return slower, above


def _detectable(spread: float, pairs: int, *, alpha: float, max_slowdown: float) -> float:
    effect = Effect(
        log_ratio=0.0, standard_error=spread * math.sqrt(2 / pairs), degrees=pairs - 1, unit="pair", count=pairs
    )
    return verdict.detectable(effect, max_slowdown=max_slowdown, alpha=alpha)


def _recommended_bound(spread: float, pairs: int, *, alpha: float) -> float:
    """The smallest of the usual bounds at which so many pairs show a change of twice the bound."""
    bounds = (b for b in BOUNDS if _detectable(spread, pairs, alpha=alpha, max_slowdown=b) <= (1 + b) ** 2)
    return next(bounds, BOUNDS[-1])
