"""docs/commands.md says what the program does now, and names every environment variable that is read."""

import re
from pathlib import Path

from tests import commands_page

ROOT = Path(__file__).parent.parent
FOLDERS = ("vitdeploy", "exporters", "benchmarks", "reports")

OURS_ALONE = {"VITDEPLOY_COMPLETE", "TF_CPP_MIN_LOG_LEVEL", "VITDEPLOY_", "VITDEPLOY_ORIN_HOST"}
"""Variables that the program sets for others, or examples of ``VITDEPLOY_DEVICE_KEY``."""


def test_the_page_is_that_of_the_program():
    assert commands_page.PAGE.read_text(encoding="utf-8") == commands_page.page(), (
        "write it anew: python -m tests.commands_page"
    )


def test_every_environment_variable_that_is_read_is_named():
    listed = {word for name in commands_page.ENVIRONMENT for word in name.split(", ")}
    pattern = re.compile(r'environ(?:\.get\(|\[|\.setdefault\()"([A-Z][A-Z0-9_]+)"|\b(VITDEPLOY_[A-Z_]*)')
    read: set[str] = set()
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            if "studies" not in path.parts and not any(parent.is_symlink() for parent in path.parents):
                read |= {first or second for first, second in pattern.findall(path.read_text())}
    assert read - OURS_ALONE <= listed


def test_an_edited_option_changes_the_page(monkeypatch):
    before = commands_page.page()
    monkeypatch.setitem(commands_page.project.BUILT_IN, "device", "another")
    assert commands_page.page() != before
