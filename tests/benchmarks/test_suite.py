"""Suites: all that ship can be read, and a wrong one is told by its field."""

from pathlib import Path

import pytest

from vitdeploy.api.cases import BenchRequest, case_of, plan
from vitdeploy.benchmarks import suite
from vitdeploy.catalog import registry, sam_prompts
from vitdeploy.errors import Impossible, UnreadableFile, UsageError

NAMES = ("demo", "ci", "cityscapes", "ade20k", "imagenet", "sr", "sam", "attention")


def test_every_suite_of_the_contract_ships():
    assert set(suite.suites()) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_suite_times_models_that_exist_or_says_why_not(name: str):
    found = suite.suites()[name]
    assert found.title
    assert bool(found.entries) != bool(found.unavailable)
    assert all(entry.model in registry.models() for entry in found.entries)


@pytest.mark.parametrize("name", NAMES)
def test_every_suite_file_says_how_it_is_run(name: str):
    head = (suite.SHIPPED / f"{name}.toml").read_text().partition("title")[0]
    assert f"vitdeploy bench --suite {name}" in head


def test_an_unknown_suite_offers_the_nearest():
    with pytest.raises(UsageError, match="unknown suite 'dmo'") as refused:
        suite.find("dmo")
    assert "demo" in refused.value.hint


def test_a_suite_that_cannot_be_run_is_impossible_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "later.toml").write_text("title = 'x'\nunavailable = 'nobody wrote it'\n")
    later = suite.read(tmp_path / "later.toml")
    monkeypatch.setattr(suite, "suites", lambda: {"later": later})
    with pytest.raises(Impossible, match="nobody wrote it"):
        suite.find("later")


def test_a_segment_anything_model_is_timed_in_two_parts_for_prompts_that_are_named():
    planned = plan((), BenchRequest(suite="sam"))
    assert len(planned) == 2 * len(suite.find("sam").entries)
    cases = [
        case_of(one, BenchRequest(), device="local", compute="cpu", threads=1, artifact=None) for one in planned[:2]
    ]
    assert [(case.model, case.part) for case in cases] == [
        ("efficientvit_sam_l0", "encoder"),
        ("efficientvit_sam_l0", "decoder"),
    ]
    assert [case.prompts for case in cases] == [None, f"1 object of {sam_prompts.SLOTS} slots"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "title"),
        ("title = 'x'", "no rows"),
        ("title = 'x'\ncolour = 1\n", "colour"),
        ("title = 'x'\n[[rows]]\nmodels = ['efficientvit_b9']", "unknown model 'efficientvit_b9'"),
        ("title = 'x'\n[[rows]]\nmodels = ['efficientvit_b1']\ntargets = ['onnx']", "unknown target 'onnx'"),
        ("title = 'x'\n[[rows]]\nmodels = ['efficientvit_b1']\nsize = '100x100'", "multiples of 32"),
        ("title = 'x'\n[[rows]]\nmodels = ['efficientvit_b1']\nbatch = 0", r"\$.rows\[0\].batch|\$.rows\[...\].batch"),
        ("title = ", "Invalid value"),
    ],
)
def test_a_wrong_suite_file_is_told_by_its_field(tmp_path: Path, text: str, words: str):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(UnreadableFile, match=words):
        suite.read(path)
