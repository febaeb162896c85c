"""Every JSON Schema that ships and the type that it is made of."""

import json
from pathlib import Path
from typing import Any

import msgspec

from vitdeploy.artifacts import manifest
from vitdeploy.cli import json_forms
from vitdeploy.evaluation import record as evaluation
from vitdeploy.reports import as_json
from vitdeploy.results import baselines, calibration, record, selftest

FOLDER = Path(__file__).parents[1] / "vitdeploy" / "schemas"
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
