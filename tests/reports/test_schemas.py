"""The JSON Schemas that ship are those of the types; ``python -m tests.reports.test_schemas`` writes them anew."""

import pytest

from tests.schema_kinds import FOLDER, KINDS, text


@pytest.mark.parametrize("name", KINDS)
def test_the_schema_that_ships_is_the_types_own(name: str):
    assert (FOLDER / name).read_text() == text(KINDS[name])


if __name__ == "__main__":
    for file, documented in KINDS.items():
        (FOLDER / file).write_text(text(documented))
