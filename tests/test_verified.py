"""README says which devices somebody has run `selftest` on, and nothing that the kept documents do not say."""

import re
from pathlib import Path

import msgspec
import pytest

from tests import verified_table
from vitdeploy.errors import UnreadableFile
from vitdeploy.results import selftest

KEPT = verified_table.documents()


def test_the_table_is_that_of_the_documents():
    readme = verified_table.README.read_text(encoding="utf-8")
    assert readme == verified_table.with_table(readme, KEPT), "write it anew: python -m tests.verified_table"


def test_a_device_that_nobody_tested_has_an_empty_row():
    shown = verified_table.table({})
    for name in verified_table.AWAITED:
        assert f"| `{name}` | {verified_table.NOBODY} |" in shown


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.name)
def test_each_document_says_what_machine_it_really_is(path: Path):
    assert KEPT[path].remark
    said = " ".join(f"{check.seen} {check.hint}" for check in KEPT[path].checks)
    assert not re.search(r"/home/|/root|/Users/|\b\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}\b", said)


def test_a_failed_check_and_a_tested_device_are_shown():
    path, test = next(iter(KEPT.items()))
    wrong = msgspec.structs.replace(test.checks[0], state="failed")
    changed = msgspec.structs.replace(test, device="orin", remark="planted", checks=(wrong, *test.checks[1:]))
    shown = verified_table.table({path: changed})
    assert "`orin` | [planted: " in shown
    assert f"| 1: {wrong.name} |" in shown
    assert verified_table.NOBODY in shown
    assert "`orin` | nobody" not in shown


def test_a_document_with_another_field_is_refused(tmp_path: Path):
    text = next(iter(KEPT)).read_text()
    (tmp_path / "edited.json").write_text(text.replace('"schema": 1', '"schema": 1, "host": "mine"', 1))
    with pytest.raises(UnreadableFile, match="host"):
        selftest.load(tmp_path / "edited.json")
