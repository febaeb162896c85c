"""A duel: interleaved pairs, an early end that keeps the error, and what an A/A duel says of a device."""

import json
import math
import random
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from tests.doubles import artifacts
from tests.doubles.fakes import FakeConnection, fake_trial
from vitdeploy.api import calibrate as calibrating
from vitdeploy.api.calibrate import CalibrateOutcome
from vitdeploy.api.duel import DuelRequest
from vitdeploy.benchmarks import bench, calibrate, duel
from vitdeploy.benchmarks.studies import decision
from vitdeploy.benchmarks.trial.case_trials import Job
from vitdeploy.cli import compare as compare_verbs
from vitdeploy.cli.console import Table
from vitdeploy.devices import inventory
from vitdeploy.errors import NothingToCompare, NoValidMeasurement, UnreadableFile, UsageError
from vitdeploy.processes.connection import CommandResult
from vitdeploy.results import calibration, comparison, effects, record, verdict

LOCAL = inventory.find("local")


def noisy(ratio: float, spread: float, seed: int = 0) -> FakeConnection:
    """A device on which side B takes ``ratio`` times as long, with a spread between processes."""
    generator = random.Random(seed)

    def answer(job: dict[str, Any]) -> CommandResult:
        b = job["trial"]["id"].split("/")[1] == "1"
        median = 1e6 * (ratio if b else 1.0) * math.exp(generator.gauss(0, spread))
        trial = fake_trial(job, [round(median)] * 20)
        return CommandResult(exit_code=0, stdout=json.dumps({"reply": trial}), stderr="")

    return FakeConnection(answer)


def fight(tmp_path: Path, link: FakeConnection, *, pairs: int = 10, early: bool = True, same: bool = False):
    a = artifacts.plain_file(tmp_path / "a", b"a")
    b = a if same else artifacts.plain_file(tmp_path / "b", b"b")
    return duel.run(
        [Job(case=artifacts.case_of(made), compute="cpu", artifact=made) for made in (a, b)],
        record.Duel(
            names=("first", "second"), pairs=pairs, most_pairs=pairs, alpha=0.01, max_slowdown=0.02, stopped=None
        ),
        min_time_s=0.05,
        early=early,
        device=LOCAL,
        out=tmp_path / "duel.json",
        progress=lambda _: None,
        on_trial=lambda done, total, label: None,
        connection=link,
    )


def test_two_files_of_one_case_are_timed_in_pairs_turned_round(tmp_path: Path):
    run = fight(tmp_path, noisy(1.0, 0.02), early=False)
    assert record.load(tmp_path / "duel.json") == run
    assert [r.side for r in run.results] == ["A", "B"]
    assert [[t.pair for t in sorted(r.trials, key=lambda t: t.pair or 0)] for r in run.results] == [list(range(10))] * 2
    order = {t.order: side for side, r in zip("AB", run.results, strict=True) for t in r.trials}
    words = "".join(order[i] for i in range(20))
    assert {words[i : i + 4] for i in range(0, 20, 4)} == {"ABBA", "BAAB"}


def test_a_clear_answer_ends_it_early_and_nothing_counts_as_missing(tmp_path: Path):
    link = noisy(1.5, 0.002)
    run = fight(tmp_path, link)
    assert len(link.jobs) == 8
    assert run.duel is not None
    assert (run.duel.pairs, run.duel.most_pairs, run.duel.alpha) == (4, 10, 0.001)
    assert "slower" in (run.duel.stopped or "")
    assert not [reason for result in run.results for reason in result.reasons]
    (found,) = comparison.duel(run).comparisons
    assert (found.verdict, found.unit, found.historical) == ("slower", "pair", False)


def test_a_narrow_answer_takes_all_pairs(tmp_path: Path):
    run = fight(tmp_path, noisy(1.02, 0.05, seed=1))
    assert run.duel is not None
    assert (run.duel.pairs, run.duel.stopped) == (10, None)
    assert run.duel.alpha == pytest.approx(0.008)


@pytest.mark.parametrize("pairs", [3, 4, 5, 6, 10, 20, 100])
def test_the_looks_spend_the_error_once(pairs: int):
    shares = duel.looks(pairs)
    assert sum(shares.values()) == pytest.approx(1)
    assert max(shares) == pairs
    assert min(shares) >= effects.FEWEST_UNITS


def test_two_pairs_are_refused(tmp_path: Path):
    with pytest.raises(UsageError, match="2 pairs"):
        fight(tmp_path, noisy(1.0, 0.01), pairs=2)


def test_a_side_that_fails_ends_the_duel(tmp_path: Path):
    def answer(job: dict[str, Any]) -> CommandResult | None:
        if job["trial"]["id"].split("/")[1] == "0":
            return None
        error = {"kind": "ToolchainFailed", "message": "the runtime refuses it", "hint": "Export it again."}
        return CommandResult(exit_code=5, stdout=json.dumps({"error": error}), stderr="")

    link = FakeConnection(answer)
    run = fight(tmp_path, link)
    assert len(link.jobs) == 2
    assert run.duel is not None
    assert run.duel.stopped == "a side failed"
    assert bench.exit_code_of(run.results[1]) == 5
    assert comparison.duel(run).exit_code(strict=False) == NothingToCompare.exit_code


