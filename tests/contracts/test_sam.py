"""What every segment-anything model must be: official keys, published counts, the reference's masks, a static graph."""

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="models are torch modules")

import numpy as np
from torch import nn

from tests.doubles import golden
from tests.doubles.counted import count_macs
from vitdeploy.api import export
from vitdeploy.catalog import graph_io, registry, sam_prompts
from vitdeploy.catalog.sam_prompts import Prompt
from vitdeploy.errors import Impossible, UnreadableFile, UsageError
from vitdeploy.models.create import count_parameters, create
from vitdeploy.models.sam_decoder import Decoder

BOX = (100.0, 150.0, 620.0, 700.0)
POINTS = ((500.0, 375.0, 1), (200.0, 300.0, 0))

# name, parameters of all, parameters of the encoder, keys, the encoder's GMACs at the published size, then as
# published: parameters of all in millions and the encoder's GMACs.
# Source: counted on the official code; arXiv 2402.05008, table 3, and the official README for what is published.
COUNTS = [
    ("efficientvit_sam_l0", 34_792_784, 30_728_224, 409, "34.77", "35M", "35G"),
    ("efficientvit_sam_l1", 47_650_128, 43_585_568, 515, "48.98", "48M", "49G"),
    ("efficientvit_sam_l2", 61_328_592, 57_264_032, 645, "68.55", "61M", "69G"),
    ("efficientvit_sam_xl0", 116_957_904, 112_893_344, 455, "184.80", "117M", "185G"),
    ("efficientvit_sam_xl1", 203_346_128, 199_281_568, 701, "321.87", "203M", "322G"),
]
DECODER = 6_220 + 4_058_340
"""Parameters of prompt encoder and mask decoder. Source: the same."""


def unfilled(name: str) -> nn.Module:
    spec = registry.find_model(name)
    with torch.device("meta"):
        return registry.load(spec.builder)(spec.variant, attention="relu").eval()


def count(name: str) -> int:
    spec = registry.find_model(name)
    return count_macs(unfilled(name), *(one.shape for one in graph_io.inputs(spec, size=spec.size, batch=1)))


@pytest.mark.parametrize(("name", "params", "encoder", "keys", "gmacs", "published", "macs"), COUNTS)
def test_parameters_keys_and_macs_are_the_published_ones(name, params, encoder, keys, gmacs, published, macs):
    model = unfilled(name)
    assert (count_parameters(model), len(model.state_dict())) == (params, keys)
    assert count_parameters(unfilled(f"{name}.encoder")) == encoder
    assert count_parameters(unfilled(f"{name}.decoder")) == DECODER == params - encoder
    counted = count(f"{name}.encoder")
    assert f"{counted / 1e9:.2f}" == gmacs
    assert (f"{params / 1e6:.0f}M", f"{counted / 1e9:.0f}G") == (published, macs)


@pytest.mark.parametrize("name", ["efficientvit_sam_l0", pytest.param("efficientvit_sam_xl0", marks=pytest.mark.slow)])
def test_it_computes_what_the_reference_computes(name: str):
    expected = golden.read(name)
    model: Any = unfilled(name)
    assert {key: list(tensor.shape) for key, tensor in model.state_dict().items()} == expected["state_dict"]
    assert list(model.state_dict()) == list(expected["state_dict"]), "the official order"
    assert count_parameters(model) == expected["params"]
    model.load_state_dict(golden.filled(model), assign=True)
    parts = (model.image_encoder, model.prompt_encoder, model.mask_decoder)
    coords, labels = torch.tensor([[p[:2] for p in POINTS]]), torch.tensor([[p[2] for p in POINTS]])
    with torch.no_grad():
        embedding = parts[0](golden.image(expected["input"]))
        pe = parts[1].get_dense_pe()
        boxed = parts[2](embedding, pe, *parts[1](None, torch.tensor([BOX]), None), multimask_output=False)
        pointed = parts[2](embedding, pe, *parts[1]((coords, labels), None, None), multimask_output=True)
    outputs = [embedding, *boxed, *pointed]
    # The one predicted IoU of a single mask has no deviation to compare with.
    assert float((outputs[2] - expected["outputs"][2]["mean"]).abs()) < 1e-4
    for place in (0, 1, 3, 4):
        assert golden.error(outputs[place], expected["outputs"][place]) < 1e-4


@pytest.fixture(scope="module")
def parts():
    decoder = create(registry.find_model("efficientvit_sam_l0.decoder"))
    assert isinstance(decoder, Decoder)
    return decoder.prompt_encoder, decoder.mask_decoder, decoder, golden.image([1, *sam_prompts.EMBEDDING])


def apart(parts, points, box):
    """The masks by Meta's calls, as many tokens as there are prompts."""
    encoder, masks, _, embedding = parts
    given = None
    if points:
        given = torch.tensor([[p[:2] for p in points]]), torch.tensor([[float(p[2]) for p in points]])
    boxes = None if box is None else torch.tensor([box])
    with torch.no_grad():
        sparse, dense = encoder(given, boxes, None)
        three = masks(embedding, encoder.get_dense_pe(), sparse, dense, multimask_output=True)
        one = masks(embedding, encoder.get_dense_pe(), sparse, dense, multimask_output=False)
    return torch.cat([one[0], three[0]], dim=1), torch.cat([one[1], three[1]], dim=1)


