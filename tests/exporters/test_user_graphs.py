"""ONNX files as others write them: right ones go through at the first try, the rest is refused by what it is."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vitdeploy.artifacts.manifest import open_artifact
from vitdeploy.catalog import registry, user_models
from vitdeploy.errors import Impossible

for package in ("torch", "onnx", "onnxscript", "onnxruntime", "skimage"):
    pytest.importorskip(package, reason="user models are built and exported with it")

import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from vitdeploy.exporters import step, to_onnx
from vitdeploy.exporters.half import fp32_inputs
from vitdeploy.exporters.half.graph import halved
from vitdeploy.exporters.job import StepJob
from vitdeploy.models import user, user_onnx

N = helper.make_node
RANDOM = np.random.default_rng(0)
CONV = N("Conv", ["x", "w1"], ["c1"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2])
HEAD = (
    N("GlobalAveragePool", ["r1"], ["gap"]),
    N("Flatten", ["gap"], ["flat"]),
    N("Gemm", ["flat", "fw", "fb"], ["y"], transB=1),
)
OPEN = ("n", 3, "h", "w")


def weights(*shape: int) -> Any:
    return (RANDOM.standard_normal(shape) / np.sqrt(np.prod(shape[1:]) if len(shape) > 1 else 1)).astype(np.float32)


WEIGHTS = {"w1": weights(8, 3, 3, 3), "fw": weights(10, 8), "fb": weights(10)}
TWICE = np.array([1, 1, 2, 2], np.float32)


def info(name: str, shape: Any, kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def write(
    folder: Path,
    nodes: Sequence[Any],
    tensors: dict[str, Any],
    *,
    opset: int = 17,
    shape: Any = (1, 3, 64, 64),
    kind: int = TensorProto.FLOAT,
    inputs: Sequence[Any] = (),
    domains: dict[str, int] | None = None,
    functions: Sequence[Any] = (),
    ir_version: int = 8,
) -> str:
    graph = helper.make_graph(
        list(nodes),
        "net",
        [info("x", shape, kind), *inputs],
        [info("y", [f"d{axis}" for axis in range(2 if nodes[-1].op_type == "Gemm" else 4)])],
        [numpy_helper.from_array(value, name) for name, value in tensors.items()],
    )
    sets = [helper.make_opsetid("", opset), *(helper.make_opsetid(*one) for one in (domains or {}).items())]
    model = helper.make_model(graph, opset_imports=sets, functions=list(functions), ir_version=ir_version)
    onnx.save(model, folder / "net.onnx")
    return f"onnx:{folder / 'net.onnx'}"


@pytest.fixture(autouse=True)
def described_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(user_models, "_described", user.describe)
    user_models.forget()


def manifest_of(name: str, folder: Path, target: str = "onnx-fp32", size: tuple[int, int] | None = None) -> Any:
    """The manifest of the file after one step, its parity passed."""
    out = folder / target
    out.mkdir()
    variant = registry.variant_of(registry.find_model(name), target, size=size)
    step.run(StepJob(variant=variant, rewrites=registry.find_target(target).rewrites, folder=out))
    manifest = open_artifact(out).manifest
    assert manifest.parity is not None
    assert manifest.parity.passed, manifest.parity.reason
    return manifest


# Layout and inputs.


@pytest.mark.parametrize(
    ("shape", "kind", "reason"),
    [
        (("n", "h", "w", 3), TensorProto.FLOAT, "channels come last"),
        ((1, 224, 224, 3), TensorProto.FLOAT, "channels come last"),
        (("n", "h", "w", "c"), TensorProto.FLOAT, "channels come last"),
        ((1, 1, 64, 64), TensorProto.FLOAT, "not float32"),
        ((1, 4, 64, 64), TensorProto.FLOAT, "not float32"),
        ((3, 64, 64), TensorProto.FLOAT, "not float32"),
        ((1, 3, 2, 64, 64), TensorProto.FLOAT, "not float32"),
        ((1, 3, 64, 64), TensorProto.UINT8, "takes UINT8"),
    ],
)
def test_inputs_that_are_not_one_image_with_its_channels_first(tmp_path: Path, shape: Any, kind: int, reason: str):
    nodes = [N("Cast", ["x"], ["f"], to=TensorProto.FLOAT), N("GlobalAveragePool", ["f"], ["y"])]
    with pytest.raises(Impossible, match=reason):
        registry.find_model(write(tmp_path, nodes, {}, shape=shape, kind=kind))


def test_a_size_that_the_graph_cannot_have_is_refused_by_what_it_is(tmp_path: Path):
    nodes = [CONV, N("Relu", ["c1"], ["r"]), N("Flatten", ["r"], ["flat"]), N("Gemm", ["flat", "g"], ["y"])]
    name = write(tmp_path, nodes, {"w1": WEIGHTS["w1"], "g": weights(8 * 112 * 112, 2)}, shape=OPEN)
    with pytest.raises(Impossible, match=r"does not run net.onnx on an input \(1, 3, 64, 64\)"):
        manifest_of(name, tmp_path, size=(64, 64))


# Forms of right files.


def test_weights_that_are_inputs_too(tmp_path: Path):
    batch = {"g": np.full(8, 1.1, np.float32), "b": weights(8), "mu": weights(8) * 0.1, "va": np.ones(8, np.float32)}
    tensors = {**WEIGHTS, **batch}
    nodes = [CONV, N("BatchNormalization", ["c1", *batch], ["bn"]), N("Relu", ["bn"], ["r1"]), *HEAD]
    inputs = [info(name, value.shape) for name, value in tensors.items()]
    manifest = manifest_of(write(tmp_path, nodes, tensors, opset=9, inputs=inputs, ir_version=3), tmp_path)
    assert [entry.name for entry in manifest.inputs] == ["image"]


def test_local_functions_are_part_of_the_graph(tmp_path: Path):
    body = [N("Sigmoid", ["a"], ["s"]), N("Mul", ["a", "s"], ["o"])]
    swish = helper.make_function("my", "Swish", ["a"], ["o"], body, [helper.make_opsetid("", 17)])
    nodes = [CONV, N("Swish", ["c1"], ["r1"], domain="my"), *HEAD]
    manifest = manifest_of(write(tmp_path, nodes, WEIGHTS, domains={"my": 1}, functions=[swish]), tmp_path)
    assert manifest.operators["Sigmoid"] == 1


def test_operators_of_onnx_runtime_alone_are_named(tmp_path: Path):
    nodes = [CONV, N("Gelu", ["c1"], ["r1"], domain="com.microsoft"), *HEAD]
    with pytest.raises(Impossible, match=r"com.microsoft operators \(Gelu\)"):
        registry.find_model(write(tmp_path, nodes, WEIGHTS, domains={"com.microsoft": 1}))


@pytest.mark.parametrize("mode", ["linear", "nearest"])
@pytest.mark.parametrize("factor", [2.0, 0.5])
@pytest.mark.parametrize(("opset", "operator"), [(9, "Upsample"), (10, "Resize")])
def test_resizes_from_before_opset_11_keep_their_meaning(
    tmp_path: Path, opset: int, operator: str, factor: float, mode: str
):
    if (operator, factor) == ("Upsample", 0.5):
        pytest.skip("Upsample only enlarges")
    nodes = [CONV, N(operator, ["c1", "s"], ["up"], mode=mode), N("Conv", ["up", "w2"], ["y"], kernel_shape=[1, 1])]
    scales = np.array([1, 1, factor, factor], np.float32)
    tensors = {"w1": WEIGHTS["w1"], "w2": weights(5, 8, 1, 1), "s": scales}
    manifest_of(write(tmp_path, nodes, tensors, opset=opset, ir_version=5), tmp_path)


def test_open_lengths_of_a_graph_that_takes_one_size_only(tmp_path: Path):
    tensors = WEIGHTS | {"shape": np.array([-1, 8, 20, 36], np.int64)}
    nodes = [CONV, N("Reshape", ["c1", "shape"], ["r1"]), *HEAD]
    name = write(tmp_path, nodes, tensors, shape=OPEN)
    with pytest.raises(Impossible, match="does not run"):
        registry.find_model(name)
    assert registry.find_model(name, size=(40, 72)).sizes == ((40, 72),)
    tensors["shape"] = np.array([-1, 8, 32, 32], np.int64)
    assert registry.find_model(write(tmp_path, nodes, tensors, shape=OPEN)).size == (64, 64)


def test_lengths_below_zero_are_open(tmp_path: Path):
    manifest = manifest_of(
        write(tmp_path, [CONV, N("Relu", ["c1"], ["r1"]), *HEAD], WEIGHTS, shape=(-1, 3, -1, -1)),
        tmp_path,
        size=(48, 32),
    )
    assert manifest.inputs[0].shape == (1, 3, 48, 32)


@pytest.mark.parametrize("side", [32, 1024])
def test_a_constant_whose_shape_follows_from_the_size_is_folded(tmp_path: Path, side: int):
    filled = helper.make_tensor("value", TensorProto.FLOAT, [1], [0.25])
    nodes = [
        CONV,
        N("Shape", ["c1"], ["lengths"]),
        N("ConstantOfShape", ["lengths"], ["more"], value=filled),
        N("Add", ["c1", "more"], ["r1"]),
        *HEAD,
    ]
    proto = onnx.load(write(tmp_path, nodes, WEIGHTS, shape=OPEN).removeprefix("onnx:"))
    for dim, length in zip(proto.graph.input[0].type.tensor_type.shape.dim, (1, 3, side, side), strict=True):
        dim.dim_value = length
    graph = to_onnx.folded(proto)
    assert not to_onnx.forbidden(graph)


def test_answers_that_no_number_of_numpy_holds_are_refused(tmp_path: Path):
    nodes = [CONV, N("Cast", ["c1"], ["y"], to=TensorProto.BFLOAT16)]
    proto = onnx.load(write(tmp_path, nodes, WEIGHTS).removeprefix("onnx:"))
    proto.graph.output[0].type.tensor_type.elem_type = TensorProto.BFLOAT16
    onnx.save(proto, tmp_path / "net.onnx")
    with pytest.raises(Impossible, match="answers with BFLOAT16"):
        registry.find_model(f"onnx:{tmp_path / 'net.onnx'}")


@pytest.mark.parametrize("kind", [TensorProto.INT64, TensorProto.INT16, TensorProto.UINT16])
def test_a_map_of_labels_without_a_channel(tmp_path: Path, kind: int):
    nodes = [CONV, N("ArgMax", ["c1"], ["most"], axis=1, keepdims=0), N("Cast", ["most"], ["y"], to=kind)]
    proto = onnx.load(write(tmp_path, nodes, WEIGHTS).removeprefix("onnx:"))
    proto.graph.output[0].CopyFrom(info("y", ["n", "h", "w"], kind))
    onnx.save(proto, tmp_path / "net.onnx")
    manifest = manifest_of(f"onnx:{tmp_path / 'net.onnx'}", tmp_path)
    assert manifest.outputs[0].shape == (1, 32, 32)


@pytest.mark.parametrize("opset", [11, 13, 21, 22, 23, 24])
def test_opsets_before_and_after_ours(tmp_path: Path, opset: int):
    resize = N("Resize", ["r1", "roi", "s"], ["up"], mode="linear", coordinate_transformation_mode="align_corners")
    nodes = [CONV, N("Relu", ["c1"], ["r1"]), resize, N("Conv", ["up", "w2"], ["y"], kernel_shape=[1, 1])]
    tensors = {"w1": WEIGHTS["w1"], "w2": weights(5, 8, 1, 1), "s": TWICE, "roi": np.zeros(0, np.float32)}
    manifest_of(write(tmp_path, nodes, tensors, opset=opset), tmp_path)


def branch(name: str, nodes: Sequence[Any], output: str) -> Any:
    return helper.make_graph(list(nodes), name, [], [info(output, None)])


@pytest.mark.parametrize("reads", ["inner", "input"])
def test_an_if_whose_condition_follows_from_the_size_is_folded(tmp_path: Path, reads: str):
    if reads == "inner":
        axes = N("Constant", [], ["ax"], value=numpy_helper.from_array(np.array([3], np.int64)))
        then = branch("then", [axes, N("Squeeze", ["gap", "ax"], ["sq"])], "sq")
        other = branch("else", [N("Identity", ["gap"], ["i"])], "i")
        nodes = [
            CONV,
            N("Relu", ["c1"], ["r1"]),
            HEAD[0],
            N("Shape", ["gap"], ["s"]),
            N("Gather", ["s", "k"], ["n"]),
            N("Equal", ["n", "one"], ["c"]),
            N("If", ["c"], ["z"], then_branch=then, else_branch=other),
            N("Flatten", ["z"], ["flat"]),
            HEAD[2],
        ]
        place = 3
    else:
        then = branch("then", [N("Mul", ["x", "two"], ["a"])], "a")
        other = branch("else", [N("Add", ["x", "two"], ["b"])], "b")
        nodes = [
            N("Shape", ["x"], ["s"]),
            N("Gather", ["s", "k"], ["n"]),
            N("Equal", ["n", "one"], ["c"]),
            N("If", ["c"], ["z"], then_branch=then, else_branch=other),
            N("Conv", ["z", "w1"], ["c1"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2]),
            N("Relu", ["c1"], ["r1"]),
            *HEAD,
        ]
        place = 0
    extra = {"two": np.array(2, np.float32), "k": np.array(place, np.int64), "one": np.array(1, np.int64)}
    name = write(tmp_path, nodes, {**WEIGHTS, **extra}, opset=16, shape=OPEN)
    assert "If" not in manifest_of(name, tmp_path, size=(64, 64)).operators


def test_an_if_that_depends_on_the_picture_is_refused(tmp_path: Path):
    then, other = branch("then", [N("Neg", ["c1"], ["a"])], "a"), branch("else", [N("Identity", ["c1"], ["b"])], "b")
    nodes = [
        CONV,
        N("ReduceMean", ["x"], ["m"], keepdims=0),
        N("Greater", ["m", "zero"], ["c"]),
        N("If", ["c"], ["r1"], then_branch=then, else_branch=other),
        *HEAD,
    ]
    name = write(tmp_path, nodes, {**WEIGHTS, "zero": np.array(0, np.float32)})
    with pytest.raises(Impossible, match="not static"):
        manifest_of(name, tmp_path)


def test_open_sizes_that_the_graph_computes_with(tmp_path: Path):
    """A map enlarged to the size of the picture, as segmentation heads do."""
    nodes = [
        CONV,
        N("Conv", ["c1", "w2"], ["small"], kernel_shape=[1, 1]),
        N("Shape", ["x"], ["whole"]),
        N("Shape", ["small"], ["part"]),
        N("Slice", ["whole", "two", "four"], ["hw"]),
        N("Slice", ["part", "zero", "two"], ["nc"]),
        N("Concat", ["nc", "hw"], ["sizes"], axis=0),
        N("Resize", ["small", "", "", "sizes"], ["y"], mode="linear", coordinate_transformation_mode="half_pixel"),
    ]
    numbers = {name: np.array([value], np.int64) for name, value in (("zero", 0), ("two", 2), ("four", 4))}
    name = write(tmp_path, nodes, {"w1": WEIGHTS["w1"], "w2": weights(5, 8, 1, 1), **numbers}, shape=OPEN)
    manifest = manifest_of(name, tmp_path, size=(48, 64))
    assert manifest.outputs[0].shape == (1, 5, 48, 64)


def test_a_name_of_ours_inside_a_branch_is_renamed_with_the_rest(tmp_path: Path):
    then = branch("then", [N("Neg", ["image"], ["a"])], "a")
    nodes = [N("Identity", ["x"], ["image"]), N("If", ["yes"], ["y"], then_branch=then, else_branch=then)]
    name = write(tmp_path, nodes, {"yes": np.array(True)})
    graph = user_onnx.OnnxModule(Path(name.removeprefix("onnx:"))).fixed((1, 3, 64, 64), "logits")
    onnx.checker.check_model(graph, full_check=True)


# Half precision.


@pytest.mark.parametrize("form", ["initializer", "constant", "floats", "shared", "computed"])
def test_scales_of_a_resize_stay_in_fp32(tmp_path: Path, form: str):
    tensors = {"w1": WEIGHTS["w1"], "w2": weights(5, 8, 1, 1)}
    before: list[Any] = []
    after: list[Any] = [N("Conv", ["up", "w2"], ["y"], kernel_shape=[1, 1])]
    if form == "constant":
        before = [N("Constant", [], ["s"], value=numpy_helper.from_array(TWICE))]
    elif form == "floats":
        before = [N("Constant", [], ["s"], value_floats=TWICE.tolist())]
    else:
        tensors["s"] = TWICE
    if form == "shared":
        tensors |= {"k": np.array([2], np.int64)}
        after = [N("Gather", ["s", "k"], ["two"]), N("Mul", ["up", "two"], ["m"]), N("Neg", ["m"], ["y"])]
    scales = "s"
    if form == "computed":  # by the picture, so that nothing folds it
        before = [
            N("ReduceMax", ["x"], ["top"], keepdims=0),
            N("Mul", ["top", "nought"], ["none"]),
            N("Add", ["s", "none"], ["t"]),
        ]
        tensors["nought"], scales = np.array(0, np.float32), "t"
    resize = N("Resize", ["c1", "", scales], ["up"], mode="linear", coordinate_transformation_mode="pytorch_half_pixel")
    graph = onnx.load(write(tmp_path, [CONV, *before, resize, *after], tensors).removeprefix("onnx:"))
    half = halved(graph, half_io=False)
    types = onnx.shape_inference.infer_shapes(half, strict_mode=form != "computed")
    onnx.checker.check_model(types, full_check=form != "computed")
    session = onnxruntime.InferenceSession(half.SerializeToString(), providers=["CPUExecutionProvider"])
    image = RANDOM.random((1, 3, 64, 64), np.float32)
    exact = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    found, right = (one.run(None, {"x": image})[0] for one in (session, exact))
    assert np.abs(np.asarray(found) - np.asarray(right)).max() < 0.02


@pytest.mark.parametrize(
    "constant",
    [
        {"value_float": 0.5},
        {"value_floats": [0.5] * 32},
        {"value": numpy_helper.from_array(np.array(0.5, np.float32))},
        {
            "sparse_value": helper.make_sparse_tensor(
                numpy_helper.from_array(np.array([0.5, 2.0], np.float32), "v"),
                numpy_helper.from_array(np.array([1, 30], np.int64), "i"),
                [32],
            )
        },
    ],
    ids=lambda constant: next(iter(constant)),
)
@pytest.mark.parametrize("target", ["onnx-fp32", "onnx-fp16"])
def test_constants_in_every_form(tmp_path: Path, target: str, constant: dict[str, Any]):
    nodes = [CONV, N("Constant", [], ["k"], **constant), N("Mul", ["c1", "k"], ["r1"]), *HEAD]
    manifest_of(write(tmp_path, nodes, WEIGHTS), tmp_path, target)


@pytest.mark.parametrize("hidden", [-np.inf, -1e8, float(np.finfo(np.float32).min)])
@pytest.mark.parametrize("how", ["added", "chosen", "scaled"])
def test_masks_of_attention_fit_into_half_precision(tmp_path: Path, how: str, hidden: float):
    if how == "scaled" and np.isinf(hidden):
        pytest.skip("0 times infinity is no number in any precision")
    seen = np.tril(np.ones((16, 16), bool))
    tensors = {"w1": weights(4, 3, 16, 16), "v": weights(16, 5), "shape": np.array([1, 4, 16], np.int64)}
    if how == "added":
        tensors["mask"] = np.where(seen, 0, hidden).astype(np.float32)
        masking = [N("Add", ["logits", "mask"], ["masked"])]
    elif how == "chosen":
        tensors |= {"seen": seen, "hidden": np.array(hidden, np.float32)}
        masking = [N("Where", ["seen", "logits", "hidden"], ["masked"])]
    else:
        tensors |= {"unseen": (~seen).astype(np.float32), "hidden": np.array(hidden, np.float32)}
        masking = [N("Mul", ["unseen", "hidden"], ["mask"]), N("Add", ["logits", "mask"], ["masked"])]
    nodes = [
        N("Conv", ["x", "w1"], ["c1"], strides=[16, 16]),
        N("Reshape", ["c1", "shape"], ["q"]),
        N("Transpose", ["q"], ["qt"], perm=[0, 2, 1]),
        N("MatMul", ["qt", "q"], ["logits"]),
        *masking,
        N("Softmax", ["masked"], ["shares"], axis=-1),
        N("MatMul", ["shares", "v"], ["mixed"]),
        N("ReduceMean", ["mixed"], ["flat"], axes=[1], keepdims=0),
        N("Gemm", ["flat", "fw"], ["y"]),
    ]
    manifest_of(write(tmp_path, nodes, tensors | {"fw": weights(5, 10)}), tmp_path, "onnx-fp16")


def test_a_weight_beyond_half_precision_is_no_mask():
    large = np.array([1.0, -1e5], np.float32)
    assert fp32_inputs.in_range(large, {"Conv"}) is None
    assert fp32_inputs.in_range(-large, {"Add"}) is None
    assert fp32_inputs.in_range(large, {"Clip"}) is not None
