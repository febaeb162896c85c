"""The history page: levels that changed are found and named by commit, noise is not, and every text is only text."""

import json
import math
import random
from pathlib import Path

import msgspec
import numpy as np
import pytest

from tests.doubles import make_run
from tests.doubles.pages import HOSTILE, Page
from vitdeploy.cli.main import main
from vitdeploy.errors import NothingToCompare, UnreadableFile
from vitdeploy.reports import as_history
from vitdeploy.results import history, record, stats

BASE = make_run.row("efficientvit_b1", "onnx-fp32", 7.4, seed=1, trials=3, count=20)


def write_runs(folder: Path, levels: list[float], *, spread: float = 0.004) -> Path:
    """One run a level; commits ``c000`` …; the last file is written first, so that only dates order them."""
    generator = random.Random(0)
    folder.mkdir(exist_ok=True)
    for place, level in reversed(list(enumerate(levels))):
        assert BASE.summary is not None
        factor = level * math.exp(generator.gauss(0, spread)) / BASE.summary.median_ms
        run = make_run.run(make_run.at_level(BASE, factor), name=f"run-{place}")
        stamp = f"2026-{1 + place // 28:02d}-{1 + place % 28:02d}T00:00:00+00:00"
        run = msgspec.structs.replace(run, started_utc=stamp, commit=f"c{place:03d}")
        record.save(run, folder / f"{1000 - place}.json")
    return folder


def test_a_change_is_named_by_the_commits_on_both_sides(tmp_path: Path):
    found = history.read([write_runs(tmp_path / "runs", [7.0] * 30 + [7.4] * 20 + [6.5] * 30)])
    (series,) = found.series
    assert [moment.commit for moment in found.moments[:3]] == ["c000", "c001", "c002"]
    assert [(c.last.commit, c.first.commit) for c in series.changes] == [("c029", "c030"), ("c049", "c050")]
    assert series.changes[0].ratio == pytest.approx(7.4 / 7.0, rel=0.01)


def test_moments_with_unlike_offsets_are_in_the_order_of_time(tmp_path: Path):
    stamps = {"later": "2026-01-01T23:30:00+00:00", "earlier": "2026-01-02T04:00:00+05:00"}
    for name, stamp in stamps.items():
        run = make_run.run(make_run.at_level(BASE, 1.0 if name == "later" else 1.1), name=name)
        record.save(msgspec.structs.replace(run, started_utc=stamp), tmp_path / f"{name}.json")
    assert [moment.id for moment in history.read([tmp_path]).moments] == ["earlier", "later"]


def test_noise_and_a_single_excursion_are_no_change(tmp_path: Path):
    levels = [7.0] * 40
    levels[20] = 9.0
    (series,) = history.read([write_runs(tmp_path / "runs", levels)]).series
    assert series.changes == ()


def test_a_change_too_small_to_matter_is_not_marked(tmp_path: Path):
    (series,) = history.read([write_runs(tmp_path / "runs", [7.0] * 50 + [7.03] * 50, spread=0.0005)]).series
    assert series.changes == ()


@pytest.mark.parametrize("size", [0, 1, 5, 6, 50, 400])
def test_pure_noise_has_few_change_points(size: int):
    found = sum(len(stats.change_points(np.random.default_rng(seed).normal(size=size))) for seed in range(40))
    assert found <= 8


def test_a_constant_series_and_a_clean_step():
    assert stats.change_points(np.ones(50)) == []
    assert stats.change_points([1.0] * 10 + [2.0] * 10) == [10]


def test_figures_that_may_not_be_quoted_are_counted_not_drawn(tmp_path: Path):
    folder = write_runs(tmp_path / "runs", [7.0] * 6)
    throttled = tuple(msgspec.structs.replace(trial, throttled=True) for trial in BASE.trials)
    bad = msgspec.structs.replace(BASE, trials=throttled, status="valid")  # what it says of itself does not count
    record.save(msgspec.structs.replace(make_run.run(bad, name="bad"), commit="bad"), folder / "bad.json")
    (series,) = history.read([folder]).series
    assert (len(series.medians_ms), series.left_out) == (6, 1)


