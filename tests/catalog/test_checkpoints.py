"""The table of official checkpoints: every row against the model rows, and what a digest or a name finds in it."""

import re
from collections import Counter
from urllib.parse import urlsplit

import msgspec
import pytest

from vitdeploy.catalog import checkpoints, registry
from vitdeploy.catalog.checkpoints import Checkpoint
from vitdeploy.errors import Impossible, UsageError

ROWS = tuple(checkpoints.checkpoints().values())
SEG_B0 = "923d6fdd5e93640cc0c2f3f213764f34e80b477cd98a6b294d870ea6df5acc50"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_fits_its_model(row: Checkpoint) -> None:
    spec = registry.find_model(row.model)
    if row.size is not None:
        assert all(side % spec.size_multiple == 0 and side >= spec.least_side for side in row.size)
        assert not spec.sizes or row.size in spec.sizes
    datasets = {"sa-1b": {"coco", "lvis"}}.get(spec.dataset, {spec.dataset})
    assert {figure.dataset for figure in row.accuracy} <= datasets
    assert all(0 < figure.value < 100 and figure.source != "not stated" for figure in row.accuracy)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_says_where_its_file_is_and_what_may_be_done_with_it(row: Checkpoint) -> None:
    assert (row.hub is None) != (row.url is None)
    address = urlsplit(row.address)
    assert address.scheme == "https"
    assert address.netloc
    assert re.fullmatch(r"[\w.\-]+\.(pt|pth|bin|safetensors)", row.file)
    assert row.revision is None or re.fullmatch(r"[0-9a-f]{40}", row.revision)
    assert row.licence
    assert row.terms
    assert (row.restriction is None) == (row.commercial == "yes")
    assert row.needs_acceptance == (row.commercial != "yes")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_digest_is_whole_or_the_digits_of_the_file_name(row: Checkpoint) -> None:
    assert row.sha256 is None or row.sha256_prefix is None
    assert (row.digest_source is None) == (row.sha256 is None and row.sha256_prefix is None)
    if (digits := re.search(r"-([0-9a-f]{8})\.pth$", row.file)) is not None:
        assert row.sha256_prefix == digits[1]


def test_no_digest_no_address_and_no_title_is_there_twice() -> None:
    digests = [row.sha256 or row.sha256_prefix for row in ROWS]
    for values in (
        [digest for digest in digests if digest],
        [row.address for row in ROWS],
        [row.title for row in ROWS],
        [row.name for row in ROWS],
    ):
        assert [value for value, count in Counter(values).items() if count > 1] == []
    prefixes = [digest for digest in digests if digest]
    assert not [(a, b) for a in prefixes for b in prefixes if a != b and b.startswith(a)]


def test_only_models_that_nobody_published_weights_of_in_this_form_have_no_checkpoint() -> None:
    lacking = [name for name in registry.models() if not checkpoints.checkpoints_of(name)]
    prefixes = ("efficientvit_sr_", "deeplabv3plus_", "convnext_", "swin_b")
    assert [name for name in lacking if not name.startswith(prefixes)] == []


def test_an_unknown_field_is_refused() -> None:
    text = b'[[publisher]]\ncode_licence="x"\nweights_licence="x"\ncommercial="maybe"\nterms="x"\nrows=[]\n'
    with pytest.raises(msgspec.ValidationError, match="maybe"):
        msgspec.toml.decode(text, type=checkpoints._File)


def test_a_size_picks_its_checkpoint_or_the_nearest() -> None:
    exact, is_exact = checkpoints.nearest("efficientvit_b1", (256, 256))
    near, is_near_exact = checkpoints.nearest("efficientvit_b1", (512, 512))
    assert (exact.name, is_exact) == ("efficientvit_b1_r256", True)
    assert (near.name, is_near_exact) == ("efficientvit_b1_r288", False)
    words = checkpoints.nearest_words(near, (512, 512))
    assert words is not None
    assert "512x512" in words
    assert "288x288" in words
    assert checkpoints.nearest_words(exact, (256, 256)) is None


def test_the_authors_checkpoint_comes_before_one_trained_anew() -> None:
    assert checkpoints.nearest("segformer_b0_cityscapes", (1024, 1024))[0].commercial == "no"
    assert [row.name for row in checkpoints.checkpoints_of("segformer_b5_ade20k")] == [
        "segformer_b5_ade20k",
        "segformer_b5_ade20k_openmmlab",
        "segformer_b5_ade20k_640_openmmlab",
    ]


def test_a_file_of_another_network_is_known_and_never_taken():
    unfit = [row for row in ROWS if row.unfit]
    assert {row.model.partition("_")[0] for row in unfit} == {"segformer"}
    for row in unfit:
        assert row.size is not None
        assert checkpoints.nearest(row.model, row.size)[0].unfit is None


def test_a_model_that_takes_any_size_has_its_checkpoint_at_every_one() -> None:
    assert checkpoints.nearest("bsrn_x4", (16, 48)) == (checkpoints.find("bsrn_x4"), True)


def test_a_part_has_the_checkpoint_of_its_model() -> None:
    assert checkpoints.nearest("sam_vit_b.decoder", (1024, 1024))[0].name == "sam_vit_b"


def test_a_model_without_a_checkpoint_is_told_so() -> None:
    with pytest.raises(Impossible, match="efficientvit_sr_x2"):
        checkpoints.nearest("efficientvit_sr_x2", (160, 240))
    with pytest.raises(UsageError) as raised:
        checkpoints.find("efficientvit_b1_r22")
    assert "efficientvit_b1_r224" in raised.value.hint


def test_bytes_are_recognised_by_their_digest() -> None:
    row = checkpoints.recognised(SEG_B0)
    assert row is not None
    assert row.words == "official, EfficientViT-Seg-B0 Cityscapes, Apache-2.0"
    assert checkpoints.recognised(SEG_B0[:-1] + "1") is None


def test_the_first_digits_and_the_length_decide_where_no_more_is_published() -> None:
    row = checkpoints.find("segformer_b2_cityscapes")
    assert row.sha256_prefix is not None
    digest = row.sha256_prefix.ljust(64, "0")
    assert checkpoints.recognised(digest) == row
    assert checkpoints.recognised(digest, row.size_bytes) == row
    assert checkpoints.recognised(digest, 5) is None


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("weights/efficientvit_seg_b0_cityscapes.pt", "efficientvit_seg_b0_cityscapes"),
        ("assets/checkpoints/seg/cityscapes/b0.pt", "efficientvit_seg_b0_cityscapes"),
        ("b1-r224.pt", "efficientvit_b1_r224"),
        ("efficientvit-sam/distilled_model/efficientvit_sam_l0.pt", "efficientvit_sam_l0"),
        ("sam-vit-base/model.safetensors", "sam_vit_b_hub"),
        (".cache/vitdeploy/weights/segformer_b1_ade20k/pytorch_model.bin", "segformer_b1_ade20k"),
        ("hub/models--facebook--sam-vit-huge/snapshots/0123abc/model.safetensors", "sam_vit_h_hub"),
    ],
)
def test_a_name_finds_its_checkpoint(path: str, name: str) -> None:
    assert [row.name for row in checkpoints.with_name(path)] == [name]


@pytest.mark.parametrize("path", ["model.safetensors", "ade20k/model.safetensors", "b0.pt", "my_b1-r224.pt"])
def test_a_name_that_anybody_may_give_is_nobodys(path: str) -> None:
    assert checkpoints.with_name(path) == ()
