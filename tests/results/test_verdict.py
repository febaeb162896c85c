"""Verdicts on known truths: no cry of wolf, no sleep, and the rules of the contract to the letter."""

import math

import msgspec
import numpy as np
import pytest

from tests.doubles.make_run import CASE, run
from vitdeploy.benchmarks.studies import plain_records
from vitdeploy.results import record, verdict


def side(
    medians: np.ndarray, *, paired: bool = True, builds: int | None = None, case: record.Case = CASE
) -> record.Result:
    trials = tuple(
        plain_records.trial(
            f"t{i}",
            [round(m * 1e9)] * 20,
            order=i,
            pair=i if paired else None,
            build=None if builds is None else i % builds,
        )
        for i, m in enumerate(medians)
    )
    return record.Result(
        case=case, artifact_sha256="0" * 64, parity=None, status="valid", reasons=(), trials=trials, summary=None
    )


def simulated(
    generator: np.random.Generator, change: float, *, pairs: int = 10, spread: float = 0.005, drift: float = 0.0
):
    """Medians of both sides: run-to-run spread, a common drift, and a true change of head."""
    common = np.cumsum(generator.normal(0, drift, pairs)) if drift else np.zeros(pairs)
    base = np.exp(common + generator.normal(0, spread, pairs))
    head = np.exp(common + generator.normal(0, spread, pairs) + math.log1p(change))
    return side(base), side(head)


def one(base: record.Result, head: record.Result, **options: float) -> verdict.Comparison:
    return verdict.compare([base], [head], historical=False, **options)[0]  # pyright: ignore[reportArgumentType]


def rate(change: float, wanted: str, *, runs: int = 400, seed: int = 0, max_slowdown: float = 0.02, **spread: float):
    generator = np.random.default_rng(seed)
    made = (simulated(generator, change, **spread) for _ in range(runs))  # pyright: ignore[reportArgumentType]
    return sum(one(b, h, max_slowdown=max_slowdown).verdict == wanted for b, h in made) / runs


def test_no_change_is_the_same_and_never_slower():
    assert rate(0.0, "slower") == 0
    assert rate(0.0, "same") > 0.9


@pytest.mark.parametrize("spread", [0.01, 0.03, 0.06])
def test_noise_alone_does_not_cry_wolf(spread: float):
    assert rate(0.0, "slower", runs=1000, spread=spread) <= 0.02


def test_a_common_drift_does_not_cry_wolf():
    assert rate(0.0, "slower", runs=1000, drift=0.01) <= 0.01


@pytest.mark.parametrize(("change", "allowed"), [(0.03, 0.02), (0.02, 0.01)])
def test_a_planted_slowdown_is_found(change: float, allowed: float):
    assert rate(change, "slower", max_slowdown=allowed) >= 0.95


def test_a_small_change_is_never_slower_at_the_default():
    assert rate(0.003, "slower") == 0


def test_a_speed_up_is_the_mirror():
    assert rate(-0.04, "faster") >= 0.95


def test_the_rule_is_strict_about_the_estimate_and_the_interval():
    exact = np.exp(np.full(10, math.log(1.02)) + np.tile([1e-4, -1e-4], 5))
    assert one(side(np.ones(10)), side(exact)).verdict != "slower"  # the estimate is not above 1 + max-slowdown
    wide = np.exp(np.tile([0.30, -0.20], 5))
    assert one(side(np.ones(10)), side(wide)).verdict == "inconclusive"  # the interval holds 1


def test_every_verdict_says_what_it_could_have_seen():
    found = one(*simulated(np.random.default_rng(1), 0.0))
    assert found.detectable is not None
    assert 1.02 < found.detectable < 1.03
    assert found.interval is not None
    assert found.interval[0] < (found.ratio or 0) < found.interval[1]
    assert found.reason


def test_many_cases_share_one_error():
    """Twenty null cases at α 0.01: the chance of any false claim stays near 0.01, not 0.2."""
    generator = np.random.default_rng(2)
    alarms = 0
    for _ in range(200):
        cases = [msgspec.structs.replace(CASE, batch=i + 1) for i in range(20)]
        base = [side(np.exp(generator.normal(0, 0.05, 10)), case=c) for c in cases]
        head = [side(np.exp(generator.normal(0, 0.05, 10)), case=c) for c in cases]
        found = verdict.compare(base, head, historical=False)
        alarms += any(c.verdict == "slower" for c in found)
    assert alarms / 200 <= 0.03


