"""Ratios, exponents and crossings over rounds, on series whose answer is known."""

import math

import msgspec
import numpy as np
import pytest

from tests.doubles import make_run
from vitdeploy.reports.study_words import crossing_words
from vitdeploy.results import record
from vitdeploy.studies import paired_rounds


def series(law, sizes, noise=0.0, machine=0.0, count=5):
    """Size → round → latency by ``law``; ``machine`` moves a whole round, ``noise`` each case."""
    generator = np.random.default_rng(7)
    moved = generator.normal(0, machine, count)
    return {
        size: {i: law(size) * math.exp(moved[i] + generator.normal(0, noise)) for i in range(count)} for size in sizes
    }


def divided(over, under):
    """Size → round → the one's latency over the other's."""
    return {
        size: {i: over[size][i] / under[size][i] for i in over[size].keys() & under[size].keys()}
        for size in over.keys() & under.keys()
    }


SIZES = [256, 576, 1024, 1600, 4096]


def run_of(*medians_ms, rounds=5, group=()):
    """A run of rows in rounds; every round the machine is twice as slow as in the one before."""
    results = []
    for place, median_ms in enumerate(medians_ms):
        sha256 = f"{place:064x}"
        trials = tuple(
            make_run.trial(
                100 * place + i, median_ms * 2**i, 60, order=i * len(medians_ms) + place, artifact_sha256=sha256
            )
            for i in range(rounds)
        )
        if place in group:
            trials = tuple(in_turns(trial, place, len(medians_ms)) for trial in trials)
        row = make_run.row("efficientvit_b1", "onnx-fp32", median_ms, seed=place, trials=0)
        case = msgspec.structs.replace(make_run.CASE, size=(32 * (place + 1),) * 2)
        row = msgspec.structs.replace(row, case=case, artifact_sha256=sha256, trials=trials)
        results.append(record.rederive(row))
    groups = (record.Group(rows=group, turn_s=0.06),) if group else ()
    return msgspec.structs.replace(make_run.run(*results), groups=groups)


def in_turns(trial, place, sides):
    """The trial in 20 turns, 12 of them beside a neighbor that halves the speed of all sides.

    The first side samples less in those, so that its median is that of the quiet turns.
    """
    pair = trial.order // sides
    slowed = np.random.default_rng(pair).permutation([True] * 12 + [False] * 8)
    counts = [1 if slow and place == 0 else 3 for slow in slowed]
    samples_ns = tuple(
        int(sample * (2 if slow else 1))
        for slow, sample in zip(np.repeat(slowed, counts), trial.samples_ns, strict=False)
    )
    turns = record.Turns(counts=tuple(counts), places=tuple(range(place, 20 * sides, sides)), first_ns=(1,) * 20)
    return msgspec.structs.replace(trial, samples_ns=samples_ns, wall_ns=sum(samples_ns), turns=turns, pair=pair)


def test_a_ratio_is_free_of_what_a_round_shares():
    run = run_of(6.0, 2.0)
    slow, fast = run.results
    found = paired_rounds.typical(list(paired_rounds.ratios(run, [slow], [fast]).values()))
    assert found is not None
    assert found.value == pytest.approx(3, rel=0.01)
    assert found.interval is not None
    assert found.interval[1] - found.interval[0] < 0.1
    assert paired_rounds.way(run, [slow, fast]) == "trials"


def test_a_ratio_by_turns_is_free_of_what_turns_share():
    """The ratio of the whole trials' medians is 1.5: one of them is that of quiet turns, the other of slowed ones."""
    run = run_of(6.0, 2.0, 1.0, group=(0, 1))
    slow, fast, alone = run.results
    assert paired_rounds.way(run, [slow, fast]) == "turns"
    values = list(paired_rounds.ratios(run, [slow], [fast]).values())
    assert values == pytest.approx([3] * 5, rel=0.025)
    assert paired_rounds.way(run, [slow, alone]) == "trials"
    ungrouped = msgspec.structs.replace(run, groups=())
    assert paired_rounds.way(ungrouped, [slow, fast]) == "trials"
    values = list(paired_rounds.ratios(ungrouped, [slow], [fast]).values())
    assert values == pytest.approx([1.5] * 5, rel=0.025)


def test_parts_in_turns_are_summed_turn_by_turn():
    run = run_of(4.0, 2.0, 3.0, group=(0, 1, 2))
    first, second, whole = run.results
    values = list(paired_rounds.ratios(run, [first, second], [whole]).values())
    assert values == pytest.approx([2] * 5, rel=0.025)


def test_below_three_rounds_there_is_no_interval():
    run = run_of(6.0, 2.0, rounds=2)
    slow, fast = run.results
    found = paired_rounds.typical(list(paired_rounds.ratios(run, [slow], [fast]).values()))
    assert found is not None
    assert found.interval is None


def test_rounds_that_lack_a_side_and_rows_that_may_not_be_quoted_give_no_ratio():
    run = run_of(6.0, 2.0)
    slow, fast = run.results
    early = msgspec.structs.replace(slow, trials=slow.trials[:2])
    late = msgspec.structs.replace(fast, trials=fast.trials[2:])
    assert paired_rounds.ratios(run, [early], [late]) == {}
    assert paired_rounds.ratios(run, [], [fast]) == {}
    assert paired_rounds.ratios(run, [msgspec.structs.replace(slow, status="invalid")], [fast]) == {}


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
    found = paired_rounds.crossing(divided(over, under))
    assert found.at is not None
    assert found.at.value == pytest.approx(1000)


def test_series_that_do_not_cross_say_on_which_side():
    slow, fast = series(lambda n: 3.0 * n, SIZES), series(lambda n: 1.0 * n, SIZES)
    below, above = (paired_rounds.crossing(divided(*pair)) for pair in ((slow, fast), (fast, slow)))
    assert below.at is None
    assert crossing_words(below).startswith("no crossing was measured, softmax takes longer")
    assert above.at is None
    assert crossing_words(above).startswith("no crossing was measured, linear takes longer")
    assert "softmax ÷ linear time is 3.00 at 16²" in crossing_words(below)
    assert paired_rounds.crossing({}).at is None


def test_one_size_claims_no_crossing():
    slow, fast = series(lambda n: 3.0 * n, SIZES[:1]), series(lambda n: 1.0 * n, SIZES[:1])
    for pair in ((slow, fast), (fast, slow)):
        crossing = paired_rounds.crossing(divided(*pair))
        assert crossing_words(crossing).startswith("one size was measured with both, which shows no crossing")


def test_parts_are_summed_within_a_round():
    assert paired_rounds.summed([{0: 1.0, 1: 2.0}, {1: 3.0, 2: 4.0}]) == {1: 5.0}
    assert paired_rounds.summed([]) == {}
