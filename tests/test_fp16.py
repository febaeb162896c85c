"""Half precision: the rounding is real, the published attention falls over the cliff, and ours does not."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
onnx = pytest.importorskip("onnx", reason="onnx is not installed")
ort = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")

from tests.test_weights import FOLDER  # noqa: E402 (after the skips)
from vitdeploy import catalog, photographs  # noqa: E402
from vitdeploy.errors import Impossible, ToolchainFailed  # noqa: E402
from vitdeploy.exporters import fp16_graph, on_rounded, rewrites, to_onnx, to_onnx_fp16  # noqa: E402
from vitdeploy.exporters.rewrite_half import NormalizedAttention  # noqa: E402
from vitdeploy.exporters.rewrites import Rewrite  # noqa: E402
from vitdeploy.models.create import create  # noqa: E402
from vitdeploy.models.efficientvit_blocks import MultiScaleAttention, ReluLinearAttention  # noqa: E402

OURS = ("cubic-as-products", "normalized-attention")
PLAIN = ("cubic-as-products",)


def graph_of(model: Any, names: tuple[str, ...], side: tuple[int, int], table: Mapping[str, Rewrite] | None = None):
    image = torch.zeros(1, 3, *side)
    made, _ = rewrites.rewritten(model, names, tuple(image.shape), table=table or to_onnx_fp16.HALF_REWRITES)
    return fp16_graph.halved(to_onnx.exported(made, image, "logits"), half_border=False)


def run(graph: Any, feed: Any, *, rounding: bool = True) -> Any:
    settings = ort.SessionOptions()
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    data = fp16_graph.rounded(graph, rounding=rounding).SerializeToString()
    return ort.InferenceSession(data, settings, providers=["CPUExecutionProvider"]).run(None, {"image": feed})[0]


def stretched(model: Any, factor: float) -> Any:
    """The same function, eps aside: queries and keys times ``factor``, which the ratio cancels."""
    for module in model.modules():
        if isinstance(module, MultiScaleAttention):
            conv = module.qkv.conv
            rows = [c for c in range(conv.out_channels) if c // module.attention.dim % 3 != 2]
            with torch.no_grad():
                conv.weight[rows] *= factor
                if conv.bias is not None:
                    conv.bias[rows] *= factor
    return model


def photo(side: tuple[int, int], place: int = 1) -> Any:
    spec = catalog.find_model("efficientvit_seg_b0_cityscapes")
    return photographs.normalized(list(photographs.parity_batches(side, 1, None))[place], spec)


def test_the_rounding_is_real_and_the_comparison_graph_has_none():
    helper = onnx.helper
    value = onnx.TensorProto.FLOAT
    nodes = [helper.make_node("Identity", ["image"], ["a"]), helper.make_node("Identity", ["a"], ["logits"])]
    borders = [[helper.make_tensor_value_info(name, value, [3])] for name in ("image", "logits")]
    graph = helper.make_model(
        helper.make_graph(nodes, "g", *borders), opset_imports=[helper.make_opsetid("", 20)], ir_version=9
    )
    half = fp16_graph.halved(graph, half_border=False)
    feed = np.array([1.0001, 70000.0, 1e-9], np.float32)
    assert run(half, feed).tolist() == [1.0, np.inf, 0.0]
    assert run(half, feed, rounding=False).tolist() == feed.tolist()


def test_the_normalized_attention_is_the_published_one_to_rounding():
    generator = torch.Generator().manual_seed(0)
    for scale in (1e-3, 1.0, 1e3):
        qkv = torch.randn(2, 3 * 16 * 4, 12, 20, generator=generator) * scale
        expected = ReluLinearAttention(16)(qkv)
        found = NormalizedAttention(16, 240)(qkv)
        assert float((found - expected).abs().max() / expected.std()) < 1e-4


def test_a_near_miss_of_it_is_refused():
    """Keys by the largest of their own channel instead of the head's: the channels are summed over."""
    qkv = torch.randn(1, 48, 12, 20, generator=torch.Generator().manual_seed(0))
    qkv[:, 16:32] *= torch.logspace(-2, 2, 16).reshape(1, 16, 1, 1)
    q, k, v = torch.split(qkv.reshape(1, -1, 48, 240), 16, dim=2)
    q, k = torch.relu(q), torch.relu(k)
    k = k / k.amax(dim=3, keepdim=True)
    found = (v @ k.transpose(-1, -2) @ q / (k.sum(-1).unsqueeze(-2) @ q + 1e-15)).reshape(1, -1, 12, 20)
    expected = ReluLinearAttention(16)(qkv)
    limit = catalog.find_target("onnx-fp16").tolerance.error
    assert float((found - expected).abs().max() / expected.std()) > limit