def test_a_lost_trial_costs_its_pair_only(tmp_path: Path):
    def answer(job: dict[str, Any]) -> CommandResult | None:
        lost = job["trial"]["id"].endswith("/1/3")
        return CommandResult(exit_code=-9, stdout="", stderr="") if lost else None

    run = fight(tmp_path, FakeConnection(answer), early=False)
    (found,) = comparison.duel(run).comparisons
    assert (found.unit, found.count) == ("pair", 9)


def test_a_slowdown_in_time_but_not_in_cycles_is_clock_drift():
    base, head = decision.sides(decision.QUIET, 0.10, np.random.default_rng(0), 10)

    def clocked(side: record.Result, hz: float) -> record.Result:
        readings = (record.Reading(t_ns=0, clock_hz=round(hz), temp_c=None, power_mw=None),)
        trials = tuple(msgspec.structs.replace(t, telemetry=readings) for t in side.trials)
        return msgspec.structs.replace(side, trials=trials)

    slowed = clocked(base, 2e9), clocked(head, 2e9 / 1.10)
    assert verdict.versus(*slowed).verdict == "slower"
    found = verdict.versus(*slowed, clocked=True)
    assert found.verdict == "inconclusive"
    assert found.reason.startswith("clock drift")
    assert verdict.versus(clocked(base, 2e9), clocked(head, 2e9), clocked=True).verdict == "slower"


def test_an_a_a_duel_tells_the_noise_that_was_planted(tmp_path: Path):
    run = fight(tmp_path, noisy(1.0, 0.01), pairs=40, early=False, same=True)
    found = calibrate.calibrate(run, alpha=0.01, max_slowdown=0.02)
    assert found.run_spread == pytest.approx(0.01, rel=0.35)
    assert found.drift < 0.006
    assert found.false_alarm_rate_ci95[1] < 0.02
    assert found.false_alarm_any_rate_ci95[0] < 0.015
    assert found.detectable["6"] > found.detectable["10"] > found.detectable["20"] > 1.02
    assert found.by == "trials"
    calibration.save(found)
    assert calibration.find("local", run.device.facts) == found
    assert calibration.find("local", {**run.device.facts, "cpu": "another"}) is None


def test_a_calibration_by_turns_is_of_such_duels(tmp_path: Path):
    run = fight(tmp_path, noisy(1.0, 0.01), pairs=20, early=False, same=True)
    assert run.duel is not None
    took_turns = msgspec.structs.replace(run, duel=msgspec.structs.replace(run.duel, by="turns", turn_s=0.06))
    ways = [calibrate.calibrate(each, alpha=0.01, max_slowdown=0.02) for each in (run, took_turns)]
    assert [found.by for found in ways] == ["trials", "turns"]
    assert ways[0].detectable == ways[1].detectable
    assert ways[1].detectable["12"] < ways[1].detectable["10"], "twelve pairs are the default of turns"
    assert ways[1].recommended_max_slowdown <= ways[0].recommended_max_slowdown
    words = compare_verbs.calibrate_output(CalibrateOutcome(calibration=ways[1], path=tmp_path, run_path=tmp_path))
    (table, _) = words.human
    assert isinstance(table, Table)
    assert "20 pairs of processes by turns of the same file" in (table.title or "")
    assert "--max-slowdown for 12 pairs" in [row[0] for row in table.rows]


def test_too_few_pairs_are_no_calibration(tmp_path: Path):
    run = fight(tmp_path, noisy(1.0, 0.01), pairs=3, early=False, same=True)
    with pytest.raises(NoValidMeasurement, match="3 pairs"):
        calibrate.calibrate(run, alpha=0.01, max_slowdown=0.02)


@pytest.mark.parametrize("world", decision.WORLDS, ids=lambda world: world.name)
def test_no_world_cries_wolf(world: decision.World):
    """Seeded, small: at most 3 alarms of 150 where 1 % are allowed has a chance of 94 % at exactly 1 %."""
    assert decision.verdicts(world, 0.0, duels=150, pairs=10, max_slowdown=0.005)["slower"] <= 3


@pytest.mark.parametrize("world", decision.WORLDS, ids=lambda world: world.name)
def test_no_world_cries_wolf_by_turns(world: decision.World):
    counts = decision.verdicts(world, 0.0, duels=60, pairs=12, max_slowdown=0.005, by="turns")
    assert counts["slower"] <= 2


def test_a_slowdown_beside_a_neighbor_is_found_by_turns_and_not_by_whole_trials():
    (world,) = (world for world in decision.WORLDS if world.name.startswith("a neighbor"))
    ways: tuple[record.By, ...] = ("turns", "trials")
    found = {by: decision.verdicts(world, 0.03, duels=40, pairs=12, max_slowdown=0.02, by=by)["slower"] for by in ways}
    assert found["turns"] >= 38
    assert found["trials"] <= 8


@pytest.mark.parametrize(("change", "bound"), [(0.03, 0.02), (0.02, 0.01)])
def test_what_is_there_is_found(change: float, bound: float):
    found = decision.verdicts(decision.QUIET, change, duels=100, pairs=10, max_slowdown=bound)["slower"]
    assert found >= 95
    assert decision.verdicts(decision.QUIET, 0.003, duels=100, pairs=10, max_slowdown=0.02)["slower"] == 0


def test_a_calibration_that_cannot_be_kept_is_refused_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnreadableFile, match=r"calibrations/local\.json") as refusal:
        calibrating.calibrate(DuelRequest(out=tmp_path / "run.json"))
    assert "XDG_DATA_HOME" in refusal.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
