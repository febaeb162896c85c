"""The page of evaluations: a file's accuracy and latency in one row, the published points, the worst pictures."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.doubles import eval_sets, make_run
from vitdeploy.api import evaluate, report
from vitdeploy.catalog import checkpoints, registry
from vitdeploy.cli.main import main
from vitdeploy.errors import Impossible
from vitdeploy.evaluation import published
from vitdeploy.evaluation import reading as evaluations
from vitdeploy.evaluation.request import EvalRequest
from vitdeploy.reports import accuracy, as_evaluation
from vitdeploy.reports.charts.accuracy_chart import latency_against_accuracy
from vitdeploy.results import record

SIZE = (32, 64)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An evaluation with a broken picture and a hostile name, and a run that timed the same file and another one."""
    folder = tmp_path_factory.mktemp("page")
    pairs = {}
    for place, city in enumerate(("aachen", "<img src=x onerror=alert(1)>", "ulm", "ulm")):
        truth = eval_sets.block_map(place, SIZE, 19)
        seen = truth.copy()
        seen[: 8 * place] = 1
        pairs[f"{city}/p_{place:06d}"] = (seen, truth)
    root = eval_sets.cityscapes_set(folder / "city", pairs)
    (root / "leftImg8bit/val/ulm/p_000003_leftImg8bit.png").write_bytes(b"broken")
    artifact = eval_sets.nearest_color(folder / "a", "efficientvit_seg_b0_cityscapes", size=SIZE, classes=19)
    out = folder / "e.json"
    order = EvalRequest(dataset="cityscapes", root=root, out=out, reference=False, threads=1)
    evaluate.evaluate_artifact([artifact.folder], order)
    same = make_run.of_file(
        make_run.row("efficientvit_seg_b0_cityscapes", "onnx-fp32", 12.5, seed=1), artifact.manifest.sha256
    )
    other = make_run.row("efficientvit_seg_b1_cityscapes", "onnx-fp32", 99.0, seed=2)
    record.save(make_run.run(same, other), folder / "run.json")
    return out, folder / "run.json"


def test_accuracy_and_latency_of_the_same_digest_stand_in_one_row(made: tuple[Path, Path], tmp_path: Path):
    out, run = made
    found = report.report([out, run], form="html", out=tmp_path / "page.html")
    assert found.path == tmp_path / "page.html"
    rows = re.findall(r"<tr>.*?</tr>", found.text, re.DOTALL)
    digest = evaluations.load(out).subjects[0].sha256[:12]
    (row,) = [row for row in rows if digest in row]
    value = evaluations.load(out).figures[0].value
    assert f"{value:.3f} %" in row
    timed = record.load(run).results[0].summary
    assert timed is not None
    assert f"{timed.median_ms:.1f}" in row
    assert "efficientvit_seg_b1_cityscapes" not in found.text
    with pytest.raises(Impossible, match="html"):
        report.report([out, run], form="csv")


def test_the_chart_has_published_points_beside_measured_ones(made: tuple[Path, Path]):
    out, run = made
    shown = accuracy.build([(out, evaluations.load(out))], [record.load(run)])
    chart: Any = latency_against_accuracy("cityscapes", shown)
    dots = chart["datasets"][chart["data"]["name"]]
    measured = [dot for dot in dots if dot["kind"] == "measured"]
    assert [dot["ms"] for dot in measured] == [pytest.approx(12.5, rel=0.05)]
    b0 = next(dot for dot in dots if dot["name"] == "EfficientViT-B0")
    assert (b0["value"], b0["ms"]) == (75.653, 9.9)
    assert {dot["where"] for dot in dots} == {
        "measured: local",
        "published: Jetson AGX Orin, TensorRT fp16, 1024x2048, batch 1",
    }


@pytest.mark.parametrize("name", ["cityscapes", "ade20k", "imagenet", "sr", "coco", "lvis"])
def test_every_published_point_of_a_model_of_ours_names_it(name: str):
    points = published.points(name)
    assert points
    assert not {one.model for one in points if one.model.startswith("efficientvit")} - set(registry.models())
    assert all(0 < one.value < 100 for one in points)
    assert all(one.latency_ms > 0 for one in points)


def test_the_page_escapes_names_shows_the_worst_and_names_what_was_not_scored(made: tuple[Path, Path]):
    out, _ = made
    page = out.with_suffix(".html").read_text()
    assert "<img src=x" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert page.count("data:image/jpeg;base64,") == 3
    assert "ulm/p_000003" in page
    assert "1 picture was not scored" in page
    assert "http://" not in re.sub(r"<script.*?</script>|xmlns[^ ]*|<svg.*?</svg>", "", page, flags=re.DOTALL)


def test_one_page_of_several_evaluations_and_its_sheets(
    made: tuple[Path, Path], capsys: pytest.CaptureFixture, tmp_path: Path
):
    out, run = made
    page = tmp_path / "two.html"
    assert main(["report", str(out), str(out), str(run), "--format", "html", "--out", str(page)]) == 0
    assert str(page) in capsys.readouterr().out
    text = page.read_text()
    assert "Accuracy of 2 files" in text
    data = json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', text, re.DOTALL)[1])  # type: ignore[index]
    assert "chart-cityscapes" in data["charts"]


def _of_weights(out: Path, **fields: Any) -> evaluations.Evaluation:
    """The evaluation as one of a file that was made from other weights."""
    evaluation = evaluations.load(out)
    subject = msgspec.structs.replace(evaluation.subjects[0], **fields)
    return msgspec.structs.replace(evaluation, subjects=(subject, *evaluation.subjects[1:]))


def test_the_published_figure_of_the_checkpoint_stands_beside_the_measured_one(made: tuple[Path, Path]):
    out, _ = made
    row = checkpoints.find("efficientvit_seg_b0_cityscapes")
    page = as_evaluation.render(accuracy.build([(out, _of_weights(out, weights=f"sha256:{row.sha256}"))], [])).decode()
    assert "75.653 %" in page
    assert "EfficientViT-Seg-B0 Cityscapes at 1024x2048, README of github.com/mit-han-lab/efficientvit" in page
    assert "Weights: official, EfficientViT-Seg-B0 Cityscapes, Apache-2.0" in page


def test_the_record_names_a_checkpoint_that_no_digest_is_published_of(made: tuple[Path, Path]):
    out, _ = made
    (entry,) = accuracy.build(
        [(out, _of_weights(out, weights=f"sha256:{'0' * 64}", official="segnext_t_cityscapes"))], []
    )
    assert entry.published is not None
    assert entry.published.figure.value == 79.8
    assert "for commercial use, contact the authors" in entry.weights


def test_weights_that_nobody_published_have_no_published_figure(made: tuple[Path, Path]):
    out, _ = made
    (entry,) = accuracy.build([(out, _of_weights(out, weights=f"sha256:{'0' * 64}", name="mine.pt"))], [])
    assert entry.published is None
    assert entry.weights == f"mine.pt (sha256:{'0' * 64})"
