"""Values of the functions: one or many, text or path, pair or text; a wrong one is an error of the tree."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vitdeploy
from vitdeploy.api import requests
from vitdeploy.errors import UsageError, VitdeployError

BENCH: Mapping[str, Any] = {"trials": 3, "min_time": 0.5, "yardstick": "off", "dry_run": True}


def plan(*names: Any, **options: Any) -> tuple[str, ...]:
    """The plan's cases, a line each."""
    lines: tuple[str, ...] = vitdeploy.bench(*names, **{**BENCH, **options})
    return tuple(line for line in lines if " on local: " in line)


def test_one_name_many_names_and_a_list_are_the_same():
    many = plan("efficientvit_b0", "efficientvit_b1")
    assert many == plan(["efficientvit_b0", "efficientvit_b1"]) == plan(("efficientvit_b0",), "efficientvit_b1")
    assert plan("efficientvit_b0") == many[:1]
    both = plan("efficientvit_b0", target=["onnx-fp32", "torch-fp32"])
    assert [line.split()[1] for line in both] == ["onnx-fp32", "torch-fp32"]
    assert plan("efficientvit_b0", target="onnx-fp32") == both[:1]


@pytest.mark.parametrize("size", ["64x96", (64, 96), [64, 96], np.array([64, 96])])
def test_a_size_is_text_or_a_pair(size: Any):
    (line,) = plan("efficientvit_b0", size=size)
    assert "64x96" in line


def test_a_share_is_text_or_a_number_and_numpys_numbers_are_numbers():
    by_text = requests.request_of(vitdeploy.DuelRequest, {"max_slowdown": "2.5%", "pairs": np.int64(4)})
    by_number = requests.request_of(vitdeploy.DuelRequest, {"max_slowdown": np.float64(0.025), "pairs": 4})
    assert by_text == by_number == vitdeploy.DuelRequest(max_slowdown=0.025, pairs=4)


def test_options_fill_the_fields_of_their_request():
    options = {"target": "onnx-fp32", "min_time": 2, "sustained": None, "out": "~x/run.json", "resume": True}
    request = requests.request_of(vitdeploy.BenchRequest, options)
    assert request.targets == ("onnx-fp32",)
    assert request.min_time_s == 2
    assert request.sustained_s is None
    assert request.out == Path("~x/run.json")
    assert request.resume


