"""Models EfficientViT is compared with, and our own SR design: official keys, published counts, golden outputs."""

import pytest
import torch
from torch import nn

from tests import golden
from vitdeploy import catalog
from vitdeploy.errors import Impossible, UsageError
from vitdeploy.models.create import count_macs, count_parameters, create

BSD100 = (160, 240)

# name, parameters, keys, resolution, GMACs.
# Source: the golden files for bsrn_x4; the others have the same blocks and another last convolution.
COUNTS = [
    ("bsrn_x2", 331_628, 346, BSD100, "11.99"),
    ("bsrn_x4", 352_400, 346, BSD100, "12.78"),
    ("efficientvit_sr_x2", 329_676, 99, BSD100, "13.34"),
    ("efficientvit_sr_w075_x2", 197_340, 99, BSD100, "8.09"),
]

# name, parameters as published, GMACs as published, their resolution.
# Source: bsrn: arXiv 2205.05996, table 6.
PUBLISHED = [
    ("bsrn_x2", "332K", None, None),
    ("bsrn_x4", "352K", None, None),
]

FAMILIES = ("bsrn", "efficientvit_sr")
NAMES = [name for name in catalog.models() if name.startswith(FAMILIES)]


def unfilled(name: str) -> nn.Module:
    spec = catalog.find_model(name)
    with torch.device("meta"):
        return catalog.load(spec.builder)(spec.variant).eval()


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
    assert _as_published(count_parameters(model), params) == params
    if gmacs is not None:
        assert _as_published(count_macs(model, (1, 3, *size)), gmacs) == gmacs


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


@pytest.mark.parametrize("name", NAMES)
def test_an_image_comes_out_at_its_scale(name):
    spec = catalog.find_model(name)
    if spec.scale is None:
        pytest.skip(f"{name} returns no image")
    height = -(-spec.least_side // spec.size_multiple) * spec.size_multiple
    model = create(spec)
    with torch.no_grad():
        output = model(golden.image([1, 3, height, height + spec.size_multiple]))
    assert output.shape == (1, 3, height * spec.scale, (height + spec.size_multiple) * spec.scale)
    assert 0.05 < float(output.std()) < 20, "random weights keep activations of order one"


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_variant_is_a_usage_error(name):
    with pytest.raises(UsageError, match="x77"):
        catalog.load(catalog.find_model(name).builder)("x77")


def test_what_is_our_own_design_says_so():
    for name in NAMES:
        note = catalog.find_model(name).note or ""
        assert ("own design" in note) == name.startswith("efficientvit_sr")


def test_an_attention_that_is_not_ours_to_choose_cannot_be_chosen():
    with pytest.raises(Impossible, match="bsrn_x2 is its own, not softmax"):
        create(catalog.find_model("bsrn_x2"), attention="softmax")


def test_a_side_below_the_least_is_answered_with_the_nearest_size():
    with pytest.raises(Impossible, match="no side below 15") as found:
        catalog.check_size(catalog.find_model("bsrn_x4"), (14, 64))
    assert found.value.hint == "Use 15x64."


def _as_published(count: int, like: str) -> str:
    """``count`` in the unit and with the digits of ``like``: ``352K``, ``4.3M``, ``51G``."""
    unit = {"K": 1e3, "M": 1e6, "G": 1e9}[like[-1]]
    digits = len(like[:-1].partition(".")[2])
    return f"{count / unit:.{digits}f}{like[-1]}"
