"""One suite for all report formats: golden files, every status, an empty run, hostile strings, one page without a net.

``python -m tests.contracts.test_renderers`` writes the golden files anew.
"""

import base64
import csv
import hashlib
import io
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree as ET

import msgspec
import pytest

from tests.doubles import make_run
from tests.doubles.pages import HOSTILE, Page, hostile_run
from vitdeploy.catalog import registry
from vitdeploy.reports import (
    as_bencher,
    as_benchmark_action,
    as_csv,
    as_github,
    as_html,
    as_json,
    as_junit,
    as_markdown,
    as_pandas,
    report,
    shown_text,
)
from vitdeploy.results.record import Run

GOLDEN = Path(__file__).parent.parent / "data" / "reports"
TEXTS = (as_markdown, as_csv, as_json)
MACHINES = (as_junit, as_benchmark_action, as_bencher)
GOLDEN_FILES = {
    "everything.md": as_markdown,
    "everything.csv": as_csv,
    "everything.json": as_json,
    "github.md": as_github,
    "junit.xml": as_junit,
    "benchmark-action.json": as_benchmark_action,
    "bencher.json": as_bencher,
}


@pytest.fixture(scope="module")
def everything() -> report.Report:
    return report.build([make_run.everything()])


@pytest.fixture(scope="module")
def page(everything: report.Report) -> str:
    return as_html.render(everything).decode()


def rounded(value: Any) -> Any:
    """JSON data with floats to nine digits: the last bits of a logarithm differ between machines."""
    if isinstance(value, float):
        return float(f"{value:.9g}")
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    return [rounded(one) for one in value] if isinstance(value, list) else value


def test_every_format_of_the_catalog_renders_and_names_its_suffix(everything: report.Report):
    for module in (registry.load(reference) for name, reference in registry.FORMATS.items() if name != "history"):
        assert module.SUFFIX.startswith(".")
        assert isinstance(module.render(everything), bytes)


@pytest.mark.parametrize("name", GOLDEN_FILES)
def test_the_document_is_the_golden_one(name: str, everything: report.Report):
    made, golden = GOLDEN_FILES[name].render(everything), (GOLDEN / name).read_bytes()
    if name.endswith(".json"):
        assert rounded(json.loads(made)) == json.loads(golden)
    else:
        assert made.decode() == golden.decode()


@pytest.mark.parametrize("module", [*TEXTS, as_html, as_github, *MACHINES])
def test_two_renderings_are_equal(module: ModuleType, everything: report.Report):
    assert module.render(everything) == module.render(report.build([make_run.everything()]))


@pytest.mark.parametrize("module", [*TEXTS, as_html, as_github, as_benchmark_action])
def test_random_weights_are_said_wherever_figures_are(module: ModuleType, everything: report.Report):
    assert "random" in module.render(everything).decode().lower()


@pytest.mark.parametrize("module", [*TEXTS, as_html])
@pytest.mark.parametrize("runs", [[], [make_run.run()]], ids=["no run", "an empty run"])
def test_nothing_measured_is_said_and_no_error(module: ModuleType, runs: list[Run]):
    made = module.render(report.build(runs)).decode()
    assert as_pandas.COLUMNS[0] in made if module is as_csv else "Nothing was measured" in made or '"rows": []' in made


@pytest.mark.parametrize("module", [*TEXTS, as_html, as_github, *MACHINES])
def test_what_may_not_be_quoted_has_no_figure_anywhere(module: ModuleType):
    hidden = make_run.row("efficientvit_b2", "onnx-fp32", 71.3579, seed=6, parity=make_run.FAILED)
    shown = make_run.row("efficientvit_b1", "onnx-fp32", 7.0, seed=1)
    assert hidden.summary is not None
    made = module.render(report.build([make_run.run(hidden, shown)])).decode()
    if module not in (as_benchmark_action, as_bencher):  # they hold nothing but figures
        assert "holds NaN" in made or "parity-failed" in made
    text = Page(made).text if module is as_html else made
    data = re.findall(r'type="application/json">(.*?)</script>', made)
    for figure in (hidden.summary.median_ms, hidden.summary.throughput_per_s, hidden.summary.p90_ms or 0.0):
        for shape in (".1f", ".2f", ".4g"):
            assert f"{figure:{shape}}" not in " ".join([text, *data])


