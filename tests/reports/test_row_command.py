"""The command of each row of a report: with it the row can be measured again."""

import html
import re
import shlex

import msgspec
import pytest

from tests.doubles import make_run
from tests.named_commands import options_of
from vitdeploy.catalog import checkpoints
from vitdeploy.reports import as_html, report, row_command
from vitdeploy.results.record import Result

RUN = make_run.everything()
PROTOCOL = RUN.protocol


def words(result: Result, **protocol: object) -> list[str]:
    return shlex.split(row_command.of(result, msgspec.structs.replace(PROTOCOL, **protocol)).words)


def test_a_plain_row_needs_model_target_size_threads_and_trials():
    shown = row_command.of(make_run.row("efficientvit_b1", "onnx-fp32", 7.4, seed=1), PROTOCOL)
    assert shown.words == (
        "vitdeploy bench efficientvit_b1 --target onnx-fp32 --size 224x224 --threads "
        f"{make_run.CASE.threads} --trials 5 --min-time 1"
    )
    assert not shown.note


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"part": "encoder", "model": "efficientvit_sam_l0"}, ["efficientvit_sam_l0.encoder"]),
        ({"batch": 4}, ["--batch", "4"]),
        ({"attention": "softmax"}, ["--attention", "softmax"]),
        ({"device": "orin"}, ["--device", "orin"]),
        ({"boundary": "compute"}, ["--boundary", "compute"]),
        ({"streams": 2}, ["--streams", "2"]),
        ({"graph": True}, ["--graph", "on"]),
        ({"weights": "sha256:" + "9" * 64}, ["--weights", "FILE"]),
        ({"model": "onnx:my model.onnx"}, ["onnx:my model.onnx"]),
    ],
)
def test_what_is_not_a_default_is_an_option(changes: dict[str, object], expected: list[str]):
    result = make_run.row("efficientvit_b1", "onnx-fp32", 7.4, seed=1)
    named = words(msgspec.structs.replace(result, case=msgspec.structs.replace(result.case, **changes)))
    places = [place for place, word in enumerate(named) if word == expected[0]]
    assert any(named[place : place + len(expected)] == expected for place in places), named


def test_the_protocol_gives_its_options_and_all_of_them_exist():
    result = make_run.row("efficientvit_b1", "onnx-fp32", 7.4, seed=1)
    named = words(result, until=0.05, time_budget_s=200.0, sustained_s=60.0, priority="realtime")
    assert "--trials" not in named
    expected = ("--until", "5%", "--time-budget", "200", "--min-time", "1", "--sustained", "60", "--priority")
    assert [word for word in named if word in expected] == list(expected)
    assert {word for word in named if word.startswith("--")} <= set(options_of("bench"))


def test_official_weights_are_named_and_a_file_by_its_digest():
    official = checkpoints.checkpoints_of("efficientvit_seg_b0_cityscapes")[0]
    row = make_run.row("efficientvit_seg_b0_cityscapes", "onnx-fp32", 7.4, seed=1, weights=f"sha256:{official.sha256}")
    assert "official" in words(row)
    other = make_run.row("efficientvit_b1", "onnx-fp32", 7.4, seed=1, weights="sha256:" + "ab" * 32)
    assert row_command.of(other, PROTOCOL).note == "FILE: the checkpoint with SHA-256 abababababab…"
    labels = make_run.row("efficientvit_seg_b0_cityscapes", "onnx-fp32", 7.4, seed=1, head="labels")
    assert "--head labels" in row_command.of(labels, PROTOCOL).note
    assert words(labels)[2] == "ARTIFACT"


def test_the_table_stands_before_the_charts_and_every_row_has_its_command():
    built = report.build([RUN])
    page = as_html.render(built).decode()
    assert page.count('<details class="command">') == len(built.rows)
    shown = re.findall(r'<details class="command"><summary>command</summary><code>(.*?)</code>', page, flags=re.DOTALL)
    commands = [html.unescape(re.sub(r"<[^>]+>", "", code)) for code in shown]
    assert commands == [row.command.words for row in built.rows]
    assert page.index("<table>") < page.index('class="reading"') < page.index('id="panel-macs"')
