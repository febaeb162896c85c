"""Every report format: golden documents, every status, the empty run, and strings from strangers."""

import csv
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests import make_run
from tests.test_record import run
from vitdeploy import catalog
from vitdeploy.reports import report

GOLDEN = Path(__file__).parent.parent / "data" / "reports"
HOSTILE = "<script>alert(1)</script>|`[x](http://evil.example)\n</td>\"'&"


def rendered(form: str, *runs: Any) -> str:
    return catalog.load(catalog.find_format(form)).render(report.build(runs)).decode()


class Tags(HTMLParser):
    """Collects what a browser would see: tags with their attributes, and text outside scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.inside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self.inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.inside and tag == self.inside[-1]:
            self.inside.pop()

    def handle_data(self, data: str) -> None:
        if not self.inside:
            self.text.append(data)


def parsed(page: str) -> Tags:
    tags = Tags()
    tags.feed(page)
    return tags


@pytest.mark.parametrize(("form", "suffix"), [("markdown", "md"), ("csv", "csv"), ("json", "json")])
def test_the_document_is_the_golden_one(form: str, suffix: str):
    golden = GOLDEN / f"everything.{suffix}"
    text = rendered(form, make_run.everything())
    if not golden.exists():
        golden.write_text(text)
        pytest.fail(f"{golden} was missing and has been written: read it, then run again")
    assert text == golden.read_text()


@pytest.mark.parametrize("form", catalog.FORMATS)
def test_an_empty_run_is_a_document_too(form: str):
    assert rendered(form, run()).strip()


@pytest.mark.parametrize("form", catalog.FORMATS)
def test_two_renderings_are_equal(form: str):
    assert rendered(form, make_run.everything()) == rendered(form, make_run.everything())


def test_a_row_that_may_not_be_quoted_shows_no_figure():
    rows = list(csv.DictReader(io.StringIO(rendered("csv", make_run.everything()))))
    by_status = {row["status"]: row for row in rows}
    assert by_status["valid"]["median_ms"]
    for status in ("invalid", "failed"):
        assert by_status[status]["median_ms"] == ""
        assert by_status[status]["reasons"]
    lines = [line for line in rendered("markdown", make_run.everything()).splitlines() if line.startswith("| eff")]
    assert [line for line in lines if "invalid" in line or "failed" in line]
    assert not [line for line in lines if "**" in line and ("invalid" in line or "failed" in line)]


def test_random_weights_are_said_wherever_figures_are():
    for form in ("html", "markdown", "json"):
        assert "random" in rendered(form, make_run.everything()).lower()
    assert "random:0" in rendered("csv", make_run.everything())


def test_throughput_stands_apart_from_latency():
    built = report.build([make_run.everything()])
    assert [section.title for section in built.sections] == ["Latency", "Throughput"]
    assert all(row.throughput for row in built.sections[1].rows)
    assert not any(row.throughput for row in built.sections[0].rows)


def test_the_ratio_to_torch_is_within_one_run_and_between_valid_rows():
    rows = {row.result.case.name: row for row in report.build([make_run.everything()]).rows}
    ours, torch = rows["efficientvit_b1 onnx-fp32 224x224"], rows["efficientvit_b1 torch-fp32 224x224"]
    assert ours.result.summary is not None
    assert torch.result.summary is not None
    assert ours.speedup == pytest.approx(torch.result.summary.median_ms / ours.result.summary.median_ms)
    assert torch.speedup is None
    assert rows["efficientvit_b2 onnx-fp32 224x224"].speedup is None


def test_the_page_fetches_nothing():
    page = rendered("html", make_run.everything())
    tags = parsed(page)
    for tag, attributes in tags.tags:
        assert not {"src", "href", "action", "srcset", "poster"} & attributes.keys(), (tag, attributes)
    policy = next(a["content"] for t, a in tags.tags if t == "meta" and "Content-Security-Policy" in a.values())
    assert "default-src 'none'" in (policy or "")
    assert len(page) < 2_500_000


def hostile_run() -> Any:
    plain = make_run.everything()
    case = msgspec.structs.replace(plain.results[0].case, model=HOSTILE)
    reason = msgspec.structs.replace(plain.results[-1].reasons[0], message=HOSTILE, hint=HOSTILE)
    rows = (
        msgspec.structs.replace(plain.results[0], case=case),
        msgspec.structs.replace(plain.results[-1], reasons=(reason,)),
    )
    return msgspec.structs.replace(plain, results=rows, host={"cpu": HOSTILE}, id=HOSTILE)


def test_strings_from_strangers_are_only_text_in_the_page():
    harmless = [tag for tag, _ in parsed(rendered("html", make_run.everything())).tags]
    tags = parsed(rendered("html", hostile_run()))
    assert [tag for tag, _ in tags.tags].count("script") == harmless.count("script")
    assert "alert(1)" in " ".join(tags.text)
    data = re.search(r'<script id="specifications"[^>]*>(.*?)</script>', rendered("html", hostile_run()), re.DOTALL)
    assert data
    assert json.loads(data.group(1))


def test_strings_from_strangers_break_no_markdown_table():
    lines = [line for line in rendered("markdown", hostile_run()).splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in lines}) == 1
    assert "<script>" not in rendered("markdown", hostile_run())
    assert not re.search(r"(?<!\\)\]\(", rendered("markdown", hostile_run()))
