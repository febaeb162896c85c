"""The project file: found upwards, strict, an option wins over it, and `doctor` says where each default comes from."""

import dataclasses
import importlib
from pathlib import Path
from typing import Any

import pytest

from tests.doubles import artifacts
from vitdeploy.api import cases, check, project
from vitdeploy.api.bench import bench_plan
from vitdeploy.api.cases import BenchRequest
from vitdeploy.api.compare import CompareRequest
from vitdeploy.api.export_request import ExportRequest
from vitdeploy.api.predict import PredictRequest, predict_plan
from vitdeploy.cli.options import request_of
from vitdeploy.errors import Impossible, UnreadableFile, UsageError

CLASSES = {
    "BenchRequest": "vitdeploy.api.cases",
    "DuelRequest": "vitdeploy.api.duel",
    "StudyRequest": "vitdeploy.api.studies",
    "EvalRequest": "vitdeploy.evaluation.request",
    "PredictRequest": "vitdeploy.api.predict",
    "SelfTestRequest": "vitdeploy.api.selftest",
    "SweepRequest": "vitdeploy.fleet.api",
    "CompareRequest": "vitdeploy.api.compare",
    "ExportRequest": "vitdeploy.api.export_request",
}

WHOLE = """
device = "orin"
suite = "ci"
baselines = "base"
max-slowdown = "5%"
weights = "official"
out = "made"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder below the project's."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b")
    return tmp_path


def test_the_fields_that_have_defaults_exist():
    assert CLASSES.keys() == project.FIELDS.keys()
    for name, module in CLASSES.items():
        kind = getattr(importlib.import_module(module), name)
        assert set(project.FIELDS[name]) <= {field.name for field in dataclasses.fields(kind)}
        assert set(project.FIELDS[name].values()) <= set(project.BUILT_IN)


@pytest.mark.parametrize(
    ("name", "text"),
    [("vitdeploy.toml", WHOLE), ("pyproject.toml", f"[project]\nname = 'x'\n[tool.vitdeploy]\n{WHOLE}")],
)
def test_every_key_is_a_default_and_an_option_wins(folder: Path, name: str, text: str):
    (folder / name).write_text(text)
    made = request_of(BenchRequest, {"device": None, "artifacts": None})
    assert (made.device, made.artifacts) == ("orin", folder / "made")
    assert request_of(BenchRequest, {"device": "local"}).device == "local"
    assert cases.default_suite() == "ci"
    compared = request_of(CompareRequest, {"max_slowdown": None, "baselines": None})
    assert (compared.max_slowdown, compared.baselines) == (0.05, folder / "base")
    assert request_of(CompareRequest, {"max_slowdown": 0.02}).max_slowdown == 0.02
    exported = request_of(ExportRequest, {"target": "onnx-fp32"})
    assert (exported.weights, exported.out, exported.device) == (Path("official"), folder / "made", None)
    assert request_of(ExportRequest, {"target": "trt-fp16"}).device == "orin"
    assert BenchRequest().device == "local", "a request that is written out is what it says"


def test_the_nearest_file_counts_and_other_tools_files_are_passed_over(folder: Path):
    (folder / "vitdeploy.toml").write_text('suite = "ci"')
    (folder / "a" / "pyproject.toml").write_text("[tool.other]\nvitdeploy = 1\n")
    (folder / "a" / "b" / "pyproject.toml").write_text("{{ a template }} vitdeploy")
    assert project.load().path == folder / "vitdeploy.toml"
    (folder / "a" / "vitdeploy.toml").write_text('suite = "sr"')
    assert cases.default_suite() == "sr"


def test_without_a_file_the_built_in_defaults_count(folder: Path):
    assert project.load(folder) == project.Project(path=None, values={})
    assert cases.default_suite() == project.BUILT_IN["suite"]
    assert request_of(BenchRequest, {}) == BenchRequest()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('devise = "orin"', "Did you mean device"),
        ("device = 3", "not a text"),
        ('device = ""', "not a text"),
        ('max-slowdown = "much"', "not a share"),
        ("max-slowdown = 5", "not a share"),
        ("max-slowdown = true", "not a share"),
        ("device = ", "not valid TOML"),
        ("[device]\nname = 1", "not a text"),
    ],
)
def test_a_wrong_file_is_refused_by_every_verb_that_uses_it(folder: Path, capsys: Any, text: str, words: str):
    from vitdeploy.cli.main import main

    (folder / "vitdeploy.toml").write_text(text)
    with pytest.raises(UnreadableFile) as refused:
        project.load()
    assert words in f"{refused.value.message} {refused.value.hint}"
    assert str(folder / "vitdeploy.toml") in refused.value.message
    assert main(["bench", "--dry-run"]) == 9
    assert words in capsys.readouterr().err


def test_a_table_that_is_none_is_refused(folder: Path):
    (folder / "pyproject.toml").write_text('[tool]\nvitdeploy = "orin"')
    with pytest.raises(UnreadableFile, match="no table"):
        project.load()


def test_artifacts_that_are_named_keep_their_weights(folder: Path):
    (folder / "vitdeploy.toml").write_text('weights = "official"')
    assert request_of(BenchRequest, {"what": ["efficientvit_b1"]}).weights == Path("official")
    assert request_of(BenchRequest, {"what": None}).weights == Path("official")
    assert request_of(BenchRequest, {"what": ["artifacts/efficientvit_b1"]}).weights is None
    assert request_of(BenchRequest, {"what": ["efficientvit_b1"], "weights": Path("b1.pt")}).weights == Path("b1.pt")


def test_names_on_the_command_line_are_no_suite(folder: Path):
    (folder / "vitdeploy.toml").write_text('suite = "sr"')
    assert sum("efficientvit" in line for line in bench_plan(["efficientvit_b0"], BenchRequest())) == 1


def test_baselines_are_those_of_the_project(folder: Path, capsys: Any):
    from tests.doubles import make_run
    from vitdeploy.cli.main import main
    from vitdeploy.results import record

    (folder / "vitdeploy.toml").write_text('baselines = "base"')
    record.save(make_run.run(make_run.row("efficientvit_b1", "onnx-fp32", 7.4, seed=1)), folder / "run.json")
    assert main(["accept", str(folder / "run.json"), "--because", "x", "--dry-run"]) == 0
    assert str(folder / "base") in capsys.readouterr().out


def test_check_and_predict_run_on_the_projects_device_but_a_trace_runs_here(folder: Path):
    artifact = artifacts.plain_file(folder / "made").folder
    assert check.check_plan(artifact)[-1].startswith("run ")
    (folder / "vitdeploy.toml").write_text('device = "attic"')
    for plan in (
        check.check_plan,
        lambda path: predict_plan(request_of(PredictRequest, {"artifact": path, "image": "x"})),
    ):
        with pytest.raises(UsageError, match="attic"):
            plan(artifact)
    assert check.check_plan(artifact, device="local")
    with pytest.raises(Impossible, match="made by hand"):  # of the artifact here, not of the device
        check.check(artifact, trace=True)


def test_doctor_says_where_each_default_comes_from(folder: Path, monkeypatch: pytest.MonkeyPatch):
    from vitdeploy.api import doctor

    (folder / "vitdeploy.toml").write_text('suite = "ci"')
    said = {finding.what: finding.found for finding in doctor._defaults()}
    assert said["project file"] == str(folder / "vitdeploy.toml")
    assert said["default suite"] == f"ci, from {folder / 'vitdeploy.toml'}"
    assert said["default device"] == "local, built in"
    monkeypatch.chdir("/")
    (finding, *_) = doctor._defaults()
    assert finding.found == "none"
    assert "[tool.vitdeploy]" in finding.advice
