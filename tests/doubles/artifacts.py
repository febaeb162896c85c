"""Small artifacts for tests, made by hand: they need no exporter."""

from pathlib import Path
from typing import Any

import msgspec

from vitdeploy.artifacts.manifest import SCHEMA, Artifact, Manifest, Tensor, digest_of, write
from vitdeploy.artifacts.weights_origin import Weights
from vitdeploy.benchmarks.studies import plain_records
from vitdeploy.results.record import Case


def conv_relu(
    folder: Path, *, nan: bool = False, channels: int = 8, kernel: int = 3, model_name: str = "efficientvit_b0"
) -> Artifact:
    """``model.onnx`` of one convolution and one ReLU, 32x32; ``nan``: it divides zero by zero at its end."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    generator = np.random.Generator(np.random.PCG64(0))
    weight = numpy_helper.from_array(generator.normal(size=(channels, 3, kernel, kernel)).astype(np.float32), "weight")
    zero = numpy_helper.from_array(np.zeros(1, np.float32), "zero")
    nodes = [
        helper.make_node("Conv", ["image", "weight"], ["hidden"], pads=[kernel // 2] * 4),
        helper.make_node("Relu", ["hidden"], ["positive" if nan else "logits"]),
    ]
    if nan:
        nodes += [helper.make_node("Mul", ["positive", "zero"], ["nothing"])]
        nodes += [helper.make_node("Div", ["nothing", "zero"], ["logits"])]
    graph = helper.make_graph(
        nodes,
        "conv_relu",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 32, 32])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, channels, 32, 32])],
        [weight, zero],
    )
    folder.mkdir(parents=True, exist_ok=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, str(folder / "model.onnx"))
    logits = Tensor(name="logits", shape=(1, channels, 32, 32), dtype="float32", layout="NCHW")
    return _written(folder, "model.onnx", model_name, "onnx-fp32", logits)


def conv_relu_tflite(folder: Path, *, custom: str | None = None, side: int = 32, channels: int = 8) -> Artifact:
    """``model.tflite`` of one convolution with its ReLU, channels last; ``custom``: then an operator of that name."""
    import flatbuffers
    import numpy as np
    from ai_edge_litert import schema_py_generated as tfl

    weight = np.random.Generator(np.random.PCG64(0)).normal(size=(channels, 3, 3, 3)).astype(np.float32)
    buffers = [b"", weight.tobytes(), np.zeros(channels, np.float32).tobytes()]
    shapes = [(1, side, side, 3), weight.shape, (channels,), (1, side, side, channels), (1, side, side, channels)]
    convolution, other = tfl.OperatorT(), tfl.OperatorT()
    options = tfl.Conv2DOptionsT()
    options.strideH = options.strideW = options.dilationHFactor = options.dilationWFactor = 1
    options.fusedActivationFunction = tfl.ActivationFunctionType.RELU
    convolution.inputs, convolution.outputs = [0, 1, 2], [3]
    convolution.builtinOptionsType, convolution.builtinOptions = tfl.BuiltinOptions.Conv2DOptions, options
    other.inputs, other.outputs, other.opcodeIndex = [3], [4], 1
    model, graph = tfl.ModelT(), tfl.SubGraphT()
    model.version, model.subgraphs, model.operatorCodes, model.buffers = 3, [graph], [], []
    codes = [(tfl.BuiltinOperator.CONV_2D, None)] + [(tfl.BuiltinOperator.CUSTOM, custom)] * bool(custom)
    for number, name in codes:
        code = tfl.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = number
        code.version, code.customCode = 1, name
        model.operatorCodes.append(code)
    for content in buffers:
        buffer = tfl.BufferT()
        buffer.data = list(content) or None
        model.buffers.append(buffer)
    graph.tensors = []
    for index, shape in enumerate(shapes[: 5 if custom else 4]):
        tensor = tfl.TensorT()
        tensor.shape, tensor.type, tensor.name = list(shape), tfl.TensorType.FLOAT32, f"tensor_{index}"
        tensor.buffer = index if index in (1, 2) else 0
        graph.tensors.append(tensor)
    graph.inputs, graph.outputs = [0], [4 if custom else 3]
    graph.operators = [convolution, other] if custom else [convolution]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.tflite").write_bytes(bytes(builder.Output()))
    logits = Tensor(name="logits", shape=(1, side, side, channels), dtype="float32", layout="NHWC")
    image = Tensor(name="image", shape=(1, side, side, 3), dtype="float32", layout="NHWC")
    return _written(folder, "model.tflite", "efficientvit_b0", "tflite-fp32", logits, inputs=(image,), side=side)


def plain_file(
    folder: Path,
    content: bytes = b"model",
    *,
    model: str = "efficientvit_b0",
    target: str = "onnx-fp32",
    **changes: Any,
) -> Artifact:
    """An artifact whose file is no model: for everything that does not load it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(content)
    logits = Tensor(name="logits", shape=(1, 4), dtype="float32", layout="NC")
    return _written(folder, "model.onnx", model, target, logits, **changes)


def state_dict(folder: Path, model: str = "efficientvit_b0", side: int = 64) -> Artifact:
    """``model.pt`` of a model of the table, with seeded weights."""
    import torch

    from vitdeploy.catalog import registry
    from vitdeploy.models.create import create

    spec = registry.find_model(model)
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(create(spec).state_dict(), folder / "model.pt")
    logits = Tensor(name="logits", shape=(1, spec.classes), dtype="float32", layout="NC")
    return _written(folder, "model.pt", model, "torch-fp32", logits, side=side)


def case_of(made: Artifact, **changes: Any) -> Case:
    """The case of an artifact on this machine, single-threaded."""
    return msgspec.structs.replace(plain_records.case(made.manifest.variant, threads=1), **changes)


def _written(
    folder: Path, file: str, model: str, target: str, output: Tensor, *, side: int = 32, **changes: Any
) -> Artifact:
    manifest = Manifest(
        schema=SCHEMA,
        model=model,
        part=None,
        task="classification",
        attention="relu",
        target=target,
        file=file,
        sha256=digest_of(folder / file),
        size_bytes=(folder / file).stat().st_size,
        size=(side, side),
        batch=1,
        precision="fp32",
        head="logits",
        io="fp32",
        inputs=(Tensor(name="image", shape=(1, 3, side, side), dtype="float32", layout="NCHW"),),
        outputs=(output,),
        params=216,
        macs=221184,
        weights=Weights(source="random", seed=0),
        parents=(),
        recipe="made by hand",
        rewrites=(),
        tools={},
        bound_to={},
        build_ns=0,
        timing_cache_sha256=None,
        state="ready",
        parity=None,
        parity_skipped="made by hand",
    )
    manifest = msgspec.structs.replace(manifest, **changes)
    return write(folder, manifest)
