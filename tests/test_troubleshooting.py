"""docs/troubleshooting.md quotes messages that the program has, and names every exit code of an error."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from vitdeploy import errors

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "troubleshooting.md"
FOLDERS = ("vitdeploy", "exporters", "benchmarks", "reports")
ROW = re.compile(r"^\| `([^`]+)` \| .+ \| .+ \|$", flags=re.MULTILINE)


def quoted() -> list[str]:
    """First cells of the tables of messages."""
    text = PAGE.read_text(encoding="utf-8").partition("\n## What looks wrong")[0]
    return ROW.findall(text)


def with_gaps(node: ast.AST) -> str | None:
    """A text of the source, ``…`` for each value in it; None: it is none."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    return None


@cache
def messages() -> tuple[str, ...]:
    """Every text of our sources, each value as one ``…``."""
    paths = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    real = [path for path in paths if not any(parent.is_symlink() for parent in path.parents)]
    found = (with_gaps(node) for path in real for node in ast.walk(ast.parse(path.read_text())))
    return tuple({re.sub("…+", "…", text) for text in found if text})


@pytest.mark.parametrize("message", quoted())
def test_the_message_is_one_of_the_program(message: str):
    assert any(message in text for text in messages()), "no source has it: quote it as it is"


def test_a_message_that_is_none_is_found():
    assert not any("the flux compensator of … is empty" in text for text in messages())


def test_every_exit_code_of_an_error_has_a_section():
    text = PAGE.read_text(encoding="utf-8")
    headed = {
        int(code) for line in text.splitlines() if line.startswith("## ") for code in re.findall(r"exit (\d+)", line)
    }
    codes = {kind.exit_code for kind in errors.error_classes()}
    assert codes - headed <= {1, 10, 130}, "a bug, a regression and Ctrl-C need no page"
    assert len(quoted()) > 50
