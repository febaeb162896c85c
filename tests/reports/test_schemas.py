"""The JSON Schemas that ship are those of the types; ``python -m tests.reports.test_schemas`` writes them anew."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from vitdeploy.artifacts import manifest
from vitdeploy.cli import json_forms
from vitdeploy.evaluation import record as evaluation
from vitdeploy.reports import as_json
from vitdeploy.results import baselines, calibration, record, selftest

FOLDER = Path(__file__).parents[2] / "vitdeploy" / "schemas"
KINDS: dict[str, Any] = {
    f"manifest-{manifest.SCHEMA}.json": manifest.Manifest,
    f"run-{record.SCHEMA}.json": record.Run,
    f"acceptance-{baselines.SCHEMA}.json": baselines.Acceptance,
    f"calibration-{calibration.SCHEMA}.json": calibration.Calibration,
    f"evaluation-{evaluation.SCHEMA}.json": evaluation.Evaluation,
    f"report-{as_json.SCHEMA}.json": as_json.JsonReport,
    f"selftest-{selftest.SCHEMA}.json": selftest.SelfTest,
}
KINDS |= {
    json_forms.file_name(command): kind for command, kind in json_forms.FORMS.items() if kind not in KINDS.values()
}
"""Name of a schema that ships → the type of the document; a command's own where it is no kind of file."""


def text(kind: Any) -> str:
    found = {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(kind)}
    return json.dumps(found, indent=1, sort_keys=True) + "\n"


@pytest.mark.parametrize("name", KINDS)
def test_the_schema_that_ships_is_the_types_own(name: str):
    assert (FOLDER / name).read_text() == text(KINDS[name])


if __name__ == "__main__":
    for file, documented in KINDS.items():
        (FOLDER / file).write_text(text(documented))
