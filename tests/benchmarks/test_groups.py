"""Groups of a bench: rows of one round that take turns, what becomes of those that fail, and resuming."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.doubles import artifacts
from tests.doubles.fakes import FakeConnection, fake_trial
from vitdeploy.benchmarks import bench
from vitdeploy.benchmarks.trial import order
from vitdeploy.benchmarks.trial.case_trials import Job
from vitdeploy.devices import inventory
from vitdeploy.processes.connection import CommandResult
from vitdeploy.results import record

TURN_COUNTS = (3, 3, 3, 3)


def answered(reply: Any, exit_code: int = 0) -> CommandResult:
    return CommandResult(exit_code=exit_code, stdout=json.dumps(reply), stderr="")


def trial_in_turns(job: dict[str, Any], place: int, sides: int) -> dict[str, Any]:
    places = range(place, len(TURN_COUNTS) * sides, sides)
    turns = {"counts": TURN_COUNTS, "places": list(places), "first_ns": [1] * len(TURN_COUNTS)}
    return fake_trial(job, samples_ns(job), turns=turns)


def samples_ns(job: dict[str, Any]) -> list[int]:
    """No two trials have the same ones."""
    generator = random.Random(job["trial"]["id"].partition("/")[2])
    return [1_000_000 + generator.randrange(20_000) for _ in range(12)]


def driver(refuse: Callable[[list[dict[str, Any]]], Any] = lambda sides: None) -> FakeConnection:
    """A device whose driver answers every group by turns, unless ``refuse`` has another reply."""

    def answer(job: dict[str, Any]) -> CommandResult | None:
        if "sides" not in job:
            return refuse([job]) or answered({"reply": fake_trial(job, samples_ns(job))})
        trials = [{"trial": trial_in_turns(side, i, len(job["sides"]))} for i, side in enumerate(job["sides"])]
        return refuse(job["sides"]) or answered({"reply": {"sides": trials, "does_not_fit": None}})

    return FakeConnection(answer)


def jobs_in(folder: Path, count: int = 3) -> list[Job]:
    made = [artifacts.plain_file(folder / name, name.encode()) for name in "abcdef"[:count]]
    cases = [
        msgspec.structs.replace(artifacts.case_of(side), size=(32 * (place + 1), 32)) for place, side in enumerate(made)
    ]
    return [Job(case=case, compute="cpu", artifact=side) for case, side in zip(cases, made, strict=True)]


def timed(folder: Path, link: FakeConnection, *, resume: bool = False, groups: Any = ((0, 2),), turn_s: Any = 0.06):
    words: list[str] = []
    run = bench.run(
        jobs_in(folder),
        device=inventory.find("local"),
        protocol=bench.make_protocol(trials=3, min_time_s=0.01),
        out=folder / "run.json",
        groups=[record.Group(rows=rows, turn_s=turn_s) for rows in groups],
        resume=resume,
        connection=link,
        progress=words.append,
    )
    assert record.load(folder / "run.json") == run
    return run, words


def places(job: dict[str, Any]) -> list[int]:
    """Rows that a request to the device is of."""
    return sorted(int(side["trial"]["id"].split("/")[1]) for side in job.get("sides", [job]))


def test_a_group_takes_turns_and_the_other_rows_are_timed_alone(tmp_path: Path):
    link = driver()
    run, _ = timed(tmp_path, link)
    assert sorted(map(places, link.jobs)) == [[0, 2]] * 3 + [[1]] * 3
    assert run.groups == (record.Group(rows=(0, 2), turn_s=0.06),)
    assert [[trial.pair for trial in row.trials] for row in run.results] == [[0, 1, 2], [None] * 3, [0, 1, 2]]
    assert [[trial.turns is not None for trial in row.trials] for row in run.results] == [
        [True] * 3,
        [False] * 3,
        [True] * 3,
    ]
    assert [row.status for row in run.results] == ["valid"] * 3


def test_whole_trials_are_run_where_they_are_asked_for(tmp_path: Path):
    link = driver()
    run, _ = timed(tmp_path, link, turn_s=None)
    assert sorted(map(places, link.jobs)) == [[0]] * 3 + [[1]] * 3 + [[2]] * 3
    assert run.groups == (record.Group(rows=(0, 2), turn_s=None),)


def test_a_group_that_does_not_fit_is_timed_by_whole_trials_and_says_so(tmp_path: Path):
    link = driver(
        lambda sides: answered({"reply": {"sides": [{}, {}], "does_not_fit": "too little"}}) if len(sides) > 1 else None
    )
    run, words = timed(tmp_path, link)
    assert [group.whole for group in run.groups] == ["too little"]
    assert sum(places(job) == [0, 2] for job in link.jobs) == 1
    assert [len(row.trials) for row in run.results] == [3, 3, 3]
    assert any("whole trials, without turns, of" in line and line.endswith("too little") for line in words)


def failing(*, alone: bool) -> Callable[[list[dict[str, Any]]], CommandResult | None]:
    """Row 2 fails beside others, and alone where told so."""
    error = {"kind": "ToolchainFailed", "message": "it refuses", "hint": "Look."}

    def refuse(sides: list[dict[str, Any]]) -> CommandResult | None:
        fails = [places(side) == [2] for side in sides]
        if not any(fails):
            return None
        if len(sides) == 1:
            return answered({"error": error}, 5) if alone else None
        return answered({"reply": {"sides": [{"error": error} if bad else {} for bad in fails], "does_not_fit": None}})

    return refuse


def test_a_row_that_fails_alone_too_leaves_the_others_of_its_group(tmp_path: Path):
    link = driver(failing(alone=True))
    run, _ = timed(tmp_path, link, groups=((0, 1, 2),))
    assert run.results[2].status == "failed"
    assert [sum(places(job) == rows for job in link.jobs) for rows in ([0, 1, 2], [2], [0, 1])] == [1, 1, 3]
    assert all(trial.turns is not None for row in run.results[:2] for trial in row.trials)


def test_a_row_that_fails_beside_the_others_only_is_no_failure(tmp_path: Path):
    run, words = timed(tmp_path, driver(failing(alone=False)))
    assert [row.status for row in run.results] == ["valid"] * 3
    assert [len(row.trials) for row in run.results] == [3, 3, 3]
    assert "fails beside the others, and not alone: it refuses" in (run.groups[0].whole or "")
    assert any("it refuses" in line for line in words)


def test_a_resumed_run_times_a_group_together_and_nothing_twice(tmp_path: Path):
    def interrupt_at(count: int) -> Callable[[list[dict[str, Any]]], None]:
        asked: list[int] = []

        def refuse(sides: list[dict[str, Any]]) -> None:
            asked.append(len(sides))
            if len(asked) == count:
                raise KeyboardInterrupt

        return refuse

    with pytest.raises(KeyboardInterrupt):
        timed(tmp_path, driver(interrupt_at(4)))
    begun = record.load(tmp_path / "run.json")
    kept = {trial.id: trial for row in begun.results for trial in row.trials}
    assert len(kept) in (4, 5)  # three requests, of one trial or of two
    link = driver()
    run, words = timed(tmp_path, link, resume=True)
    trials = [trial for row in run.results for trial in row.trials]
    assert len(trials) == len({trial.id for trial in trials}) == 9
    assert {trial.id: trial for trial in trials if trial.id in kept} == kept
    assert len(link.jobs) == 3
    assert f"{len(kept)} trials are there" in words[0]


def test_a_group_of_which_a_trial_is_missing_is_timed_anew_together(tmp_path: Path):
    timed(tmp_path, driver())
    run = record.load(tmp_path / "run.json")
    short = msgspec.structs.replace(run.results[2], trials=run.results[2].trials[:2])
    record.save(msgspec.structs.replace(run, results=(*run.results[:2], short)), tmp_path / "run.json")
    link = driver()
    run, _ = timed(tmp_path, link, resume=True)
    assert list(map(places, link.jobs)) == [[0, 2]]
    assert [len(row.trials) for row in run.results] == [3, 3, 3]


def test_the_rows_of_a_group_are_beside_each_other_in_every_round():
    protocol = bench.make_protocol(trials=20)
    units = order.schedule(5, "run", protocol, [(1, 3, 4)])
    assert {tuple(sorted(slot.place for slot in unit)) for unit in units} == {(0,), (2,), (1, 3, 4)}
    assert len({tuple(slot.place for slot in unit) for unit in units}) > 4
    assert [slot.order for unit in units for slot in unit] == list(range(100))
    assert {slot.pair for unit in units for slot in unit if slot.place == 3} == set(range(20))
