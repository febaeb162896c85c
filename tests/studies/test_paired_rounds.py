"""Ratios, exponents and crossings over rounds, on series whose answer is known."""

import math

import numpy as np
import pytest

from vitdeploy.reports.study_words import crossing_words
from vitdeploy.studies import paired_rounds


def series(law, sizes, noise=0.0, machine=0.0, count=5):
    """Size → round → latency by ``law``; ``machine`` moves a whole round, ``noise`` each case."""
    generator = np.random.default_rng(7)
    moved = generator.normal(0, machine, count)
    return {
        size: {i: law(size) * math.exp(moved[i] + generator.normal(0, noise)) for i in range(count)} for size in sizes
    }


SIZES = [256, 576, 1024, 1600, 4096]


def test_a_ratio_is_free_of_what_a_round_shares():
    over = {i: 6.0 * 2**i for i in range(5)}
    under = {i: 2.0 * 2**i for i in range(5)}
    found = paired_rounds.ratio(over, under)
    assert found is not None
    assert found.value == pytest.approx(3)
    assert found.interval == pytest.approx((3, 3))


def test_below_three_rounds_there_is_no_interval():
    found = paired_rounds.ratio({0: 2.0, 1: 2.2}, {0: 1.0, 1: 1.0})
    assert found is not None
    assert found.interval is None
    assert paired_rounds.ratio({0: 1.0}, {1: 1.0}) is None


def test_a_power_law_gives_its_exponent_whatever_the_machine_does():
    found = paired_rounds.exponent(series(lambda n: 1e-6 * n**2, SIZES, noise=0.01, machine=0.5))
    assert found is not None
    assert found.interval is not None
    assert found.interval[0] < 2 < found.interval[1]
    assert found.interval[1] - found.interval[0] < 0.05


def test_two_sizes_make_no_exponent():
    assert paired_rounds.exponent(series(lambda n: n, SIZES[:2])) is None


def test_a_size_that_lacks_a_round_leaves_the_others():
    times = series(lambda n: n**1.5, SIZES)
    del times[1024][2]
    found = paired_rounds.exponent(times)
    assert found is not None
    assert found.rounds == 4


def test_the_crossing_is_where_the_lines_meet():
    over, under = series(lambda n: 1e-3 * n**2, SIZES), series(lambda n: n, SIZES)
    found = paired_rounds.crossing(over, under)
    assert found.at is not None
    assert found.at.value == pytest.approx(1000)


def test_series_that_do_not_cross_say_on_which_side():
    slow, fast = series(lambda n: 3.0 * n, SIZES), series(lambda n: 1.0 * n, SIZES)
    below, above = paired_rounds.crossing(slow, fast), paired_rounds.crossing(fast, slow)
    assert below.at is None
    assert crossing_words(below).startswith("no crossing was measured, softmax takes longer")
    assert above.at is None
    assert crossing_words(above).startswith("no crossing was measured, linear takes longer")
    assert "softmax ÷ linear time is 3.00 at 16²" in crossing_words(below)
    assert paired_rounds.crossing({}, {}).at is None


def test_one_size_claims_no_crossing():
    slow, fast = series(lambda n: 3.0 * n, SIZES[:1]), series(lambda n: 1.0 * n, SIZES[:1])
    for crossing in (paired_rounds.crossing(slow, fast), paired_rounds.crossing(fast, slow)):
        assert crossing_words(crossing).startswith("one size was measured with both, which shows no crossing")


def test_parts_are_summed_within_a_round():
    assert paired_rounds.summed([{0: 1.0, 1: 2.0}, {1: 3.0, 2: 4.0}]) == {1: 5.0}
    assert paired_rounds.summed([]) == {}
