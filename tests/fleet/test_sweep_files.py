"""Sweeps that were interrupted are found by the plan that began them; those of other plans and whole ones are not."""

import os
from pathlib import Path

import msgspec

from tests.doubles import make_run
from vitdeploy.fleet import sweep_files
from vitdeploy.results import record
from vitdeploy.results.record import Run

WHOLE = make_run.run(make_run.row("efficientvit_b1", "onnx-fp32", 7.4, seed=1), name="whole")
HALF = msgspec.structs.replace(
    WHOLE, results=tuple(msgspec.structs.replace(row, trials=row.trials[:2]) for row in WHOLE.results)
)


def is_of_plan(run: Run) -> bool:
    return run.id == WHOLE.id


def saved(folder: Path, *runs: tuple[str, Run]) -> None:
    for number, (name, run) in enumerate(runs):
        record.save(run, folder / f"{name}.json")
        os.utime(folder / f"{name}.json", (number, number))


def test_the_newest_run_of_the_plan_that_lacks_trials(tmp_path: Path):
    other = msgspec.structs.replace(HALF, id=WHOLE.id.replace("a", "b") + "0")
    saved(tmp_path, ("lab-1", HALF), ("lab-2", HALF), ("lab-3", WHOLE), ("lab-4", other), ("shop-5", HALF))
    search = sweep_files.interrupted_sweep(is_of_plan, 0)
    assert search(tmp_path, "lab") == tmp_path / "lab-2.json"
    assert search(tmp_path, "attic") is None


def test_a_run_that_is_whole_and_lacks_evaluations(tmp_path: Path):
    saved(tmp_path, ("lab-1", WHOLE))
    evals = tmp_path / "lab-1.evals"
    assert sweep_files.interrupted_sweep(is_of_plan, 1)(tmp_path, "lab") == tmp_path / "lab-1.json"
    (evals / "parts").mkdir(parents=True)
    (evals / "e.json").write_text("{}")
    assert sweep_files.interrupted_sweep(is_of_plan, 1)(tmp_path, "lab") == tmp_path / "lab-1.json"
    (evals / "parts").rmdir()
    assert sweep_files.interrupted_sweep(is_of_plan, 1)(tmp_path, "lab") is None


def test_a_plan_that_times_nothing_has_evaluations_only(tmp_path: Path):
    (tmp_path / "lab-1.evals" / "parts").mkdir(parents=True)
    saved(tmp_path, ("lab-2", HALF))
    assert sweep_files.interrupted_sweep(None, 2)(tmp_path, "lab") == tmp_path / "lab-1.json"
