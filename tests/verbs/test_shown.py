"""What the functions return, in a notebook: short text, escaped HTML, data frames with units, and paths."""

import csv
import inspect
import io
import os
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import pytest

import vitdeploy
from tests.doubles import make_run
from tests.doubles.pages import hostile_run
from vitdeploy.api.bench import BenchOutcome
from vitdeploy.api.cache import CacheRow, CacheRows
from vitdeploy.api.export import ExportResult, Exports
from vitdeploy.api.predict import Prediction
from vitdeploy.catalog.shown import Shown
from vitdeploy.errors import Impossible, UsageError
from vitdeploy.reports import as_csv, as_pandas, report
from vitdeploy.results import record


def exports(*models: str) -> Exports:
    error = Impossible("it cannot be", "Leave it.")
    return Exports(
        ExportResult(model=name, target="onnx-fp32", artifact=None, error=error, reused=False, seconds=0.0)
        for name in models
    )


def test_a_run_is_a_small_table_in_text_and_all_of_it_in_html():
    run = make_run.everything()
    text, html = repr(run), run._repr_html_()
    valid = sum(result.status == "valid" for result in run.results)
    assert text.splitlines()[0] == f"Run {run.id} on local: {valid} of {len(run.results)} rows valid"
    assert len(text.splitlines()) <= 15
    assert "samples_ns" not in text
    assert html.count("<tr>") == len(run.results) + html.count("<thead>")
    assert "invalid" in html
    assert next(reason.message for row in run.results for reason in row.reasons)[:20] in html


def test_hostile_names_are_text_in_a_notebook():
    html = hostile_run()._repr_html_()
    assert "<script" not in html
    assert "<img" not in html
    assert "\x1b" not in repr(hostile_run())


def test_an_outcome_shows_its_commands_table_and_is_the_path_of_its_file(tmp_path: Path):
    run = make_run.everything()
    path = tmp_path / "run.json"
    record.save(run, path)
    outcome = BenchOutcome(run=run, path=path, exit_code=0)
    assert repr(outcome).startswith("BenchOutcome: local")
    assert repr(outcome).endswith("run.json")
    assert outcome._repr_html_() == run._repr_html_()
    assert os.fspath(outcome) == str(path)
    assert vitdeploy.load(outcome).id == run.id
    assert str(vitdeploy.report(outcome)).startswith("# ")
    assert outcome.to_pandas().equals(run.to_pandas())


def test_every_outcome_is_shown_by_a_function_of_the_command_line():
    import vitdeploy.verbs.decide
    import vitdeploy.verbs.make
    import vitdeploy.verbs.manage
    import vitdeploy.verbs.measure
    import vitdeploy.verbs.study  # noqa: F401 (they define the outcomes)
    from vitdeploy.catalog import registry

    kinds: list[type[Any]] = list(Shown.__subclasses__())
    for kind in kinds:
        kinds += kind.__subclasses__()
    shown = set[str]()
    for kind in kinds:
        if hasattr(kind, "shown_by"):
            parameters = inspect.signature(registry.load(kind.shown_by)).parameters.values()
            assert [p.default for p in parameters][:1] == [inspect.Parameter.empty], kind
            assert all(p.default is not p.empty for p in list(parameters)[1:]), kind
            shown.add(kind.__name__)
    assert len(shown) >= 18
    assert {kind.__name__ for kind in kinds} - shown == {"Rows"}


def test_a_data_frame_has_a_row_a_result_and_no_figure_that_may_not_be_quoted():
    run = make_run.everything()
    frame = run.to_pandas()
    assert list(frame.columns) == list(as_pandas.COLUMNS)
    assert len(frame) == len(run.results)
    assert frame["median_ms"].notna().tolist() == (frame["status"] == "valid").tolist()
    assert frame.loc[frame["status"] != "valid", "reasons"].str.len().gt(0).all()
    units = ("_ms", "_bytes", "_per_s")
    assert all(name.endswith(units) for name in frame.columns if "median" in name or "memory" in name or "load" in name)
    empty = make_run.run().to_pandas()
    assert (list(empty.columns), len(empty)) == (list(as_pandas.COLUMNS), 0)


