"""The models that transformers builds: published counts, transformers' keys and outputs, everybody's checkpoints."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="models are torch modules")
pytest.importorskip("transformers", reason="these models are built from its configurations")

import torch
import transformers
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.func import functional_call

from tests.doubles import golden
from tests.doubles.counted import count_macs
from vitdeploy.catalog import registry
from vitdeploy.errors import UnreadableFile, UsageError
from vitdeploy.exporters.rewrites.io_wrapper import with_io
from vitdeploy.models import deeplabv3plus, from_transformers
from vitdeploy.models.create import count_parameters, create

CITYSCAPES = (1024, 2048)
ADE20K = (512, 512)

# name, parameters, keys, resolution, GMACs: counted here, so that a change is seen.
COUNTS = [
    ("segformer_b0_cityscapes", 3_719_027, 208, CITYSCAPES, "120.957"),
    ("segformer_b1_cityscapes", 13_682_131, 208, CITYSCAPES, "239.130"),
    ("segformer_b2_cityscapes", 27_361_235, 380, CITYSCAPES, "703.485"),
    ("segformer_b3_cityscapes", 47_237_075, 644, CITYSCAPES, "949.230"),
    ("segformer_b4_cityscapes", 64_007_635, 930, CITYSCAPES, "1226.752"),
    ("segformer_b5_cityscapes", 84_607_955, 1172, CITYSCAPES, "1446.368"),
    ("segformer_b0_ade20k", 3_752_694, 208, ADE20K, "8.388"),
    ("segformer_b1_ade20k", 13_715_798, 208, ADE20K, "15.878"),
    ("segformer_b2_ade20k", 27_461_974, 380, ADE20K, "62.338"),
    ("segformer_b3_ade20k", 47_337_814, 644, ADE20K, "78.963"),
    ("segformer_b4_ade20k", 64_108_374, 930, ADE20K, "95.567"),
    ("segformer_b5_ade20k", 84_708_694, 1172, ADE20K, "111.510"),
    ("convnext_t", 28_589_128, 182, (224, 224), "4.456"),
    ("convnext_s", 50_223_688, 344, (224, 224), "8.684"),
    ("convnext_b", 88_591_464, 344, (224, 224), "15.355"),
    ("convnext_l", 197_767_336, 344, (224, 224), "34.361"),
    ("swin_b", 87_768_224, 425, (224, 224), "15.431"),
    ("deeplabv3plus_mobilenetv2_cityscapes", 15_017_795, 392, CITYSCAPES, "544.300"),
]

# GMACs on Cityscapes in the digits of SegFormer's paper. Source: arXiv 2105.15203, tables 1 and 2.
OF_SEGFORMER_PAPER = [
    ("segformer_b0_cityscapes", "125.5"),
    ("segformer_b1_cityscapes", "243.7"),
    ("segformer_b2_cityscapes", "717.1"),
    ("segformer_b3_cityscapes", "962.9"),
    ("segformer_b4_cityscapes", "1240.6"),
    ("segformer_b5_cityscapes", "1460.4"),
]

NAMES = [name for name, spec in registry.models().items() if "transformers" in spec.requires]
SMALL = ["segformer_b0_ade20k", "convnext_t"]
"""Cheap enough to run in every test."""


def unfilled(name: str) -> nn.Module:
    spec = registry.find_model(name)
    with torch.device("meta"):
        return registry.load(spec.builder)(spec.variant).eval()


def digits(value: float, like: str) -> str:
    return f"{value:.{len(like.partition('.')[2])}f}"


def filled(name: str) -> nn.Module:
    """With golden weights: functions of the key names alone."""
    model = unfilled(name)
    model.load_state_dict(golden.filled(model), assign=True)
    return model


def test_every_row_of_the_table_is_counted_here():
    assert sorted({row[0] for row in COUNTS}) == sorted(NAMES)


@pytest.mark.parametrize(("name", "params", "keys", "size", "gmacs"), COUNTS)
def test_parameters_keys_and_macs(name: str, params: int, keys: int, size: tuple[int, int], gmacs: str):
    model = unfilled(name)
    assert count_parameters(model) == params
    assert len(model.state_dict()) == keys
    assert digits(count_macs(model, (1, 3, *size)) / 1e9, gmacs) == gmacs


@pytest.mark.parametrize(("name", "gmacs"), OF_SEGFORMER_PAPER)
def test_the_published_cityscapes_macs_are_those_of_150_classes_and_count_norms(name: str, gmacs: str):
    """The published figures count ADE20K's classifier at Cityscapes' size, and biases, norms and ReLU as well."""
    model = unfilled(name.replace("cityscapes", "ade20k"))
    further = 0

    def count(module: nn.Module, inputs: Any, output: Tensor) -> None:
        nonlocal further
        if (isinstance(module, nn.Conv2d) and module.bias is not None) or isinstance(module, nn.ReLU | nn.ReLU6):
            further += output.numel()
        elif isinstance(module, nn.BatchNorm2d):
            further += 2 * output.numel()

    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.ReLU | nn.ReLU6 | nn.BatchNorm2d):
            module.register_forward_hook(count)
    macs = count_macs(model, (1, 3, *CITYSCAPES))
    assert (macs + further) / 1e9 == pytest.approx(float(gmacs), rel=5e-4)
    assert macs / 1e9 < float(gmacs) - 0.05, "the MACs alone are fewer"


PLAIN = {
    "segformer_b0_ade20k": transformers.SegformerForSemanticSegmentation,
    "convnext_t": transformers.ConvNextForImageClassification,
    "swin_b": transformers.SwinForImageClassification,
}


def plain(name: str) -> Any:
    """The model of transformers itself, with the same configuration and eager attention."""
    config: Any = unfilled(name).config
    config._attn_implementation = "eager"
    return PLAIN[name](config).eval()


@pytest.mark.parametrize("name", [*SMALL, pytest.param("swin_b", marks=pytest.mark.slow)])
def test_keys_and_outputs_are_transformers_own(name: str):
    ours, theirs = filled(name), plain(name)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    x = golden.image([1, 3, 224, 224] if name == "swin_b" else [1, 3, 64, 96])
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(pixel_values=x).logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", [*SMALL, pytest.param("swin_b", marks=pytest.mark.slow)])
def test_files_that_transformers_saves_load_in_older_and_newer_names(name: str, tmp_path: Path):
    theirs = plain(name)
    theirs.save_pretrained(tmp_path / "hub")  # the package writes the names that the hub's files have
    save_file({key: one.contiguous() for key, one in theirs.state_dict().items()}, tmp_path / "today.safetensors")
    for file in (tmp_path / "hub" / "model.safetensors", tmp_path / "today.safetensors"):
        made = create(registry.find_model(name), weights=file)
        for key, tensor in theirs.state_dict().items():
            assert torch.equal(made.state_dict()[key], tensor), key


def test_the_hubs_names_of_segformer_are_the_older_ones(tmp_path: Path):
    state = as_older_hub(filled("segformer_b0_ade20k").state_dict())
    assert "segformer.encoder.block.0.0.attention.self.sr.weight" in state
    torch.save(state, tmp_path / "pytorch_model.bin")
    made = create(registry.find_model("segformer_b0_ade20k"), weights=tmp_path / "pytorch_model.bin")
    same_function(made, filled("segformer_b0_ade20k"))


def as_older_hub(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """SegFormer's tensors as ``nvidia/segformer-b0-finetuned-ade-512-512`` names them."""
    made: dict[str, Tensor] = {}
    for ours, tensor in state.items():
        key, words = ours, ours.split(".")
        if words[0] == "segformer":
            stage, kind, *rest = words[2:]
            inner = {"patch_embeddings": f"patch_embeddings.{stage}", "blocks": f"block.{stage}"}.get(kind)
            key = "segformer.encoder." + ".".join([inner or f"layer_norm.{stage}", *rest])
        for new, old in (
            ("q_proj", "self.query"),
            ("k_proj", "self.key"),
            ("v_proj", "self.value"),
            ("o_proj", "output.dense"),
            ("sequence_reduction.sequence_reduction", "self.sr"),
            ("sequence_reduction.layer_norm", "self.layer_norm"),
            ("mlp.fc", "mlp.dense"),
            ("layernorm_before", "layer_norm_1"),
            ("layernorm_after", "layer_norm_2"),
            ("linear_projections", "linear_c"),
        ):
            key = key.replace(new, old)
        made[key] = tensor
    return made


