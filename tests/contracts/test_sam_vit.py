"""SAM ViT: transformers' keys and outputs, published counts, Meta's checkpoints and the hub's."""

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="models are torch modules")

from tests.doubles import golden
from tests.doubles.counted import count_macs
from vitdeploy.api import export
from vitdeploy.api.export_request import ExportRequest
from vitdeploy.catalog import sam_prompts
from vitdeploy.errors import Impossible, UnreadableFile
from vitdeploy.models import sam_vit
from vitdeploy.models.create import count_parameters
from vitdeploy.models.efficientvit_sam import Encoder, Sam
from vitdeploy.models.sam_vit import CONFIGS, VitConfig

SMALL = VitConfig(width=64, depth=3, heads=4, everywhere=(1,), side=320)
"""20x20 patches: windows of 14 have to be filled up. Source: a choice, small and not a multiple of the window."""

# name, parameters of all, as published, GMACs of the encoder, as published.
# Source: https://arxiv.org/abs/2402.05008, table 3, for what is published; the GMACs to two digits are counted here.
COUNTS = [
    ("b", 93_735_472, "94M", "483.59", None),
    ("l", 312_342_832, "312M", "1487.88", None),
    ("h", 641_090_608, "641M", "2972.94", "2973G"),
]


def unfilled(variant: str) -> Any:
    with torch.device("meta"):
        return sam_vit.build(variant).eval()