def test_a_data_frame_of_samples_has_all_of_them_in_their_order():
    run = make_run.everything()
    frame = run.to_pandas(samples=True)
    trials = [trial for result in run.results for trial in result.trials]
    assert len(frame) == sum(len(trial.samples_ns) for trial in trials)
    first = frame[frame["trial"] == trials[0].id]
    assert tuple(first["sample_ns"]) == trials[0].samples_ns
    assert tuple(first["sample"]) == tuple(range(len(trials[0].samples_ns)))
    assert frame["sample_ns"].dtype.kind == "i"
    assert list(make_run.run().to_pandas(samples=True).columns) == list(frame.columns)


def test_the_csv_has_the_values_of_the_data_frame():
    run = make_run.everything()
    frame = run.to_pandas()
    rows = list(csv.DictReader(io.StringIO(as_csv.render(report.build([run])).decode())))
    assert [row["case"] for row in rows] == frame["case"].tolist()
    for row, median in zip(rows, frame["median_ms"], strict=True):
        assert row["median_ms"] == ("" if pd.isna(median) else f"{median:.6g}")


def test_a_history_is_a_data_frame_in_the_order_of_time(tmp_path: Path):
    for day in (3, 1, 2):
        row = make_run.row("efficientvit_b1", "onnx-fp32", 7.0 + day, seed=10 * day)
        trials = tuple(msgspec.structs.replace(trial, id=f"{day}/{trial.id}") for trial in row.trials)
        run = msgspec.structs.replace(
            make_run.run(msgspec.structs.replace(row, trials=trials)),
            id=f"day-{day}",
            started_utc=f"2026-01-0{day}T00:00:00+00:00",
        )
        record.save(run, tmp_path / f"{day}.json")
    frame = vitdeploy.load_history(tmp_path).to_pandas()
    assert list(frame.columns) == list(as_pandas.HISTORY_COLUMNS)
    assert frame["run"].tolist() == ["day-1", "day-2", "day-3"]
    assert frame["started_utc"].is_monotonic_increasing
    assert frame["median_ms"].is_monotonic_increasing


def test_the_exports_of_one_model_stand_for_its_artifact_and_those_of_several_do_not():
    failed = exports("efficientvit_b0")
    with pytest.raises(Impossible, match="it cannot be"):
        os.fspath(failed)
    assert [str(error) for error in failed.errors] == ["it cannot be"]
    assert "failed" in repr(failed)
    assert "failed" in repr(failed[0])
    with pytest.raises(UsageError, match="2 exports stand where one artifact is expected"):
        vitdeploy.check(exports("efficientvit_b0", "efficientvit_b1"))


def test_a_prediction_shows_its_picture(tmp_path: Path):
    picture = tmp_path / "a & b.png"
    picture.write_bytes(b"\x89PNG stands for a picture")
    prediction = Prediction(
        picture=picture,
        measure="probability",
        classes=(("cat", 0.9),),
        note=None,
        weights="random weights (seed 0)",
        preprocessing="x / 255",
    )
    html = prediction._repr_html_()
    assert 'src="data:image/png;base64,iVBORy' in html
    assert 'alt="a &amp; b.png"' in html
    assert "90.0%" in repr(prediction)
    picture.unlink()
    assert "<img" not in prediction._repr_html_()


def test_long_tables_are_cut_in_text_and_whole_in_html():
    rows = CacheRows("stored", [CacheRow(name=f"model {n} " + "x" * 99, size_bytes=n, used="-") for n in range(40)])
    lines = repr(rows).splitlines()
    assert lines[0] == "CacheRows"
    assert lines[-2] == "… 28 more rows"
    assert max(map(len, lines)) <= 110
    assert rows._repr_html_().count("<tr>") == 41


def test_a_listing_knows_its_names():
    targets = vitdeploy.targets()
    assert "onnx-fp32" in targets.names
    assert set(targets.usable) <= set(targets.names)
    assert repr(targets).splitlines()[1].startswith("target ")


def test_a_plan_is_its_lines():
    plan = vitdeploy.export("efficientvit_b0", target="onnx-fp32", size=(64, 64), dry_run=True)
    assert isinstance(plan, tuple)
    assert repr(plan) == "\n".join(plan)
    assert plan[0].startswith("efficientvit_b0 64x64")


def test_errors_of_files_are_of_the_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from vitdeploy.verbs import decide

    def refuse(*_: Any) -> None:
        raise PermissionError(13, "Permission denied", "run.json")

    monkeypatch.setattr(decide.record, "load", refuse)
    with pytest.raises(vitdeploy.errors.UnreadableFile, match=r"cannot use run\.json: Permission denied"):
        vitdeploy.load("run.json")