def test_a_pixel_without_any_query_is_zero_not_nan():
    qkv = torch.randn(1, 48, 8, 8, generator=torch.Generator().manual_seed(1))
    qkv[:, :16, 3, 4] = -1.0
    found = NormalizedAttention(16, 64)(qkv)
    assert found.isfinite().all()
    assert found[0, :, 3, 4].abs().max() == 0


def test_the_published_attention_collapses_in_half_precision_and_ours_does_not():
    """Random weights, stretched by a factor that the ratio cancels: planted, and kept."""
    side = (128, 256)
    expected = create(catalog.find_model("efficientvit_seg_b0_cityscapes"))(torch.tensor(photo(side))).detach().numpy()
    for factor in (1, 64, 512):
        model = stretched(create(catalog.find_model("efficientvit_seg_b0_cityscapes")), factor)
        ours = run(graph_of(model, OURS, side), photo(side))
        assert np.isfinite(ours).all()
        assert np.abs(ours - expected).max() / expected.std() < 0.1
    assert not np.isfinite(run(graph_of(model, PLAIN, side), photo(side))).all()


def test_the_first_node_that_breaks_is_named(tmp_path: Path):
    model = stretched(create(catalog.find_model("efficientvit_b0")), 4096)
    for names, breaks in ((OURS, False), (PLAIN, True)):
        graph = graph_of(model, names, (64, 64))
        onnx.save(graph, str(tmp_path / "model.onnx"))
        found = on_rounded.first_divergence(tmp_path / "model.onnx", {"image": photo((64, 64))}, 1)
        assert (found is not None) == breaks
        if found is not None:
            assert found.operator in {"MatMul", "Add", "Div", "Relu", "Conv"}
            assert found.operator in found.words


def test_a_weight_beyond_half_precision_is_told():
    model = create(catalog.find_model("efficientvit_b0"))
    with torch.no_grad():
        next(model.parameters())[0, 0, 0, 0] = 1e6
    with pytest.raises(ToolchainFailed, match="half precision ends at 65504"):
        graph_of(model, OURS, (64, 64))


def test_every_tensor_of_the_graph_is_half_but_the_border():
    graph = graph_of(create(catalog.find_model("efficientvit_b0")), OURS, (64, 64))
    floats = [tensor.name for tensor in graph.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT]
    assert not floats
    assert [value.type.tensor_type.elem_type for value in (*graph.graph.input, *graph.graph.output)] == [1, 1]
    assert sum(node.op_type == "Cast" for node in graph.graph.node) == 2


def test_fp32_has_no_half_border_but_fp16_has():
    from vitdeploy import api

    with pytest.raises(Impossible, match="onnx-fp32 has no --io fp16"):
        api.export_plan(["efficientvit_b0"], api.ExportOrder(target="onnx-fp32", io="fp16"))
    assert api.export_plan(["efficientvit_b0"], api.ExportOrder(target="onnx-fp16", io="fp16"))


@pytest.mark.slow
@pytest.mark.parametrize("factor", [1, 2, 4, 8])
def test_real_weights_stay_on_the_same_side_of_the_cliff_at_every_factor(factor: int):
    """B0 Cityscapes at 1024x2048, on noise and a photograph: 99.9 % of the pixels, nothing infinite, nothing zeroed."""
    weights = FOLDER / "efficientvit_seg_b0_cityscapes.pt"
    if not weights.exists():
        pytest.skip(f"{FOLDER} holds no official checkpoint")
    side, spec = (1024, 2048), catalog.find_model("efficientvit_seg_b0_cityscapes")
    reference = create(spec, weights=weights)
    model = stretched(create(spec, weights=weights), factor)
    ours, plain = graph_of(model, OURS, side), graph_of(model, PLAIN, side)
    for place in (0, 1):
        feed = photo(side, place)
        expected = reference(torch.tensor(feed)).detach().numpy()
        found = run(ours, feed)
        assert np.isfinite(found).all()
        assert (found.argmax(1) == expected.argmax(1)).mean() >= 0.999
        assert np.abs(found).max() > 1
        assert not np.isfinite(run(plain, feed)).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(catalog.models()))
def test_every_model_stays_finite_and_close_in_half_precision(name: str):
    spec = catalog.find_model(name)
    side = (128, 128)
    model = create(spec)
    feed = photo(side)
    expected = model(torch.tensor(feed)).detach().numpy()
    found = run(graph_of(model, OURS, side), feed)
    assert np.isfinite(found).all()
    assert np.abs(found - expected).max() / expected.std() < 0.1
