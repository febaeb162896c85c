"""Turns: two loaded workers and their driver as processes, and what is made of their samples."""

import dataclasses
import json
import math
import os
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from tests.doubles import artifacts
from tests.doubles.fakes import FakeClock, FakeConnection, FakeSession
from tests.doubles.turns_driver import drive
from tests.doubles.worker_job import job_of
from vitdeploy.api import duel as duel_verb
from vitdeploy.artifacts.manifest import Artifact
from vitdeploy.benchmarks import duel
from vitdeploy.benchmarks.studies import decision
from vitdeploy.benchmarks.trial import ballast, loop, prepared_device, turn_worker, turns
from vitdeploy.benchmarks.trial.case_trials import Job
from vitdeploy.devices import inventory, placement
from vitdeploy.errors import NothingToCompare, UsageError
from vitdeploy.processes.connection import CommandResult
from vitdeploy.processes.local import LocalConnection
from vitdeploy.reports import report
from vitdeploy.results import comparison, effects, record, stats
from vitdeploy.results.record import Trial, Turns

ROOT = Path(__file__).parents[2]


@pytest.fixture
def toy(tmp_path: Path) -> Artifact:
    pytest.importorskip("onnx", reason="the toy model is made with onnx")
    pytest.importorskip("onnxruntime", reason="the toy model runs in ONNX Runtime")
    return artifacts.conv_relu(tmp_path / "toy")


def test_both_sides_take_turns_in_balanced_order(toy: Artifact):
    reply = drive([job_of(toy), job_of(toy)])
    trials = [msgspec.convert(side["trial"], Trial) for side in reply["sides"]]
    for trial in trials:
        assert trial.turns is not None
        assert sum(trial.turns.counts) == len(trial.samples_ns)
        assert min(trial.turns.counts) >= turn_worker.FEWEST_A_TURN
        assert len(trial.turns.first_ns) == len(trial.turns.counts) == len(trial.turns.places)
        assert sum(trial.samples_ns) <= trial.wall_ns
        assert trial.wall_ns >= 40_000_000
        assert trial.facts["spinning"] == "off between inferences"
    first, second = (trial.turns.places for trial in trials if trial.turns)
    assert sorted((*first, *second)) == list(range(len(first) + len(second)))
    words = "".join("A" if place in first else "B" for place in range(len(first) + len(second)))
    assert {words[start : start + 4] for start in range(0, len(words), 4)} <= {"ABBA", "BAAB"}


def test_all_sides_begin_their_turns_on_the_same_cores(toy: Artifact):
    """Where a scheduler leaves each on a core of its own, the cores are compared as well as the files."""
    sides = drive([job_of(toy), job_of(toy)])["sides"]
    (cores,) = {side["trial"]["facts"]["turn_cores"] for side in sides}
    assert {int(core) for core in cores.split(" and ")} <= os.sched_getaffinity(0)


def test_a_thread_is_started_on_a_core_and_not_kept_there():
    allowed = os.sched_getaffinity(0)
    for core in sorted(allowed)[:2]:
        placement.start_on(core)
        assert placement.core() == core
        assert os.sched_getaffinity(0) == allowed
    placement.start_on(max(allowed) + 1)  # not one of ours: nothing happens
    assert os.sched_getaffinity(0) == allowed


def test_memory_is_held_only_where_plenty_is_free():
    assert ballast.hold(2**20, None) is None
    assert ballast.hold(2**20, 4 * 2**20) is None
    before = resident_bytes()
    held = ballast.hold(64 * 2**20, 512 * 2**20)
    assert held is not None
    assert resident_bytes() - before > 60 * 2**20
    held.close()


def resident_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * int(Path("/proc/self/statm").read_text().split()[1])


def test_the_other_side_is_no_foreign_load(toy: Artifact):
    (side, _) = drive([job_of(toy), job_of(toy)], min_time_ns=400_000_000)["sides"]
    alone = drive([job_of(toy)], min_time_ns=400_000_000)["sides"][0]
    assert float(side["trial"]["facts"]["foreign_cores"]) < float(alone["trial"]["facts"]["foreign_cores"]) + 0.5


def test_three_sides_have_equally_many_turns_in_balanced_order(toy: Artifact):
    reply = drive([job_of(toy), job_of(toy), job_of(toy)])
    sides = [msgspec.convert(side["trial"], Trial).turns for side in reply["sides"]]
    places = [turns.places for turns in sides if turns]
    assert len({len(side) for side in places}) == 1
    order = [side for place in range(3 * len(places[0])) for side in range(3) if place in places[side]]
    for start in range(0, len(order), 6):
        assert sorted(order[start : start + 3]) == [0, 1, 2]
        assert order[start + 3 : start + 6] == order[start : start + 3][::-1]


