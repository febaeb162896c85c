"""Burst, sustained figure and time to slow down, from samples whose truth is known, and through a real bench."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from tests.doubles import artifacts
from tests.doubles.make_run import everything
from vitdeploy.benchmarks import bench
from vitdeploy.benchmarks.trial.case_trials import Job
from vitdeploy.devices import inventory
from vitdeploy.reports import explanations
from vitdeploy.results import record, sustained


def heated(*, cool_ms: float, hot_ms: float, after_s: float, total_s: float) -> list[int]:
    """Samples of a machine that slows down after a while, with a percent of noise."""
    noise, now, found = np.random.default_rng(1), 0.0, list[int]()
    while now < total_s:
        sample = (cool_ms if now < after_s else hot_ms) * float(noise.normal(1, 0.01))
        found.append(round(sample * 1e6))
        now += sample / 1e3
    return found


def test_a_machine_that_slows_down_shows_when_and_how_much():
    heat = sustained.of_trial(heated(cool_ms=10, hot_ms=14, after_s=12, total_s=40), burst_s=1.0)
    assert heat is not None
    assert heat.burst_ns / 1e6 == pytest.approx(10, rel=0.01)
    assert heat.sustained_ns / 1e6 == pytest.approx(14, rel=0.01)
    assert heat.slowed_after_s == pytest.approx(12, abs=1)


def test_a_machine_that_keeps_its_clock_did_not_slow_down():
    heat = sustained.of_trial(heated(cool_ms=10, hot_ms=10, after_s=99, total_s=20), burst_s=1.0)
    assert heat is not None
    assert heat.slowed_after_s is None


def test_a_hiccup_is_not_heat():
    samples = heated(cool_ms=10, hot_ms=10, after_s=99, total_s=20)
    middle = len(samples) // 2
    samples[middle : middle + 150] = [30_000_000] * 150
    heat = sustained.of_trial(samples, burst_s=1.0)
    assert heat is not None
    assert heat.slowed_after_s is None


def test_streams_share_the_time():
    one = heated(cool_ms=10, hot_ms=14, after_s=12, total_s=40)
    heat = sustained.of_trial(one, burst_s=0.5, streams=2)
    assert heat is not None
    assert heat.slowed_after_s == pytest.approx(6, abs=1)


def test_too_short_a_trial_has_no_heat():
    assert sustained.of_trial([10_000_000] * 50, burst_s=1.0) is None
    assert sustained.of_trial([], burst_s=1.0) is None


def test_most_trials_decide_whether_it_slowed_down():
    hot = heated(cool_ms=10, hot_ms=14, after_s=12, total_s=40)
    cool = heated(cool_ms=10, hot_ms=10, after_s=99, total_s=40)
    most, few = sustained.of_trials([hot, hot, cool], burst_s=1.0), sustained.of_trials([hot, cool, cool], burst_s=1.0)
    assert most is not None
    assert few is not None
    assert most.slowed_after_s is not None
    assert few.slowed_after_s is None


def test_slowing_down_under_a_long_load_is_a_result_and_not_a_reason(tmp_path: Path):
    run = everything()
    row = run.results[0]
    samples = tuple(heated(cool_ms=10, hot_ms=14, after_s=12, total_s=40))
    facts = {"throttled_after_s": "11.5"}
    trials = tuple(
        msgspec.structs.replace(t, samples_ns=samples, throttled=True, steady="drifting", facts={**t.facts, **facts})
        for t in row.trials
    )
    row = msgspec.structs.replace(row, trials=trials)
    protocol = msgspec.structs.replace(run.protocol, sustained_s=40.0, min_time_s=1.0)
    assert {reason.code for reason in record.rederive(row).reasons} >= {"throttled", "not-steady"}
    found = record.rederive(row, protocol)
    assert not {reason.code for reason in found.reasons} & {"throttled", "not-steady"}
    assert found.sustained is not None
    assert found.sustained.throttled_after_s == 11.5
    (words,) = explanations.sustained(found)
    assert "burst 10" in words
    assert "slower from 1" in words
    assert "throttled from 12 s on" in words


def test_a_bench_with_sustained_says_both_figures(tmp_path: Path):
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    pytest.importorskip("onnx", reason="onnx makes the graph")
    made = artifacts.conv_relu(tmp_path / "artifact")
    run = bench.run(
        [Job(case=artifacts.case_of(made), compute="cpu", artifact=made)],
        device=inventory.find("local"),
        protocol=bench.make_protocol(trials=1, min_time_s=0.2, warmup_limit_s=0.3, sustained_s=2.0),
        out=tmp_path / "run.json",
    )
    (row,) = run.results
    assert row.sustained is not None
    assert row.sustained.burst_ms > 0
    assert record.load(tmp_path / "run.json").results[0].sustained == row.sustained
    assert len(row.trials[0].telemetry) >= 3
