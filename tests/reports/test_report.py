"""What a report decides before any format: order, sections, ratios, what is lacking and why, and the baseline."""

import json
import math
from typing import Any

import msgspec
import pytest

from tests.doubles import make_run
from vitdeploy.artifacts.weights_origin import Official
from vitdeploy.catalog import checkpoint_identity, checkpoints, registry
from vitdeploy.errors import NothingToCompare
from vitdeploy.reports import as_html, cells, origins, report
from vitdeploy.reports.charts import points, report_charts, vega
from vitdeploy.results import comparison, record


def built(*results, **more) -> report.Report:
    return report.build([make_run.run(*results)], **more)


def only(found: report.Report) -> report.ReportRow:
    (row,) = found.rows
    return row


def contrast(one: str, other: str) -> float:
    """Source: WCAG 2.2, relative luminance and contrast ratio."""

    def luminance(code: str) -> float:
        parts = [int(code[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_throughput_stands_apart_from_latency_whether_by_streams_or_by_batch():
    plain, streams, batch = (
        make_run.row("efficientvit_b1", "onnx-fp32", 7, seed=i, streams=s, batch=b)
        for i, (s, b) in enumerate(((1, 1), (2, 1), (1, 8)))
    )
    found = built(plain, streams, batch)
    assert [section.title for section in found.sections] == ["Latency", "Throughput"]
    assert [len(section.rows) for section in found.sections] == [1, 2]


def test_rows_are_ordered_by_task_family_and_arithmetic_whatever_their_order_in_the_run():
    rows = make_run.everything().results
    names = [row.label for row in built(*rows).rows]
    assert names == [row.label for row in built(*reversed(rows)).rows]
    tasks = [row.task for row in built(*rows).sections[0].rows]
    assert tasks == sorted(tasks)


def test_a_ratio_is_between_targets_of_one_case_and_its_interval_comes_from_both_sides():
    fast, slow = (
        make_run.row("efficientvit_b1", target, ms, seed=seed)
        for seed, (target, ms) in enumerate((("onnx-fp32", 8.0), ("torch-fp32", 24.0)))
    )
    ratios = {row.result.case.target: row.faster for row in built(fast, slow).rows}
    assert ratios["torch-fp32"] is None
    found = ratios["onnx-fp32"]
    assert found is not None
    assert found.against == "torch-fp32"
    assert found.value == pytest.approx(3.0, rel=0.02)
    assert found.interval is not None
    assert found.interval[0] < found.value < found.interval[1]
    assert math.sqrt(found.interval[0] * found.interval[1]) == pytest.approx(found.value)


def test_without_torch_the_slowest_target_is_the_measure():
    rows = [
        make_run.row("efficientvit_b1", f"trt-{p}", ms, seed=i) for i, (p, ms) in enumerate((("fp16", 2), ("fp32", 5)))
    ]
    found = {row.result.case.target: row.faster for row in built(*rows).rows}
    assert found["trt-fp32"] is None
    assert found["trt-fp16"] is not None
    assert found["trt-fp16"].against == "trt-fp32"


def test_no_ratio_to_what_may_not_be_quoted_nor_between_cases_that_differ():
    bad = make_run.row("efficientvit_b1", "torch-fp32", 24, seed=1, parity=make_run.FAILED)
    other = make_run.row("efficientvit_b1", "torch-fp32", 24, seed=2, threads=1)
    good = make_run.row("efficientvit_b1", "onnx-fp32", 8, seed=3)
    assert all(row.faster is None for row in built(bad, other, good).rows)


def test_two_trials_have_a_ratio_without_an_interval():
    rows = [
        make_run.row("efficientvit_b1", t, ms, seed=i, trials=2)
        for i, (t, ms) in enumerate((("onnx-fp32", 8), ("torch-fp32", 24)))
    ]
    (ratio,) = [row.faster for row in built(*rows).rows if row.faster]
    assert ratio.interval is None
    assert cells.faster_interval(ratio) == "–"


def test_what_is_lacking_says_why():
    few = only(built(make_run.row("efficientvit_b1", "onnx-fp32", 7, seed=1, trials=2, count=100)))
    assert set(few.lacking) == {"median_ci95_ms", "p99_ms"}
    assert "3 trials, not 2" in few.lacking["median_ci95_ms"]
    assert "662" in few.lacking["p99_ms"]
    assert not only(built(make_run.row("efficientvit_b1", "onnx-fp32", 7, seed=1))).lacking
    assert not only(built(make_run.failed("efficientvit_b1", "m", "h"))).lacking


def test_medians_of_blocks_have_no_percentiles_and_say_so():
    made = make_run.row("efficientvit_b1", "onnx-fp32", 7, seed=1)
    trials = tuple(msgspec.structs.replace(trial, sample_kind="block_median") for trial in made.trials)
    from vitdeploy.results import record

    found = only(built(record.rederive(msgspec.structs.replace(made, trials=trials))))
    assert "medians of blocks" in found.lacking["p99_ms"]
    assert "medians of blocks" in found.lacking["p90_ms"]


def test_labels_differ_even_where_cases_look_alike():
    one = make_run.row("efficientvit_b1", "onnx-fp32", 7, seed=1)
    two = make_run.row("efficientvit_b1", "onnx-fp32", 9, seed=2, threads=1)
    same = report.build([make_run.run(one, two, name="a"), make_run.run(one, name="b"), make_run.run(one, name="b")])
    labels = [row.label for row in same.rows]
    assert len(set(labels)) == len(labels) == 4


def test_rows_of_several_devices_say_where_and_those_of_one_do_not():
    one, two = (make_run.row("efficientvit_b1", "onnx-fp32", 7, seed=s, device=f"orin-{s}") for s in (1, 2))
    sweep = report.build([make_run.run(two, one)])
    assert [row.label for row in sweep.rows] == [f"efficientvit_b1 onnx-fp32 224x224, on orin-{n}" for n in (1, 2)]
    assert [cells.conditions(row) for row in sweep.rows] == ["on orin-1", "on orin-2"]
    page = registry.load("vitdeploy.reports.as_html:render")(sweep).decode()
    assert "on orin-1, 2 threads" in page
    assert "on orin-2, 2 threads" in page
    alone = only(report.build([make_run.run(one)]))
    assert (alone.label, cells.conditions(alone)) == ("efficientvit_b1 onnx-fp32 224x224", "")


def test_a_baseline_of_the_same_machine_gives_each_row_its_change():
    before = make_run.run(make_run.row("efficientvit_b1", "onnx-fp32", 7.0, seed=1), name="before")
    after = make_run.run(make_run.row("efficientvit_b1", "onnx-fp32", 8.4, seed=2), name="after")
    row = only(report.build([after], before))
    assert row.change is not None
    assert row.change.verdict == "slower"
    assert cells.change(row).startswith("slower +")


def test_a_baseline_of_another_machine_gives_none_and_says_which_facts_differ():
    made = make_run.row("efficientvit_b1", "onnx-fp32", 7.0, seed=1)
    before = make_run.run(made, name="before", facts={**make_run.FACTS, "cpu": "Another"})
    found = report.build([make_run.run(made, name="after")], before)
    assert only(found).change is None
    assert any("before" in warning and "cpu" in warning for warning in found.warnings)


def test_another_vitdeploy_is_what_is_under_test_and_another_runtime_is_not_the_same_conditions():
    mine, packages = make_run.run(), dict(make_run.FACTS["packages"])
    newer = make_run.run(facts={**make_run.FACTS, "packages": {**packages, "vitdeploy": "9"}})
    other = make_run.run(facts={**make_run.FACTS, "packages": {**packages, "onnxruntime": "9"}})
    assert comparison.differences(mine, newer) == []
    assert comparison.differences(mine, other) == ["packages"]


def test_the_warnings_say_random_weights_bad_rows_and_uncommitted_changes():
    run = make_run.everything()
    dirty = msgspec.structs.replace(run, vitdeploy=msgspec.structs.replace(run.vitdeploy, dirty=True))
    text = " ".join(report.build([dirty]).warnings)
    assert "Random weights (seed 0) in all models" in text
    assert "2 of 8 cases" in text
    assert "uncommitted" in text


def test_the_tally_counts_what_is_there():
    tally = report.build([make_run.everything()]).tally
    assert (tally.cases, tally.quotable, tally.proven, tally.compared) == (8, 6, 6, 7)
    (gain,) = tally.gains
    assert gain.cases == 2
    assert 2.5 < gain.lowest < gain.highest < 3.5


@pytest.mark.parametrize(
    ("model", "family", "variant"),
    [
        ("efficientvit_b1", "efficientvit_b*", "b1"),
        ("efficientvit_seg_l2_ade20k", "efficientvit_seg_l*_ade20k", "l2"),
        ("efficientvit_sam_xl1", "efficientvit_sam_xl*", "xl1"),
        ("segnext_t_cityscapes", "segnext_*_cityscapes", "t"),
        ("efficientvit_sr_w075_x2", "efficientvit_sr_w075_x2", "efficientvit_sr_w075_x2"),
        ("onnx:my_b1.onnx", "onnx:my_b1.onnx", "onnx:my_b1.onnx"),
    ],
)
def test_families_leave_the_size_open(model: str, family: str, variant: str):
    assert report.family(model) == family
    assert report.variant(model) == variant


def test_every_model_of_a_family_shares_task_and_data_set():
    seen: dict[str, tuple[str, str]] = {}
    for spec in registry.models().values():
        assert seen.setdefault(report.family(spec.name), (spec.task, spec.dataset)) == (spec.task, spec.dataset)


def test_hues_can_be_read_on_their_paper():
    for light, dark in zip(vega.LIGHT, vega.DARK, strict=True):
        assert contrast(light, "#ffffff") > 4.5
        assert contrast(dark, "#131a22") > 4.5


def test_each_target_has_a_mark_of_its_own():
    assert len(set(report_charts.SHAPES)) == len(report_charts.SHAPES) >= len(registry.targets())


def test_a_chart_needs_something_to_show():
    assert report_charts.latency_against_macs([]) is None
    assert report_charts.spread_of_samples(built(make_run.failed("m", "a", "b")).rows) is None
    assert report_charts.distribution([]) is None
    assert report_charts.drift([]) is None


def test_the_page_carries_a_hundred_steps_of_each_trial_with_both_ends():
    row = only(built(make_run.row("efficientvit_b1", "onnx-fp32", 7, seed=1, trials=3)))
    curves = points.curves(row)
    assert [len(curve["ms"]) for curve in curves] == [points.STEPS + 1] * 3
    fastest = min(row.result.trials[0].samples_ns) / 1e6
    assert min(curves[0]["ms"][0], fastest) == pytest.approx(fastest, rel=1e-4)


def test_a_page_carries_rows_and_texts_of_its_charts_once():
    page = as_html.render(built(*make_run.everything().results)).decode()
    data = json.loads(page.partition('<script id="data" type="application/json">')[2].partition("</script>")[0])
    named = [name for chart in data["charts"].values() for name in chart["datasets"]]
    assert set(named) == set(data["rows"])
    assert len(named) > len(set(named))  # the medians of the trials are in two charts
    assert len({tuple(texts) for texts in data["texts"]}) == len(data["texts"])
    trials = next(rows["columns"] for rows in data["rows"].values() if "steady" in rows["columns"])
    cases = [data["texts"][trials["case"]["texts"]][place] for place in trials["case"]["at"]]
    expected = [
        point for row in built(*make_run.everything().results).rows if row.quotable for point in points.trials(row)
    ]
    assert list(zip(cases, trials["distance"], strict=True)) == [(p["case"], p["distance"]) for p in expected]


def test_runs_of_one_machine_and_protocol_have_one_section():
    run = make_run.run(make_run.row("efficientvit_b1", "onnx-fp32", 7, seed=1))
    later = msgspec.structs.replace(run, id="later", started_utc="2026-02-01T00:00:00Z")
    other = msgspec.structs.replace(
        run, id="elsewhere", device=record.RunDevice(name="local", facts={**make_run.FACTS, "cpu": "Another CPU"})
    )
    of_all = [origins.of(each) for each in (run, later, other)]
    headings = [group.heading for group in origins.grouped(of_all)]
    assert headings == ["2 runs on Made-up CPU 9000, 2 cores", "Run elsewhere on Another CPU, 2 cores"]
    assert dict(origins.grouped(of_all)[0].protocol)["runs"] == "made-for-tests, later"
    apart = [*of_all[:2], origins.of(other, baseline=True), origins.of(run, baseline=True)]
    assert len(origins.grouped(apart)) == 3


def test_a_run_is_no_baseline_of_itself():
    run = make_run.run(make_run.row("efficientvit_b1", "onnx-fp32", 7, seed=1))
    with pytest.raises(NothingToCompare, match="both sides are the run made-for-tests"):
        report.build([run], msgspec.structs.replace(run, started_utc="2026-02-01T00:00:00Z"))


def test_one_definition_serves_the_page_and_a_picture():
    chart = report_charts.latency_against_macs(built(*make_run.everything().results).rows)
    assert chart is not None
    picture = vega.svg(chart, dark=True)
    assert picture is not None
    assert picture.startswith("<svg")


def test_a_time_stamp_is_shown_in_utc_and_a_strange_one_as_it_is():
    run = make_run.run()
    shifted = msgspec.structs.replace(run, started_utc="2026-01-01T12:00:00+02:00")
    assert origins.of(shifted).started == "2026-01-01 10:00 UTC"
    assert origins.of(msgspec.structs.replace(run, started_utc="yesterday")).started == "yesterday"


def _of_checkpoint(name: str, **fields: Any) -> record.Result:
    row = make_run.row("efficientvit_b1", "onnx-fp32", 8.0, seed=1)
    digest = checkpoints.find(name).sha256 or "0" * 64
    return msgspec.structs.replace(row, case=msgspec.structs.replace(row.case, weights=f"sha256:{digest}"), **fields)


def test_a_report_names_official_weights_and_carries_their_restriction():
    plain, limited = (
        built(_of_checkpoint(name)).warnings for name in ("efficientvit_b1_r224", "segformer_b0_cityscapes")
    )
    assert "Weights: official, EfficientViT-B1 r224, Apache-2.0." in plain
    (words,) = [line for line in limited if line.startswith("Restricted weights: official, SegFormer-B0 Cityscapes")]
    assert "research and evaluation only" in words


def test_a_report_knows_a_checkpoint_without_a_digest_from_the_record():
    row = checkpoints.find("segformer_b1_cityscapes")
    identity = checkpoint_identity.Identity(checkpoint=row, proof="name")
    result = _of_checkpoint(row.name, official=Official.of(identity))
    assert any(line.startswith("Restricted weights: official, SegFormer-B1") for line in built(result).warnings)


def test_the_protocol_tells_the_checkpoint_of_a_digest():
    (origin,) = built(_of_checkpoint("efficientvit_b1_r224")).origins
    assert dict(origin.protocol)["weights"].startswith(
        "official, EfficientViT-B1 r224, Apache-2.0 (sha256:bf8798aa03ed"
    )
