"""Untrusted files: a seeded number of mutated ones (`python -m tests.doubles.fuzz` runs many), and a real browser."""

import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest

from tests.doubles import fuzz, make_run
from tests.doubles.pages import HOSTILE, Page, hostile_run
from vitdeploy.reports import as_history, as_html, report
from vitdeploy.results import history, record

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def test_mutated_files_are_read_or_refused_and_nothing_else(tmp_path: Path):
    found = fuzz.fuzz(tmp_path / "strangers", cases=120, seed=0)
    assert set(found) >= {"run", "manifest", "acceptance", "device file", "suite"}
    for name, counted in found.items():
        assert counted["read"] > 0 or name == "manifest", name  # whose digest finds every edit
        assert counted["ToolchainFailed" if name == "ONNX graph" else "UnreadableFile"] > 0, name


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
@pytest.mark.parametrize("page", ["report", "history"])
def test_no_text_of_a_report_runs_in_a_browser(tmp_path: Path, page: str):
    """What would run says so in the title."""
    evil = "</script></title><img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    run = hostile_run()
    row = msgspec.structs.replace(run.results[0], case=msgspec.structs.replace(run.results[0].case, model=evil))
    run = msgspec.structs.replace(run, id=evil, results=(row, *run.results[1:]), commit=evil)
    if page == "report":
        data = as_html.render(report.build([run]))
    else:
        good = make_run.row(HOSTILE, "onnx-fp32", 7.0, seed=5, count=20)
        told = msgspec.structs.replace(run, results=(row, good), started_utc="2026-01-01T00:00:00Z")
        record.save(told, tmp_path / "run.json")
        data = as_history.render(history.read([tmp_path / "run.json"]))
    file = tmp_path / "page.html"
    file.write_bytes(data)
    flags = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-sync"
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    done = subprocess.run(
        [str(CHROMIUM), *flags.split(), profile, "--virtual-time-budget=3000", "--dump-dom", file.as_uri()],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert "vitdeploy" in done.stdout
    title = done.stdout.partition("<title>")[2].partition("</title>")[0]
    assert title != "owned"
    pictures = [attributes.get("src", "") for tag, attributes in Page(done.stdout).elements if tag == "img"]
    assert all(source.startswith("data:") for source in pictures)
