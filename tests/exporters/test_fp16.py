"""Half precision: the rounding is real, the published attention falls over the cliff, and ours does not."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
onnx = pytest.importorskip("onnx", reason="onnx is not installed")
ort = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")

from tests.doubles.checkpoints import FOLDER
from tests.doubles.half_graph import graph_of
from vitdeploy.benchmarks.studies import export_speed, fp16_stress
from vitdeploy.benchmarks.studies.fp16_stress import stretched
from vitdeploy.catalog import registry
from vitdeploy.errors import Impossible
from vitdeploy.exporters import to_onnx
from vitdeploy.exporters.half import on_rounded
from vitdeploy.exporters.half.graph import halved, rounded
from vitdeploy.exporters.rewrites.attention import NormalizedAttention
from vitdeploy.exporters.rewrites.half import HardSwishApart
from vitdeploy.images import photos
from vitdeploy.models.create import create
from vitdeploy.models.efficientvit_blocks import ReluLinearAttention

OURS = ("cubic-as-products", "normalized-attention")
PLAIN = ("cubic-as-products",)


def run(graph: Any, feed: Any, *, rounding: bool = True) -> Any:
    settings = ort.SessionOptions()
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    data = rounded(graph, rounding=rounding).SerializeToString()
    return ort.InferenceSession(data, settings, providers=["CPUExecutionProvider"]).run(None, {"image": feed})[0]


def photo(side: tuple[int, int], place: int = 1) -> Any:
    spec = registry.find_model("efficientvit_seg_b0_cityscapes")
    return photos.normalized(list(photos.parity_batches(side, 1, None))[place], spec.preprocessing)


@pytest.mark.parametrize(
    ("precision", "expected"), [("fp16", [1.0, np.inf, 0.0]), ("bf16", [1.0, 70144.0, 9.968061931431293e-10])]
)
def test_the_rounding_is_real_and_the_comparison_graph_has_none(precision: str, expected: list[float]):
    helper = onnx.helper
    value = onnx.TensorProto.FLOAT
    nodes = [helper.make_node("Identity", ["image"], ["a"]), helper.make_node("Identity", ["a"], ["logits"])]
    graph_io = [[helper.make_tensor_value_info(name, value, [3])] for name in ("image", "logits")]
    graph = helper.make_model(
        helper.make_graph(nodes, "g", *graph_io), opset_imports=[helper.make_opsetid("", 20)], ir_version=9
    )
    half = halved(graph, half_io=False, precision=precision)
    feed = np.array([1.0001, 70000.0, 1e-9], np.float32)
    assert run(half, feed).tolist() == pytest.approx(expected, rel=1e-5)
    assert run(half, feed, rounding=False).tolist() == feed.tolist()


@pytest.mark.parametrize(("height", "width"), [(12, 20), (4, 4), (1, 3)])
def test_the_normalized_attention_is_the_published_one_to_rounding(height: int, width: int):
    generator = torch.Generator().manual_seed(0)
    for scale in (1e-3, 1.0, 1e3):
        qkv = torch.randn(2, 3 * 16 * 4, height, width, generator=generator) * scale
        expected = ReluLinearAttention(16)(qkv)
        found = NormalizedAttention(16, height * width)(qkv)
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
    limit = registry.find_target("onnx-fp16").tolerance.error
    assert float((found - expected).abs().max() / expected.std()) > limit


def test_a_pixel_without_any_query_is_zero_not_nan():
    qkv = torch.randn(1, 48, 8, 8, generator=torch.Generator().manual_seed(1))
    qkv[:, :16, 3, 4] = -1.0
    found = NormalizedAttention(16, 64)(qkv)
    assert found.isfinite().all()
    assert found[0, :, 3, 4].abs().max() == 0


def test_a_divisor_that_overflows_leaves_silent_zeros_that_no_check_for_nan_finds():
    """Unit-like queries and keys over as many pixels as B0 has at 1024x2048: planted, and kept."""
    qkv = torch.relu(torch.randn(1, 48, 64, 128, generator=torch.Generator().manual_seed(0))) * 3
    qkv[:, 32:] = torch.randn(1, 16, 64, 128, generator=torch.Generator().manual_seed(1)) * 0.1
    expected = ReluLinearAttention(16)(qkv).numpy()

    def found(attention: Any) -> Any:
        graph = halved(to_onnx.exported(attention, {"image": qkv}, ["logits"]), half_io=False)
        return run(graph, qkv.numpy())

    plain, ours = found(ReluLinearAttention(16, eps=1e-7)), found(NormalizedAttention(16, 64 * 128))
    assert np.isfinite(plain).all()
    assert (plain == 0).mean() > 0.9
    assert (ours == 0).mean() < 1e-3
    assert np.abs(ours - expected).max() / expected.std() < 0.02


@pytest.mark.slow
def test_the_published_attention_collapses_in_half_precision_and_ours_does_not():
    """Random weights, stretched by a factor that the ratio cancels: planted, and kept."""
    side = (128, 256)
    expected = create(registry.find_model("efficientvit_seg_b0_cityscapes"))(torch.tensor(photo(side))).detach().numpy()
    for factor in (1, 64, 512):
        model = stretched(create(registry.find_model("efficientvit_seg_b0_cityscapes")), factor)
        ours = run(graph_of(model, OURS, side), photo(side))
        assert np.isfinite(ours).all()
        assert np.abs(ours - expected).max() / expected.std() < 0.1
    assert not np.isfinite(run(graph_of(model, PLAIN, side), photo(side))).all()


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("efficientvit_b1", (96, 96)),
        pytest.param("efficientvit_l1", (64, 64), marks=pytest.mark.slow),
        ("efficientvit_seg_b1_ade20k", (64, 96)),
        pytest.param("efficientvit_seg_l1_cityscapes", (64, 64), marks=pytest.mark.slow),
    ],
)
def test_random_weights_stay_finite_and_close_in_half_precision(name: str, side: tuple[int, int]):
    model = create(registry.find_model(name))
    expected = model(torch.tensor(photo(side))).detach().numpy()
    found = run(graph_of(model, OURS, side), photo(side))
    assert np.isfinite(found).all()
    assert np.abs(found - expected).max() / expected.std() < 0.05


@pytest.mark.parametrize("name", ["efficientvit_b0", "efficientvit_l1"])
def test_a_layer_norm_is_one_operator_whose_statistics_are_in_fp32(name: str):
    """Squares of half-precision values leave half precision from 256 on; ONNX's ``stash_type`` 1 keeps them in fp32."""
    nodes = graph_of(create(registry.find_model(name)), OURS, (64, 64)).graph.node
    (norm,) = [node for node in nodes if node.op_type == "LayerNormalization"]
    assert {a.i for a in norm.attribute if a.name == "stash_type"} <= {1}, "1 is also the default"
    assert not [node for node in nodes if node.op_type in {"Pow", "Sqrt", "ReduceL2"}]


