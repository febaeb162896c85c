"""How long work will take: from earlier runs and builds on this machine, and honest where there are none."""

from datetime import datetime, timedelta, timezone
from pathlib import Path

import msgspec
import pytest

from tests.doubles import make_run
from vitdeploy.api import estimates
from vitdeploy.api.bench import bench_plan
from vitdeploy.api.cases import BenchRequest, Planned
from vitdeploy.api.export import export_plan
from vitdeploy.api.export_request import ExportRequest
from vitdeploy.errors import Impossible
from vitdeploy.results import record

START = datetime(2026, 1, 31, 12, 0, tzinfo=timezone.utc)


def saved(folder: Path, name: str, spacing_s: float) -> record.Run:
    """A run of two cases, a trial every so many seconds."""
    names = ("efficientvit_b0", "efficientvit_b1")
    rows = [make_run.row(model, "onnx-fp32", 7.4, seed=seed) for seed, model in enumerate(names, 1)]
    run = make_run.run(*rows, name=name)
    count = len(run.results)
    timed = [
        msgspec.structs.replace(
            result,
            trials=tuple(
                msgspec.structs.replace(
                    trial,
                    started_utc=(START + timedelta(seconds=spacing_s * (count * index + place))).isoformat(
                        timespec="milliseconds"
                    ),
                )
                for index, trial in enumerate(result.trials)
            ),
        )
        for place, result in enumerate(run.results)
    ]
    run = msgspec.structs.replace(run, results=tuple(timed))
    record.save(run, folder / f"{name}.json")
    return run


def test_a_case_takes_what_it_took_with_the_new_sampling_time(tmp_path: Path):
    run = saved(tmp_path, "local-1", 4.0)
    cases = [Planned(variant=result.case.variant, streams=1) for result in run.results]
    around_s = 4.0 - run.protocol.min_time_s
    words = estimates.timing_words(cases, device="local", trials=10, min_time_s=2.0, folder=tmp_path)
    expected_s = 2 * 10 * (around_s + 2.0)
    assert f"about {estimates.units.seconds(expected_s)} for 2 cases (from earlier runs" in words
    wide = estimates.timing_words(cases, device="local", trials=10, min_time_s=2.0, most=3.0, folder=tmp_path)
    assert f"up to {estimates.units.seconds(3 * expected_s)}" in wide


def test_what_was_never_timed_counts_with_its_sampling_and_is_said(tmp_path: Path):
    run = saved(tmp_path, "local-1", 4.0)
    (tmp_path / "broken.json").write_text("{")
    known, other = (Planned(variant=result.case.variant, streams=1) for result in run.results)
    new = Planned(variant=msgspec.structs.replace(run.results[0].case, size=(320, 320)).variant, streams=1)
    words = estimates.timing_words([known, other, new], device="local", trials=5, min_time_s=1.0, folder=tmp_path)
    assert "at least" in words
    assert "1 of the cases were never timed here" in words
    for device, folder in (("orin", tmp_path), ("local", tmp_path / "none")):
        said = estimates.timing_words([known], device=device, trials=5, min_time_s=1.0, folder=folder)
        assert said.startswith("time: at least 5.0 s for 1 case (sampling alone")


def test_a_pause_before_a_resumption_is_no_work(tmp_path: Path):
    run = saved(tmp_path, "local-1", 4.0)
    first, *others = run.results
    late = tuple(
        msgspec.structs.replace(trial, started_utc=(START + timedelta(hours=2, seconds=4 * place)).isoformat())
        for place, trial in enumerate(others[0].trials)
    )
    paused = msgspec.structs.replace(run, results=(first, msgspec.structs.replace(others[0], trials=late)))
    spacing_s = estimates._spacing_s(paused)
    assert spacing_s is not None
    assert spacing_s < 10


def test_cases_that_are_left_out_take_no_time():
    case = make_run.row("efficientvit_b0", "onnx-fp32", 7.4, seed=1).case
    refused = Planned(variant=case.variant, streams=1, refused=Impossible("x", "y."))
    assert "none" in estimates.timing_words([refused], device="local", trials=5, min_time_s=1.0)


def test_the_plans_end_with_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert bench_plan(["efficientvit_b0"], BenchRequest())[-1].startswith("time: at least 5.0 s")
    assert export_plan(["efficientvit_b0"], ExportRequest(target="onnx-fp32"))[-1].startswith("time: not known")
    assert not (tmp_path / "cache").exists()