@pytest.mark.parametrize(
    ("points", "box"),
    [
        (POINTS[:1], None),
        (POINTS, None),
        ((), BOX),
        (POINTS, BOX),
        (tuple((40.0 * i, 60.0 * i, i % 2) for i in range(sam_prompts.SLOTS)), None),
        (tuple((40.0 * i, 60.0 * i, i % 2) for i in range(sam_prompts.MOST_POINTS)), BOX),
    ],
    ids=["a point", "points", "a box", "points and a box", "all slots are points", "all slots are taken"],
)
def test_the_static_graph_answers_every_prompt_as_the_parts_do(parts, points, box):
    *_, decoder, embedding = parts
    asked = sam_prompts.arrays([Prompt(points=points, box=box)], 1)
    with torch.no_grad():
        found = decoder(embedding, *(torch.from_numpy(one) for one in asked.values()))
    for expected, got in zip(apart(parts, points, box), found, strict=True):
        assert float((expected - got).abs().max() / expected.std()) < 1e-4


def test_objects_of_one_call_do_not_see_each_other_and_slots_have_no_order(parts):
    *_, decoder, embedding = parts
    several = [Prompt(box=BOX), Prompt(points=POINTS), Prompt(points=POINTS[:1], box=BOX)]
    asked = sam_prompts.arrays(several, 4)
    shuffled = {name: one[:, ::-1].copy() for name, one in asked.items()}
    with torch.no_grad():
        masks, _ = decoder(embedding, *(torch.from_numpy(one) for one in asked.values()))
        turned, _ = decoder(embedding, *(torch.from_numpy(one) for one in shuffled.values()))
    assert masks.shape == (4, sam_prompts.CANDIDATES, sam_prompts.MASK_SIDE, sam_prompts.MASK_SIDE)
    for place, prompt in enumerate(several):
        expected, _ = apart(parts, prompt.points, prompt.box)
        torch.testing.assert_close(masks[place : place + 1], expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(turned[:3], masks[:3], rtol=1e-4, atol=1e-4)
    assert bool(torch.isfinite(masks).all()), "an object that nothing is asked of is finite too"


def test_a_slot_that_were_not_left_out_would_change_the_masks(parts):
    """The near-miss: padding taken for Meta's own padding token, as other exports do."""
    *_, decoder, embedding = parts
    asked = sam_prompts.arrays([Prompt(box=BOX)], 1)
    wrong = asked | {sam_prompts.LABELS: np.where(asked[sam_prompts.LABELS] == -1, 0, asked[sam_prompts.LABELS])}
    with torch.no_grad():
        right, _ = decoder(embedding, *(torch.from_numpy(one) for one in asked.values()))
        missed, _ = decoder(embedding, *(torch.from_numpy(one.astype(np.float32)) for one in wrong.values()))
    assert float((right - missed).abs().max() / right.std()) > 1e-2


def test_a_mask_can_be_a_prompt(parts):
    encoder, masks, _, embedding = parts
    with torch.no_grad():
        sparse, dense = encoder(None, None, golden.image([2, 1, 256, 256]))
        assert (tuple(sparse.shape), tuple(dense.shape)) == ((2, 0, 256), (2, *sam_prompts.EMBEDDING))
        found, _ = masks(embedding, encoder.get_dense_pe(), sparse, dense, multimask_output=False)
    assert tuple(found.shape) == (2, 1, 256, 256)


def test_a_part_has_the_weights_of_the_whole(tmp_path):
    whole = export.create_model("efficientvit_sam_l0")
    expected = whole.state_dict()
    torch.save(expected, tmp_path / "l0.pt")
    for part in ("encoder", "decoder"):
        made = export.create_model(f"efficientvit_sam_l0.{part}", weights=tmp_path / "l0.pt").state_dict()
        seeded = export.create_model(f"efficientvit_sam_l0.{part}").state_dict()
        for key, tensor in made.items():
            assert torch.equal(tensor, expected[key])
            assert torch.equal(tensor, seeded[key])
    half = {key: tensor for key, tensor in whole.state_dict().items() if key.startswith("image_encoder")}
    torch.save(half, tmp_path / "half.pt")
    with pytest.raises(UnreadableFile, match="missing"):
        export.create_model("efficientvit_sam_l0.encoder", weights=tmp_path / "half.pt")


def test_names_of_parts_are_found_and_the_plain_name_means_both():
    assert [spec.name for spec in registry.exported_models("efficientvit_sam_l1")] == [
        "efficientvit_sam_l1.encoder",
        "efficientvit_sam_l1.decoder",
    ]
    assert registry.exported_models("efficientvit_b0") == (registry.find_model("efficientvit_b0"),)
    assert registry.find_model("efficientvit_sam_l1", "decoder").whole == "efficientvit_sam_l1"
    with pytest.raises(UsageError, match="encodr") as caught:
        registry.find_model("efficientvit_sam_l1.encodr")
    assert "efficientvit_sam_l1.encoder" in caught.value.hint
    with pytest.raises(Impossible, match="512x512"):
        registry.check_size(registry.find_model("efficientvit_sam_l1"), (512, 1024))
