"""An edited manifest is refused by every reader: by its digest, and by what its own numbers say of its parity."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from tests.doubles import artifacts, edited, make_run
from vitdeploy.artifacts import manifest, parity, recorded_parity
from vitdeploy.artifacts.manifest import MANIFEST, Artifact, Manifest, Metric, open_artifact
from vitdeploy.artifacts.store import Store
from vitdeploy.catalog import registry
from vitdeploy.cli.main import main
from vitdeploy.errors import UnreadableFile
from vitdeploy.results import validity

FAILED = msgspec.structs.replace(
    make_run.PASSED,
    passed=False,
    metric=Metric(name="top-1 agreement", value=0.1, floor=0.999),
    error_std=3.0,
    reason="top-1 agreement 0.1 is below 0.999",
)
READERS: Mapping[str, tuple[str, ...]] = {
    "bench": ("bench",),
    "check": ("check",),
    "verify": ("verify",),
    "duel": ("duel", "efficientvit_b0"),
}


@pytest.fixture
def proven(tmp_path: Path) -> Artifact:
    return artifacts.plain_file(tmp_path / "proven", parity=make_run.PASSED, parity_skipped=None)


def edit(artifact: Artifact, change: Callable[[dict[str, Any]], object], *, signed: bool = True) -> None:
    """Change the manifest as a person with an editor does; not signed: as one of an older version, without a digest."""
    path = artifact.folder / MANIFEST
    document = json.loads(path.read_text())
    change(document)
    if not signed:
        document.pop("manifest_sha256", None)
    path.write_text(json.dumps(document))


def other_value(value: Any) -> Any:
    """A plausible other value of the same kind."""
    match value:
        case None:
            return "something"
        case bool():
            return not value
        case int() | float():
            return value * 2 + 1
        case str():
            return value + "2"
        case list() | tuple():
            return [*value, *value] if value else ["something"]
        case _:
            return {**value, "something": 1}


@pytest.mark.parametrize("name", [field for field in Manifest.__struct_fields__ if field != "schema"])
def test_a_field_with_another_value_is_refused(proven: Artifact, name: str):
    edit(proven, lambda document: document.update({name: other_value(document[name])}))
    with pytest.raises(UnreadableFile):
        open_artifact(proven.folder)


@pytest.mark.parametrize("signed", [True, False], ids=["signed", "of an older version"])
def test_every_field_with_every_hostile_value_is_refused_or_harmless(proven: Artifact, signed: bool):
    path = proven.folder / MANIFEST
    edit(proven, lambda document: None, signed=signed)
    plain = json.loads(path.read_text())
    refused = read = 0
    for place, value, data in edited.documents(plain):
        path.write_bytes(data)
        try:
            opened = open_artifact(proven.folder)
        except UnreadableFile:
            refused += 1
            continue
        read += 1
        assert not signed or value == edited.at(plain, place), (place, value)
        assert opened.manifest.batch >= 1
        assert opened.file.parent == proven.folder
        assert opened.manifest.sha256 == proven.manifest.sha256
    for broken in edited.cut(json.dumps(plain).encode()):
        path.write_bytes(broken)
        with pytest.raises(UnreadableFile):
            open_artifact(proven.folder)
    print(f"manifest: {refused} refused, {read} harmless")
    assert refused > 800


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(("name", "value"), [("model", "efficientvit_b2"), ("precision", "fp16"), ("note", "fast")])
def test_every_reader_refuses_an_edited_field(
    proven: Artifact, capsys: pytest.CaptureFixture[str], reader: str, name: str, value: str
):
    edit(proven, lambda document: document.update({name: value}))
    assert main([*READERS[reader], str(proven.folder)]) == 9
    assert "was edited" in capsys.readouterr().err


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("reader", READERS)
def test_a_failed_proof_that_was_edited_to_passed_is_refused_with_its_field(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], reader: str, signed: bool
):
    artifact = artifacts.plain_file(tmp_path / "failed", parity=FAILED, parity_skipped=None)
    edit(artifact, lambda document: document["parity"].update(passed=True, reason=None), signed=signed)
    assert main([*READERS[reader], str(artifact.folder)]) == 9
    assert "$.parity.passed" in capsys.readouterr().err


CONTRADICTIONS: Mapping[str, tuple[dict[str, Any], str]] = {
    "a floor of its own": (
        {"metric": {"name": "top-1 agreement", "value": 0.6, "floor": 0.5}},
        "$.parity.metric.floor",
    ),
    "a limit of its own": ({"error_std": 2.0, "error_std_limit": 3.0}, "$.parity.error_std_limit"),
    "a value below the floor": ({"metric": {"name": "top-1 agreement", "value": 0.9, "floor": 0.999}}, "passed"),
    "an error above the limit": ({"error_std": 0.5}, "$.parity.passed"),
    "not finite": ({"finite": False}, "$.parity.passed"),
    "no samples": ({"samples": 0}, "$.parity.passed"),
    "no figures": (
        {"max_abs": None, "metric": {"name": "top-1 agreement", "value": None, "floor": 0.999}},
        "$.parity.passed",
    ),
    "passed with a reason": ({"reason": "top-1 agreement 0.1 is below 0.999"}, "$.parity.passed"),
    "failed without one": ({"passed": False}, "$.parity.passed"),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_a_parity_that_does_not_follow_from_its_numbers_is_refused_without_a_digest_too(proven: Artifact, name: str):
    changes, field = CONTRADICTIONS[name]
    edit(proven, lambda document: document["parity"].update(changes), signed=False)
    with pytest.raises(UnreadableFile) as refusal:
        open_artifact(proven.folder)
    assert field in refusal.value.message


def test_a_manifest_of_an_older_version_loads_without_a_digest(proven: Artifact):
    edit(proven, lambda document: None, signed=False)
    assert open_artifact(proven.folder).manifest == msgspec.structs.replace(proven.manifest, manifest_sha256=None)


def test_layout_and_order_of_the_fields_are_not_covered(proven: Artifact):
    path = proven.folder / MANIFEST
    path.write_text(json.dumps(dict(reversed(json.loads(path.read_text()).items())), indent=7))
    assert open_artifact(proven.folder).manifest == proven.manifest


def test_a_digest_that_is_null_is_an_edit(proven: Artifact):
    edit(proven, lambda document: document.update(manifest_sha256=None))
    with pytest.raises(UnreadableFile, match="is null"):
        open_artifact(proven.folder)


def test_the_writer_covers_fields_that_a_later_version_may_add_and_odd_text(proven: Artifact):
    odd = msgspec.structs.replace(proven.manifest, recipe="caf\u00e9 \u202e ##[x] \U0001f600", bound_to={"x": 1e300})
    written = manifest.write(proven.folder, odd)
    assert open_artifact(proven.folder) == written


def test_the_store_makes_an_entry_anew_whose_manifest_was_edited(tmp_path: Path):
    store, key = Store(tmp_path / "store"), "a" * 64
    place = store.workplace(key)
    artifacts.plain_file(place)
    store.add(key, place)
    store.discard(place)
    assert store.find(key) is not None
    edit(Artifact(store.folder(key), open_artifact(store.folder(key)).manifest), lambda d: d.update(params=1))
    assert store.find(key) is None


# The floor of a small map.


def one_pixel_of_640(differing: int) -> parity.Evidence:
    evidence = parity.Evidence("segmentation")
    reference = np.zeros((1, 2, 16, 40), np.float32)
    reference[:, 0] = 1e-3 * np.arange(640, dtype=np.float32).reshape(16, 40)
    output = reference.copy()
    output[:, 1].reshape(-1)[640 - differing :] = 10.0
    evidence.add(reference, output)
    evidence.error_std = 0.0
    return evidence


def test_one_pixel_that_is_excused_is_excused_in_the_run_and_the_manifest_too(tmp_path: Path):
    judged = parity.verdict(one_pixel_of_640(1), registry.find_target("onnx-fp32").tolerance, "torch fp32")
    assert judged.passed
    assert judged.metric.value == judged.metric.floor == 639 / 640
    assert validity.judged_parity(judged) == judged
    changes: dict[str, Any] = {
        "outputs": (manifest.Tensor(name="logits", shape=(1, 2, 16, 40), dtype="float32", layout="NCHW"),),
        "task": "segmentation",
        "parity": judged,
        "parity_skipped": None,
    }
    assert open_artifact(artifacts.plain_file(tmp_path / "map", **changes).folder).manifest.parity == judged
    assert not parity.verdict(one_pixel_of_640(2), registry.find_target("onnx-fp32").tolerance, "torch fp32").passed


def test_a_deferred_artifact_is_held_to_what_its_graph_is_held_to(proven: Artifact):
    changed = msgspec.structs.replace(proven.manifest, target="trt-fp32", state="deferred", deferred="build it")
    assert recorded_parity.contradiction(changed) is None
