"""What a file of weights is: official by its bytes, by its name where no digest is published, or only named like it."""

from pathlib import Path

import pytest

from vitdeploy.catalog import checkpoint_identity, checkpoints

SEG_B0 = "923d6fdd5e93640cc0c2f3f213764f34e80b477cd98a6b294d870ea6df5acc50"
OTHER = "0" * 64


@pytest.mark.parametrize("name", ["efficientvit_seg_b0_cityscapes.pt", "my weights.bin", "b0.pt"])
def test_the_bytes_decide_whatever_the_file_is_called(name: str):
    identity = checkpoint_identity.identify(Path(name), SEG_B0)
    assert identity.checkpoint == checkpoints.find("efficientvit_seg_b0_cityscapes")
    assert (identity.proof, identity.remark) == ("digest", None)


def test_an_official_name_on_other_bytes_is_told_with_where_such_files_are():
    identity = checkpoint_identity.identify(Path("distilled_model/efficientvit_sam_l0.pt"), OTHER)
    assert identity.checkpoint is None
    assert identity.remark is not None
    for words in ("EfficientViT-SAM-L0", "other bytes", "000000000000…", "c4f994b01a16…", "distilled_model/"):
        assert words in identity.remark


def test_an_older_name_counts_too():
    remark = checkpoint_identity.identify(Path("assets/checkpoints/seg/cityscapes/b0.pt"), OTHER).remark
    assert remark is not None
    assert "EfficientViT-Seg-B0 Cityscapes" in remark


def test_without_a_published_digest_the_name_is_all_there_is_and_its_licence_counts():
    path = Path("hub/models--nvidia--segformer-b1-finetuned-cityscapes-1024-1024/snapshots/abc/pytorch_model.bin")
    identity = checkpoint_identity.identify(path, OTHER)
    assert identity.checkpoint is not None
    assert (identity.checkpoint.name, identity.proof) == ("segformer_b1_cityscapes", "name")
    assert identity.checkpoint.needs_acceptance


def test_first_digits_are_a_weaker_proof_and_said_to_be_that():
    digest = "e7f88502".ljust(64, "a")
    identity = checkpoint_identity.identify(Path("x.pth"), digest)
    assert identity.checkpoint is not None
    assert (identity.checkpoint.name, identity.proof) == ("segformer_b0_cityscapes_openmmlab", "first digits")


def test_any_other_file_is_nothing_known():
    identity = checkpoint_identity.identify(Path("model.safetensors"), OTHER)
    assert (identity.checkpoint, identity.proof, identity.remark) == (None, None, None)


def test_the_weights_of_a_variant_are_told_by_their_title():
    words = checkpoint_identity.weights_words(f"sha256:{SEG_B0}")
    assert words == "official, EfficientViT-Seg-B0 Cityscapes, Apache-2.0 (sha256:923d6fdd5e93…)"
    assert checkpoint_identity.weights_words("random:0") == "random weights (seed 0)"
    assert checkpoint_identity.weights_words(f"sha256:{OTHER}") == f"sha256:{OTHER}"
