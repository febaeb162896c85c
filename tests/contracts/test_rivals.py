"""Models EfficientViT is compared with, and our own SR design: official keys, published counts, golden outputs."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.doubles import golden
from tests.doubles.counted import count_macs
from vitdeploy.catalog import registry
from vitdeploy.errors import Impossible, UsageError
from vitdeploy.models import efficientnetv2, restormer, segnext, swinir, vapsr
from vitdeploy.models.create import count_parameters, create

BSD100 = (160, 240)

CITYSCAPES = (1024, 2048)
ADE20K = (512, 512)

# name, parameters, keys, resolution, GMACs (convolutions, linear layers and products of attention). Source: the golden
# files hold three of these counts, and those of SegNeXt's backbone; Restormer's parameters are the project's brief's,
# EfficientNetV2's are those of the weights as released (torchvision's table of models has the same).
COUNTS = [
    ("bsrn_x2", 331_628, 346, BSD100, "11.99"),
    ("bsrn_x4", 352_400, 346, BSD100, "12.78"),
    ("vapsr_x2", 343_076, 260, BSD100, "12.85"),
    ("vapsr_x4", 342_220, 260, BSD100, "13.01"),
    ("swinir_light_x2", 910_152, 366, BSD100, "40.15"),
    ("swinir_light_x4", 929_628, 366, BSD100, "40.90"),
    ("restormer", 26_126_644, 494, (320, 480), "363.00"),
    ("efficientvit_sr_x2", 329_676, 99, BSD100, "13.34"),
    ("efficientvit_sr_w075_x2", 197_340, 99, BSD100, "8.09"),
    ("segnext_t_cityscapes", 4_229_747, 550, CITYSCAPES, "50.13"),
    ("segnext_s_cityscapes", 13_899_219, 436, CITYSCAPES, "124.06"),
    ("segnext_b_cityscapes", 27_569_107, 854, CITYSCAPES, "274.88"),
    ("segnext_l_cityscapes", 48_792_275, 1500, CITYSCAPES, "552.65"),
    ("segnext_t_ade20k", 4_263_414, 550, ADE20K, "6.40"),
    ("segnext_s_ade20k", 13_932_886, 436, ADE20K, "15.65"),
    ("segnext_b_ade20k", 27_636_310, 854, ADE20K, "34.66"),
    ("segnext_l_ade20k", 48_926_550, 1500, ADE20K, "69.69"),
    ("efficientnetv2_s", 21_458_488, 782, (384, 384), "8.366"),
    ("efficientnetv2_m", 54_139_356, 1120, (480, 480), "24.582"),
    ("efficientnetv2_l", 118_515_272, 1548, (480, 480), "56.080"),
]

# name, parameters as published, GMACs as published, their resolution; None: not published, or see `STRAYING`.
# Source: arXiv 2205.14756v6, tables 2 to 4, and its README; arXiv 2205.05996, table 6 (bsrn); arXiv 2210.05960,
# table 4 (vapsr).
PUBLISHED = [
    ("bsrn_x2", "332K", None, None),
    ("bsrn_x4", "352K", None, None),
    ("vapsr_x4", "342K", "19.5G", (180, 320)),
    ("segnext_s_cityscapes", "14M", None, None),
    ("segnext_b_cityscapes", "28M", None, None),
    ("segnext_l_cityscapes", "49M", None, None),
    ("segnext_t_ade20k", "4.3M", None, None),
    ("segnext_s_ade20k", "14M", "16G", ADE20K),
    ("segnext_b_ade20k", "28M", "35G", ADE20K),
    ("efficientnetv2_s", None, "8.4G", (384, 384)),
    ("efficientnetv2_m", "54M", "25G", (480, 480)),
]

# What is published and does not come out of the released architecture: name, published GMACs, counted over published.
# SegNeXt's tool (torchprofile) also counts norms and further operators; for Cityscapes the digits of T and S come out
# with the 150 classes of ADE20K. That explains a percent; T on ADE20K and L on Cityscapes stay unexplained.
# EfficientNetV2: the paper's own table (8.8G for S, 53G for L, and 22M and 120M parameters) is not that of its weights.
STRAYING = [
    ("segnext_t_cityscapes", 51, 0.983),
    ("segnext_s_cityscapes", 125, 0.993),
    ("segnext_b_cityscapes", 276, 0.996),
    ("segnext_l_cityscapes", 578, 0.956),
    ("segnext_t_ade20k", 6.6, 0.970),
    ("efficientnetv2_s", 8.8, 0.951),
    ("efficientnetv2_l", 53, 1.058),
]

FAMILIES = ("bsrn", "vapsr", "swinir", "restormer", "efficientvit_sr", "segnext", "efficientnetv2")
NAMES = [name for name in registry.models() if name.startswith(FAMILIES)]


def unfilled(name: str) -> nn.Module:
    spec = registry.find_model(name)
    with torch.device("meta"):
        return registry.load(spec.builder)(spec.variant).eval()


def test_every_row_of_the_table_is_counted_here():
    assert sorted(row[0] for row in COUNTS) == sorted(NAMES)


@pytest.mark.parametrize(("name", "params", "keys", "size", "gmacs"), COUNTS)
def test_parameters_keys_and_macs(name, params, keys, size, gmacs):
    model = unfilled(name)
    assert count_parameters(model) == params
    assert len(model.state_dict()) == keys
    digits = len(gmacs.partition(".")[2])
    assert f"{count_macs(model, (1, 3, *size)) / 1e9:.{digits}f}" == gmacs


@pytest.mark.parametrize(("name", "params", "gmacs", "size"), PUBLISHED)
def test_the_published_figures_come_out_to_the_digits_published(name, params, gmacs, size):
    model = unfilled(name)
    if params is not None:
        assert _as_published(count_parameters(model), params) == params
    if gmacs is not None:
        assert _as_published(count_macs(model, (1, 3, *size)), gmacs) == gmacs


@pytest.mark.parametrize(("name", "published", "ratio"), STRAYING)
def test_how_far_a_published_figure_is_from_the_released_architecture(name, published, ratio):
    size = registry.find_model(name).size
    assert count_macs(unfilled(name), (1, 3, *size)) / 1e9 / published == pytest.approx(ratio, abs=5e-4)


@pytest.mark.parametrize(("name", "published"), [("swinir_light_x2", "878K"), ("swinir_light_x4", "897K")])
def test_swinirs_published_count_leaves_out_the_position_tables(name, published):
    # Source: arXiv 2108.10257, table 3.
    model = unfilled(name)
    tables = sum(p.numel() for key, p in model.named_parameters() if key.endswith("relative_position_bias_table"))
    assert _as_published(count_parameters(model) - tables, published) == published


@pytest.mark.parametrize("name", [name for name in golden.names() if name in NAMES])
def test_it_computes_what_the_reference_computes(name):
    expected = golden.read(name)
    model = unfilled(name)
    assert {key: list(tensor.shape) for key, tensor in model.state_dict().items()} == expected["state_dict"]
    assert list(model.state_dict()) == list(expected["state_dict"]), "the official order"
    assert count_parameters(model) == expected["params"]
    assert count_macs(model, tuple(expected["macs_input"])) == expected["macs"]
    model.load_state_dict(golden.filled(model), assign=True)
    with torch.no_grad():
        output = model(golden.image(expected["input"]))
    assert golden.error(output, expected["outputs"][0]) < 1e-4


def test_the_backbone_of_segnext_computes_what_the_reference_computes():
    expected = golden.read("segnext_mscan_t")
    backbone = unfilled("segnext_t_cityscapes").get_submodule("backbone")
    assert {key: list(tensor.shape) for key, tensor in backbone.state_dict().items()} == expected["state_dict"]
    assert list(backbone.state_dict()) == list(expected["state_dict"]), "the official order"
    assert count_parameters(backbone) == expected["params"]
    assert count_macs(backbone, tuple(expected["macs_input"])) == expected["macs"]
    backbone.load_state_dict(golden.filled(backbone), assign=True)
    with torch.no_grad():
        maps = backbone(golden.image(expected["input"]))
    assert len(maps) == len(expected["outputs"]) == 4
    assert all(golden.error(*pair) < 1e-4 for pair in zip(maps, expected["outputs"], strict=True))


def test_the_head_of_segnext_has_mmsegmentations_keys():
    # Source: LightHamHead of https://github.com/open-mmlab/mmsegmentation; its bases are no part of a checkpoint.
    keys = [key for key in unfilled("segnext_b_ade20k").state_dict() if key.startswith("decode_head.")]
    norm = ("weight", "bias")
    assert keys == [
        *(f"decode_head.conv_seg.{one}" for one in norm),
        "decode_head.squeeze.conv.weight",
        *(f"decode_head.squeeze.gn.{one}" for one in norm),
        *(f"decode_head.hamburger.ham_in.conv.{one}" for one in norm),
        "decode_head.hamburger.ham_out.conv.weight",
        *(f"decode_head.hamburger.ham_out.gn.{one}" for one in norm),
        "decode_head.align.conv.weight",
        *(f"decode_head.align.gn.{one}" for one in norm),
    ]


def test_a_segnext_checkpoint_of_openmmlab_gets_the_authors_keys():
    keys = list(unfilled("segnext_t_ade20k").state_dict())
    theirs = [key.replace(".mlp.dwconv.dwconv.", ".mlp.dwconv.") for key in keys]
    assert theirs != keys
    assert list(segnext.official_keys(theirs).values()) == keys
    assert list(segnext.official_keys(keys).values()) == keys


def test_a_released_vapsr_x2_has_twenty_blocks_and_its_weights_fit(tmp_path: Path):
    # Source: num_block of options/train/VapSR_X2.yml, https://github.com/zhoumumu/VapSR.
    released = vapsr.build("x2-20")
    path = tmp_path / "VapSR_X2.pth"
    torch.save({"params": released.state_dict(), "params_ema": released.state_dict()}, path)
    model = create(registry.find_model("vapsr_x2"), weights=path)
    assert count_parameters(model) == 329_236
    assert len(model.state_dict()) == 248
    image = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(model(image), released.eval()(image))
    assert vapsr.released_variant("x2", vapsr.build("x2").state_dict()) == "x2"
    assert vapsr.released_variant("x4", ["body.0.proj_1.weight"]) == "x4"


def test_segnexts_bases_are_the_same_on_every_machine_and_say_so():
    bases = segnext.starting_bases(256, 16)
    assert torch.equal(bases, segnext.starting_bases(256, 16))
    torch.testing.assert_close(bases.square().sum(dim=0), torch.ones(16))
    # Numbers 0 and 16 of numpy's frozen generator with seed 0, one below the other.
    assert float(bases[1, 0] / bases[0, 0]) == pytest.approx(0.0202184 / 0.5488135, rel=1e-5)
    assert "seed 0" in (registry.find_model("segnext_t_cityscapes").note or "")


def test_the_factorization_is_the_published_formula():
    # Source: NMF2D of the official head, in double precision; two pictures, each factorized for itself.
    module = segnext.Factorization(64, 16)
    maps = golden.image([2, 64, 6, 10]).relu()
    x, d = maps.double().flatten(2), module.bases.double().repeat(2, 1, 1)
    c = torch.softmax(torch.einsum("bdn,bdr->bnr", x, d), dim=-1)
    for step in range(8):
        c = c * torch.einsum("bdn,bdr->bnr", x, d) / (torch.einsum("bnr,bds,bdr->bns", c, d, d) + 1e-6)
        if step < 7:
            d = d * torch.einsum("bdn,bnr->bdr", x, c) / (torch.einsum("bdr,bnr,bns->bds", d, c, c) + 1e-6)
    expected = torch.einsum("bdr,bnr->bdn", d, c).reshape(2, 64, 6, 10)
    torch.testing.assert_close(module(maps).double(), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("size", [(16, 24), (32, 8)])
def test_shifted_windows_are_masked_as_the_reference_masks_them(size):
    # Source: ``calculate_mask`` of the official code, by its definition: three bands a side, nine regions.
    height, width = size
    region = torch.zeros(height, width)
    edges = [(slice(0, -8), 0), (slice(-8, -4), 1), (slice(-4, None), 2)]
    for rows, i in edges:
        for columns, j in edges:
            region[rows, columns] = 3 * i + j
    tiles = [
        region[top : top + 8, left : left + 8].flatten() for top in range(0, height, 8) for left in range(0, width, 8)
    ]
    expected = torch.stack([torch.where(one[:, None] != one, -100.0, 0.0) for one in tiles])[:, None]
    assert torch.equal(swinir.shift_mask(height, width, torch.device("cpu")), expected)


def test_what_restormer_does_in_its_own_way_is_what_torch_does():
    x = golden.image([2, 5, 6, 8])
    assert torch.equal(restormer.PixelsToChannels()(x), functional.pixel_unshuffle(x, 2))
    torch.testing.assert_close(restormer.UnitLength()(x), functional.normalize(x, dim=-1))


@pytest.mark.parametrize("shift", [(4, 4), (-4, -4)])
def test_windows_shift_as_torch_rolls(shift):
    x = golden.image([1, 16, 24, 3])
    assert torch.equal(swinir.roll(x, shift[0]), torch.roll(x, (-shift[0], -shift[1]), (1, 2)))


@pytest.mark.parametrize("side", [2, 10, 12])
def test_padding_is_tensorflows(side):
    conv = efficientnetv2.SameConv(3, 4, 3, stride=2)
    x = golden.image([1, 3, side, side])
    total = max((-(-side // 2) - 1) * 2 + 3 - side, 0)  # Source: tensorflow.org/api_docs/python/tf/nn, "SAME"
    before, after = total // 2, total - total // 2
    padded = functional.pad(x, (before, after, before, after))
    torch.testing.assert_close(conv(x), functional.conv2d(padded, conv.weight, stride=2))


@pytest.mark.parametrize("name", [name for name in NAMES if registry.find_model(name).scale])
def test_an_image_comes_out_at_its_scale(name):
    spec = registry.find_model(name)
    assert spec.scale is not None
    height = -(-spec.least_side // spec.size_multiple) * spec.size_multiple
    model = create(spec)
    with torch.no_grad():
        output = model(golden.image([1, 3, height, height + spec.size_multiple]))
    assert output.shape == (1, 3, height * spec.scale, (height + spec.size_multiple) * spec.scale)
    assert 0.05 < float(output.std()) < 20, "random weights keep activations of order one"


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_variant_is_a_usage_error(name):
    with pytest.raises(UsageError, match="x77"):
        registry.load(registry.find_model(name).builder)("x77")


def test_what_is_our_own_design_says_so():
    for name in NAMES:
        note = registry.find_model(name).note or ""
        assert ("own design" in note) == name.startswith("efficientvit_sr")


def test_an_attention_that_is_not_ours_to_choose_cannot_be_chosen():
    with pytest.raises(Impossible, match="bsrn_x2 is its own, not softmax"):
        create(registry.find_model("bsrn_x2"), attention="softmax")


def test_a_side_below_the_least_is_answered_with_the_nearest_size():
    with pytest.raises(Impossible, match="no side below 15") as found:
        registry.check_size(registry.find_model("bsrn_x4"), (14, 64))
    assert found.value.hint == "Use 15x64."


def _as_published(count: int, like: str) -> str:
    """``count`` in the unit and with the digits of ``like``: ``352K``, ``4.3M``, ``51G``."""
    unit = {"K": 1e3, "M": 1e6, "G": 1e9}[like[-1]]
    digits = len(like[:-1].partition(".")[2])
    return f"{count / unit:.{digits}f}{like[-1]}"