def test_the_home_folder_is_found_without_a_shell(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", "/somewhere")
    assert requests.path_of("out", "~/run.json") == Path("/somewhere/run.json")


def test_a_path_object_is_a_path_and_no_model_name():
    with pytest.raises(VitdeployError, match=r"no artifact at efficientvit_b0"):
        plan(Path("efficientvit_b0"))


def test_points_and_boxes_are_numbers_or_text(monkeypatch: pytest.MonkeyPatch):
    from vitdeploy.verbs import make

    seen: list[Any] = []
    monkeypatch.setattr(make.predicting, "predict_plan", lambda request: seen.append(request) or [])
    for point in ((3, 4), [(3, 4)], "3,4", ["3,4"], np.array([[3, 4]])):
        vitdeploy.predict("artifact", "picture.png", point=point, box=[(1, 2, 30.5, 40), (0, 0, 9, 9)], dry_run=True)
    assert {request.points for request in seen} == {("3,4",)}
    assert {request.boxes for request in seen} == {("1,2,30.5,40", "0,0,9,9")}


WRONG: Mapping[str, tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = {
    "size of words": (vitdeploy.bench, ("efficientvit_b0",), {"size": "abc"}),
    "size of one number": (vitdeploy.bench, ("efficientvit_b0",), {"size": 224}),
    "size of three": (vitdeploy.bench, ("efficientvit_b0",), {"size": (1, 2, 3)}),
    "size of floats": (vitdeploy.bench, ("efficientvit_b0",), {"size": (64.0, 64.5)}),
    "size of text": (vitdeploy.bench, ("efficientvit_b0",), {"size": ("64", "64")}),
    "trials of text": (vitdeploy.bench, ("efficientvit_b0",), {"trials": "five"}),
    "trials of a share": (vitdeploy.bench, ("efficientvit_b0",), {"trials": 2.5}),
    "trials of truth": (vitdeploy.bench, ("efficientvit_b0",), {"trials": True}),
    "no trials": (vitdeploy.bench, ("efficientvit_b0",), {"trials": 0}),
    "device of a number": (vitdeploy.bench, ("efficientvit_b0",), {"device": 3}),
    "unknown device": (vitdeploy.bench, ("efficientvit_b0",), {"device": "ornin"}),
    "unknown target": (vitdeploy.export, ("efficientvit_b0",), {"target": "onnx-fp23"}),
    "target of many": (vitdeploy.export, ("efficientvit_b0",), {"target": ["onnx-fp32", "onnx-fp16"]}),
    "target of None": (vitdeploy.export, ("efficientvit_b0",), {"target": None}),
    "unknown model": (vitdeploy.export, ("efficientvit_b9",), {"target": "onnx-fp32"}),
    "model of a number": (vitdeploy.export, (7,), {"target": "onnx-fp32"}),
    "model of None": (vitdeploy.export, (None,), {"target": "onnx-fp32"}),
    "models of numbers": (vitdeploy.export, ([1, 2],), {"target": "onnx-fp32"}),
    "suite of a number": (vitdeploy.export, (), {"target": "onnx-fp32", "suite": 3}),
    "mean of words": (vitdeploy.export, ("efficientvit_b0",), {"target": "onnx-fp32", "mean": ["a", "b", "c"]}),
    "batch of text": (vitdeploy.export, ("efficientvit_b0",), {"target": "onnx-fp32", "batch": "2"}),
    "force of text": (vitdeploy.export, ("efficientvit_b0",), {"target": "onnx-fp32", "force": "yes"}),
    "weights of a number": (vitdeploy.export, ("efficientvit_b0",), {"target": "onnx-fp32", "weights": 1}),
    "NUL in a path": (vitdeploy.export, ("efficientvit_b0",), {"target": "onnx-fp32", "out": "a\0b"}),
    "NUL in a name": (vitdeploy.bench, ("a\0b",), {}),
    "slowdown of words": (vitdeploy.duel, ("efficientvit_b0", "efficientvit_b1"), {"max_slowdown": "much"}),
    "side of None": (vitdeploy.duel, ("efficientvit_b0", None), {}),
    "side of two": (vitdeploy.duel, ("efficientvit_b0", ["efficientvit_b0", "efficientvit_b1"]), {}),
    "no run": (vitdeploy.compare, (), {}),
    "run of a number": (vitdeploy.compare, (3,), {}),
    "run that is not there": (vitdeploy.compare, ("nowhere.json",), {}),
    "strict of text": (vitdeploy.compare, ("nowhere.json",), {"strict": "yes"}),
    "file of None": (vitdeploy.verify, (None,), {}),
    "file that is not there": (vitdeploy.verify, ("nowhere",), {}),
    "deep of text": (vitdeploy.verify, ("nowhere",), {"deep": "no"}),
    "format of a number": (vitdeploy.report, ("nowhere.json",), {"format": 3}),
    "unknown format": (vitdeploy.report, ("nowhere.json",), {"format": "pdf"}),
    "because of None": (vitdeploy.accept, ("nowhere.json",), {"because": None}),
    "artifact of None": (vitdeploy.check, (None,), {}),
    "artifact that is not there": (vitdeploy.check, ("nowhere",), {}),
    "check on a number": (vitdeploy.check, ("nowhere",), {"device": 3}),
    "image of None": (vitdeploy.predict, ("nowhere", None), {}),
    "point of None": (vitdeploy.predict, ("nowhere", "a.png"), {"point": [None]}),
    "point of a number": (vitdeploy.predict, ("nowhere", "a.png"), {"point": 3}),
    "unknown data set": (vitdeploy.eval, ("nowhere",), {"dataset": "cityscape", "root": "."}),
    "root of None": (vitdeploy.eval, ("nowhere",), {"dataset": "cityscapes", "root": None}),
    "plan that is not there": (vitdeploy.sweep, ("nowhere.toml",), {}),
    "plan of None": (vitdeploy.sweep, (None,), {}),
    "unknown table": (vitdeploy.reproduce, ("cityscpes",), {}),
    "table of a number": (vitdeploy.reproduce, (3,), {}),
    "table and run": (vitdeploy.reproduce, ("cityscapes",), {"from_": "x.json"}),
    "unknown network": (vitdeploy.attention, (), {"network": "efficientvit_b9"}),
    "run of nothing": (vitdeploy.attention, (), {"from_": 3}),
    "doctor of a number": (vitdeploy.doctor, (), {"device": 3}),
    "days of words": (vitdeploy.cache_gc, (), {"older_than": "long", "dry_run": True}),
    "days before today": (vitdeploy.cache_gc, (), {"older_than": -1, "dry_run": True}),
    "load of None": (vitdeploy.load, (None,), {}),
    "load of a folder": (vitdeploy.load, (".",), {}),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_value_is_an_error_of_the_tree(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    function, arguments, options = WRONG[name]
    with pytest.raises(VitdeployError) as caught:
        function(*arguments, **options)
    assert caught.value.exit_code != 1
    assert caught.value.hint
    assert not list(tmp_path.iterdir())


def test_the_message_says_the_value_and_what_is_expected():
    with pytest.raises(UsageError) as caught:
        vitdeploy.bench("efficientvit_b0", threads="two")  # pyright: ignore[reportCallIssue, reportArgumentType]
    assert caught.value.message == "threads='two' is not a valid value"
    assert caught.value.hint == "Give a whole number."


def test_an_unknown_keyword_is_pythons_own_error():
    with pytest.raises(TypeError, match="targets"):
        vitdeploy.bench("efficientvit_b0", targets="onnx-fp32")  # pyright: ignore[reportCallIssue]


def test_a_project_file_has_the_defaults_here_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vitdeploy.toml").write_text('max-slowdown = "7%"\nout = "files"\n')
    assert "±7.0%" in vitdeploy.compare("a.json", "b.json", dry_run=True)[0]
    assert "±3.0%" in vitdeploy.compare("a.json", "b.json", max_slowdown="3%", dry_run=True)[0]
    assert requests.request_of(vitdeploy.BenchRequest, {}).artifacts == tmp_path / "files"
