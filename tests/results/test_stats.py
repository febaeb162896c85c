"""Quantiles and intervals of latencies, against closed forms and simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitdeploy.results import stats


def test_the_least_counts_are_those_of_loadgen():
    """Source: MLPerf LoadGen's early stopping; 662 is ``min_query_count`` in mlperf.conf."""
    counts = [stats.fewest_samples(p, exceeding=e) for p in (0.90, 0.95, 0.99) for e in (0, 1, 2)]
    assert counts == [44, 64, 81, 90, 130, 165, 459, 662, 838]


def test_p99_is_not_told_below_662_independent_samples():
    noise = np.random.default_rng(1).normal(1000, 10, 700)
    assert stats.percentile([noise[:661]], 0.99) is None
    assert stats.percentile([noise], 0.99) is not None


def test_autocorrelated_samples_count_for_less():
    draw = np.random.default_rng(2).normal(0, 1, 4000)
    series = np.empty_like(draw)
    series[0] = draw[0]
    for i in range(1, len(draw)):
        series[i] = 0.9 * series[i - 1] + draw[i]
    expected = 4000 * (1 - 0.9) / (1 + 0.9)
    assert stats.effective_count([series]) == pytest.approx(expected, rel=0.35)
    assert stats.percentile([series[:1000]], 0.99) is None


def test_there_is_no_interval_below_three_trials():
    assert stats.median_interval([[1, 2, 3], [2, 3, 4]]) is None
    assert stats.median_interval([[1, 2, 3]] * 3) == pytest.approx((2, 2))


def test_the_interval_is_students_t_on_log_medians():
    low, high = stats.median_interval([[100.0], [110.0], [121.0]]) or (0, 0)
    half = 4.302652729911275 * math.log(1.1) / math.sqrt(3)  # t(0.975, 2) from any table
    assert (math.log(low), math.log(high)) == pytest.approx((math.log(110) - half, math.log(110) + half))


def test_the_interval_covers_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(3)
    covered = 0
    for _ in range(400):
        blocks = [math.exp(generator.normal(0, 0.01)) * generator.lognormal(0, 0.02, 101) for _ in range(5)]
        low, high = stats.median_interval(blocks) or (0, 0)
        covered += low <= 1 <= high
    assert 0.91 <= covered / 400 <= 0.985  # binomial 99.9 % range around 0.95


@given(st.lists(st.lists(st.integers(1, 10**9), min_size=1, max_size=20), min_size=3, max_size=6))
def test_the_interval_holds_the_estimate(blocks: list[list[int]]):
    low, high = stats.median_interval(blocks) or (0, 0)
    assert low * (1 - 1e-9) <= stats.median_of_medians(blocks) <= high * (1 + 1e-9)


@given(st.lists(st.integers(0, 1000), max_size=3000))
def test_autocorrelation_is_a_correlation(samples: list[int]):
    assert -1 <= stats.autocorrelation(samples) <= 1
