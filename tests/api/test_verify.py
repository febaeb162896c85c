"""`verify --deep` and `check` make the model again from the manifest's seed, and say what the parity came to."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.doubles import artifacts, make_run
from vitdeploy.api import check, verify
from vitdeploy.artifacts.manifest import MANIFEST, Artifact, Parity, digest_of, write
from vitdeploy.artifacts.weights_origin import Weights
from vitdeploy.cli.main import main
from vitdeploy.errors import ParityFailed, VitdeployError
from vitdeploy.exporters import pipeline
from vitdeploy.results import record

OTHER_FILE = "the largest error is 3 of the output's standard deviation, more than 0.001"


def seeded(folder: Path, seed: int, said: int) -> Artifact:
    """A file of the weights of one seed, and a manifest that says another or the same."""
    torch: Any = pytest.importorskip("torch", reason="the model is made with torch")
    pytest.importorskip("skimage", reason="parity needs photographs")
    from vitdeploy.catalog import registry
    from vitdeploy.models.create import create

    made = artifacts.state_dict(folder)
    torch.save(create(registry.find_model("efficientvit_b0"), seed=seed).state_dict(), made.file)
    changed = msgspec.structs.replace(
        made.manifest,
        sha256=digest_of(made.file),
        size_bytes=made.file.stat().st_size,
        weights=Weights(source="random", seed=said),
        parity=make_run.PASSED,
        parity_skipped=None,
    )
    return write(folder, changed)


def test_the_model_is_made_from_the_seed_of_the_manifest(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    made = seeded(tmp_path / "three", 3, 3)
    assert main(["verify", str(made.folder), "--deep"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "passed, top-1 agreement 1 (at least 0.999)" in shown
    assert "with random weights (seed 3), made again" in shown


def test_a_manifest_that_claims_another_seed_is_exit_6(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    claimed = seeded(tmp_path / "claimed", 3, 0)
    assert main(["verify", str(claimed.folder)]) == 0, "the digests hold"
    assert main(["verify", str(claimed.folder), "--deep"]) == 6
    assert "FAILED" in capsys.readouterr().out


@pytest.fixture
def proofs(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Stands in for the proof: the folders that were proven; one whose name holds "bad" fails."""
    folders: list[Path] = []

    def prove(artifact: Artifact, *, weights: Path | None, images: Path | None) -> tuple[Parity, VitdeployError | None]:
        folders.append(artifact.folder)
        if "bad" not in artifact.folder.name:
            return make_run.PASSED, None
        return msgspec.structs.replace(make_run.PASSED, passed=False, reason=OTHER_FILE), ParityFailed(
            OTHER_FILE, "No."
        )

    monkeypatch.setattr(pipeline, "prove", prove)
    return folders


@pytest.mark.parametrize(("name", "code"), [("good", 0), ("bad", 6)])
def test_the_artifacts_of_a_run_are_proven_once_each(tmp_path: Path, proofs: list[Path], name: str, code: int):
    made = artifacts.plain_file(tmp_path / "a" / name, parity=make_run.PASSED, parity_skipped=None)
    models = ("efficientvit_b1", "efficientvit_b2")
    rows = [make_run.row(model, "onnx-fp32", 7.4, seed=seed, count=50) for seed, model in enumerate(models)]
    manifest_sha256 = digest_of(made.folder / MANIFEST)
    rows = [make_run.of_file(row, made.manifest.sha256, manifest_sha256=manifest_sha256) for row in rows]
    record.save(make_run.run(*rows), tmp_path / "run.json")
    arguments = ["verify", str(tmp_path / "run.json"), "--artifacts", str(tmp_path / "a")]
    assert main(arguments) == 0
    assert proofs == []
    assert main([*arguments, "--deep"]) == code
    assert [folder.name for folder in proofs] == [name]


def test_a_broken_digest_decides_before_any_proof(tmp_path: Path, proofs: list[Path]):
    made = artifacts.plain_file(tmp_path / "a", parity=make_run.PASSED, parity_skipped=None)
    made.file.write_bytes(b"other")
    assert main(["verify", str(made.folder), "--deep"]) == 9
    assert proofs == []


def test_an_edited_manifest_of_a_run_is_exit_9_whatever_field_it_is(tmp_path: Path):
    made = artifacts.plain_file(tmp_path / "a" / "x")
    row = make_run.row("efficientvit_b1", "onnx-fp32", 7.4, seed=1, count=50)
    path = made.folder / MANIFEST
    row = make_run.of_file(row, made.manifest.sha256, manifest_sha256=digest_of(path))
    record.save(make_run.run(row), tmp_path / "run.json")
    path.write_text(path.read_text().replace(made.manifest.sha256, "f" * 64))
    assert main(["verify", str(tmp_path / "run.json"), "--artifacts", str(tmp_path / "a")]) == 9


def test_what_cannot_be_proven_is_no_success(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    skipped = artifacts.plain_file(tmp_path / "skipped")
    assert main(["verify", str(skipped.folder), "--deep"]) == 4
    assert "made by hand" in capsys.readouterr().err
    weights = Weights(source="file", sha256="0" * 64, name="b0.pt")
    from_file = artifacts.plain_file(tmp_path / "file", weights=weights, parity=make_run.PASSED, parity_skipped=None)
    assert main(["verify", str(from_file.folder), "--deep"]) == 9
    assert "--weights" in capsys.readouterr().err


def test_plans_say_what_the_model_is_made_from_and_what_the_reference_is(tmp_path: Path):
    made = artifacts.plain_file(tmp_path / "a", weights=Weights(source="random", seed=7))
    (model, comparison) = check.check_plan(made.folder)
    assert "random weights (seed 7), made again from the manifest's seed" in model
    assert "torch fp32, as published" in comparison
    graph = write(made.folder, msgspec.structs.replace(made.manifest, model="onnx:net.onnx"))
    plan = " ".join(check.check_plan(graph.folder))
    assert "ONNX Runtime, the file as given" in plan
    assert "torch" not in plan
    assert len(verify.verify_plan(made.folder, deep=True)) == len(verify.verify_plan(made.folder)) + 1