def test_a_figure_that_was_edited_is_derived_again(tmp_path: Path):
    folder = write_runs(tmp_path / "runs", [7.0] * 3)
    path = folder / "1000.json"
    run = record.load(path)
    summary = run.results[0].summary
    assert summary is not None
    edited = path.read_text().replace(f'"median_ms":{summary.median_ms}', '"median_ms":1.0')
    assert edited != path.read_text()
    path.write_text(edited)
    (series,) = history.read([folder]).series
    assert series.medians_ms[0] == summary.median_ms


def test_a_run_that_is_named_twice_counts_once_and_two_runs_of_one_id_are_refused(tmp_path: Path):
    folder = write_runs(tmp_path / "runs", [7.0] * 3)
    (series,) = history.read([folder, folder / "1000.json"]).series
    assert len(series.medians_ms) == 3
    other = make_run.run(make_run.at_level(BASE, 2.0), name="run-0")
    record.save(other, tmp_path / "other.json")
    with pytest.raises(UnreadableFile, match="different runs of the id run-0"):
        history.read([folder, tmp_path / "other.json"])


def test_a_copy_of_a_run_under_another_id_is_refused(tmp_path: Path):
    folder = write_runs(tmp_path / "runs", [7.0] * 3)
    copied = msgspec.structs.replace(record.load(folder / "1000.json"), id="another")
    record.save(copied, folder / "copy.json")
    with pytest.raises(UnreadableFile, match="under another id"):
        history.read([folder])
    with pytest.raises(UnreadableFile, match="under another id"):
        record.load_all([folder / "1000.json", folder / "copy.json"])


def test_a_missing_interval_is_a_gap_and_an_absurd_one_leaves_the_picture():
    row = make_run.row("efficientvit_b1", "onnx-fp32", 5.0, seed=1)
    moments = tuple(history.Moment(id=f"{place}", started_utc="2026-01-01", commit="") for place in range(6))
    usual = (4.9, 5.1)
    series = history.Series(
        case=row.case,
        places=tuple(range(6)),
        medians_ms=(5.0,) * 6,
        intervals_ms=(usual, usual, None, usual, (0.1, 900.0), usual),
        changes=(),
        left_out=0,
    )
    page = Page(as_history.render(history.History(moments=moments, series=(series,))).decode())
    bands = [attributes["points"] for tag, attributes in page.elements if attributes.get("class") == "band"]
    heights = [[float(point.split(",")[1]) for point in (band or "").split()] for band in bands]
    assert [len(points) for points in heights] == [4, 6]
    assert 0 < min(heights[0]) < max(heights[0]) < as_history.HEIGHT
    assert min(heights[1]) < 0
    assert max(heights[1]) > as_history.HEIGHT


def _page(stamps: list[str], *series: history.Series) -> Page:
    moments = tuple(history.Moment(id=f"{place}", started_utc=stamp, commit="") for place, stamp in enumerate(stamps))
    return Page(as_history.render(history.History(moments=moments, series=series)).decode())


def _plain_series(places: tuple[int, ...], intervals: tuple[tuple[float, float] | None, ...]) -> history.Series:
    medians = (5.0,) * len(places)
    return history.Series(
        case=BASE.case, places=places, medians_ms=medians, intervals_ms=intervals, changes=(), left_out=0
    )


def test_the_axis_is_time_and_names_its_days():
    page = _page(
        ["2026-01-01T00:00:00+00:00", "2026-01-02T00:00:00+00:00", "2026-01-11T00:00:00+00:00"],
        _plain_series((0, 1, 2), ((4.9, 5.1),) * 3),
    )
    (line,) = [attributes["points"] for tag, attributes in page.elements if tag == "polyline"]
    assert [float(point.split(",")[0]) for point in line.split()] == [0.0, 96.0, 960.0]
    assert "2026-01-01" in page.text
    assert "2026-01-11" in page.text


