"""The command line's promises: exit codes, two lines for every error, JSON for every verb, nothing half-written."""

import inspect
import json
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.messages import two_lines
from vitdeploy.api.cases import BenchRequest
from vitdeploy.api.compare import CompareRequest
from vitdeploy.api.duel import DuelRequest
from vitdeploy.api.export_request import ExportRequest
from vitdeploy.api.predict import PredictRequest
from vitdeploy.api.requests import request_of
from vitdeploy.api.studies import StudyRequest
from vitdeploy.cli.app import COMMANDS
from vitdeploy.evaluation.request import EvalRequest
from vitdeploy.fleet.api import SweepRequest


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (["exprot"], 2, "export"),
        (["export"], 2, "--target"),
        (["export", "--target", "onnx-fp23"], 2, "onnx-fp32"),
        (["export", "efficientvit_b9", "--target", "onnx-fp32"], 2, "efficientvit_b"),
        (["export", "efficientvit_b0", "--target", "onnx-fp32", "--sise", "224"], 2, "--size"),
        (["export", "efficientvit_b0", "--target", "onnx-fp32", "--size", "0"], 2, "two positive whole numbers"),
        (["export", "efficientvit_b0", "--target", "onnx-fp32", "--size", "-32"], 2, "two positive whole numbers"),
        (["export", "efficientvit_b0", "--target", "onnx-fp32", "--size", "224x"], 2, "two positive whole numbers"),
        (["export", "efficientvit_b0", "--target", "onnx-fp32", "--size", "axb"], 2, "two positive whole numbers"),
        (["export", "efficientvit_b0", "--target", "onnx-fp32", "--size", "225"], 4, "224x224 or 256x256"),
        (["export", "efficientvit_b0", "--target", "onnx-fp32", "--size", "999999968x32"], 4, "beyond"),
        (["export", "efficientvit_b0", "--target", "onnx-fp32", "--batch", "0"], 2, "batch"),
        (["export", "efficientvit_b0", "--target", "onnx-fp32", "--batch", "two"], 2, "batch"),
        (["export", "efficientvit_b0", "--target", "onnx-fp32", "--attention", "flash"], 2, "attention"),
        (["export", "efficientvit_b0", "--target", "onnx-fp32", "--head", "tail"], 2, "head"),
        (["export", "efficientvit_b0", "--target", "onnx-fp32", "--io", "int4"], 2, "io"),
        (["export", "efficientvit_b0", "--target", "onnx-fp32", "--without", "magic"], 2, "rewrite"),
        (["export", "efficientvit_b0", "--target", "onnx-fp32", "--device", "orinn"], 2, "orin"),
        (["export", "efficientvit_b0", "--target", "onnx-fp32", "--weights", "missing.pt"], 9, "missing.pt"),
        (["bench", "--suite", "dmeo"], 2, "demo"),
        (["bench", "--device", "locl"], 2, "local"),
        (["bench", "efficientvit_b0", "--boundary", "all"], 2, "boundary"),
        (["bench", "efficientvit_b0", "--trials", "0"], 2, "trials"),
        (["bench", "efficientvit_b0", "--streams", "-1"], 2, "streams"),
        (["bench", "efficientvit_b0", "--threads", "0"], 2, "threads"),
        (["bench", "efficientvit_b0", "--min-time", "-1"], 2, "min-time"),
        (["bench", "nowhere/model.onnx"], 9, "no artifact"),
        (["check", "nowhere"], 9, "no artifact"),
        (["predict", "nowhere", "sample:coffee"], 9, "no artifact"),
        (["report", "nowhere.json"], 9, "nowhere.json"),
        (["report", "nowhere.json", "--format", "htlm"], 2, "html"),
        (["duel", "a", "b"], 2, "unknown model"),
    ],
)
def test_bad_input_is_two_lines_and_the_contracts_exit_code(say, argv: list[str], code: int, said: str, tmp_path: Path):
    found, out, err = say(*argv)
    assert found == code, err
    assert out == ""
    two_lines(err)
    assert said in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("device", ["orin", "a100", "snapdragon-8gen1", "snapdragon-855"])
