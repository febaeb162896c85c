"""How often each label is given to signals whose truth is known; the rates are measured, not assumed."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vitdeploy.results import steady
from vitdeploy.results.steady import classify

Floats = NDArray[np.floating[Any]]
TRIALS = 100


def flat(t: Floats) -> Floats:
    return np.zeros_like(t)


def rates(
    shape: Callable[[Floats], Floats], n: int, *, deviation: float = 0.02, rho: float = 0.0, spikes: float = 0.01
) -> Counter[str]:
    """Share of each label over signals of ``shape`` (a relative change over 0 ≤ t < 1) with noise and spikes."""
    labels: Counter[str] = Counter()
    for seed in range(TRIALS):
        generator = np.random.Generator(np.random.PCG64(seed))
        noise = generator.normal(size=n) * deviation
        for i in range(1, n):
            noise[i] = rho * noise[i - 1] + np.sqrt(1 - rho**2) * noise[i]
        signal = np.log(1e7) + np.log1p(shape(np.arange(n) / n)) + noise
        spiked = generator.random(n) < spikes
        signal[spiked] += np.log1p(generator.exponential(1.0, size=int(spiked.sum())))
        labels[classify(np.exp(signal).astype(np.int64))] += 1
    return Counter({label: count * 100 // TRIALS for label, count in labels.items()})


@pytest.mark.parametrize(
    ("n", "rho", "least"),
    # At ρ = 0.9 and few samples the noise itself wanders by more than 5 %: that is drift, and called so.
    [(10, 0.0, 95), (30, 0.0, 97), (100, 0.0, 98), (100, 0.5, 97), (1000, 0.0, 98), (1000, 0.5, 98), (1000, 0.9, 97)],
)
def test_flat_noise_with_spikes_is_steady(n: int, rho: float, least: int):
    assert rates(flat, n, rho=rho)["steady"] >= least


@pytest.mark.parametrize("deviation", [0.001, 0.01, 0.05])
def test_the_size_of_the_noise_does_not_matter(deviation: float):
    assert rates(flat, 300, deviation=deviation, rho=0.3)["steady"] >= 97


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("exponential warm-up", lambda t: 0.2 * np.exp(-t / 0.1)),
        ("slow first third", lambda t: 0.1 * (t < 0.3)),
        ("linear speed-up", lambda t: 0.1 * (1 - t)),
    ],
)
def test_becoming_faster_is_warming(name: str, shape: Callable[[Floats], Floats]):
    assert rates(shape, 1000, rho=0.3)["warming"] >= 95, name
    assert rates(shape, 100, deviation=0.01, rho=0.3)["warming"] >= 75, name


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("linear drift of 10 %", lambda t: 0.1 * t),
        ("step up of 8 % in the middle", lambda t: 0.08 * (t > 0.5)),
        ("step up of 10 % near the end", lambda t: 0.1 * (t > 0.8)),
        ("slow at first, slower at last", lambda t: 0.1 * (t < 0.2) + 0.3 * (t > 0.7)),
    ],
)
def test_a_level_that_changes_otherwise_is_drifting(name: str, shape: Callable[[Floats], Floats]):
    assert rates(shape, 1000, rho=0.3)["drifting"] >= 95, name
    assert rates(shape, 100, deviation=0.01, rho=0.3)["drifting"] >= 75, name


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("a short disturbance", lambda t: 0.3 * ((t > 0.4) & (t < 0.5))),
        ("a long disturbance", lambda t: 0.3 * ((t > 0.3) & (t < 0.65))),
        ("two levels in alternation", lambda t: 0.4 * (np.floor(t * 6) % 2)),
    ],
)
def test_levels_that_come_back_are_steady(name: str, shape: Callable[[Floats], Floats]):
    assert rates(shape, 300)["steady"] >= 97, name


def test_a_change_too_small_to_matter_is_steady():
    assert rates(lambda t: 0.03 * (t > 0.5), 1000, deviation=0.002)["steady"] >= 99


@pytest.mark.parametrize("n", range(1, 14))
def test_constant_and_tiny_series_are_steady(n: int):
    assert classify([1_000_000] * n) == "steady"


def test_zeros_of_a_coarse_clock_are_no_error():
    assert classify([0] * 50) == "steady"


def test_what_is_steady_at_first_sight_is_steady_by_its_levels():
    generator = np.random.Generator(np.random.PCG64(1))
    blocks: list[NDArray[np.int64]] = []
    for place in range(600):
        n = int(generator.choice([6, 7, 9, 12, 29, 30, 31, 64, 95, 96, 130]))
        t = np.arange(n) / n
        trend = (0 * t, 0.15 * np.exp(-t / 0.1), 0.1 * t, 0.06 * (t > generator.random()))[place % 4]
        noise = generator.normal(size=n) * generator.choice([0.005, 0.02, 0.05])
        blocks.append((1e7 * np.exp(trend + noise)).astype(np.int64))
    by_levels: list[str] = []
    for block in blocks:
        logs = np.log(block)
        by_levels.append(steady._by_levels(logs, steady._segment_medians(logs)))
    assert steady.classify_all(blocks) == by_levels
    assert {"steady", "warming", "drifting"} == set(by_levels)
