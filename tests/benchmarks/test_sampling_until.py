"""Sampling until it is clear: trials are added to rows whose interval is wide, and only as long as the budget lasts."""

import itertools
import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.doubles import artifacts
from tests.doubles.fakes import FakeConnection, fake_trial
from vitdeploy.api import bench as bench_verb
from vitdeploy.api.cases import BenchRequest
from vitdeploy.benchmarks import bench
from vitdeploy.benchmarks.trial.case_trials import Job
from vitdeploy.devices import inventory
from vitdeploy.errors import UsageError
from vitdeploy.processes.connection import CommandResult
from vitdeploy.results import record


def device(spread: Callable[[str], float], seed: int = 0) -> FakeConnection:
    """A device on which the processes of a row scatter by ``spread`` of its place."""
    generator = random.Random(seed)

    def answer(job: dict[str, Any]):
        median = 1e7 * math.exp(generator.gauss(0, spread(job["trial"]["id"].split("/")[1])))
        trial = fake_trial(job, [round(median)] * 20)
        return CommandResult(exit_code=0, stdout=json.dumps({"reply": trial}), stderr="")

    return FakeConnection(answer)


def run(tmp_path: Path, link: FakeConnection, *, rows: int = 1, resume: bool = False, **options: Any) -> record.Run:
    files = [artifacts.plain_file(tmp_path / str(place), str(place).encode()) for place in range(rows)]
    cases = [artifacts.case_of(file, threads=place + 1) for place, file in enumerate(files)]
    return bench.run(
        [Job(case=case, compute="cpu", artifact=file) for case, file in zip(cases, files, strict=True)],
        device=inventory.find("local"),
        protocol=bench.make_protocol(**options),
        out=tmp_path / "run.json",
        resume=resume,
        connection=link,
    )


def test_a_quiet_row_gets_no_more_trials(tmp_path: Path):
    made = run(tmp_path, device(lambda _: 0.001), until=0.05)
    assert len(made.results[0].trials) == 5
    assert not bench.is_unfinished(made)


def test_a_given_number_is_exact(tmp_path: Path):
    assert len(run(tmp_path, device(lambda _: 0.3), trials=4).results[0].trials) == 4


def test_only_wide_rows_are_sampled_longer_until_the_budget_is_spent(tmp_path: Path):
    made = run(tmp_path, device(lambda place: 0.5 if place == "1" else 0.001), rows=2, until=0.05)
    quiet, noisy = (len(result.trials) for result in made.results)
    assert quiet == 5
    assert 15 <= noisy <= 40
    spent_s = sum(trial.wall_ns for result in made.results for trial in result.trials) / 1e9
    first_s = sum(trial.wall_ns for result in made.results for trial in result.trials if trial.order < 10) / 1e9
    assert spent_s >= bench.BUDGET_FACTOR * first_s
    assert len({trial.id for result in made.results for trial in result.trials}) == quiet + noisy
    assert not [reason for result in made.results for reason in result.reasons if reason.code == "incomplete"]


def test_it_ends_when_the_interval_is_narrow(tmp_path: Path):
    made = run(tmp_path, device(lambda _: 0.06, seed=3), until=0.05, time_budget_s=100.0)
    summary = made.results[0].summary
    assert summary is not None
    assert summary.median_ci95_ms is not None
    low, high = summary.median_ci95_ms
    assert 5 < summary.trials < bench.MOST_ROUNDS
    assert math.sqrt(high / low) - 1 <= 0.05


def test_an_interrupted_run_goes_on_where_it_was(tmp_path: Path):
    calls = itertools.count()
    steady = device(lambda _: 0.5)

    def breaking(job: dict[str, Any]):
        if next(calls) == 8:
            raise KeyboardInterrupt
        return steady._answer(job)  # pyright: ignore[reportPrivateUsage]

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, FakeConnection(breaking), until=0.05)
    cut = record.load(tmp_path / "run.json")
    assert bench.is_unfinished(cut), "`--resume` without a name finds it, though each row has its five trials"
    kept = {trial.id for trial in cut.results[0].trials}
    assert len(kept) == 8
    resumed = run(tmp_path, device(lambda _: 0.5, seed=1), until=0.05, resume=True)
    assert kept < {trial.id for trial in resumed.results[0].trials}
    assert len(resumed.results[0].trials) >= 12
    assert not bench.is_unfinished(resumed)


@pytest.mark.parametrize(
    "options",
    [{"until": 0.0}, {"until": 1.5}, {"until": math.nan}, {"time_budget_s": 0.0}, {"time_budget_s": math.inf}],
)
def test_what_means_nothing_is_refused(options: dict[str, Any]):
    with pytest.raises(UsageError):
        bench.make_protocol(**options)


def test_the_plan_says_when_it_ends():
    (line, *_) = bench_verb.bench_plan(["efficientvit_b0"], BenchRequest())
    assert "more until the interval is within ±5.0%" in line
    (line, *_) = bench_verb.bench_plan(["efficientvit_b0"], BenchRequest(trials=3))
    assert "3 trials" in line
    assert "until" not in line
