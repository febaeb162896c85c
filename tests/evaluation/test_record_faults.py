"""What an evaluation cannot be: figures and counts that no data set gives are refused with the field."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vitdeploy.errors import UnreadableFile
from vitdeploy.evaluation import reading

Edit = Callable[[dict[str, Any]], Any]


def document() -> dict[str, Any]:
    subject = dict.fromkeys(("sha256", "model", "target", "attention", "precision", "weights"), "x")
    return {
        "schema": 1,
        "kind": "evaluation",
        "id": "e",
        "started_utc": "2026-01-01T00:00:00+00:00",
        "vitdeploy": {"version": "0.1.0", "commit": None, "dirty": None},
        "device": {"name": "local", "facts": {}},
        "host": {},
        "threads": 1,
        "dataset": {
            "name": "imagenet",
            "split": "val",
            "root": "r",
            "images": 9,
            "asked": 4,
            "scored": 3,
            "items_sha256": "",
        },
        "protocol": [],
        "subjects": [
            {**subject, "part": None, "size": [8, 8], "batch": 1, "head": "logits", "io": "fp32", "name": None}
        ],
        "reference": None,
        "reference_why_not": None,
        "figures": [{"name": "top-1", "unit": "%", "value": 71.0, "reference": 72.0, "drop": 1.0}],
        "classes": [{"name": "koala", "value": 10.0, "count": 3}],
        "worst": [],
        "problems": [],
        "warnings": [],
        "cross_checks": [],
        "images_file": "e.images.jsonl",
        "images_sha256": "0" * 64,
    }


REFUSED: dict[str, tuple[Edit, str]] = {
    "no artifact": (lambda made: made.update(subjects=[]), "$.subjects"),
    "150 %": (lambda made: made["figures"][0].update(value=150.0), "$.figures[0].value"),
    "-3 %": (lambda made: made["figures"][0].update(reference=-3.0), "$.figures[0].reference"),
    "a drop of nothing": (lambda made: made["figures"][0].update(reference=None), "$.figures[0].drop"),
    "a drop of 400": (lambda made: made["figures"][0].update(drop=400.0), "$.figures[0].drop"),
    "an interval backwards": (lambda made: made["figures"][0].update(drop_ci95=[2, 1]), "$.figures[0].drop_ci95"),
    "a class of 1e300": (lambda made: made["classes"][0].update(value=1e300), "$.classes[0].value"),
    "-1 of a class": (lambda made: made["classes"][0].update(count=-1), "$.classes[0].count"),
    "more scored than asked for": (lambda made: made["dataset"].update(scored=5), "$.dataset"),
    "2099": (lambda made: made.update(started_utc="2099-01-01T00:00:00+00:00"), "$.started_utc"),
    "records elsewhere": (lambda made: made.update(images_file="../../x"), "$.images_file"),
    "records without a name": (lambda made: made.update(images_file=""), "$.images_file"),
    "records of NUL": (lambda made: made.update(images_file="a\0"), "$.images_file"),
    "batch 0": (lambda made: made["subjects"][0].update(batch=0), "$.subjects[0].batch"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_true_is_refused_with_its_field(name: str, tmp_path: Path):
    edit, field = REFUSED[name]
    made = document()
    edit(made)
    (tmp_path / "e.json").write_text(json.dumps(made))
    with pytest.raises(UnreadableFile) as refusal:
        reading.load(tmp_path / "e.json")
    assert field in refusal.value.message


def test_an_evaluation_that_was_not_summed_up_from_the_records_beside_it_is_refused(tmp_path: Path):
    (tmp_path / "e.json").write_text(json.dumps(document()))
    assert reading.load(tmp_path / "e.json").figures[0].value == 71.0
    (tmp_path / "e.images.jsonl").write_text("{}\n")
    with pytest.raises(UnreadableFile, match="not what"):
        reading.load(tmp_path / "e.json")


@pytest.mark.parametrize(("theirs", "refused"), [(100.00001525878906, False), (101.0, True), (-1.0, True)])
def test_another_library_may_round_in_float32(tmp_path: Path, theirs: float, refused: bool):
    """Planted: the fault matrix found evaluations of equal maps refused for torchmetrics' 100.000015 %."""
    check = {"library": "x 1", "figure": "mIoU", "images": 3, "ours": 100.0, "theirs": theirs}
    (tmp_path / "e.json").write_text(json.dumps(document() | {"cross_checks": [check]}))
    if refused:
        with pytest.raises(UnreadableFile, match=r"\$\.cross_checks\[0\]\.theirs"):
            reading.load(tmp_path / "e.json")
    else:
        assert reading.load(tmp_path / "e.json").cross_checks[0].theirs == theirs