def turns_job(**changes: Any) -> turns.TurnsJob:
    fixed = {"sides": [], "probe": "", "turn_ns": 60, "min_time_ns": 1000, "min_count": 10, "seed": 0}
    return turns.TurnsJob(**{**fixed, **changes})


def test_a_fast_side_has_its_time_in_the_few_turns_of_a_slow_one():
    """A slow side that needs three turns more: the fast one does not take the fourteen of the usual length."""
    fast, slow = turns.Taken(turns=2, samples=40, wall_ns=120), turns.Taken(turns=2, samples=4, wall_ns=6000)
    lengths = turns.turn_lengths_ns(turns_job(), {0: fast, 1: slow})
    assert lengths == {0: math.ceil(880 / 3), 1: 60}
    alike = {0: fast, 1: fast}
    assert turns.turn_lengths_ns(turns_job(), alike) == {0: 60, 1: 60}
    assert turns.turn_lengths_ns(turns_job(), {0: turns.Taken(), 1: slow}) == {0: 60, 1: 60}


def test_a_fast_side_beside_a_slow_one_has_its_sampling_time(tmp_path: Path):
    pytest.importorskip("onnxruntime", reason="the toy models run in ONNX Runtime")
    slow = artifacts.conv_relu(tmp_path / "slow")
    planted = job_of(slow, runtime="vitdeploy.benchmarks.studies.planted_delay")
    planted["manifest"]["planted_share"] = 300.0
    reply = drive([job_of(slow), planted], turn_ns=2_000_000, min_time_ns=100_000_000)
    fast_side, slow_side = (side["trial"] for side in reply["sides"])
    assert len(fast_side["turns"]["counts"]) == len(slow_side["turns"]["counts"])
    assert min(fast_side["wall_ns"], slow_side["wall_ns"]) >= 100_000_000


def test_what_has_far_more_arithmetic_is_loaded_first():
    sides: list[Any] = [{"manifest": {"macs": macs}} for macs in (10**6, None, 10**9, 1_100_000_000)]
    assert turns._load_order(turns_job(sides=sides)) == [2, 3, 0, 1]
    assert turns._load_order(turns_job(sides=sides[::-1])) == [0, 1, 3, 2]


