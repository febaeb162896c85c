"""`verify`: the chain behind a figure; one changed byte anywhere is exit 9, what is not here is said."""

from pathlib import Path

import msgspec
import pytest

from tests.doubles import artifacts, make_run
from vitdeploy import documents
from vitdeploy.artifacts import manifest
from vitdeploy.artifacts.manifest import MANIFEST, Artifact
from vitdeploy.artifacts.weights_origin import Weights
from vitdeploy.cli.main import main
from vitdeploy.results import baselines, lineage, record


class Scene:
    """A run of an engine that was made from a graph that was made from a checkpoint, all below one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.checkpoint = folder / "weights.pt"
        self.checkpoint.write_bytes(b"weights")
        weights = Weights(source="file", sha256=manifest.digest_of(self.checkpoint), name="weights.pt")
        self.graph = artifacts.plain_file(folder / "artifacts" / "graph", b"graph", weights=weights)
        self.engine = artifacts.plain_file(
            folder / "artifacts" / "engine", b"engine", weights=weights, parents=(self.graph.manifest.sha256,)
        )
        row = make_run.row("efficientvit_b1", "onnx-fp32", 7.4, seed=1, count=50)
        sha256 = self.engine.manifest.sha256
        row = make_run.of_file(row, sha256, manifest_sha256=manifest.digest_of(self.engine.folder / MANIFEST))
        self.run = folder / "run.json"
        record.save(make_run.run(row), self.run)

    def verify(self) -> int:
        places = ["--artifacts", str(self.folder / "artifacts"), "--weights", str(self.checkpoint)]
        return main(["verify", str(self.run), *places])


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_a_whole_chain_is_ok_to_its_end(scene: Scene, capsys: pytest.CaptureFixture[str]):
    links = lineage.of_run(scene.run, [scene.folder / "artifacts"], scene.checkpoint)
    assert [(link.what, link.state) for link in links] == [
        ("figures", "ok"),
        ("commit", "ok"),
        ("manifest", "ok"),
        ("manifest digest", "ok"),
        ("onnx-fp32", "ok"),
        ("manifest digest", "ok"),
        ("onnx-fp32", "ok"),
        ("weights", "ok"),
    ]
    assert scene.verify() == 0
    assert "weights.pt" in capsys.readouterr().out


@pytest.mark.parametrize(
    "name",
    ["weights.pt", "artifacts/graph/model.onnx", "artifacts/engine/model.onnx", f"artifacts/engine/{MANIFEST}"],
)
def test_one_changed_byte_is_exit_9(scene: Scene, capsys: pytest.CaptureFixture[str], name: str):
    path = scene.folder / name
    data = bytearray(path.read_bytes())
    place = data.index(b"made by hand") if name.endswith(MANIFEST) else len(data) // 2
    data[place] ^= 1
    path.write_bytes(data)
    assert scene.verify() == 9
    assert "error: efficientvit_b1 onnx-fp32 224x224" in capsys.readouterr().err


def test_a_figure_that_does_not_follow_from_its_samples_is_exit_9(scene: Scene):
    text = scene.run.read_text()
    summary = record.load(scene.run).results[0].summary
    assert summary is not None
    changed = text.replace(f'"median_ms":{summary.median_ms}', f'"median_ms":{summary.median_ms / 2}')
    assert changed != text
    scene.run.write_text(changed)
    assert scene.verify() == 9


def test_a_trial_of_another_file_is_exit_9(scene: Scene):
    run = record.load(scene.run)
    (row,) = run.results
    first = msgspec.structs.replace(row.trials[0], artifact_sha256="f" * 64)
    row = msgspec.structs.replace(row, trials=(first, *row.trials[1:]))
    record.save(msgspec.structs.replace(run, results=(row,)), scene.run)
    assert scene.verify() == 9


def test_a_baseline_that_was_changed_is_exit_9(scene: Scene):
    accepted = baselines.accept(scene.run, because="so", root=scene.folder / "b")
    documents.write_bytes(accepted.path, accepted.path.read_bytes() + b" ")
    assert main(["verify", str(accepted.path)]) == 9


def test_what_is_not_here_is_said_and_is_no_success_in_silence(scene: Scene, capsys: pytest.CaptureFixture[str]):
    (scene.graph.folder / "model.onnx").unlink()
    assert scene.verify() == 0
    assert "1 of 8 links of the lineage could not be checked" in capsys.readouterr().out
    assert main(["verify", str(scene.engine.folder)]) == 0
    assert "name it with --weights" in capsys.readouterr().out


def test_a_chain_of_parents_that_turns_back_ends(tmp_path: Path):
    made = artifacts.plain_file(tmp_path / "loop", b"loop")
    looped = msgspec.structs.replace(made.manifest, parents=(made.manifest.sha256,))
    manifest.write(made.folder, looped)
    links = lineage.of_artifact(made.folder, [tmp_path], None)
    assert len(links) == 2 * (lineage.DEEPEST + 1)


def test_an_artifact_is_verified_by_its_folder_manifest_or_file(scene: Scene):
    found = Artifact(scene.graph.folder, scene.graph.manifest)
    for path in (found.folder, found.folder / MANIFEST, found.file):
        assert main(["verify", str(path), "--weights", str(scene.checkpoint)]) == 0
    assert main(["verify", str(scene.folder / "nothing")]) == 9
