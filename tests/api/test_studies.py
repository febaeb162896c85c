"""`attention` and `reproduce` on made-up runs: what they say, what they refuse to say, and their pages."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.doubles import make_run
from tests.doubles.messages import two_lines
from vitdeploy.api.attention import AttentionOutcome, attention_of
from vitdeploy.api.reproduce import ReproduceOutcome, reproduce_plan
from vitdeploy.api.studies import StudyRequest
from vitdeploy.benchmarks import attention as studies
from vitdeploy.benchmarks import reproduce as tables
from vitdeploy.benchmarks.suite import Entry, Wanted
from vitdeploy.cli import main
from vitdeploy.cli import studies as verbs
from vitdeploy.devices import inventory
from vitdeploy.errors import DeviceError, Impossible
from vitdeploy.reports import as_attention, as_reproduction
from vitdeploy.reports.charts import study_charts, vega
from vitdeploy.results import comparison, record
from vitdeploy.studies import attention_study, reproduction

ROUNDS = 5


def interleaved(*rows: tuple[dict[str, Any], float | None], suite: str) -> record.Run:
    """A run whose rows take turns; a row without a median failed."""
    results: list[record.Result] = []
    for place, (changes, median_ms) in enumerate(rows):
        case = msgspec.structs.replace(make_run.CASE, **changes)
        if median_ms is None:
            result = make_run.failed("efficientvit_b1", "does not fit in memory: made up", "Use less.")
            results.append(msgspec.structs.replace(result, case=case))
            continue
        trials = tuple(
            make_run.trial(
                1000 * place + index, median_ms, 60, order=index * len(rows) + place, artifact_sha256=f"{place:064x}"
            )
            for index in range(ROUNDS)
        )
        result = make_run.row("efficientvit_b1", "onnx-fp32", median_ms, seed=place, trials=0)
        results.append(record.rederive(msgspec.structs.replace(result, case=case, trials=trials)))
    made = make_run.run(*results)
    return msgspec.structs.replace(made, protocol=msgspec.structs.replace(made.protocol, suite=suite, trials=ROUNDS))


def attention_run() -> record.Run:
    rows: list[tuple[dict[str, Any], float | None]] = []
    for side in (16, 24, 32, 40, 64):
        pixels = side * side
        module = {"size": (side, side)}
        softmax = None if side == 64 else 1e-5 * pixels**2
        rows += [
            ({"model": "attention_w128", "attention": "softmax", **module}, softmax),
            ({"model": "attention_w128", "attention": "relu", **module}, 1e-2 * pixels),
        ]
        if softmax is not None:
            wide = f"attention_w{attention_study.equal_width(pixels)}"
            rows.append(({"model": wide, "attention": "relu", **module}, 2e-2 * pixels))
    for side in (224, 448, 896):
        for kind, power in (("relu", 1.0), ("softmax", 1.4)):
            rows.append(({"attention": kind, "size": (side, side)}, 1e-4 * float(side * side) ** power))
    return interleaved(*rows, suite=attention_study.SUITE)


def reproduced(*rows: tuple[dict[str, Any], float | None], name: str = "cityscapes", quick: bool = True):
    run = interleaved(*rows, suite=reproduction.suite_of(name, quick=quick))
    return reproduction.reproduce(name, tables.find(name), run)


CITY = {"size": (128, 256)}


def test_a_study_finds_the_exponents_and_the_crossing():
    study = attention_study.study(attention_run(), tables.find("attention"))
    assert [one.kind for one in study.series] == ["equal width", "equal arithmetic", "network"]
    width = study.series[0]
    assert width.linear_exponent is not None
    assert width.softmax_exponent is not None
    assert width.linear_exponent.value == pytest.approx(1, abs=0.03)
    assert width.softmax_exponent.value == pytest.approx(2, abs=0.03)
    assert width.crossing.at is not None
    assert width.crossing.at.value == pytest.approx(1000, rel=0.03)
    refused = width.points[-1]
    assert refused.speedup is None
    assert refused.why_not == "does not fit in memory: made up"
    assert {point.size for point in study.series[1].points if point.published} == {(24, 24), (32, 32), (40, 40)}


def test_equal_arithmetic_is_equal_to_five_percent():
    for side in studies.MODULE_SIDES:
        wide = attention_study.equal_width(side * side)
        linear = attention_study.macs_per_pixel(wide, side * side, softmax=False)
        softmax = attention_study.macs_per_pixel(attention_study.WIDTH, side * side, softmax=True)
        assert linear == pytest.approx(softmax, rel=0.12 if side < 16 else 0.06), side


def test_the_arithmetic_of_a_module_is_what_is_counted():
    from vitdeploy.catalog import registry
    from vitdeploy.models import create

    for attention in ("relu", "softmax"):
        model = create.create(registry.find_model("attention_w128"), attention=attention)
        counted = create.count_macs(model, (1, 3, 24, 24))
        assert counted == 576 * attention_study.macs_per_pixel(128, 576, softmax=attention == "softmax")


def test_softmax_beyond_memory_is_refused_with_the_figures():
    rows = studies.wanted(quick=False, networks=("efficientvit_b1",), target="onnx-fp32", free_bytes=4 * 2**30)
    refused = [row for row in rows if row.refused]
    assert refused
    assert {row.entry.attention for row in refused} == {"softmax"}
    assert "GiB" in str(refused[0].refused)
    assert not [
        row for row in studies.wanted(quick=False, networks=(), target="torch-fp32", free_bytes=1) if row.refused
    ]


def test_claims_are_ratios_within_rounds_and_say_what_is_missing():
    found = reproduced(
        ({"model": "efficientvit_seg_b2_cityscapes", **CITY}, 40.0),
        ({"model": "segformer_b3_cityscapes", **CITY}, 320.0),
    )
    by_ratio = {answer.claim.ratio: answer for answer in found.answers}
    measured = by_ratio[8.8].measured
    assert measured is not None
    assert measured.interval is not None
    assert measured.value == pytest.approx(8, rel=0.02)
    assert measured.interval[0] < measured.value < measured.interval[1] < 8.2
    assert by_ratio[8.8].holds
    lacking = by_ratio[13.9]
    assert lacking.measured is None
    assert lacking.holds is None
    assert "SegFormer-B5" in (lacking.why_not or "")


def test_two_claims_of_one_pair_say_which_column_each_is_of():
    found = reproduced(({"model": "convnext_t", "size": (224, 224)}, 40.0), name="imagenet")
    shown = verbs.reproduce_output(ReproduceOutcome(reproduction=found, path=Path("r.json"), page=Path("r.html")))
    assert isinstance(shown.document, dict)
    pairs = [(one["slow"], one["fast"], one["column"]) for one in shown.document["claims"]]
    assert ("ConvNeXt-T", "EfficientViT-B2 r256", "orin") in pairs
    assert ("ConvNeXt-T", "EfficientViT-B2 r256", "nano") in pairs
    assert len(pairs) == len(set(pairs))


def test_an_invalid_row_gives_no_ratio_and_says_why():
    found = reproduced(
        ({"model": "efficientvit_seg_b2_cityscapes", **CITY}, 40.0),
        ({"model": "segformer_b3_cityscapes", **CITY}, None),
    )
    answer = next(answer for answer in found.answers if answer.claim.ratio == 8.8)
    assert answer.measured is None
    assert "does not fit in memory" in (answer.why_not or "")
    figures = {figure.row.name: figure for figure in found.figures}
    assert figures["SegFormer-B3"].why_not == "does not fit in memory: made up"
    assert figures["EfficientViT-B2"].why_not is None


def test_absolute_columns_compare_on_the_published_device_only():
    rows = (({"model": "efficientvit_seg_b2_cityscapes", "size": (1024, 2048), "target": "trt-fp16"}, 40.0),)
    away = reproduced(*rows, quick=False)
    assert set(away.comparable.values()) == {False}
    run = msgspec.structs.replace(away.run, device=record.RunDevice(name="orin", facts={}))
    home = reproduction.reproduce("cityscapes", away.table, run)
    assert {name for name, same in home.comparable.items() if same} == {"orin", "orin-chart"}
    assert "orin-chart" in verbs.shown_columns(home)
    assert verbs.shown_columns(away) == ["nano", "orin", "a100"]
    assert any("xavier-chart" in line for line in verbs.notes(away))
    other = {one.what: one for one in home.differences}
    assert other["device"].same
    assert other["size"].same
    assert other["batch"].same, "other devices' columns of other batches are not this device's protocol"
    assert other["weights"].same is False


def test_quick_at_the_published_sizes_is_not_called_smaller():
    at = {"attention": "softmax", "size": (24, 24), "boundary": "compute", "target": "tflite-fp32"}
    found = reproduced(({"model": "attention_w128", **at}, 20.0), name="attention")
    assert not found.smaller
    assert {one.what: one for one in found.differences}["size"].same
    assert "at the published sizes" in "".join(verbs.notes(found))
    phone = msgspec.structs.replace(found.run, device=record.RunDevice(name="snapdragon-855", facts={}))
    assert reproduction.reproduce("attention", found.table, phone).comparable == {"snapdragon-855": True}
    away = reproduced(({"model": "segformer_b3_cityscapes", "size": (128, 256)}, 20.0))
    assert away.smaller
    assert {one.what: one for one in away.differences}["size"].same is False
    assert "at a smaller size" in "".join(verbs.notes(away))


def test_a_model_in_parts_is_their_sum():
    both = {"model": "efficientvit_sam_l2", "size": (512, 512)}
    found = reproduced(
        ({**both, "part": "encoder"}, 100.0),
        ({**both, "part": "decoder"}, 20.0),
        name="sam",
        quick=False,
    )
    figure = next(figure for figure in found.figures if figure.row.name == "EfficientViT-SAM-L2")
    assert figure.latency is not None
    assert figure.latency.value == pytest.approx(120, rel=0.02)
    alone = next(figure for figure in found.figures if figure.row.name == "EfficientViT-SAM-L2 encoder")
    assert alone.latency is not None
    assert alone.latency.value == pytest.approx(100, rel=0.02)


def test_what_would_take_too_long_says_how_long():
    sizes = (("a", 1e9), ("b", 4e9), ("c", 6e9), ("d", 3e12))
    rows = [Wanted(entry=Entry(model=name, targets=("onnx-fp32",)), macs=macs) for name, macs in sizes]
    scout = tables.scout(rows)
    assert scout is rows[1]
    late = tables.in_time(rows, 20e9, quick=True, trials=5)
    assert set(late) == {3}
    assert "150 s an inference" in late[3].message


def test_a_group_of_which_turns_would_take_too_long_is_of_whole_trials():
    sizes = (("fast", 1e9), ("slow", 50e9), ("small", 2e9), ("refused", 3e12))
    refusal = Impossible("too large", "Use less.")
    rows = [
        Wanted(
            entry=Entry(model=name, targets=("onnx-fp32",)), macs=macs, refused=refusal if name == "refused" else None
        )
        for name, macs in sizes
    ]
    groups = [record.Group(rows=unit, turn_s=0.06) for unit in ((0, 1), (2, 3))]
    assert not tables.in_time(rows[:3], 20e9, quick=True, trials=6)
    judged = tables.slow_by_turns(groups, rows, 20e9, quick=True, trials=6)
    assert judged[0].whole == "turns of its slowest row would take 5 min"
    assert judged[1] == groups[1]


def test_a_model_whose_encoder_takes_too_long_is_left_out_whole():
    parts = (("big.encoder", 3e12), ("big.decoder", 1e9), ("small.encoder", 1e9))
    rows = [Wanted(entry=Entry(model=name, targets=("onnx-fp32",)), macs=macs) for name, macs in parts]
    assert set(tables.in_time(rows, 20e9, quick=True, trials=5)) == {0, 1}


def test_what_does_not_fit_in_memory_says_how_much_it_takes():
    rows = tables.wanted(tables.find("sam"), quick=True, target="onnx-fp32", device="local", free_bytes=12 * 2**30)
    refused = {row.entry.model: str(row.refused) for row in rows if row.refused}
    assert set(refused) == {"sam_vit_h.encoder", "sam_vit_h.decoder"}
    assert "SAM-ViT-H takes 15.3 GiB to export, and 12.0 GiB are free" in refused["sam_vit_h.encoder"]
    few = tables.wanted(tables.find("sam"), quick=True, target="onnx-fp32", device="local", free_bytes=7 * 2**30)
    assert "sam_vit_b.encoder" in {row.entry.model for row in few if row.refused}


def test_every_target_that_a_device_takes_is_thought_of():
    table = tables.find("cityscapes")
    assert tables.target_of(table, inventory.find("local"), None) == "onnx-fp32"
    assert tables.target_of(tables.find("snapdragon"), inventory.find("local"), None) == "tflite-fp32"
    none = msgspec.structs.replace(inventory.find("local"), targets=("onnx-bf16",))
    with pytest.raises(Impossible):
        tables.target_of(table, none, None)


def test_engines_without_a_gpu_are_refused_before_they_are_made(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr("vitdeploy.devices.gpu.first_gpu", lambda: None)
    monkeypatch.chdir(tmp_path)
    for argv in (["attention"], ["reproduce", "sr"]):
        assert main.main([*argv, "--quick", "--target", "trt-fp16"]) == 7
        said = capsys.readouterr().err
        two_lines(said)
        assert "trt-fp16 needs one" in said
    assert list(tmp_path.iterdir()) == []


PLANTED = "<script>alert(1)</script>"


@pytest.mark.parametrize("kind", ["attention", "reproduce"])
def test_the_pages_are_whole_and_escape_what_they_show(kind: str):
    if kind == "attention":
        run = attention_run()
        facts = {**run.device.facts, "cpu": PLANTED}
        run = msgspec.structs.replace(run, device=msgspec.structs.replace(run.device, facts=facts))
        page = as_attention.render(attention_study.study(run, tables.find("attention"))).decode()
        assert "They cross at a side of 31." in page
        chart = json.dumps(
            study_charts.scaling(attention_study.study(run, tables.find("attention"))), ensure_ascii=False
        )
        slope = r"\^%s\d \[\d\.\d\d … \d\.\d\d\]"
        wanted = rf"equal width[^\"]* ¦ linear ∝ pixels{slope % '1.0'} ¦ softmax ∝ pixels{slope % '2.0'}"
        assert re.search(wanted, chart)
    else:
        found = reproduced(
            ({"model": "efficientvit_seg_b2_cityscapes", **CITY}, 40.0),
            ({"model": "segformer_b3_cityscapes", **CITY}, 320.0),
        )
        facts = {**found.run.device.facts, "cpu": PLANTED}
        device = msgspec.structs.replace(found.run.device, facts=facts)
        run = msgspec.structs.replace(found.run, device=device)
        page = as_reproduction.render(reproduction.reproduce("cityscapes", found.table, run)).decode()
        assert "13.9" in page
        assert "8.8x faster than SegFormer" in page
    assert PLANTED not in page
    assert "&lt;script&gt;" in page
    assert '<img class="still"' in page


def test_a_stored_run_is_shown_again(tmp_path: Path):
    path = tmp_path / "run.json"
    record.save(attention_run(), path)
    outcome = verbs.attention_output(attention_of(path))
    assert json.loads(msgspec.json.encode(outcome.document))["series"]
    assert path.with_suffix(".html").is_file()


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (["reproduce", "cityscape"], 2, "cityscapes"),
        (["reproduce", "cityscapes", "--target", "onnx"], 2, "onnx"),
        (["reproduce", "cityscapes", "--device", "orin"], 7, "orin"),
        (["reproduce", "--from", "nowhere.json"], 9, "nowhere.json"),
        (["reproduce", "cityscapes", "--from", "x.json"], 2, "--from"),
        (["reproduce", "attention", "--resume"], 2, "--out"),
        (["reproduce", "attention", "--trials", "0"], 2, "trials"),
        (["attention", "--network", "bsrn_x2"], 2, "bsrn_x2"),
        (["attention", "--network", "nothing"], 2, "nothing"),
        (["attention", "--device", "nowhere"], 2, "nowhere"),
        (["attention", "--min-time", "-1"], 2, "min-time"),
        (["export", "attention_w100", "--target", "onnx-fp32"], 2, "attention_w100"),
    ],
)
def test_bad_input_is_two_lines(argv: list[str], code: int, said: str, capsys, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = main.main(argv)
    out, err = capsys.readouterr()
    assert found == code, err
    assert out == ""
    two_lines(err)
    assert said in err
    assert list(tmp_path.iterdir()) == []


def test_a_run_of_something_else_is_refused(tmp_path: Path, capsys):
    path = tmp_path / "run.json"
    record.save(make_run.run(make_run.row("efficientvit_b1", "onnx-fp32", 10.0, seed=1)), path)
    for verb in ("attention", "reproduce"):
        assert main.main([verb, "--from", str(path)]) == 2
        two_lines(capsys.readouterr().err)


def test_the_rows_of_a_ratio_are_a_group():
    rows = studies.wanted(quick=True, networks=("efficientvit_b1",), target="onnx-fp32", free_bytes=None)
    groups = [[rows[place].entry for place in group] for group in studies.groups(rows)]
    assert all(len({entry.size for entry in group}) == 1 for group in groups)
    by_size = {group[0].size: group for group in groups if group[0].model.startswith("attention_w")}
    wide = f"attention_w{attention_study.equal_width(32 * 32)}"
    modules = sorted((entry.model, entry.attention or "") for entry in by_size[32, 32])
    assert modules == sorted([("attention_w128", "relu"), ("attention_w128", "softmax"), (wide, "relu")])
    networks = [{entry.attention for entry in group} for group in groups if group[0].model == "efficientvit_b1"]
    assert networks == [{"relu", "softmax"}] * 3


def test_rows_that_a_claim_holds_against_each_other_are_a_group():
    for name in tables.names():
        table = tables.find(name)
        rows = tables.wanted(table, quick=False, target="onnx-fp32", device="local", free_bytes=None)
        groups = [{rows[place].entry.model for place in group} for group in tables.groups(table, rows, quick=False)]
        places = [place for group in tables.groups(table, rows, quick=False) for place in group]
        assert len(places) == len(set(places)), name
        if name == "cityscapes":
            assert {"segformer_b5_cityscapes", "efficientvit_seg_l1_cityscapes"} in groups
            b1 = {"efficientvit_seg_b1_cityscapes", "segnext_t_cityscapes", "segformer_b1_cityscapes"}
            assert b1 in groups
        if name == "sam":
            assert any({"efficientvit_sam_l2.encoder", "efficientvit_sam_l2.decoder"} < group for group in groups)


def test_a_study_says_which_way_each_ratio_was_measured():
    run = attention_run()
    assert {
        point.by for series in attention_study.study(run, tables.find("attention")).series for point in series.points
    } == {
        "trials",
        None,
    }
    rows = [place for place, result in enumerate(run.results) if result.case.size == (16, 16)]
    grouped = msgspec.structs.replace(
        run,
        results=tuple(
            msgspec.structs.replace(result, trials=tuple(map(in_one_turn, result.trials))) if place in rows else result
            for place, result in enumerate(run.results)
        ),
        groups=(
            record.Group(rows=tuple(rows), turn_s=0.06),
            record.Group(rows=(3, 4, 5), turn_s=0.06, whole="it needs 9 GiB, and 1 GiB are free"),
        ),
    )
    study = attention_study.study(grouped, tables.find("attention"))
    ways = {point.size: point.by for point in study.series[0].points}
    assert (ways[16, 16], ways[24, 24], ways[64, 64]) == ("turns", "trials", None)
    assert comparison.differences(grouped, run) == ["by"], "figures by turns are not those of whole trials"
    page = as_attention.render(study).decode()
    assert "turns of 60 ms" in page
    assert "Whole trials, without turns, of " in page
    assert "it needs 9 GiB, and 1 GiB are free" in page
    shown = verbs.attention_output(AttentionOutcome(study=study, path=Path("r.json"), page=Path("r.html")))
    assert isinstance(shown.document, dict)
    assert [point["by"] for point in shown.document["series"][0]["points"]][:2] == ["turns", "trials"]
    assert len(shown.document["groups"]) == 2


def test_a_study_of_a_busy_machine_says_so():
    quiet = attention_run()
    assert "foreign-load" not in as_attention.render(attention_study.study(quiet, tables.find("attention"))).decode()
    load = record.Reason(code="foreign-load", message="other processes used up to 1.7 cores", hint="Stop them.")
    first = msgspec.structs.replace(quiet.results[0], reasons=(load,))
    busy = msgspec.structs.replace(quiet, results=(first, *quiet.results[1:]))
    study = attention_study.study(busy, tables.find("attention"))
    words = f"foreign-load: 1 of {sum(result.status == 'valid' for result in busy.results)} rows, among them "
    assert words in as_attention.render(study).decode()
    shown = verbs.attention_output(AttentionOutcome(study=study, path=Path("r.json"), page=Path("r.html")))
    assert any(isinstance(part, str) and part.startswith(words) for part in shown.human)
    assert isinstance(shown.document, dict)
    assert shown.document["disturbed"][-1].endswith("stop other work, and measure again.")


def in_one_turn(trial: record.Trial) -> record.Trial:
    turns = record.Turns(counts=(len(trial.samples_ns),), places=(0,), first_ns=(1,))
    return msgspec.structs.replace(trial, turns=turns)


def test_plans_say_who_takes_turns(capsys):
    assert main.main(["attention", "--quick", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "in turns of 60 ms: " in said
    assert main.main(["attention", "--quick", "--dry-run", "--by", "trials"]) == 0
    assert "ratios from rounds of whole trials, without turns: --by trials" in capsys.readouterr().out
    assert main.main(["attention", "--by", "halves", "--dry-run"]) == 2
    assert "--by 'halves'" in capsys.readouterr().err


def test_the_list_of_tables_and_the_plans_touch_nothing(capsys, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for argv in (["reproduce"], ["reproduce", "snapdragon", "--quick", "--dry-run"], ["attention", "--dry-run"]):
        assert main.main(argv) == 0
        assert capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_an_unreachable_device_is_an_error_of_its_own():
    with pytest.raises(DeviceError):
        reproduce_plan("cityscapes", StudyRequest(device="orin"))


def test_the_shared_softmax_line_is_drawn_once_and_no_line_of_a_legend_is_wide():
    study = attention_study.study(attention_run(), tables.find("attention"))
    chart: Any = study_charts.scaling(study)
    (rows,) = chart["datasets"].values()
    places = [(row["attention"], row["pixels"], row["value"]) for row in rows]
    assert len(places) == len(set(places))
    assert {row["line"] for row in rows if row["attention"] == "softmax"} == {
        "module, equal width (128 channels), softmax",
        "efficientvit_b1, softmax",
    }
    broken = vega.in_lines(*"a line that is longer than forty letters is broken;and a part is its own line".split(";"))
    legend_lines = [line for row in rows for line in row["series"].split(vega.LEGEND_BREAK)]
    assert max(map(len, [*legend_lines, *broken.split(vega.LEGEND_BREAK)])) <= vega.LEGEND_COLUMNS
    assert len(broken.split(vega.LEGEND_BREAK)) == 3
