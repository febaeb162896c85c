"""Verdicts on known truths: no cry of wolf, no sleep, and the rules of the contract to the letter."""

import math

import msgspec
import numpy as np
import pytest

from tests.doubles.make_run import CASE, run
from vitdeploy.benchmarks.studies import plain_records
from vitdeploy.results import record, stats, verdict


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


@pytest.mark.parametrize("trials", [3, 5])
@pytest.mark.parametrize("noise", [0.001, 0.02])
@pytest.mark.parametrize(("step", "true"), [(500_000, 10_250_000), (333_333, 6_833_326)])
def test_times_in_coarse_steps_do_not_cry_wolf(trials: int, noise: float, step: int, true: int):
    """A tool whose times are 5 % apart, and a true value between two of them: trials agree by rounding alone."""
    generator = np.random.default_rng(6)

    def stepped() -> record.Result:
        rounded = [round(true * math.exp(generator.normal(0, noise)) / step) * step for _ in range(trials)]
        return side(np.array(rounded) / 1e9, paired=False)

    alarms = sum(one(stepped(), stepped()).verdict in ("slower", "faster") for _ in range(200))
    assert alarms == 0


def test_equal_medians_have_an_interval_and_a_declared_step_is_believed():
    base, head = (side(np.full(3, level), paired=False) for level in (0.0100, 0.0103))
    assert one(base, head).verdict == "inconclusive"
    assert "all equal" in one(base, head).reason
    assert stats.median_interval([[100]] * 3, resolution=10) == pytest.approx((95, 105), rel=0.01)

    def told_in(side: record.Result, step_ns: int) -> record.Result:
        trials = tuple(msgspec.structs.replace(trial, resolution_ns=step_ns) for trial in side.trials)
        return msgspec.structs.replace(side, trials=trials)

    assert one(told_in(base, 1000), told_in(head, 1000)).verdict == "slower"
    assert one(told_in(base, 300_000), told_in(head, 300_000)).verdict == "inconclusive"


def test_the_step_is_seen_in_the_samples():
    assert stats.resolution([[12_345_676 + 7 * place for place in range(100)]] * 2) == 7
    assert stats.resolution([[10_000_019, 10_000_140, 10_000_333]]) == 0
    assert stats.resolution([[10_000_000, 10_333_333, 10_666_667] * 10]) == 333_333
