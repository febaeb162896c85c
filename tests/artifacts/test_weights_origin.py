"""What a manifest says of a file of weights: the official checkpoint and its licence, or that only its name is."""

from pathlib import Path

import msgspec
import pytest

from tests.doubles import artifacts
from vitdeploy.artifacts import manifest_faults, weights_origin
from vitdeploy.artifacts.manifest import Artifact, open_artifact, write
from vitdeploy.artifacts.weights_origin import Weights
from vitdeploy.catalog import checkpoints
from vitdeploy.errors import UnreadableFile

SEG_B0 = "923d6fdd5e93640cc0c2f3f213764f34e80b477cd98a6b294d870ea6df5acc50"
VAPSR_X2 = "6cbe6af3c18c16c8a2c9b83f484761693884f972e29a4a20e84f64b84d0a10cc"


def of_file(path: Path, sha256: str) -> Weights:
    return weights_origin.identified(Weights(source="file", sha256=sha256), path)


def test_an_official_file_is_told_by_title_and_licence():
    weights = of_file(Path("b0.pt"), SEG_B0)
    assert weights.official is not None
    assert (weights.official.checkpoint, weights.official.licence) == ("efficientvit_seg_b0_cityscapes", "Apache-2.0")
    assert weights.words == "official, EfficientViT-Seg-B0 Cityscapes, Apache-2.0"
    assert weights.name == "b0.pt"


def test_a_restriction_goes_with_the_weights():
    weights = of_file(Path("x.pth"), VAPSR_X2)
    assert weights.official is not None
    assert weights.official.restriction == "all rights reserved"
    assert "no licence stated" in weights.words


def test_a_name_on_other_bytes_is_told():
    weights = of_file(Path("efficientvit_sam_l0.pt"), "0" * 64)
    assert weights.official is None
    assert weights.words.startswith(
        "efficientvit_sam_l0.pt, named like the official EfficientViT-SAM-L0, but with other"
    )


def test_a_name_without_a_published_digest_is_said_to_be_no_more_than_that():
    weights = of_file(Path("segnext_tiny_512x512_ade_160k.pth"), "0" * 64)
    assert weights.official is not None
    assert weights.words.endswith("by its name alone: no digest is published")


def test_random_weights_stay_random():
    assert Weights(source="random", seed=0).words == "random weights (seed 0)"


def _with_weights(folder: Path, weights: Weights) -> Artifact:
    artifact = artifacts.conv_relu(folder)
    return write(artifact.folder, msgspec.structs.replace(artifact.manifest, weights=weights))


def test_a_manifest_that_calls_other_bytes_official_is_refused(tmp_path: Path):
    official = of_file(Path("b0.pt"), SEG_B0)
    assert not list(manifest_faults.faults(_with_weights(tmp_path / "right", official).manifest))
    wrong = _with_weights(tmp_path / "wrong", msgspec.structs.replace(official, sha256="1" * 64))
    with pytest.raises(UnreadableFile, match=r"weights\.official"):
        open_artifact(wrong.folder)


def test_a_checkpoint_of_a_newer_table_is_believed(tmp_path: Path):
    official = of_file(Path("b0.pt"), SEG_B0)
    assert official.official is not None
    newer = msgspec.structs.replace(official.official, checkpoint="efficientvit_seg_b9_cityscapes")
    artifact = _with_weights(tmp_path, msgspec.structs.replace(official, official=newer))
    assert open_artifact(artifact.folder).manifest.weights.official == newer
    assert newer.checkpoint not in checkpoints.checkpoints()