def as_nvidia(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """SegFormer's tensors as its authors' checkpoints have them. Source: github.com/NVlabs/SegFormer."""
    made: dict[str, Tensor] = {"decode_head.conv_seg.weight": torch.zeros(150, 128, 1, 1)}
    made["decode_head.conv_seg.bias"] = torch.zeros(150)
    for key, tensor in state.items():
        words = key.split(".")
        if words[0] == "decode_head":
            if words[1] == "linear_projections":
                words[1:3] = [f"linear_c{int(words[2]) + 1}"]
            new = ".".join(words)
            new = new.replace("linear_fuse", "linear_fuse.conv").replace("batch_norm", "linear_fuse.bn")
            made[new.replace("classifier", "linear_pred")] = tensor
            continue
        stage, kind, *rest = words[2:]
        number = int(stage) + 1
        if kind == "layer_norm":
            made[f"backbone.norm{number}.{rest[-1]}"] = tensor
        elif kind == "patch_embeddings":
            made[f"backbone.patch_embed{number}.{'.'.join(rest).replace('layer_norm', 'norm')}"] = tensor
        elif rest[1:3] == ["attention", "k_proj"]:
            value = state[key.replace("k_proj", "v_proj")]
            made[f"backbone.block{number}.{rest[0]}.attn.kv.{rest[-1]}"] = torch.cat([tensor, value])
        elif rest[1:3] != ["attention", "v_proj"]:
            name = ".".join(rest)
            for ours, theirs in (
                ("layernorm_before", "norm1"),
                ("layernorm_after", "norm2"),
                ("attention.q_proj", "attn.q"),
                ("attention.o_proj", "attn.proj"),
                ("attention.sequence_reduction.sequence_reduction", "attn.sr"),
                ("attention.sequence_reduction.layer_norm", "attn.norm"),
            ):
                name = name.replace(ours, theirs)
            made[f"backbone.block{number}.{name}"] = tensor
    return made


def as_microsoft(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Swin's tensors as its authors' checkpoints have them. Source: github.com/microsoft/Swin-Transformer."""
    made: dict[str, Tensor] = {"layers.0.blocks.1.attn_mask": torch.zeros(64, 49, 49)}
    for key, one in state.items():
        name, tensor = key.removeprefix("swin.").removeprefix("encoder."), one
        if ".k_proj." in name or ".v_proj." in name:
            continue
        if ".q_proj." in name:
            parts = [state[key.replace("q_proj", f"{letter}_proj")] for letter in "qkv"]
            name, tensor = name.replace("attention.q_proj", "attn.qkv"), torch.cat(parts)
        for ours, theirs in (
            ("embeddings.patch_embeddings.projection", "patch_embed.proj"),
            ("embeddings.norm", "patch_embed.norm"),
            ("attention.relative_position_bias.", "attn."),
            ("attention.o_proj", "attn.proj"),
            ("layernorm_before", "norm1"),
            ("layernorm_after", "norm2"),
            ("classifier", "head"),
        ):
            name = name.replace(ours, theirs)
        made["norm." + name.split(".")[1] if name.startswith("layernorm.") else name] = tensor
    made["layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(49, 49, dtype=torch.int64)
    return made


def as_facebook(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """ConvNeXt's tensors as its authors' checkpoints have them. Source: github.com/facebookresearch/ConvNeXt."""
    made: dict[str, Tensor] = {}
    for key, tensor in state.items():
        words = key.split(".")
        if words[0] == "classifier":
            made[f"head.{words[1]}"] = tensor
        elif words[1] == "layernorm":
            made[f"norm.{words[2]}"] = tensor
        elif words[1] == "embeddings":
            made[f"downsample_layers.0.{int(words[2] == 'layernorm')}.{words[3]}"] = tensor
        elif words[4] == "downsampling_layer":
            made[f"downsample_layers.{words[3]}.{words[5]}.{words[6]}"] = tensor
        else:
            name = ".".join(words[6:]).replace("layernorm", "norm").replace("layer_scale_parameter", "gamma")
            made[f"stages.{words[3]}.{words[5]}.{name}"] = tensor
    return made


def as_openmmlab(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """DeepLabV3+'s tensors as OpenMMLab's checkpoints have them. Source: mmsegmentation, ``mobilenet_v2.py``."""
    blocks = [
        (group, place) for group, count in zip(range(2, 8), (2, 3, 4, 3, 3, 1), strict=True) for place in range(count)
    ]
    parts = {"expand_1x1": 0, "conv_3x3": 1, "reduce_1x1": 2}
    made: dict[str, Tensor] = {"auxiliary_head.conv_seg.bias": torch.zeros(19)}
    for key, tensor in state.items():
        words = key.split(".")
        end = ".".join(words[-2:]).replace("convolution", "conv").replace("normalization", "bn")
        if words[0] == "decode_head":
            made[key] = tensor
        elif words[1] == "layer":
            group, place = blocks[int(words[2])]
            made[f"backbone.layer{group}.{place}.conv.{parts[words[3]]}.{end}"] = tensor
        elif words[2] == "first_conv":
            made[f"backbone.conv1.{end}"] = tensor
        else:
            made[f"backbone.layer1.0.conv.{parts[words[2]] - 1}.{end}"] = tensor
    return made


AUTHORS = {
    "segformer_b0_ade20k": (as_nvidia, "state_dict"),
    "convnext_t": (as_facebook, "model"),
    "swin_b": (as_microsoft, "model"),
    "deeplabv3plus_mobilenetv2_cityscapes": (as_openmmlab, "state_dict"),
}


@pytest.mark.parametrize("name", AUTHORS)
def test_the_authors_own_checkpoints_load(name: str, tmp_path: Path):
    renamed, wrapper = AUTHORS[name]
    reference = filled(name)
    state = renamed(reference.state_dict())
    assert not set(state) & {key for key in reference.state_dict() if not key.startswith("decode_head.")}
    torch.save({wrapper: state, "meta": {"epoch": 1}}, tmp_path / "authors.pth")
    made = create(registry.find_model(name), weights=tmp_path / "authors.pth")
    for key, tensor in reference.state_dict().items():
        assert torch.equal(made.state_dict()[key], tensor), key


def test_a_checkpoint_of_another_size_is_refused(tmp_path: Path):
    torch.save({"state_dict": as_nvidia(filled("segformer_b0_ade20k").state_dict())}, tmp_path / "b0.pth")
    for other in ("segformer_b1_ade20k", "segformer_b0_cityscapes", "convnext_t"):
        with pytest.raises(UnreadableFile, match=f"does not fit {other}"):
            create(registry.find_model(other), weights=tmp_path / "b0.pth")


def same_function(one: nn.Module, other: nn.Module) -> None:
    x = golden.image([1, 3, 64, 64])
    with torch.no_grad():
        torch.testing.assert_close(one(x), other(x))


@pytest.mark.parametrize("name", [*SMALL, "deeplabv3plus_mobilenetv2_cityscapes", "swin_b"])
def test_random_weights_keep_activations_of_order_one(name: str):
    spec = registry.find_model(name)
    size = spec.size_multiple * 2 if spec.size_multiple < 100 else spec.size_multiple
    with torch.no_grad():
        output = create(spec)(golden.image([1, 3, size, size]))
    assert output.shape == ((1, 1000) if spec.task == "classification" else (1, spec.classes, size // 4, size // 4))
    assert 0.05 < float(output.std()) < 20


def test_swins_table_of_positions_is_computed_even_where_nothing_else_is():
    model: Any = unfilled("swin_b")
    index = model.swin.encoder.layers[0].blocks[0].attention.relative_position_bias.relative_position_index
    assert not index.is_meta
    assert (int(index.min()), int(index.max())) == (0, 13 * 13 - 1)


def test_labels_are_decided_on_logits_enlarged_bilinearly():
    model, spec = filled("segformer_b0_ade20k"), registry.find_model("segformer_b0_ade20k")
    x = golden.image([1, 3, 64, 96])
    with torch.no_grad():
        large = nn.functional.interpolate(model(x), size=(64, 96), mode="bilinear", align_corners=False)
        assert torch.equal(with_io(model, spec, head="labels", io="fp32")(x).long(), large.argmax(1))


def test_deeplabs_dilations_are_the_published_ones():
    model: Any = unfilled("deeplabv3plus_mobilenetv2_cityscapes")
    found = {i: b.conv_3x3.convolution.dilation[0] for i, b in enumerate(model.mobilenet_v2.layer)}
    assert {i: d for i, d in found.items() if d > 1} == {5: 2, 9: 2, 12: 4, 15: 4}
    shapes = [functional_call(model, model.state_dict(), (torch.empty(1, 3, 64, 128, device="meta"),)).shape]
    assert shapes == [(1, 19, 16, 32)], "stride 4"


@pytest.mark.parametrize(
    ("build", "variant"),
    [
        (from_transformers.build_segformer, "b6-ade20k"),
        (from_transformers.build_segformer, "b0-pascal"),
        (from_transformers.build_convnext, "m"),
        (from_transformers.build_swin, "t"),
        (deeplabv3plus.build, "ade20k"),
    ],
)
def test_an_unknown_variant_is_a_usage_error(build: Any, variant: str):
    with pytest.raises(UsageError, match=variant):
        build(variant)
