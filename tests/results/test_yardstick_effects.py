"""Comparisons beside a yardstick: what slows both cancels, what slows the case is told, another yardstick is none."""

import dataclasses
import json
from pathlib import Path

import msgspec
import pytest

from tests.doubles import beside
from vitdeploy.cli.main import main
from vitdeploy.reports import as_github, as_history, as_html, as_json, report
from vitdeploy.results import comparison, effects, history, record
from vitdeploy.results.comparison import Compared
from vitdeploy.results.record import Run


def compared(base: Run, head: Run) -> Compared:
    return comparison.runs(base, head, max_slowdown=0.02, alpha=0.01)


def test_a_machine_that_is_slower_is_no_change_of_the_case():
    base, head = beside.run("base", 0), beside.run("head", 100, pace=beside.phases(1.15))
    (told,) = compared(base, head).comparisons
    assert (told.verdict, told.by) == ("same", "yardstick")
    assert told.ratio == pytest.approx(1, abs=0.01)
    assert told.yardstick == pytest.approx(1.17, abs=0.03)
    assert "as ratios to the yardstick (the yardstick itself changed by +" in told.reason
    assert any("1 of 1 cases are compared as ratios to the yardstick" in note for note in compared(base, head).notes)


def test_without_the_yardstick_the_same_runs_are_called_slower():
    base, head = beside.run("base", 0), beside.run("head", 100, pace=beside.phases(1.15))
    alone = [msgspec.structs.replace(run, yardstick=None, results=_alone(run)) for run in (base, head)]
    (told,) = compared(*alone).comparisons
    assert (told.verdict, told.by, told.yardstick) == ("slower", "time", None)


def _alone(run: Run) -> tuple[record.Result, ...]:
    (result,) = run.results
    trials = [msgspec.structs.replace(t, turns=None, yardstick_ns=None, yardstick_turns=None) for t in result.trials]
    return (msgspec.structs.replace(result, trials=tuple(trials)),)


@pytest.mark.parametrize("pace", [1.0, 1.15, 0.9])
def test_a_slower_case_is_told_whatever_the_machine_does(pace: float):
    base, head = beside.run("base", 0), beside.run("head", 100, pace=beside.phases(pace), slower=1.05)
    (told,) = compared(base, head).comparisons
    assert told.verdict == "slower"
    assert told.ratio == pytest.approx(1.05, abs=0.02)
    assert compared(base, head).exit_code(strict=False) == 10


def test_a_slower_machine_does_not_hide_a_faster_case():
    base, head = beside.run("base", 0), beside.run("head", 100, pace=beside.phases(1.1), slower=0.93)
    (told,) = compared(base, head).comparisons
    assert (told.verdict, told.by) == ("faster", "yardstick")


def test_another_yardstick_is_not_used_and_it_is_said():
    base, head = beside.run("base", 0), beside.run("head", 100, pace=beside.phases(1.15), network="2" * 64)
    told = compared(base, head)
    assert (told.comparisons[0].by, told.comparisons[0].yardstick) == ("time", None)
    assert any("unlike yardsticks of onnx-fp32" in note for note in told.notes)


def test_a_side_without_it_is_compared_in_time():
    base, head = beside.run("base", 0), beside.run("head", 100, beside=False)
    assert compared(base, head).comparisons[0].by == "time"


def test_a_trial_without_it_turns_the_case_to_time():
    base, head = beside.run("base", 0), beside.run("head", 100)
    (result,) = head.results
    first = msgspec.structs.replace(result.trials[0], turns=None, yardstick_ns=None, yardstick_turns=None)
    mixed = msgspec.structs.replace(result, trials=(first, *result.trials[1:]))
    told = compared(base, msgspec.structs.replace(head, results=(mixed,)))
    assert told.comparisons[0].by == "time"


def test_two_ways_share_the_error():
    change = effects.Effect(log_ratio=0.05, standard_error=0.01, degrees=8, unit="trial", count=5)
    shared = dataclasses.replace(change, choices=2)
    assert shared.chance_of(0) == pytest.approx(2 * change.chance_of(0))
    assert shared.half_width(0.01) == pytest.approx(change.half_width(0.005))
    assert dataclasses.replace(change, shift=0.02).half_width(0.01) == pytest.approx(change.half_width(0.01) + 0.02)


def test_documents_say_what_was_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    base, head = beside.run("base", 0), beside.run("head", 100, pace=beside.phases(1.15), slower=1.06)
    page = report.build([head], baseline=base)
    (row,) = json.loads(as_json.render(page))["rows"]
    assert row["change"]["by"] == "yardstick"
    assert row["change"]["yardstick"] > 1.1
    assert b"by the yardstick" in as_html.render(page)
    assert "slower (historical, by the yardstick)" in as_github.render(page).decode()
    for run in (base, head):
        record.save(run, tmp_path / f"{run.id}.json")
    assert main(["compare", str(tmp_path / "base.json"), str(tmp_path / "head.json"), "--json", "-"]) == 10
    assert json.loads(capsys.readouterr().out)["comparisons"][0]["by"] == "yardstick"


def runs_over_time(folder: Path, *, networks: tuple[str, ...] = (beside.NETWORK,), cpu: str | None = None) -> Path:
    """Twenty runs on a machine of another pace in each; from the tenth on the case is 6 % slower."""
    folder.mkdir()
    for place in range(20):
        pace = beside.phases((1.0, 1.2, 0.9, 1.1)[place % 4])
        run = beside.run(
            f"run-{place}",
            100 * place,
            pace=pace,
            slower=1.06 if place >= 10 else 1.0,
            network=networks[place % len(networks)],
            trials=3,
        )
        if cpu is not None and place == 3:
            run = msgspec.structs.replace(
                run, device=record.RunDevice(name="local", facts={**run.device.facts, "cpu": cpu})
            )
        run = msgspec.structs.replace(
            run, started_utc=f"2026-01-{1 + place:02d}T00:00:00+00:00", commit=f"c{place:03d}"
        )
        record.save(run, folder / f"{place}.json")
    return folder


def test_a_history_finds_a_change_under_phases_of_the_machine(tmp_path: Path):
    told = history.read([runs_over_time(tmp_path / "runs")])
    (series,) = told.series
    assert series.by == "yardstick"
    assert [(change.last.commit, change.first.commit) for change in series.changes] == [("c009", "c010")]
    assert series.changes[0].ratio == pytest.approx(1.06, abs=0.01)
    assert series.changes[0].before_ms == pytest.approx(10.8, abs=0.8), "a figure in ms stays one"
    page = as_history.render(told).decode()
    assert "by its ratio to the yardstick" in page
    assert "the small network that took turns with the case" in page


@pytest.mark.parametrize(
    "changes",
    [{"networks": ("1" * 64, "2" * 64)}, {"cpu": "Another CPU"}],
    ids=["another yardstick", "another machine"],
)
def test_a_history_of_unlike_yardsticks_or_machines_is_one_of_times(tmp_path: Path, changes: dict[str, str]):
    (series,) = history.read([runs_over_time(tmp_path / "runs", **changes)]).series  # pyright: ignore[reportArgumentType]
    assert series.by == "time"
    assert all(change.in_yardsticks is None for change in series.changes)
