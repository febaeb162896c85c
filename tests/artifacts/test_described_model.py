"""A manifest describes a user model by itself: opening an artifact runs no code that its manifest names."""

from pathlib import Path

import msgspec
import pytest

from tests.doubles import artifacts
from vitdeploy.artifacts import described_model
from vitdeploy.artifacts.manifest import Manifest, Tensor
from vitdeploy.errors import UsageError


@pytest.fixture
def plain(tmp_path: Path) -> Manifest:
    return artifacts.plain_file(tmp_path / "plain").manifest


def test_a_catalogue_model_is_its_row(plain: Manifest):
    assert described_model.spec_of(plain).name == plain.model
    with pytest.raises(UsageError):
        described_model.spec_of(msgspec.structs.replace(plain, model="efficientvit_b9"))


@pytest.mark.parametrize(
    ("task", "shape", "layout", "classes", "dataset"),
    [
        ("classification", (1, 1000), "NC", 1000, "imagenet"),
        ("segmentation", (1, 19, 8, 16), "NCHW", 19, "cityscapes"),
        ("segmentation", (1, 8, 16, 7), "NHWC", 7, "classes:7"),
        ("super-resolution", (1, 3, 128, 256), "NCHW", 1, "sr"),
    ],
)
def test_a_user_model_is_what_its_manifest_says_and_none_of_its_code_is_run(
    plain: Manifest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    task: str,
    shape: tuple[int, ...],
    layout: str,
    classes: int,
    dataset: str,
):
    """Planted: a module whose import, and whose function, leave a file."""
    mark = tmp_path / "it-ran"
    (tmp_path / "strangers.py").write_text(f"open({str(mark)!r}, 'w').close()\ndef build():\n    raise SystemExit\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))  # pyright: ignore[reportUnknownMemberType]
    output = Tensor(name="answer", shape=shape, dtype="float32", layout=layout)  # pyright: ignore[reportArgumentType]
    manifest = msgspec.structs.replace(
        plain, model="module:strangers:build", task=task, size=(64, 128), head="logits", outputs=(output,)
    )
    spec = described_model.spec_of(manifest)
    assert not mark.exists()
    assert (spec.task, spec.classes, spec.dataset, spec.size) == (task, classes, dataset, (64, 128))
    assert spec.scale == (2 if task == "super-resolution" else None)
    assert spec.output_stride == (8 if task == "segmentation" else None)
