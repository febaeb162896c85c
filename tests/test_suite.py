"""Suites: all that ship can be read, and a wrong one is told by its field."""

from pathlib import Path

import pytest

from vitdeploy import catalog
from vitdeploy.benchmarks import suite
from vitdeploy.errors import Impossible, UnreadableFile, UsageError

NAMES = ("demo", "ci", "cityscapes", "ade20k", "imagenet", "sr", "sam", "attention")


def test_every_suite_of_the_contract_ships():
    assert set(suite.suites()) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_suite_times_models_that_exist_or_says_why_not(name: str):
    found = suite.suites()[name]
    assert found.title
    assert bool(found.entries) != bool(found.unavailable)
    assert all(entry.model in catalog.models() for entry in found.entries)


@pytest.mark.parametrize("name", NAMES)
def test_every_suite_file_says_how_it_is_run(name: str):
    head = (suite.SHIPPED / f"{name}.toml").read_text().partition("title")[0]
    assert f"vitdeploy bench --suite {name}" in head


def test_an_unknown_suite_offers_the_nearest():
    with pytest.raises(UsageError, match="unknown suite 'dmo'") as refused:
        suite.find("dmo")
    assert "demo" in refused.value.hint


def test_a_suite_of_later_work_is_impossible_and_says_why():
    with pytest.raises(Impossible, match="no segment-anything model"):
        suite.find("sam")


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