def test_bf16_has_no_hard_swish_and_computes_the_same():
    side = (64, 96)
    model = create(registry.find_model("efficientvit_seg_b0_cityscapes"))
    names = registry.find_target("onnx-bf16").rewrites
    graph = graph_of(model, names, side, "bf16")
    assert "HardSwish" not in {node.op_type for node in graph.graph.node}
    assert onnx.TensorProto.FLOAT not in {tensor.data_type for tensor in graph.graph.initializer}
    expected = model(torch.tensor(photo(side))).detach().numpy()
    assert np.abs(run(graph, photo(side)) - expected).max() / expected.std() < 0.2


def test_the_hard_swish_apart_is_the_published_one_and_a_near_miss_is_not():
    x = torch.linspace(-6, 6, 10001)
    expected = torch.nn.functional.hardswish(x)
    assert float((HardSwishApart()(x) - expected).abs().max() / expected.std()) < 1e-6
    near = x * (torch.clamp(x + 3.0, 0.0, 6.0) * 0.1667)  # a sixth, as it is often written
    assert float((near - expected).abs().max() / expected.std()) > 1e-4


@pytest.mark.slow
def test_the_stress_benchmark_prints_a_row_for_every_graph(capsys: pytest.CaptureFixture[str], monkeypatch: Any):
    monkeypatch.setattr("sys.argv", ["fp16_stress", "random", "--size", "64x96", "--factors", "512"])
    assert fp16_stress.main() == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()[2:] if line.strip()]
    assert [line[0] for line in lines] == ["512"] * 3
    assert all("NaN" not in line for line in lines if "ours" in line)
    monkeypatch.setattr("sys.argv", ["fp16_stress", "random", "--size", "64x96", "--factors", "one"])
    assert fp16_stress.main() == 2