def relative(config: VitConfig) -> int:
    """Multiply-accumulates of the relative positions, which the published counts leave out: two products a token."""
    side = config.side // config.patch
    padded = -(-side // config.window) * config.window
    everywhere = len(config.everywhere) * 2 * side**3 * config.width
    within = (config.depth - len(config.everywhere)) * 2 * padded**2 * config.window * config.width
    return everywhere + within


@pytest.mark.parametrize(("variant", "params", "published", "gmacs", "macs"), COUNTS)
def test_parameters_and_macs_are_the_published_ones(
    variant: str, params: int, published: str, gmacs: str, macs: str | None
):
    model = unfilled(variant)
    assert count_parameters(model) == params
    assert f"{params / 1e6:.0f}M" == published
    counted = count_macs(model.image_encoder, (1, 3, 1024, 1024)) - relative(CONFIGS[variant])
    assert f"{counted / 1e9:.2f}" == gmacs
    assert macs in (None, f"{counted / 1e9:.0f}G")


@pytest.mark.parametrize("variant", CONFIGS)
def test_keys_and_shapes_are_those_of_transformers(variant: str):
    transformers = pytest.importorskip("transformers", reason="the extra baselines")
    config = CONFIGS[variant]
    vision = transformers.SamVisionConfig(
        hidden_size=config.width,
        num_hidden_layers=config.depth,
        num_attention_heads=config.heads,
        global_attn_indexes=list(config.everywhere),
    )
    with torch.device("meta"):
        theirs = transformers.SamModel(transformers.SamConfig(vision_config=vision)).state_dict()
    ours = unfilled(variant).state_dict()
    assert {key: one.shape for key, one in ours.items()} == {key: one.shape for key, one in theirs.items()}


def test_the_encoder_computes_what_transformers_computes():
    transformers = pytest.importorskip("transformers", reason="the extra baselines")
    config = transformers.SamVisionConfig(
        hidden_size=SMALL.width,
        num_hidden_layers=SMALL.depth,
        num_attention_heads=SMALL.heads,
        image_size=SMALL.side,
        global_attn_indexes=list(SMALL.everywhere),
    )
    theirs = transformers.SamVisionModel(config).eval()
    with torch.device("meta"):
        ours = sam_vit.named_as_transformers(Encoder(sam_vit.ImageEncoder(SMALL))).eval()
    filled = golden.filled(ours)
    theirs.load_state_dict(filled)
    ours.load_state_dict(filled, assign=True)
    image = golden.image([2, 3, SMALL.side, SMALL.side])
    with torch.no_grad():
        expected, found = theirs(image).last_hidden_state, ours(image)
        assert float((found - expected).abs().max() / expected.std()) < 1e-4
        # The near-miss: positions that are not used.
        for key in filled:
            if "rel_pos" in key:
                filled[key] = torch.zeros_like(filled[key])
        ours.load_state_dict(filled, assign=True)
        assert float((ours(image) - expected).abs().max() / expected.std()) > 1e-2


def test_the_decoder_computes_what_transformers_computes():
    transformers = pytest.importorskip("transformers", reason="the extra baselines")
    small = transformers.SamVisionConfig(hidden_size=64, num_hidden_layers=1, num_attention_heads=4)
    theirs = transformers.SamModel(transformers.SamConfig(vision_config=small)).eval()
    with torch.device("meta"):
        ours: Any = sam_vit.build_decoder("b").eval()
    filled = golden.filled(ours)
    filled[sam_vit.TIED] = filled[sam_vit.SHARED]
    theirs.load_state_dict(filled, strict=False)
    ours.load_state_dict(filled, assign=True)
    embedding = golden.image([1, *sam_prompts.EMBEDDING])
    points, box = ((500.0, 375.0, 1), (200.0, 300.0, 0)), (100.0, 150.0, 620.0, 700.0)
    for given, framed in ((points, None), ((), box), (points, box)):
        asked = sam_prompts.arrays([sam_prompts.Prompt(points=given, box=framed)], 1)
        words: dict[str, Any] = {}
        if given:
            words["input_points"] = torch.tensor([[[one[:2] for one in given]]])
            words["input_labels"] = torch.tensor([[[one[2] for one in given]]])
        if framed:
            words["input_boxes"] = torch.tensor([[framed]])
        with torch.no_grad():
            masks, scores = ours(embedding, *(torch.from_numpy(one) for one in asked.values()))
            for several, wanted in ((True, slice(1, None)), (False, slice(0, 1))):
                seen = theirs(image_embeddings=embedding, multimask_output=several, **words)
                expected = seen.pred_masks[:, 0]
                assert float((masks[:, wanted] - expected).abs().max() / expected.std()) < 1e-4
                assert float((scores[:, wanted] - seen.iou_scores[:, 0]).abs().max()) < 1e-4


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """``sam_vit_b`` with a small encoder, for what does not depend on its size."""
    monkeypatch.setitem(CONFIGS, "b", VitConfig(width=32, depth=2, heads=2, everywhere=(1,), side=64))


def as_meta(state: dict[str, Any]) -> dict[str, Any]:
    """A state dict of ours under Meta's keys: those that the parts have inside."""
    with torch.device("meta"):
        inside = Sam(sam_vit.ImageEncoder(CONFIGS["b"]), *sam_vit._prompted())  # pyright: ignore[reportPrivateUsage]
    keys = [name for name, _ in (*inside.named_parameters(), *inside.named_buffers())]
    return {key: state[sam_vit.transformers_key(key)] for key in keys}


def test_names_inside_are_metas():
    with torch.device("meta"):
        inside = Sam(sam_vit.ImageEncoder(CONFIGS["b"]), *sam_vit._prompted())  # pyright: ignore[reportPrivateUsage]
    keys = set(inside.state_dict())
    # Source: the keys of sam_vit_b_01ec64.pth; the decoder's are also those of the official EfficientViT-SAM.
    assert {
        "image_encoder.pos_embed",
        "image_encoder.patch_embed.proj.weight",
        "image_encoder.blocks.11.norm1.weight",
        "image_encoder.blocks.0.attn.rel_pos_h",
        "image_encoder.blocks.0.attn.qkv.bias",
        "image_encoder.blocks.0.attn.proj.weight",
        "image_encoder.blocks.0.mlp.lin2.weight",
        "image_encoder.neck.0.weight",
        "image_encoder.neck.3.bias",
    } <= keys
    official = golden.read("efficientvit_sam_l0")["state_dict"]
    assert {key for key in keys if not key.startswith("image_encoder.")} == {
        key for key in official if not key.startswith("image_encoder.")
    }


@pytest.mark.parametrize("kind", ["transformers", "without the tied key", "only the tied key", "Meta"])
@pytest.mark.usefixtures("small")
def test_checkpoints_of_the_hub_and_of_meta_load(tmp_path: Path, kind: str):
    made = sam_vit.build("b")
    made.load_state_dict(golden.filled(made), assign=True)
    state = made.state_dict()
    stored = {
        "transformers": state,
        "without the tied key": {key: one for key, one in state.items() if key != sam_vit.TIED},
        "only the tied key": {key: one for key, one in state.items() if key != sam_vit.SHARED},
        "Meta": as_meta(state),
    }[kind]
    torch.save(stored, tmp_path / "sam.pth")
    loaded = export.create_model("sam_vit_b", weights=tmp_path / "sam.pth").state_dict()
    assert set(loaded) == set(state)
    for key, tensor in loaded.items():
        assert torch.equal(tensor, state[key]), key
    part = export.create_model("sam_vit_b.decoder", weights=tmp_path / "sam.pth").state_dict()
    assert all(torch.equal(tensor, state[key]) for key, tensor in part.items())
    del stored[next(iter(stored))]
    torch.save(stored, tmp_path / "broken.pth")
    with pytest.raises(UnreadableFile, match="missing"):
        export.create_model("sam_vit_b", weights=tmp_path / "broken.pth")


def test_a_target_that_cannot_take_an_encoder_says_why_and_takes_the_rest(tmp_path: Path):
    order = ExportRequest(target="tflite-fp32", out=tmp_path)
    refused, *rest = export.export_plan(["sam_vit_b"], order)
    assert "tflite-fp32 cannot take sam_vit_b.encoder: at 1024x1024" in refused
    assert [line.partition(" ")[0] for line in rest] == ["sam_vit_b.decoder", "time:"]
    with pytest.raises(Impossible, match="1024x1024"):
        export.export(["efficientvit_sam_xl0.encoder"], order)
    rows = export.export(["efficientvit_sam_xl0.encoder", "sam_vit_b.encoder"], order)
    assert [type(row.error) for row in rows] == [Impossible, Impossible]
