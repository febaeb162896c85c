"""The journeys of docs/: each command has a time or what it lacks, each page is in the index, sizes are the published.

The slow test runs one journey's commands as they stand, in their order, in an empty folder.
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.named_commands import command_names
from vitdeploy.benchmarks import reproduce

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").glob("journey-*.md"))
STEP = re.compile(r"^\| (\d+)\. ([^|]+) \| `([^`]+)` \| ([^|]+) \|$", flags=re.MULTILINE)
TIME = re.compile(r"\d+ (?:s|min)\b|seconds|minutes|a minute|not measured|as step \d|as its `--dry-run`")

OF_HARDWARE = re.compile(r"--device (?!local\b)|--ssh |--adb ")


def steps(page: Path) -> list[tuple[int, str, str, str]]:
    """Number, purpose, command and time of each step."""
    return [(int(number), *rest) for number, *rest in STEP.findall(page.read_text(encoding="utf-8"))]


def test_there_is_a_journey_for_every_persona_and_the_index_begins_with_them():
    names = {page.stem.removeprefix("journey-") for page in PAGES}
    assert names == {"robotics", "phone", "server", "ci", "researcher", "own-model"}
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([a-z_-]+\.md)", index)
    assert set(links[:6]) == {page.name for page in PAGES}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_steps_are_in_order_and_each_has_its_time(page: Path):
    found = steps(page)
    assert [number for number, *_ in found] == list(range(1, len(found) + 1))
    assert len(found) >= 6
    rows = [line for line in page.read_text(encoding="utf-8").splitlines() if re.match(r"\| \d+\.", line)]
    assert len(rows) == len(found), "a row has another form"
    for _, _, command, time in found:
        assert command.startswith(("vitdeploy ", "pip install ")), command
        assert command.startswith("pip") or command.split()[1] in command_names() or "devices add" in command
        assert TIME.search(time), (command, time)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_needs_hardware_says_so(page: Path):
    for _, _, command, time in steps(page):
        if OF_HARDWARE.search(command) and "calibrate --pairs" not in command:
            assert "needs hardware, not measured" in time, command


def test_the_sizes_of_the_index_are_the_published_ones():
    rows = {row.name: row for row in reproduce.find("cityscapes").rows}
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| `efficientvit_seg_(\w+)_cityscapes` \| (.+) \|$", index, flags=re.MULTILINE)
    assert len(table) == 6
    for name, cells in table:
        row = rows[f"EfficientViT-{name.upper()}"]
        params, file, macs, quality, orin = cells.split(" | ")
        assert row.params is not None
        assert row.macs is not None
        assert row.quality is not None
        assert float(params.removesuffix("M")) * 1e6 == pytest.approx(row.params)
        assert float(file.removesuffix(" MB")) * 1e6 == pytest.approx(4 * row.params, rel=0.08)
        assert float(macs.removesuffix("G")) * 1e9 == pytest.approx(row.macs)
        assert float(quality) == pytest.approx(row.quality, abs=0.06)
        assert float(orin) == row.values["orin"]


@pytest.mark.slow
def test_the_journey_into_ci_runs_as_it_stands(tmp_path: Path):
    pytest.importorskip("onnxruntime", reason="the package onnxruntime (extra onnx) is not installed")
    own = (ROOT / "docs" / "journey-own-model.md").read_text(encoding="utf-8")
    block = re.search(r"```python\n(.*?)```", own, flags=re.DOTALL)
    assert block is not None
    (tmp_path / "nets.py").write_text(block[1])
    for number, _, command, _ in steps(ROOT / "docs" / "journey-ci.md"):
        words = shlex.split(command)
        if words[0] != "vitdeploy" or number == 7:  # calibrate: minutes
            continue
        done = subprocess.run(
            [sys.executable, "-m", *words], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=900
        )
        assert done.returncode == 0 or (words[1] == "compare" and done.returncode == 10), done.stderr[-500:]
    assert (tmp_path / "summary.md").is_file()