def test_a_single_run_is_drawn_and_a_missing_interval_is_a_ring():
    stamps = ["2026-01-01T00:00:00+00:00", "2026-01-02T00:00:00+00:00", "2026-01-03T00:00:00+00:00"]
    single = _page(stamps, _plain_series((1,), ((4.9, 5.1),)))
    kinds = [attributes.get("class") for _, attributes in single.elements]
    assert (kinds.count("dot-run"), kinds.count("dot-hole"), kinds.count("bar-95")) == (1, 0, 1)
    assert "1 valid run" in single.text
    rings = _page(stamps, _plain_series((0, 1, 2), ((4.9, 5.1), None, (4.9, 5.1))))
    kinds = [attributes.get("class") for _, attributes in rings.elements]
    assert (kinds.count("dot-run"), kinds.count("dot-hole")) == (3, 1)
    assert "3 valid runs, 1 without an interval" in rings.text


def test_runs_of_one_instant_stand_side_by_side():
    page = _page(["2026-01-01T00:00:00+00:00"] * 3, _plain_series((0, 1, 2), (None,) * 3))
    (line,) = [attributes["points"] for tag, attributes in page.elements if tag == "polyline"]
    assert [float(point.split(",")[0]) for point in line.split()] == [0.0, 480.0, 960.0]


def test_the_page_tells_the_change_and_carries_its_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = write_runs(tmp_path / "runs", [7.0] * 30 + [7.7] * 30)
    out = tmp_path / "history.html"
    assert main(["report", str(folder), "--format", "history", "--out", str(out)]) == 0
    page = Page(out.read_text())
    assert "1 change of level" in page.text
    assert "between c029 and c030" in page.text
    data = json.loads(page.scripts[0])
    assert len(data["moments"]) == len(data["curves"][0]["medians"]) == 60
    for _, attributes in page.elements:
        assert attributes.get("src", "#").startswith(("#", "data:"))
        assert attributes.get("href", "#").startswith(("#", "data:"))
    assert capsys.readouterr().out.strip() == str(out)


def test_hostile_texts_are_only_text():
    row = make_run.row(HOSTILE, "onnx-fp32", 5.0, seed=1, weights=f"random:{HOSTILE}", device=HOSTILE)
    assert row.summary is not None
    moments = tuple(history.Moment(id=HOSTILE, started_utc=HOSTILE, commit=HOSTILE) for _ in range(2))
    change = history.Change(place=1, before_ms=1.0, after_ms=2.0, last=moments[0], first=moments[1])
    series = history.Series(
        case=row.case,
        places=(0, 1),
        medians_ms=(1.0, 2.0),
        intervals_ms=(None, (1.9, 2.1)),
        changes=(change,),
        left_out=1,
    )
    page = Page(as_history.render(history.History(moments=moments, series=(series,))).decode())
    assert not [a for _, a in page.elements if any(name.startswith("on") for name in a)]
    assert not [tag for tag, _ in page.elements if tag == "img"]
    assert len(page.scripts) == 2


def test_no_run_and_a_broken_one_are_told(tmp_path: Path):
    with pytest.raises(NothingToCompare):
        history.read([tmp_path])
    (tmp_path / "x.json").write_text('{"schema": 1}')
    with pytest.raises(UnreadableFile, match=r"x\.json is not a valid run file"):
        history.read([tmp_path])
    folder = write_runs(tmp_path / "runs", [7.0])
    newer = folder / "1000.json"
    newer.write_text(newer.read_text().replace('"schema": 1', '"schema": 99', 1))
    with pytest.raises(UnreadableFile, match="schema 99"):
        history.read([folder])
