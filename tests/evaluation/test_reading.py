"""An evaluation's figures are derived again from its records wherever it is read: an edited one is refused.

Every field is given every hostile value and, where it is a number, a plausible one.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.doubles import edited, small_evaluations
from vitdeploy.api import report
from vitdeploy.cli.main import main
from vitdeploy.errors import UnreadableFile
from vitdeploy.evaluation import image_records, reading
from vitdeploy.evaluation.record import Evaluation

KINDS = tuple(small_evaluations.DATASETS)

SHOWN = ("figures", "classes", "worst", "problems")
"""What a reader sees of the records."""


def write(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document))


def figures_of(evaluation: Evaluation) -> tuple[Any, ...]:
    dataset = evaluation.dataset
    return (*(getattr(evaluation, name) for name in SHOWN), dataset.scored, dataset.asked)


@pytest.mark.parametrize("kind", KINDS)
def test_a_good_evaluation_is_read_as_it_was_written(tmp_path: Path, kind: str):
    path = small_evaluations.evaluation(tmp_path, kind)
    read = reading.load(path)
    assert read.figures[0].drop is not None
    assert read.figures[0].drop_ci95 is not None
    assert json.loads(path.read_text())["warnings"] == list(read.warnings)


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        ("segmentation", ("figures", 0, "value")),
        ("segmentation", ("figures", 0, "reference")),
        ("segmentation", ("figures", 0, "drop")),
        ("segmentation", ("figures", 1, "drop_ci95", 0)),
        ("segmentation", ("classes", 1, "value")),
        ("segmentation", ("worst", 0, "score")),
        ("classification", ("figures", 1, "value")),
        ("classification", ("classes", 0, "count")),
        ("super-resolution", ("figures", 0, "value")),
        ("super-resolution", ("worst", 3, "reference")),
        ("masks", ("figures", 2, "value")),
        ("masks", ("figures", 0, "drop_ci95", 1)),
        ("masks", ("dataset", "scored")),
    ],
)
def test_a_plausible_figure_that_the_records_do_not_give_is_refused_with_its_field(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, place: tuple[Any, ...]
):
    path = small_evaluations.evaluation(tmp_path, kind)
    document = json.loads(path.read_text())
    value = edited.at(document, place)
    write(path, edited.planted(document, place, value - 1 if isinstance(value, int) else value * 0.7))
    name = f"$.{place[0]}[{place[1]}].{place[2]}" if isinstance(place[1], int) else f"$.{place[0]}.{place[1]}"
    assert main(["report", str(path), "--format", "html", "--out", str(tmp_path / "page.html")]) == 9
    assert f"`{name}`" in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize(("kind", "reference"), [*((kind, True) for kind in KINDS), ("segmentation", False)])
def test_every_field_with_every_hostile_value_is_refused_derived_again_or_harmless(
    tmp_path: Path, kind: str, reference: bool
):
    path = small_evaluations.evaluation(tmp_path, kind, reference=reference)
    good, plain = reading.load(path), json.loads(path.read_text())
    refused = read = 0
    for place, value, data in edited.documents(plain):
        path.write_bytes(data)
        try:
            evaluation = reading.load(path)
        except UnreadableFile:
            refused += 1
            continue
        read += 1
        assert figures_of(evaluation) == figures_of(good) or place[-1] == "reference", (place, value)
        assert set(good.warnings) <= set(evaluation.warnings) or place[0] in ("warnings", "subjects"), (place, value)
        if read % 40 == 0:
            report.evaluation_page([path], [], tmp_path / "page.html")
    print(f"{kind}: {refused} refused, {read} derived again or harmless")
    assert refused > 500
    assert read > 50


@pytest.mark.parametrize("kind", KINDS)
def test_records_that_cannot_be_true_are_refused_though_the_digest_fits(tmp_path: Path, kind: str):
    path = small_evaluations.evaluation(tmp_path, kind)
    images = tmp_path / "e.images.jsonl"
    head, first, *rest = images.read_bytes().splitlines(keepends=True)
    document, good = json.loads(path.read_text()), reading.load(path)
    count = 0
    for _, _, data in edited.documents(json.loads(first)):
        images.write_bytes(b"".join([head, data + b"\n", *rest]))
        write(path, document | {"images_sha256": image_records.digest(images)})
        try:
            evaluation = reading.load(path)
        except UnreadableFile:
            count += 1
            continue
        assert evaluation.figures == good.figures
    print(f"{kind}: {count} edited records refused")
    assert count > 40


def test_a_cut_file_is_refused_and_so_are_cut_records(tmp_path: Path):
    path = small_evaluations.evaluation(tmp_path, "segmentation")
    data, images = path.read_bytes(), tmp_path / "e.images.jsonl"
    for broken in edited.cut(data):
        path.write_bytes(broken)
        with pytest.raises(UnreadableFile):
            reading.load(path)
    whole = images.read_bytes()
    for broken in edited.cut(whole):
        images.write_bytes(broken)
        write(path, json.loads(data) | {"images_sha256": image_records.digest(images)})
        with pytest.raises(UnreadableFile):
            reading.load(path)


@pytest.mark.parametrize("beside", ["e.images.jsonl", "e.reference.jsonl"])
def test_what_is_not_derived_again_is_said_on_the_page(tmp_path: Path, beside: str):
    path = small_evaluations.evaluation(tmp_path, "classification")
    (tmp_path / beside).unlink()
    report.evaluation_page([path], [], tmp_path / "page.html")
    assert f"{beside} is not beside it" in (tmp_path / "page.html").read_text()
    assert len(reading.load(path).warnings) == len(json.loads(path.read_text())["warnings"]) + 1


@pytest.mark.parametrize(
    ("place", "value", "field"),
    [
        (("subjects", 0, "sha256"), "c" * 64, "$.subjects"),
        (("dataset", "items_sha256"), "c" * 64, "$.dataset.items_sha256"),
        (("dataset", "split"), "test", "$.dataset"),
        (("dataset", "name"), "mars", "$.dataset"),
        (("device", "name"), "orin", "$.device.name"),
        (("protocol",), ["better"], "$.protocol"),
    ],
)
def test_records_of_another_evaluation_are_refused(tmp_path: Path, place: tuple[Any, ...], value: Any, field: str):
    path = small_evaluations.evaluation(tmp_path, "segmentation")
    write(path, edited.planted(json.loads(path.read_text()), place, value))
    with pytest.raises(UnreadableFile) as refusal:
        reading.load(path)
    assert field in refusal.value.message


def test_a_warning_that_follows_from_the_records_cannot_be_removed(tmp_path: Path):
    path = small_evaluations.evaluation(tmp_path, "segmentation")
    document = json.loads(path.read_text())
    assert len(document["warnings"]) >= 4
    write(path, document | {"warnings": []})
    assert set(reading.load(path).warnings) == set(document["warnings"])