def test_a_table_keeps_its_shape_with_hostile_strings():
    lines = as_markdown.render(report.build([hostile_run()])).decode().splitlines()
    tables = [line for line in lines if line.startswith("| ")]
    widths = {len(re.findall(r"(?<!\\)\|", line)) for line in tables}
    assert len(widths) == 1
    text = "\n".join(lines)
    assert "<img" not in text
    assert "</script" not in text
    assert "](http" not in text.replace("\\]", "")
    assert "@user" not in text
    assert not re.search(r"(?<!&#58;)//evil", text)


def test_code_in_a_reason_stays_code_and_lone_backticks_do_not():
    made = make_run.run(make_run.failed("m", "do `a|b` now", "lone ` here"))
    text = as_markdown.render(report.build([made])).decode()
    assert "do `a\\|b` now. lone \\` here" in text


def test_a_spreadsheet_runs_nothing():
    found = make_run.run(make_run.failed("=HYPERLINK(1)", "-", "+"), name="@SUM(1)")
    rows = list(csv.DictReader(io.StringIO(as_csv.render(report.build([found])).decode())))
    assert rows[0]["model"] == "'=HYPERLINK(1)"
    assert rows[0]["run"] == "'@SUM(1)"


def test_csv_and_json_survive_hostile_strings():
    built = report.build([hostile_run()])
    rows = list(csv.DictReader(io.StringIO(as_csv.render(built).decode())))
    assert {row["model"] for row in rows} == {shown_text.line(HOSTILE)}
    assert {row["case"]["model"] for row in json.loads(as_json.render(built))["rows"]} == {HOSTILE}


def test_json_fits_its_own_types(everything: report.Report):
    found = msgspec.json.decode(as_json.render(everything), type=as_json.JsonReport)
    assert len(found.rows) == len(everything.rows)
    assert all((row.summary is None) == (row.status != "valid") for row in found.rows)


def test_the_page_is_whole_in_itself(page: str):
    found = Page(page)
    for tag, attributes in found.elements:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            assert attributes.get(name, "#").startswith(("#", "data:")), (tag, attributes)
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert style
    assert "url(" not in style[1]
    assert "@import" not in style[1]
    assert len(page) < 2_500_000