def test_a_device_that_is_not_configured_is_exit_7(say, device: str):
    code, _, err = say("bench", "efficientvit_b0", "--device", device)
    assert code == 7, err
    two_lines(err)


@pytest.mark.parametrize("verb", ["models", "targets", "devices", "suites", "doctor"])
def test_the_listings_speak_json(say, verb: str, tmp_path: Path):
    code, out, err = say(verb, "--json", "-")
    assert (code, err) == (0, "")
    rows = json.loads(out)
    assert rows
    code, table, _ = say(verb, "--json", str(tmp_path / "rows.json"))
    assert code == 0
    assert len(json.loads((tmp_path / "rows.json").read_text())) == len(rows)
    assert table.strip()


def test_every_contract_name_is_listed(say):
    targets = {row["name"] for row in json.loads(say("targets", "--json", "-")[1])}
    contract = "onnx-fp32 onnx-fp16 tflite-fp32 trt-fp16 trt-fp32 trt-bf16 trt-rtx-fp16 torch-fp32 torch-fp16".split()
    assert targets == {*contract, "onnx-bf16"}, "the last one is what trt-bf16 is built from"
    devices = {row["name"] for row in json.loads(say("devices", "--json", "-")[1])}
    assert devices == {"local", "orin", "a100", "snapdragon-8gen1", "snapdragon-855"}
    suites = {row["name"] for row in json.loads(say("suites", "--json", "-")[1])}
    assert suites == {"demo", "ci", "cityscapes", "ade20k", "imagenet", "sr", "sam", "attention"}


def test_a_dry_run_prints_the_plan_and_touches_nothing(say, tmp_path: Path):
    for argv in (
        ["export", "efficientvit_b0", "--target", "onnx-fp32", "--dry-run"],
        ["bench", "efficientvit_b0", "--dry-run"],
        ["bench", "--dry-run"],
    ):
        code, out, err = say(*argv)
        assert (code, err) == (0, "")
        assert "efficientvit_b" in out
    assert list(tmp_path.iterdir()) == []


def test_the_version_is_printed(say):
    assert say("--version")[1].startswith("vitdeploy ")


def test_a_bug_is_exit_1_and_two_lines(say, monkeypatch: pytest.MonkeyPatch):
    def broken() -> None:
        msg = "planted"
        raise RuntimeError(msg)

    monkeypatch.setattr("vitdeploy.api.listings.models", broken)
    code, _, err = say("models")
    assert code == 1
    two_lines(err)
    assert "planted" in err


def test_debug_shows_the_traceback(say):
    _, _, err = say("export", "efficientvit_b9", "--target", "onnx-fp32", "--debug")
    assert "Traceback" in err


def test_control_c_is_exit_130(say, monkeypatch: pytest.MonkeyPatch):
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("vitdeploy.api.listings.models", interrupted)
    code, _, err = say("models")
    assert code == 130
    two_lines(err)


@pytest.mark.parametrize(
    ("verb", "request_type", "without_option"),
    [
        ("export", ExportRequest, {"weights_sha256"}),
        ("predict", PredictRequest, set()),
        ("bench", BenchRequest, set()),
        ("duel", DuelRequest, {"early"}),
        ("compare", CompareRequest, set()),
        ("calibrate", DuelRequest, {"accept_licence", "early", "size", "weights"}),
        ("attention", StudyRequest, set()),
        ("reproduce", StudyRequest, set()),
        ("eval", EvalRequest, set()),
        ("sweep", SweepRequest, set()),
    ],
)
def test_every_field_of_a_request_is_an_option_with_the_same_default(
    verb: str, request_type: type[Any], without_option: set[str]
):
    fields = inspect.signature(request_type).parameters
    options = inspect.signature(COMMANDS[verb]).parameters
    assert set(fields) - set(options) == without_option
    for name in set(fields) & set(options):
        given, default = options[name].default, fields[name].default
        assert given == default or given is None, name


def test_a_request_has_the_options_that_were_given():
    made = request_of(BenchRequest, {"targets": ["onnx-fp32", "tflite-fp32"], "device": None, "streams": 0, "bar": 1})
    assert made == BenchRequest(targets=("onnx-fp32", "tflite-fp32"), device="local", streams=0)
