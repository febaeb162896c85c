"""``--json``: the documents are of the types whose schemas ship, and errors are documents too."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.doubles import make_run
from tests.doubles.messages import two_lines
from tests.named_commands import command_names
from vitdeploy import documents, errors
from vitdeploy.api.attention import AttentionOutcome
from vitdeploy.api.check import CheckOutcome
from vitdeploy.api.reproduce import ReproduceOutcome
from vitdeploy.benchmarks import reproduce as published_tables
from vitdeploy.cli import export, json_forms, studies
from vitdeploy.cli.main import main
from vitdeploy.results import record
from vitdeploy.results.comparison import Compared
from vitdeploy.studies import attention_study, reproduction


def test_every_command_has_a_form():
    groups = {"cache"}
    assert json_forms.FORMS.keys() - {"error", "plan"} == command_names() - groups


@pytest.mark.parametrize(
    ("argv", "code", "kind"),
    [
        (["exprot"], 2, "UsageError"),
        (["export", "--target", "onnx-fp23"], 2, "UsageError"),
        (["export", "efficientvit_b0", "--target", "onnx-fp32", "--size", "225"], 4, "Impossible"),
        (["bench", "efficientvit_b1", "--device", "orin"], 7, "DeviceError"),
        (["report", "nowhere.json"], 9, "UnreadableFile"),
        (["bench", "--nothing"], 2, "UsageError"),
    ],
)
@pytest.mark.parametrize("option", [["--json", "-"], ["--json=-"], ["--json", "/dev/stdout"]], ids=" ".join)
def test_an_error_is_a_document_too(say: Any, argv: list[str], code: int, kind: str, option: list[str]):
    ended, out, err = say(*argv, *option)
    assert ended == code
    two_lines(err)
    form = msgspec.json.decode(out, type=json_forms.ErrorForm)
    assert (form.error.kind, form.error.exit_code) == (kind, code)
    assert err == f"error: {form.error.message}\nhint: {form.error.hint}\n"
    assert json.loads(out).keys() == {"error"}


def test_no_arguments_at_all_are_no_bug():
    assert main([]) == 0


def test_a_bug_is_a_document_too(say: Any, monkeypatch: pytest.MonkeyPatch):
    def broken() -> None:
        msg = "planted"
        raise RuntimeError(msg)

    monkeypatch.setattr("vitdeploy.api.listings.models", broken)
    code, out, _ = say("models", "--json", "-")
    assert (code, json.loads(out)["error"]["exit_code"]) == (1, 1)


def test_without_json_stdout_stays_empty(say: Any, tmp_path: Path):
    assert say("exprot")[1] == ""
    assert say("exprot", "--json", str(tmp_path / "x.json"))[1] == ""


def test_the_classes_of_errors_are_those_of_the_tree():
    assert {kind.__name__ for kind in errors.error_classes()} >= {"UsageError", "Impossible"}


def fits(command: str, document: Any) -> None:
    """Fail where a document is not of the type of its command, or has fields that the type lacks."""
    kind = json_forms.FORMS[command]
    data = json.loads(documents.encode(document))
    again = json.loads(msgspec.json.encode(msgspec.convert(data, kind, strict=True)))
    assert again == data or not _missing(data, again)


def _missing(data: Any, again: Any, place: str = "") -> list[str]:
    """Fields of ``data`` that the type dropped."""
    if isinstance(data, dict) and isinstance(again, dict):
        return [
            path
            for key, value in data.items()
            for path in ([f"{place}.{key}"] if key not in again and value else _missing(value, again.get(key), key))
        ]
    if isinstance(data, list) and isinstance(again, list):
        return [path for one, other in zip(data, again, strict=True) for path in _missing(one, other, place)]
    return []


@pytest.mark.parametrize("command", ["models", "targets", "devices", "suites", "weights", "cache ls"])
def test_the_listings_fit_their_types(say: Any, command: str):
    fits(command, json.loads(say(*command.split(), "--json", "-")[1]))


def test_plans_runs_and_verdicts_fit_their_types(say: Any, tmp_path: Path):
    fits("plan", json.loads(say("bench", "efficientvit_b0", "--dry-run", "--json", "-")[1]))
    fits("reproduce", json.loads(say("reproduce", "--json", "-")[1]))
    for seed, name in enumerate(("base", "head"), 1):
        row = make_run.row("efficientvit_b1", "onnx-fp32", 7.4, seed=seed)
        record.save(make_run.run(row, name=name), tmp_path / f"{name}.json")
    fits("compare", json.loads(say("compare", "base.json", "head.json", "--json", "-")[1]))
    fits("report", json.loads(say("report", "base.json", "--json", "-")[1]))
    fits("report", json.loads(say("report", "base.json", "--format", "csv", "--out", "x.csv", "--json", "-")[1]))
    fits("accept", json.loads(say("accept", "base.json", "--because", "x", "--json", "-")[1]))
    fits("bench", json.loads((tmp_path / "base.json").read_bytes()))


def test_studies_fit_their_types():
    row = make_run.row("efficientvit_sr_x2", "onnx-fp32", 10.0, seed=1, attention="relu", size=(48, 72))
    made = make_run.run(row, name="made")
    again, first = (
        msgspec.structs.replace(made, protocol=msgspec.structs.replace(made.protocol, suite=suite))
        for suite in (reproduction.suite_of("sr", quick=True), attention_study.SUITE)
    )
    reproduced = reproduction.reproduce("sr", published_tables.find("sr"), again)
    studied = attention_study.study(first, published_tables.find("attention"))
    path = Path("run.json")
    outcome = ReproduceOutcome(reproduction=reproduced, path=path, page=path)
    fits("reproduce", studies.reproduce_output(outcome).document)
    fits("attention", studies.attention_output(AttentionOutcome(study=studied, path=path, page=path)).document)


def test_verdicts_have_the_fields_of_a_comparison():
    names = {field.name for field in dataclasses.fields(Compared)}
    for kind, own in ((json_forms.DuelForm, "run"), (json_forms.CompareForm, "exit_code")):
        assert {field.name for field in msgspec.structs.fields(kind)} == names | {own}


def test_rows_of_an_export_have_the_fields_of_their_type():
    fields = {field.name for field in msgspec.structs.fields(json_forms.ExportRow)}
    source = Path(export.__file__).read_text()
    assert all(f'"{name}": ' in source for name in fields)
    names = {field.name for field in msgspec.structs.fields(json_forms.CheckForm)}
    assert names - {"artifact"} <= {field.name for field in dataclasses.fields(CheckOutcome)}
