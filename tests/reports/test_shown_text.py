"""A hostile string in every text field of a run, through every renderer and every table: shown, and never obeyed."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.doubles import make_run, small_evaluations
from vitdeploy.benchmarks import reproduce as tables
from vitdeploy.catalog import registry
from vitdeploy.cli import console
from vitdeploy.cli.console import CommandOutput, Table
from vitdeploy.errors import UnreadableFile, VitdeployError
from vitdeploy.evaluation import reading
from vitdeploy.reports import (
    accuracy,
    as_attention,
    as_evaluation,
    as_history,
    as_html,
    as_reproduction,
    report,
    shown_text,
)
from vitdeploy.reports.pages import chart_page
from vitdeploy.results import history, record
from vitdeploy.results.record import Run
from vitdeploy.studies import attention_study, reproduction
from vitdeploy.studies.attention_study import Kernel

HOSTILE = (
    "x\x00\x07\x1b[31mred\x1b]0;title\x07\x9b1m\u202egnp.\u2066\u200b\ufeff\u2028::stop-commands::t\r\n"
    "::error::planted\n  ::set-output::x\n##[error]planted\ud800=1+1"
)
FORMULA = "=HYPERLINK(1)"
HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")
OBEYED = re.compile(r"^\s*::|##\[", re.MULTILINE)
FORMATS = ("markdown", "github", "csv", "junit", "json", "benchmark-action", "bencher")


def small_run() -> Run:
    """One row that is valid, one that was refused, and one that failed; a trial each."""
    busy = make_run.row("efficientvit_b1", "onnx-fp32", 7.4, seed=1, trials=3, count=40, reasons=[make_run.BUSY])
    wrong = make_run.row("efficientvit_b2", "onnx-fp32", 9.0, seed=2, trials=1, count=40, parity=make_run.FAILED)
    failed = make_run.failed("efficientvit_b3", "does not fit", "Use 224x224.")
    return make_run.run(busy, wrong, failed)


def text_fields(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of all texts in plain data; keys of free mappings too, marked by a None at the end."""
    if isinstance(value, str):
        yield path
    elif isinstance(value, dict):
        for key, entry in value.items():
            if path and path[-1] in ("facts", "host", "packages"):
                yield (*path, key, None)
            yield from text_fields(entry, (*path, key))
    elif isinstance(value, list):
        for place, entry in enumerate(value[:3]):
            yield from text_fields(entry, (*path, place))


def planted(data: Any, path: tuple[Any, ...], text: str) -> Any:
    copy = json.loads(json.dumps(data))
    place = copy
    renamed = path[-1] is None
    *folders, last = path[:-1] if renamed else path
    for key in folders:
        place = place[key]
    if renamed:
        place[text] = place.pop(last)
    else:
        place[last] = text
    return copy


def runs(text: str) -> Iterator[tuple[str, Run]]:
    """The run with the text in one field after another; what the schema refuses is none."""
    data = msgspec.to_builtins(small_run())
    for path in text_fields(data):
        try:
            changed = msgspec.convert(planted(data, path, text), Run)
        except (msgspec.ValidationError, UnreadableFile):
            continue
        yield ".".join(map(str, path)), changed


def test_no_renderer_lets_a_hostile_text_through():
    checked = 0
    for name, run in runs(HOSTILE):
        built = report.build([run], msgspec.structs.replace(small_run(), id="before"))
        for form in FORMATS:
            module = registry.load(registry.find_format(form))
            shown = module.render(built).decode()
            assert not HIDDEN.search(shown), (form, name, HIDDEN.search(shown))
            printed = shown_text.without_commands(shown)
            assert not OBEYED.search(printed), (form, name)
            if form == "github":
                for line in module.annotations(built):
                    assert "\n" not in line
                    assert not HIDDEN.search(line)
                    assert line.startswith(("::error title=", "::warning title="))
            checked += 1
    assert checked > 300
    print(f"{checked} renderings of a hostile text")


def test_no_cell_of_a_table_for_spreadsheets_is_a_formula():
    module = registry.load(registry.find_format("csv"))
    for name, run in runs(FORMULA):
        shown = module.render(report.build([run])).decode()
        assert not re.search(r'(^|,)"?\s*=', shown, re.MULTILINE), name


def test_pages_show_hostile_texts_as_escapes_and_draw_their_charts():
    data = msgspec.to_builtins(small_run())
    for path in list(text_fields(data)):
        if path[-1] not in ("status", "steady", "sample_kind", "side", "memory", "by"):
            try:
                data = msgspec.to_builtins(msgspec.convert(planted(data, path, HOSTILE), Run))
            except (msgspec.ValidationError, KeyError):  # the schema refuses it, or the key above was renamed
                continue
    page = as_html.render(report.build([msgspec.convert(data, Run)])).decode()
    body = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert not HIDDEN.search(body)
    assert "\\x1b" in body
    assert "data:image/svg+xml" in body