@pytest.mark.slow
def test_what_a_rewrite_of_half_precision_costs_is_measured_where_it_changes_something():
    module = registry.find_model("attention_w32")
    (cost,) = export_speed.half_duels(module, (32, 32), "relu", pairs=3, threads=1)
    assert cost.what == "normalized-attention alone"
    assert cost.times.ratio > 0
    assert not list(export_speed.half_duels(module, (32, 32), "softmax", pairs=3, threads=1))


def test_the_first_node_that_breaks_is_named(tmp_path: Path):
    model = stretched(create(registry.find_model("efficientvit_b0")), 4096)
    for names, breaks in ((OURS, False), (PLAIN, True)):
        graph = graph_of(model, names, (64, 64))
        onnx.save(graph, str(tmp_path / "model.onnx"))
        found = on_rounded.first_divergence(tmp_path / "model.onnx", {"image": photo((64, 64))}, 1)
        assert (found is not None) == breaks
        if found is not None:
            assert found.operator in {"MatMul", "Add", "Div", "Relu", "Conv"}
            assert found.layer is not None
            assert found.layer.startswith("backbone.stages.")
            assert isinstance(model.get_submodule(found.layer), torch.nn.Conv2d)
            assert found.layer in found.words
            assert found.operator in found.words


def test_a_weight_beyond_half_precision_is_told():
    model = create(registry.find_model("efficientvit_b0"))
    with torch.no_grad():
        next(model.parameters())[0, 0, 0, 0] = 1e6
    with pytest.raises(Impossible, match="half precision ends at 65504"):
        graph_of(model, OURS, (64, 64))


def test_every_tensor_of_the_graph_is_half_but_inputs_and_outputs():
    graph = graph_of(create(registry.find_model("efficientvit_b0")), OURS, (64, 64))
    floats = [tensor.name for tensor in graph.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT]
    assert not floats
    assert [value.type.tensor_type.elem_type for value in (*graph.graph.input, *graph.graph.output)] == [1, 1]
    assert sum(node.op_type == "Cast" for node in graph.graph.node) == 2


def test_fp32_has_no_half_inputs_and_outputs_but_fp16_has():
    from vitdeploy.api import export
    from vitdeploy.api.export_request import ExportRequest

    with pytest.raises(Impossible, match="onnx-fp32 has no --io fp16"):
        export.export_plan(["efficientvit_b0"], ExportRequest(target="onnx-fp32", io="fp16"))
    assert export.export_plan(["efficientvit_b0"], ExportRequest(target="onnx-fp16", io="fp16"))
    with pytest.raises(Impossible, match="takes no image"):
        export.export_plan(["efficientvit_sam_l0.decoder"], ExportRequest(target="onnx-fp16", io="uint8"))


def test_a_zero_is_broken_unless_rounding_alone_makes_it():
    exact = np.array([0.2, -0.2, 0.2, 1e-3, 0.2, 0.2])
    assert fp16_stress.count_broken(np.array([0.2, -0.2, 0.2, 0.0, 0.2, 0.2]), exact) == 0
    assert fp16_stress.count_broken(np.array([0.2, 0.0, np.nan, 1e-3, np.inf, 0.2]), exact) == 3


@pytest.mark.slow
def test_real_weights_stay_on_the_same_side_of_the_cliff_at_every_factor():
    """B0 Cityscapes at 1024x2048, on noise and a photograph: 99.9 % of the pixels, nothing infinite, nothing zeroed."""
    weights = FOLDER / "efficientvit_seg_b0_cityscapes.pt"
    if not weights.exists():
        pytest.skip(f"{FOLDER} holds no official checkpoint")
    side = (1024, 2048)
    pictures = {"noise": photo(side, 0), "photograph": photo(side, 1)}
    found = {(row.factor, row.graph): row for row in fp16_stress.rows(weights, pictures, side, (1, 2, 4, 8))}
    for factor in (1, 2, 4, 8):
        ours = found[factor, "ours"]
        assert ours.broken == 0
        assert all(share is not None and share >= 0.999 for share in ours.agreement.values())
        assert set(found[factor, "plain"].agreement.values()) == {None}
        raised = found[factor, "plain with eps 1e-7"].agreement.values()
        assert all(share is None for share in raised) == (factor > 1), "right by a hair as it is, broken from 2 on"
