"""The README's promises: its commands exist, its links lead somewhere, its pictures are there."""

import re
import shlex
from pathlib import Path

import pytest

from vitdeploy.cli.main import main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def commands() -> list[str]:
    blocks = re.findall(r"```\n(.*?)```", README, flags=re.DOTALL)
    return [line.split("#")[0].strip() for block in blocks for line in block.splitlines() if line.strip()]


@pytest.mark.parametrize("command", [c for c in commands() if c.startswith("make ")])
def test_make_knows_the_command(command: str):
    assert re.search(rf"^{command.split()[1]}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)


@pytest.mark.parametrize("command", [c for c in commands() if c.startswith("vitdeploy ")])
def test_the_verb_and_its_options_exist(command: str, capsys: pytest.CaptureFixture[str]):
    words = shlex.split(command)[1:]
    assert main([words[0], "--help"]) == 0
    said = capsys.readouterr().out
    assert all(word in said for word in words if word.startswith("--"))


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_link_leads_somewhere(page: Path):
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        assert target.startswith("https://") or (page.parent / target.split("#")[0]).exists(), target


def test_ci_runs_the_readmes_test_command():
    assert "make test" in commands() or any(c.startswith("make test") for c in commands())
    assert re.search(r"^make test$", (ROOT / ".ci" / "run").read_text(), flags=re.MULTILINE)