def test_the_policy_allows_these_scripts_and_nothing_else(page: str):
    found = Page(page)
    (policy,) = [a["content"] for tag, a in found.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-eval" not in policy
    kinds = [a.get("type") for tag, a in found.elements if tag == "script"]
    run = [text for text, kind in zip(found.scripts, kinds, strict=True) if kind is None]
    for text in run:
        assert base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() in policy
    assert len(run) == policy.count("sha256-")


def test_the_page_says_every_figure_and_every_reason(page: str, everything: report.Report):
    text = Page(page).text
    for row in everything.rows:
        for reason in row.result.reasons:
            assert reason.message.replace("`", "") in text
        for why in row.lacking.values():
            assert why in text
    assert "Random weights (seed 0)" in text
    assert "Made-up CPU 9000" in text
    assert "How to read a number" in text


def test_the_page_carries_its_charts_as_data(page: str):
    data = json.loads(next(text for text in Page(page).scripts if text.startswith("{")))
    assert list(data["charts"]) == ["macs", "spread", "distribution", "drift"]
    assert set(data["themes"]) == {"light", "dark"}


def test_hostile_strings_are_only_text_on_the_page():
    made = as_html.render(report.build([hostile_run()])).decode()
    found = Page(made)
    assert not [a for _, a in found.elements if any(name.startswith("on") for name in a)]
    assert [a for tag, a in found.elements if tag == "img" and not a["src"].startswith("data:image/svg")] == []
    assert "<!--{{7*7}}@user ${1}" in found.text
    data = json.loads(next(text for text in found.scripts if text.startswith("{")))
    assert json.dumps(shown_text.line(HOSTILE))[1:-1] in json.dumps(data)
    assert made.count("<script") == 3


def compared() -> report.Report:
    """One slower, one that cannot be told, one wrong file, one that the baseline lacks."""
    base = make_run.run(
        make_run.row("efficientvit_b1", "onnx-fp32", 7.4, seed=1, trials=8, count=100),
        make_run.row("efficientvit_b2", "onnx-fp32", 19.0, seed=2, trials=3, count=100),
        make_run.row("efficientvit_b3", "onnx-fp32", 44.0, seed=3, count=100),
        name="base",
    )
    head = make_run.run(
        make_run.row("efficientvit_b1", "onnx-fp32", 8.4, seed=4, trials=8, count=100),
        make_run.row("efficientvit_b2", "onnx-fp32", 19.3, seed=5, trials=3, count=100),
        make_run.row("efficientvit_b3", "onnx-fp32", 44.0, seed=6, count=100, parity=make_run.FAILED),
        make_run.row(HOSTILE, "onnx-fp32", 44.0, seed=7, count=100),
        name="head",
    )
    return report.build([head], base)


def test_github_gets_an_error_for_what_is_slower_and_a_warning_for_what_cannot_be_told():
    commands = as_github.annotations(compared())
    assert [command.partition(" ")[0] for command in commands] == ["::error", "::warning", "::error", "::warning"]
    assert commands[0].startswith("::error title=slower%3A efficientvit_b1 onnx-fp32 224x224::+1")
    assert "%25" in commands[0]
    assert all("\n" not in command and command.count("::") >= 2 for command in commands)
    body = as_github.render(compared()).decode()
    assert body.startswith(as_github.MARKER + "\n## ")
    assert body.index("| 🔴 | efficientvit") < body.index("| 🟡 |")
    assert "**1 slower**" in body
    assert "<img" not in body


def test_a_comment_too_long_for_github_keeps_its_verdicts():
    rows = [make_run.row(f"model_{i}", "onnx-fp32", 7.0, seed=i, trials=3, count=20) for i in range(400)]
    body = as_github.render(report.build([make_run.run(*rows)]))
    assert len(body) <= as_github.LARGEST_BYTES
    assert b"too long for a comment" in body


def test_junit_counts_what_failed_and_holds_no_forbidden_character():
    root = ET.fromstring(as_junit.render(compared()))
    (suite,) = root
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("4", "2", "0")
    failures = [found.get("message", "") for found in suite.iter("failure")]
    assert sorted(failures) == ["has no figure to quote", "slower"]
    ET.fromstring(as_junit.render(report.build([make_run.run(make_run.failed("a\x00\x1b", "b\x08", "c"))])))


def test_the_benchmark_action_gets_its_fields_and_types(everything: report.Report):
    rows = json.loads(as_benchmark_action.render(everything))
    assert len(rows) == sum(row.quotable for row in everything.rows)
    assert {tuple(row) for row in rows} == {("name", "unit", "value", "range", "extra")}
    assert all(isinstance(row["value"], float) and isinstance(row["range"], str) for row in rows)
    assert len({row["name"] for row in rows}) == len(rows)


def test_bencher_gets_nanoseconds_within_their_bounds(everything: report.Report):
    found = json.loads(as_bencher.render(everything))
    first = found["efficientvit_b1 onnx-fp32 224x224"]["latency"]
    assert first["lower_value"] < first["value"] < first["upper_value"]
    assert 7e6 < first["value"] < 8e6


if __name__ == "__main__":
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for file, renderer in GOLDEN_FILES.items():
        document = renderer.render(report.build([make_run.everything()]))
        if file.endswith(".json"):
            document = json.dumps(rounded(json.loads(document)), indent=1, ensure_ascii=False).encode() + b"\n"
        (GOLDEN / file).write_bytes(document)
