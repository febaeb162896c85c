"""A run keeps raw samples; what may be quoted is derived from them, again on every load."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.doubles import make_run
from tests.doubles.make_run import result, run
from vitdeploy.artifacts.manifest import Metric, Parity
from vitdeploy.benchmarks import bench
from vitdeploy.errors import UnreadableFile, UsageError
from vitdeploy.results import record


def trial(index: int, count: int = 800, **changes: Any) -> record.Trial:
    return make_run.trial(index, 5.0, count, **changes)


def test_a_row_says_what_its_trials_say():
    row = result(*(trial(i) for i in range(5)))
    assert row.status == "valid"
    assert row.summary is not None
    assert row.summary.median_ms == pytest.approx(5.0, rel=0.02)
    assert row.summary.throughput_per_s == pytest.approx(200, rel=0.02)
    assert row.summary.p99_ms is not None
    low, high = row.summary.median_ci95_ms or (0, 0)
    assert low < row.summary.median_ms < high


def test_two_trials_have_no_interval_and_few_samples_no_p99():
    row = result(trial(0, 100), trial(1, 100))
    assert row.summary is not None
    assert row.summary.median_ci95_ms is None
    assert row.summary.p99_ms is None
    assert row.summary.p90_ms is not None


RISING = tuple(range(4_900_000, 5_900_000, 10_000))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"steady": "drifting", "samples_ns": RISING}, "not-steady"),
        ({"throttled": True}, "throttled"),
        ({"samples_ns": (5,) * 9}, "too-few-samples"),
    ],
)
def test_a_spoilt_row_is_invalid_and_says_why(changes: dict[str, Any], code: str):
    row = result(trial(0, **changes), trial(1, **changes), trial(2))
    assert row.status == "invalid"
    assert [reason.code for reason in row.reasons if reason.code != "noisy"] == [code]


def test_noise_of_the_machine_widens_the_interval_and_is_flagged_with_its_cause():
    """Trials that went up and down, and trials whose drift is smaller than their scatter, are a noisy valid row."""
    falling = RISING[::-1]
    facts = {"stolen": "0.0710", "busiest_other": "cargo 0.60", "quota_stops": "31"}
    ways = [falling, RISING, (5_000_000,) * 100, falling, RISING]
    row = result(*(trial(i, steady="drifting", samples_ns=samples, facts=facts) for i, samples in enumerate(ways)))
    assert row.status == "valid"
    (reason,) = row.reasons
    assert reason.code == "noisy"
    for words in (
        "5 of 5 drifted",
        "hypervisor took up to 7%",
        "up to 0.6 cores (cargo)",
        "stopped the process 155 times",
    ):
        assert words in reason.message
    scattered = [tuple(int(level * value) for value in RISING) for level in (1.0, 1.5, 0.7, 1.2, 0.9)]
    row = result(*(trial(i, steady="drifting", samples_ns=samples) for i, samples in enumerate(scattered)))
    assert row.status == "valid"
    assert "the interval is ±" in row.reasons[0].message
    assert record.rederive(row) == row


def test_two_levels_are_named():
    samples = tuple(int(level * 1e6) for level in (12.0, 12.1, 15.5, 15.4, 11.9, 15.6) * 20)
    row = result(*(trial(i, steady="drifting", samples_ns=samples) for i in range(3)))
    assert "two levels, 12 and 15.5 ms" in row.reasons[0].message


def test_one_unsteady_trial_in_five_is_tolerated():
    assert result(trial(0, steady="warming"), *(trial(i) for i in range(1, 5))).status == "valid"


def test_a_failed_parity_makes_the_figure_invalid():
    failed = Parity(
        passed=False,
        reference="torch fp32",
        samples=1,
        max_abs=None,
        mean_abs=None,
        cosine=None,
        finite=False,
        metric=Metric(name="pixel agreement", value=None, floor=0.999),
        reason="the output holds NaN or Inf",
    )
    row = result(*(trial(i) for i in range(5)), parity=failed)
    assert row.status == "invalid"
    assert "NaN" in row.reasons[0].message


def test_a_block_median_has_no_percentiles():
    row = result(*(trial(i, sample_kind="block_median") for i in range(3)))
    assert row.summary is not None
    assert (row.summary.p90_ms, row.summary.p99_ms) == (None, None)


def test_a_run_is_read_as_it_was_written_and_its_figures_derived_anew(tmp_path: Path):
    honest = result(*(trial(i) for i in range(3)))
    assert honest.summary is not None
    flattered = msgspec.structs.replace(honest, summary=msgspec.structs.replace(honest.summary, median_ms=0.1))
    record.save(run(flattered), tmp_path / "run.json")
    (loaded,) = record.load(tmp_path / "run.json").results
    assert loaded == record.rederive(honest, run().protocol)


def test_deriving_twice_changes_nothing():
    row = result(trial(0, throttled=True), trial(1), trial(2))
    assert record.rederive(row) == row


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b'"schema": 1', b'"schema": 99', "reads up to 1"),
        (b'"batch":1', b'"batch": "one"', "$.results[0].case.batch"),
        (b'"batch":1', b'"batch": 1, "surprise": true', "surprise"),
        (b'"status":"valid"', b'"status": "superb"', "$.results[0].status"),
    ],
)
def test_a_run_from_elsewhere_is_refused_by_field(tmp_path: Path, old: bytes, new: bytes, said: str):
    path = tmp_path / "run.json"
    record.save(run(result(trial(0))), path)
    path.write_bytes(path.read_bytes().replace(old, new, 1))
    with pytest.raises(UnreadableFile, match=said.replace("$", r"\$").replace("[", r"\[").replace("]", r"\]")):
        record.load(path)


def test_a_truncated_run_is_refused(tmp_path: Path):
    path = tmp_path / "run.json"
    record.save(run(result(trial(0))), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UnreadableFile, match="not a"):
        record.load(path)


@pytest.mark.parametrize(
    "asked", [{"min_time_s": 1e-7}, {"min_time_s": 1e-320}, {"sustained_s": 1e-9}, {"trials": 10**10}, {"trials": 0}]
)
def test_a_protocol_whose_run_could_not_be_read_again_is_refused_before_the_work(asked: dict[str, Any]):
    """Planted: `bench --min-time 1e-7` ended with 0, and its run was refused wherever it was read."""
    with pytest.raises(UsageError):
        bench.make_protocol(**asked)


def test_the_shortest_protocol_is_read_again(tmp_path: Path):
    protocol = bench.make_protocol(min_time_s=bench.SHORTEST_S, trials=bench.MOST_TRIALS)
    run = msgspec.structs.replace(make_run.run(), protocol=protocol)
    record.save(run, tmp_path / "run.json")
    assert record.load(tmp_path / "run.json").protocol == protocol
