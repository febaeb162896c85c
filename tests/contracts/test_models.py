"""What every EfficientViT (MIT) model must be: official keys, published counts, the reference's outputs."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from tests.doubles import golden
from tests.doubles.counted import count_macs
from vitdeploy.catalog import registry
from vitdeploy.errors import Impossible, UsageError
from vitdeploy.models import efficientvit, efficientvit_blocks, efficientvit_seg
from vitdeploy.models.create import count_parameters, create

CITYSCAPES = (1024, 2048)
ADE20K = (512, 512)

# name, parameters, keys, resolution, GMACs. Source: counted on the official code, and equal to the published
# figures in all digits that those have.
COUNTS = [
    ("efficientvit_b0", 3_410_008, 197, (224, 224), "0.100"),
    ("efficientvit_b1", 9_102_024, 272, (224, 224), "0.519"),
    ("efficientvit_b1", 9_102_024, 272, (256, 256), "0.677"),
    ("efficientvit_b1", 9_102_024, 272, (288, 288), "0.856"),
    ("efficientvit_b2", 24_330_712, 365, (224, 224), "1.585"),
    ("efficientvit_b2", 24_330_712, 365, (256, 256), "2.068"),
    ("efficientvit_b2", 24_330_712, 365, (288, 288), "2.614"),
    ("efficientvit_b3", 48_646_056, 514, (224, 224), "3.954"),
    ("efficientvit_b3", 48_646_056, 514, (256, 256), "5.162"),
    ("efficientvit_b3", 48_646_056, 514, (288, 288), "6.530"),
    ("efficientvit_l1", 52_654_088, 271, (224, 224), "5.258"),
    ("efficientvit_l2", 63_707_016, 353, (224, 224), "6.950"),
    ("efficientvit_l2", 63_707_016, 353, (256, 256), "9.073"),
    ("efficientvit_l2", 63_707_016, 353, (288, 288), "11.480"),
    ("efficientvit_l2", 63_707_016, 353, (320, 320), "14.170"),
    ("efficientvit_l2", 63_707_016, 353, (384, 384), "20.399"),
    ("efficientvit_l3", 246_037_288, 353, (224, 224), "27.587"),
    ("efficientvit_l3", 246_037_288, 353, (256, 256), "36.017"),
    ("efficientvit_l3", 246_037_288, 353, (288, 288), "45.572"),
    ("efficientvit_l3", 246_037_288, 353, (320, 320), "56.251"),
    ("efficientvit_l3", 246_037_288, 353, (384, 384), "80.982"),
    ("efficientvit_seg_b0_cityscapes", 706_691, 230, CITYSCAPES, "4.39"),
    ("efficientvit_seg_b1_cityscapes", 4_803_443, 341, CITYSCAPES, "25.11"),
    ("efficientvit_seg_b2_cityscapes", 15_323_779, 434, CITYSCAPES, "73.64"),
    ("efficientvit_seg_b3_cityscapes", 39_603_155, 583, CITYSCAPES, "179.23"),
    ("efficientvit_seg_l1_cityscapes", 40_242_227, 316, CITYSCAPES, "282.48"),
    ("efficientvit_seg_l2_cityscapes", 52_607_923, 422, CITYSCAPES, "396.12"),
    ("efficientvit_seg_b1_ade20k", 4_791_414, 335, ADE20K, "3.09"),
    ("efficientvit_seg_b2_ade20k", 15_293_382, 428, ADE20K, "9.08"),
    ("efficientvit_seg_b3_ade20k", 39_546_198, 577, ADE20K, "22.17"),
    ("efficientvit_seg_l1_ade20k", 40_409_526, 322, ADE20K, "36.34"),
    ("efficientvit_seg_l2_ade20k", 51_462_454, 404, ADE20K, "45.18"),
]
BUILDERS = ("vitdeploy.models.efficientvit:build", "vitdeploy.models.efficientvit_seg:build")
NAMES = [spec.name for spec in registry.models().values() if spec.builder in BUILDERS]


def unfilled(name: str, attention: str = "relu") -> nn.Module:
    spec = registry.find_model(name)
    with torch.device("meta"):
        return registry.load(spec.builder)(spec.variant, attention=attention).eval()


def test_every_row_of_the_table_is_counted_here():
    assert sorted({row[0] for row in COUNTS}) == sorted(NAMES)


@pytest.mark.parametrize(("name", "params", "keys", "size", "gmacs"), COUNTS)
def test_parameters_keys_and_macs_are_the_published_ones(name, params, keys, size, gmacs):
    model = unfilled(name)
    assert count_parameters(model) == params
    assert len(model.state_dict()) == keys
    digits = len(gmacs.partition(".")[2])
    assert f"{count_macs(model, (1, 3, *size)) / 1e9:.{digits}f}" == gmacs


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


def test_a_single_wrong_norm_epsilon_is_seen():
    expected = golden.read("efficientvit_seg_b0_cityscapes")
    model = unfilled("efficientvit_seg_b0_cityscapes")
    model.load_state_dict(golden.filled(model), assign=True)
    efficientvit.set_norm_eps(model, 1e-3)
    with torch.no_grad():
        output = model(golden.image(expected["input"]))
    assert golden.error(output, expected["outputs"][0]) > 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_softmax_attention_takes_the_same_checkpoints(name):
    relu, softmax = (unfilled(name, attention).state_dict() for attention in ("relu", "softmax"))
    assert list(relu) == list(softmax)
    assert all(relu[key].shape == softmax[key].shape for key in relu)


def test_softmax_attention_is_the_textbook_formula():
    n, heads, dim, h, w = 2, 3, 8, 4, 5
    qkv = torch.from_numpy(golden.image([n, heads * 3 * dim, h, w]).numpy())
    q, k, v = qkv.reshape(n, heads, 3 * dim, h * w).chunk(3, dim=2)
    weight = torch.softmax(q.transpose(-1, -2) @ k / dim**0.5, dim=-1)
    expected = (weight @ v.transpose(-1, -2)).transpose(-1, -2).reshape(n, heads * dim, h, w)
    torch.testing.assert_close(efficientvit_blocks.SoftmaxAttention(dim)(qkv), expected)


@pytest.mark.parametrize("size", [(4, 8), (5, 8)], ids=["fewer pixels than channels", "more"])
def test_both_orders_of_linear_attention_are_the_same_formula(size):
    qkv = golden.image([1, 2 * 3 * 32, *size])
    q, k, v = qkv.reshape(1, 2, 3 * 32, -1).split(32, dim=2)
    q, k = q.relu(), k.relu()
    expected = torch.einsum("bhdn,bhen,bhem->bhdm", v, k, q) / torch.einsum("bhen,bhem->bhm", k, q)[:, :, None]
    torch.testing.assert_close(efficientvit_blocks.ReluLinearAttention(32)(qkv), expected.reshape(1, -1, *size))


def test_attention_is_zero_where_all_queries_are_negative():
    qkv = golden.image([1, 3 * 16, 8, 8])
    qkv[:, :16, 0, 0] = -1.0
    assert torch.equal(efficientvit_blocks.ReluLinearAttention(16)(qkv)[0, :, 0, 0], torch.zeros(16))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_sums_in_float32(dtype):
    # 64 * 64 pixels of this size overflow a float16 denominator; silent zeros are the usual symptom.
    qkv = 4 * golden.image([1, 3 * 32, 64, 64])
    exact = efficientvit_blocks.ReluLinearAttention(32)(qkv.to(dtype).float())
    half = efficientvit_blocks.ReluLinearAttention(32)(qkv.to(dtype))
    assert half.dtype == dtype
    torch.testing.assert_close(half.float(), exact, rtol=1e-2, atol=1e-3)
    up = efficientvit_blocks.Upsample(2)(qkv[:, :3].to(dtype))
    assert up.dtype == dtype
    assert up.shape == (1, 3, 128, 128)


@pytest.mark.parametrize("attention", ["relu", "softmax"])
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("efficientvit_b0", (1, 3, 64, 96)),
        ("efficientvit_seg_b0_cityscapes", (1, 3, 96, 64)),
        pytest.param("efficientvit_seg_l1_ade20k", (1, 3, 64, 64), marks=pytest.mark.slow),
    ],
)
def test_torch_export_takes_it_and_keeps_its_function(name, shape, attention):
    model = create(registry.find_model(name), attention=attention)
    x = golden.image(list(shape))
    program = torch.export.export(model, (x,))
    torch.testing.assert_close(program.module()(x), model(x))
    casts = [node for node in program.graph.nodes if "aten.to" in str(node.target)]
    assert not casts, "a float32 graph has nothing to cast"


def test_no_activation_or_resampling_is_hidden_in_a_forward():
    model = create(registry.find_model("efficientvit_seg_b0_cityscapes"))
    program = torch.export.export(model, (torch.zeros(1, 3, 64, 64),))
    owners = {
        _owner(node)
        for node in program.graph.nodes
        if any(op in str(node.target) for op in ("hardswish", "relu", "upsample", "batch_norm"))
    }
    assert owners == {nn.Hardswish, nn.ReLU, efficientvit_blocks.Upsample, nn.BatchNorm2d}


def test_create_returns_a_frozen_model_in_eval_mode():
    model = create(registry.find_model("efficientvit_b0"))
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert all(tensor.device.type == "cpu" for tensor in model.state_dict().values())


@pytest.mark.parametrize("name", ["efficientvit_b0", "efficientvit_seg_b0_cityscapes", "efficientvit_l1"])
@pytest.mark.parametrize("attention", ["relu", "softmax"])
def test_random_weights_keep_activations_of_order_one(name, attention):
    model = create(registry.find_model(name), attention=attention)
    with torch.no_grad():
        output = model(golden.image([1, 3, 128, 160]))
    assert 0.05 < float(output.std()) < 20


def test_counting_leaves_the_model_alone():
    model = create(registry.find_model("efficientvit_b0"))
    before = model.state_dict()
    count_macs(model, (1, 3, 64, 64))
    assert all(tensor is before[key] or torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())


def test_macs_count_the_products_of_softmax_attention():
    relu = count_macs(unfilled("efficientvit_b0"), (1, 3, 224, 224))
    softmax = count_macs(unfilled("efficientvit_b0", "softmax"), (1, 3, 224, 224))
    # Per head: (d + 1) * d * n * 2 against n * n * d * 2, for the two blocks each of stages 3 and 4.
    difference = sum(2 * heads * 2 * dim * n * (n - dim - 1) for heads, dim, n in ((8, 16, 14 * 14), (16, 16, 7 * 7)))
    assert softmax - relu == difference


@pytest.mark.parametrize("build", [efficientvit.build, efficientvit_seg.build])
def test_an_unknown_variant_is_a_usage_error(build: Callable[[str], nn.Module]):
    with pytest.raises(UsageError, match="b0-ade20k"):
        build("b0-ade20k")


def test_an_attention_that_a_model_lacks_is_impossible():
    with pytest.raises(Impossible, match="efficientvit_b0 has no linear attention"):
        create(registry.find_model("efficientvit_b0"), attention="linear")  # pyright: ignore[reportArgumentType]


def _owner(node: torch.fx.Node) -> type:
    kind = list(node.meta["nn_module_stack"].values())[-1][1]
    return kind if isinstance(kind, type) else registry.load(":".join(kind.rsplit(".", 1)))