def test_rebuilt_engines_are_compared_by_build():
    """A build spread of 1 % with two builds a side says nothing, however many trials there are."""
    generator = np.random.default_rng(3)
    per_build = generator.normal(0, 0.01, 2)
    head = np.exp(np.array([per_build[i % 2] for i in range(20)]) + generator.normal(0, 0.001, 20) + 0.03)
    found = one(side(np.ones(20), builds=2), side(head, builds=2))
    assert found.verdict == "inconclusive"
    base5, head5 = (np.exp(generator.normal(shift, 0.002, 20)) for shift in (0.0, 0.05))
    assert one(side(base5, builds=5), side(head5, builds=5)).unit == "build"


def test_a_case_that_one_side_lacks_is_unpaired_not_passed():
    other = msgspec.structs.replace(CASE, batch=2)
    found = verdict.compare([side(np.ones(5))], [side(np.ones(5), case=other)], historical=False)
    assert [c.verdict for c in found] == ["unpaired", "unpaired"]


def test_an_invalid_figure_is_never_compared():
    bad = msgspec.structs.replace(side(np.ones(5) * 2), status="invalid")
    found = one(side(np.ones(5)), bad)
    assert (found.verdict, found.ratio) == ("inconclusive", None)


def test_two_trials_a_side_decide_nothing():
    assert one(side(np.ones(2), paired=False), side(np.ones(2) * 9, paired=False)).verdict == "inconclusive"


def test_unpaired_runs_are_compared_by_welch():
    generator = np.random.default_rng(4)
    base = side(np.exp(generator.normal(0, 0.002, 8)), paired=False)
    head = side(np.exp(generator.normal(0.05, 0.004, 8)), paired=False)
    found = one(base, head)
    assert (found.verdict, found.unit) == ("slower", "trial")


def test_comparing_a_run_with_itself_is_the_same():
    stored = run(side(np.exp(np.random.default_rng(5).normal(0, 0.001, 6))))
    assert one(stored.results[0], stored.results[0]).verdict == "same"


def clocked(result: record.Result, clock_hz: int | None) -> record.Result:
    reading = record.Reading(t_ns=0, clock_hz=clock_hz, temp_c=None, power_mw=None)
    trials = tuple(msgspec.structs.replace(trial, telemetry=(reading,)) for trial in result.trials)
    return msgspec.structs.replace(result, trials=trials)


def stored(change: float, clocks: tuple[int | None, int | None], seed: int = 7) -> verdict.Comparison:
    """Two stored runs of a workstation, whose telemetry shows the mean of all cores."""
    base, head = simulated(np.random.default_rng(seed), change)
    return verdict.compare([clocked(base, clocks[0])], [clocked(head, clocks[1])], historical=True)[0]


SLOW, FAST = 1_880_000_000, 2_445_000_000


def test_two_stored_runs_at_unlike_clocks_are_not_called_slower_where_the_cycles_are_the_same():
    """Two hosted runners of one processor model: 30 % more time at 30 % less clock."""
    compared = stored(FAST / SLOW - 1, (FAST, SLOW))
    assert compared.verdict == "inconclusive"
    assert "clock" in compared.reason
    assert "-23.1%" in compared.reason


def test_what_is_slower_in_cycles_too_is_slower_and_the_reason_names_the_clocks():
    compared = stored(0.8, (FAST, SLOW))
    assert (compared.verdict, "unlike clocks (the head's was -23.1%)" in compared.reason) == ("slower", True)


def test_the_same_time_at_unlike_clocks_is_not_the_same():
    assert stored(0.0, (SLOW, FAST)).verdict == "inconclusive"
    assert stored(SLOW / FAST - 1, (SLOW, FAST)).verdict == "inconclusive", "nor is less time faster"


@pytest.mark.parametrize("clocks", [(FAST, FAST), (FAST, 2_400_000_000), (FAST, None), (None, None)])
def test_like_or_unseen_clocks_change_no_verdict(clocks: tuple[int | None, int | None]):
    assert stored(0.3, clocks).verdict == "slower"
    assert stored(0.0, clocks).verdict == "same"
