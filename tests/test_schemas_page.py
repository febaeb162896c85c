"""docs/schemas.md says what the types of the documents say, and has every field of every schema that ships."""

import json
import re

import pytest

from tests import schemas_page
from tests.schema_kinds import FOLDER
from tests.schema_words import COMMON_WORDS


def test_the_page_is_that_of_the_types():
    assert schemas_page.PAGE.read_text(encoding="utf-8") == schemas_page.page(), (
        "write it anew: python -m tests.schemas_page"
    )


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.name)
def test_every_field_of_every_schema_has_a_row(path):
    text = schemas_page.PAGE.read_text(encoding="utf-8")
    assert f"## {path.name}\n" in text
    for title, definition in json.loads(path.read_text()).get("$defs", {}).items():
        if "properties" not in definition:
            continue
        section = re.search(rf"^### {title}\n(.*?)(?=^##|\Z)", text, flags=re.DOTALL | re.MULTILINE)
        assert section is not None, title
        for field in definition["properties"]:
            row = re.search(rf"^\| `{field}` \| (.+) \| (.*) \|$", section[1], flags=re.MULTILINE)
            assert row is not None, (title, field)
            assert row[2], f"{title}.{field} has no meaning: write it below the field, or in tests/schema_words.py"


def test_the_words_are_of_fields_that_exist_and_lack_their_own():
    text = schemas_page.PAGE.read_text(encoding="utf-8")
    fields = set(re.findall(r"^\| `(\w+)` \|", text, flags=re.MULTILINE))
    assert not set(COMMON_WORDS) - fields


def test_a_field_without_a_row_is_found(monkeypatch):
    before = schemas_page.page()
    monkeypatch.setattr(schemas_page, "_field_docs", lambda found: {})
    schemas_page._docs_of.cache_clear()
    after = schemas_page.page()
    schemas_page._docs_of.cache_clear()
    assert after != before