def test_terminals_show_hostile_texts_as_escapes(capsys: pytest.CaptureFixture[str]):
    output = CommandOutput(
        document={"text": HOSTILE},
        human=[Table(title=HOSTILE, heads=(HOSTILE,), rows=[(HOSTILE,)]), HOSTILE, console.Annotation("::error::ours")],
        failures=[VitdeployError(HOSTILE, HOSTILE)],
    )
    console.configure(quiet=False, verbose=0)  # what an earlier test asked for counts no more
    console.show(output, None)
    console.progress(HOSTILE)
    printed = capsys.readouterr()
    for text in (printed.out.replace("::error::ours", "ours"), printed.err):
        assert not HIDDEN.search(text)
        assert not OBEYED.search(text)
    assert len(printed.err.splitlines()) == 3
    console.show(output, "-")
    text = capsys.readouterr().out
    assert not HIDDEN.search(text)
    assert not OBEYED.search(text)


@pytest.mark.parametrize("verb", ["report", "compare", "accept", "verify"])
def test_verbs_show_hostile_runs_as_escapes(say: Any, tmp_path: Path, verb: str):
    arguments = {"compare": ["--baselines", "none"], "accept": ["--because", "why"]}.get(verb, [])
    count = 0
    for name, run in runs(HOSTILE.replace("\ud800", "")):
        if not name.startswith(("results.0.case.model", "device.", "id", "started", "results.0.trials.0.id")):
            continue
        record.save(run, tmp_path / "run.json")
        _, out, err = say(verb, "run.json", *arguments)
        assert not HIDDEN.search(out + err), (verb, name)
        assert not OBEYED.search(out), (verb, name)
        assert not OBEYED.search(err), (verb, name)
        count += 1
    assert count > 8


def test_a_name_between_colons_is_no_picture(capsys: pytest.CaptureFixture[str]):
    table = console.Table(heads=("model",), rows=[("module:m:build",)])
    console.show(console.CommandOutput(document=None, human=[table, "module:m:build is ready"]), None)
    assert capsys.readouterr().out.count("module:m:build") == 2


def test_progress_leaves_names_between_colons_alone(capsys: pytest.CaptureFixture[str]):
    console._stderr.cache_clear()
    console.progress("module:m:build")
    console._stderr.cache_clear()
    assert "module:m:build" in capsys.readouterr().err


def study_pages(kind: str, text: str) -> Iterator[tuple[str, bytes]]:
    """The page of a study with the text in one field after another, of its run and of what lies beside it."""
    reproduced = kind == "reproduction"
    suite = reproduction.suite_of("cityscapes", quick=True) if reproduced else attention_study.SUITE
    plain = small_run()
    good = msgspec.structs.replace(plain, protocol=msgspec.structs.replace(plain.protocol, suite=suite))
    data = msgspec.to_builtins(good)
    for path in text_fields(data):
        try:
            run = msgspec.convert(planted(data, path, text), Run)
        except (msgspec.ValidationError, UnreadableFile):
            continue
        name = ".".join(map(str, path))
        if reproduced:
            found = reproduction.reproduce("cityscapes", tables.find("cityscapes"), run)
            yield name, as_reproduction.render(found)
            continue
        kernels = [Kernel(case=text, graph={text: 1}, ran_ms={text: 1.0}, said=None)]
        kernels.append(Kernel(case=text, graph={}, ran_ms={}, said=text))
        yield name, as_attention.render(attention_study.study(run, tables.find("attention"), kernels))


def evaluation_pages(folder: Path, text: str) -> Iterator[tuple[str, bytes]]:
    """The page of an evaluation with the text in one field after another."""
    path = small_evaluations.evaluation(folder, "segmentation")
    data = json.loads(path.read_text())
    evaluation = reading.load(path)
    for place in text_fields(data):
        try:
            changed = msgspec.convert(planted(data, place, text), type(evaluation))
        except msgspec.ValidationError:
            continue
        yield ".".join(map(str, place)), as_evaluation.render(accuracy.build([(path, changed)], [small_run()]))


def history_pages(folder: Path, text: str) -> Iterator[tuple[str, bytes]]:
    """The page of a history with the text in one field after another of one of its runs."""
    record.save(msgspec.structs.replace(small_run(), id="other", started_utc="2026-02-01T00:00:00Z"), folder / "o.json")
    for name, run in runs(text):
        (folder / "run.json").write_bytes(msgspec.json.encode(run))
        try:
            read = history.read([folder / "run.json"])
        except UnreadableFile:
            continue
        yield name, as_history.render(read)


@pytest.mark.parametrize("kind", ["attention", "reproduction", "evaluation", "history"])
def test_no_page_lets_a_hostile_text_through(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch):
    """Charts are drawn by a process of their own, of data that the page holds as JSON: here none are drawn."""
    monkeypatch.setattr(chart_page, "still", lambda _: None)
    text = HOSTILE.replace("\ud800", "") + "</script><img src=x onerror=alert(1)>"
    pages = {"evaluation": evaluation_pages, "history": history_pages}
    shown = pages[kind](tmp_path, text) if kind in pages else study_pages(kind, text)
    checked = 0
    for name, page in shown:
        body = re.sub(r"<script(?! id=\"data\").*?</script>", "", page.decode(), flags=re.DOTALL)
        assert not HIDDEN.search(body), (kind, name, HIDDEN.search(body))
        assert "<img src=x" not in body, (kind, name)
        checked += 1
    print(f"{kind}: {checked} pages with a hostile text")
    assert checked > 25