def test_a_side_that_may_need_what_the_largest_took_does_not_fit(toy: Artifact, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(turns, "_available_bytes", lambda: 3 * 2**20)
    assert turns._lacking_memory(job_of(toy), 2**20) is None
    words = turns._lacking_memory(job_of(toy), 4 * 2**20)
    assert words == "it needs about 4 MiB beside the others, and 3 MiB are free"
    assert turns._lacking_memory(job_of(toy, device="cuda"), 4 * 2**20) is None


def test_an_error_of_one_side_is_that_sides(toy: Artifact):
    good, bad = job_of(toy), job_of(toy)
    Path(next(iter(bad["digests"]))).touch()
    bad["digests"] = {str(toy.file): "0" * 64}
    reply = drive([good, bad])
    assert reply["sides"][1]["error"]["kind"] == "UnreadableFile"
    assert reply["sides"][0] == {}


def test_a_worker_that_dies_is_named(tmp_path: Path):
    plain = artifacts.plain_file(tmp_path / "plain")
    dying = job_of(plain, runtime="tests.doubles.fakes", fake={"kill": 9})
    reply = drive([job_of(plain, runtime="tests.doubles.fakes", fake={"kill": 9}), dying])
    (error,) = [side["error"] for side in reply["sides"] if side]
    assert "signal 9" in error["message"]


def test_output_that_is_not_finite_is_refused(tmp_path: Path):
    pytest.importorskip("onnxruntime", reason="the toy model runs in ONNX Runtime")
    reply = drive(
        [job_of(artifacts.conv_relu(tmp_path / "nan", nan=True)), job_of(artifacts.conv_relu(tmp_path / "b"))]
    )
    assert reply["sides"][0]["error"]["kind"] == "ParityFailed"


def test_what_does_not_fit_into_memory_is_not_timed(toy: Artifact, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(turns, "_available_bytes", lambda: 1)
    monkeypatch.chdir(ROOT)
    job = turns.TurnsJob(
        sides=[job_of(toy), job_of(toy)],
        probe="vitdeploy.devices.probe_cpu",
        turn_ns=5_000_000,
        min_time_ns=1,
        min_count=1,
        seed=0,
    )
    reply = turns.run_job(job)
    assert "MiB are free" in reply["does_not_fit"]
    assert reply["sides"] == [{}, {}]


def test_the_first_inference_of_a_turn_is_kept_apart():
    clock = FakeClock()
    session = FakeSession(clock, lambda n: 9_000_000 if n % 4 == 0 else 1_000_000)
    taken = turn_worker.TurnSamples()
    stream = loop.Stream(session=session, pool=[{"image": np.zeros((1, 3, 8, 8), np.float32)}])
    for _ in range(3):
        turn_worker.take_turn(stream, loop.host_to_host, taken, 3_000_000, clock)
    assert taken.first_ns == [9_000_000] * 3
    assert taken.counts == [3, 3, 3]
    assert set(taken.samples_ns) == {1_000_000}
    assert taken.wall_ns == 9_000_000


def by_turns(trial: Trial, samples_ns: list[int], counts: list[int], pair: int) -> Trial:
    recorded = Turns(counts=tuple(counts), places=tuple(range(len(counts))), first_ns=(1,) * len(counts))
    return msgspec.structs.replace(trial, samples_ns=tuple(samples_ns), turns=recorded, pair=pair)


def test_a_neighbor_that_both_sides_see_cancels():
    """Half of the turns are twice as slow for both sides: the medians scatter, the pair's difference does not."""
    base, head = decision.sides(decision.QUIET, 0.0, np.random.default_rng(0), 6)
    generator = np.random.default_rng(1)
    pairs: list[tuple[Trial, Trial]] = []
    for pair, (a, b) in enumerate(zip(base.trials, head.trials, strict=True)):
        slow = generator.random(40) < generator.random()
        turn = np.where(slow, 2.0, 1.0).repeat(3) * 1e7
        noise = [np.exp(generator.normal(0, 0.01, 120)) for _ in "ab"]
        pairs.append(
            (
                by_turns(a, (turn * noise[0]).astype(int).tolist(), [3] * 40, pair),
                by_turns(b, (turn * noise[1] * 1.03).astype(int).tolist(), [3] * 40, pair),
            )
        )
    sides = [[pair[place] for pair in pairs] for place in (0, 1)]
    change = effects.effect(*sides)
    assert change is not None
    assert change.unit == "pair"
    assert change.count == 6
    assert change.log_ratio == pytest.approx(math.log(1.03), abs=0.004)
    assert change.half_width(0.005) < 0.01
    medians = [math.log(float(np.median(trial.samples_ns))) for trial in sides[0]]
    assert float(np.std(medians)) > 0.1


def test_a_trimmed_mean_resists_a_burst():
    assert stats.trimmed_mean([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 50.0, -70.0]) == pytest.approx(1.0)
    assert stats.trimmed_mean([3.0]) == 3.0


def test_unsteady_turns_do_not_void_a_duel():
    base, _ = decision.sides(decision.QUIET, 0.0, np.random.default_rng(0), 6)
    drifting = tuple(msgspec.structs.replace(trial, steady="drifting") for trial in base.trials)
    assert record.rederive(msgspec.structs.replace(base, trials=drifting)).status == "invalid"
    taking = tuple(by_turns(t, list(t.samples_ns), [len(t.samples_ns)], i) for i, t in enumerate(drifting))
    assert record.rederive(msgspec.structs.replace(base, trials=taking)).status == "valid"


def test_looks_by_turns_begin_at_six():
    assert duel.looks(12, "turns") == {6: 0.1, 9: 0.1, 12: 0.8}
    assert duel.looks(6, "turns") == {6: 1.0}


@pytest.mark.parametrize(
    ("device", "targets", "streams", "words"),
    [
        ("snapdragon-855", ["tflite-fp32"], 1, "benchmark_model"),
        ("local", ["onnx-fp32"], 2, "streams"),
        ("local", ["onnx-fp32", "torch-fp32"], 1, None),
    ],
)
def test_who_cannot_take_turns_says_why(device: str, targets: list[str], streams: int, words: str | None):
    obstacle = prepared_device.no_turns(inventory.find(device), targets=targets, streams=streams)
    assert (words is None) == (obstacle is None)
    assert words is None or (obstacle and words in obstacle)


def planned(**changes: Any) -> record.Duel:
    fixed = {"names": ("a", "b"), "pairs": 3, "most_pairs": 3, "alpha": 0.01, "max_slowdown": 0.02, "stopped": None}
    return record.Duel(**{**fixed, "by": "turns", "turn_s": 0.005, **changes})


def fight(tmp_path: Path, sides: list[Artifact], link: Any) -> record.Run:
    return duel.run(
        [Job(case=artifacts.case_of(side), compute="cpu", artifact=side) for side in sides],
        planned(),
        min_time_s=0.02,
        early=True,
        device=inventory.find("local"),
        out=tmp_path / "duel.json",
        progress=lambda _: None,
        on_trial=lambda done, total, label: None,
        connection=link,
    )


def test_a_duel_by_turns_is_a_record(tmp_path: Path, toy: Artifact):
    run = fight(tmp_path, [toy, toy], LocalConnection(lock_folder=tmp_path))
    assert run.duel is not None
    assert (run.duel.by, run.duel.turn_s, run.duel.pairs) == ("turns", 0.005, 3)
    assert record.load(tmp_path / "duel.json") == run
    assert [len(result.trials) for result in run.results] == [3, 3]
    (compared,) = comparison.duel(run).comparisons
    assert (compared.unit, compared.count) == ("pair", 3)
    assert "by turns of 5 ms (the first inference of each, " in comparison.duel(run).notes[0]


def test_a_driver_that_is_killed_loses_its_pair_and_too_many_end_the_duel(tmp_path: Path):
    plain = artifacts.plain_file(tmp_path / "a")
    killed = CommandResult(exit_code=-9, stdout="", stderr="")
    run = fight(tmp_path, [plain, plain], FakeConnection(lambda job: killed))
    assert run.duel is not None
    assert run.duel.stopped == "a side failed"
    assert all("memory" in result.reasons[0].message for result in run.results)


def test_without_memory_for_both_the_pairs_are_whole_trials(tmp_path: Path):
    plain = artifacts.plain_file(tmp_path / "a")

    def answer(job: dict[str, Any]) -> CommandResult | None:
        if "sides" not in job:
            return None
        reply = {"sides": [{}, {}], "does_not_fit": "it needs about 9 MiB, and 1 MiB are free"}
        return CommandResult(exit_code=0, stdout=json.dumps({"reply": reply}), stderr="")

    run = fight(tmp_path, [plain, plain], FakeConnection(answer))
    assert run.duel is not None
    assert (run.duel.by, run.duel.turn_s) == ("trials", None)
    assert [len(result.trials) for result in run.results] == [3, 3]


def test_no_process_is_left(toy: Artifact):
    drive([job_of(toy), job_of(toy)])
    mine = str(toy.folder).encode()
    left = [path for path in Path("/proc").glob("[0-9]*/cmdline") if mine in path.read_bytes()]
    assert not left


@pytest.mark.slow  # real duels of two models
def test_two_folders_are_a_duel_of_every_case_that_both_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("onnxruntime", reason="the toy models run in ONNX Runtime")
    monkeypatch.setattr(duel, "PAIRS", {"turns": 3, "trials": 3})
    for name in ("efficientvit_b0", "efficientvit_b1"):
        for side in ("base", "head"):
            artifacts.conv_relu(tmp_path / side / name / "32x32/onnx-fp32", model_name=name)
    artifacts.conv_relu(tmp_path / "head/new/32x32/onnx-fp32")
    words: list[str] = []
    folders = str(tmp_path / "base"), str(tmp_path / "head")
    request = duel_verb.DuelRequest(min_time_s=0.02, out=tmp_path / "duel.json", max_slowdown=0.5)
    outcome = duel_verb.duel(*folders, request, progress=words.append)
    assert len(outcome.compared.comparisons) == 2
    assert {comparison.unit for comparison in outcome.compared.comparisons} == {"pair"}
    assert [result.side for result in outcome.run.results] == ["A", "B", "A", "B"]
    assert f"new/32x32/onnx-fp32 is left out: only {folders[1]} has it" in words
    labels = [row.label for row in report.build([record.load(tmp_path / "duel.json")]).rows]
    assert labels[2:] == [f"efficientvit_b1 onnx-fp32 32x32 ({words})" for words in ("A", "B against A")]
    with pytest.raises(NothingToCompare, match="no artifact in common"):
        duel_verb.duel(folders[0] + "/efficientvit_b0", folders[1], request)
    artifacts.conv_relu(tmp_path / "base/again/32x32/onnx-fp32")
    artifacts.conv_relu(tmp_path / "head/again/32x32/onnx-fp32")
    with pytest.raises(UsageError, match="twice"):
        duel_verb.duel(*folders, dataclasses.replace(request, out=tmp_path / "again.json"))
