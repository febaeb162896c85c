"""The user's ONNX file as a module: ONNX Runtime computes the reference, and its graph goes where others are exported.

The graph keeps the user's nodes; its input and output get our names, and a size that is open is fixed.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.inliner
import onnxruntime
import torch
from onnx import external_data_helper
from torch import Tensor, nn

from vitdeploy.artifacts import manifest
from vitdeploy.catalog.preprocessing import assumed
from vitdeploy.catalog.spec import Size
from vitdeploy.catalog.user_models import Stamp, UserModelFacts
from vitdeploy.errors import Impossible, UnreadableFile
from vitdeploy.models import onnx_macs
from vitdeploy.models.user import COMMON_SIZES, DEFAULT_SIZE, task_of_output
from vitdeploy.models.user_preprocessing import of_onnx

IMAGE = "image"
CHANNELS = 3
LEAST_IR_VERSION = 9
"""Of files of opset 20. Source: onnx/docs/Versioning.md."""

FLOATS = frozenset(
    {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE, onnx.TensorProto.BFLOAT16}
)


UNREADABLE = frozenset(
    {"STRING", "COMPLEX64", "COMPLEX128", "BFLOAT16", "FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ"}
    | {"FLOAT8E8M0", "FLOAT4E2M1", "UINT4", "INT4", "UINT2", "INT2"}
)
"""Element types of ONNX that are no numbers of numpy's, and complex ones, which have no order."""

QUANTIZED = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"})
"""What ONNX Runtime fuses with its neighbors at a higher level than the reference of other files is run at."""

READ_AT_ONCE_BYTES = 2**20
"""Tensors beside the file that are larger are not read for checks and shapes: onnx does neither beyond 2 GiB."""


class OnnxModule(nn.Module):
    """A graph that ONNX Runtime runs, called like a torch module with one image."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.proto = read(path)
        self._session: Any = None

    def __deepcopy__(self, memo: dict[int, Any]) -> "OnnxModule":
        return self

    def forward(self, image: Tensor) -> Tensor:
        """``(n, 3, h, w)`` to the graph's first output; on meta only its shape is found."""
        if image.is_meta:
            shape = self.fixed(tuple(image.shape), "logits").graph.output[0].type.tensor_type.shape
            return torch.empty([d.dim_value for d in shape.dim], device="meta")
        if self._session is None:
            options = onnxruntime.SessionOptions()
            # Quantized nodes are fused into integer ones, which round otherwise: there the file is run as it is timed.
            quantized = any(node.op_type in QUANTIZED for node in nodes_of(self.proto.graph))
            levels = onnxruntime.GraphOptimizationLevel
            options.graph_optimization_level = levels.ORT_ENABLE_ALL if quantized else levels.ORT_ENABLE_BASIC
            try:
                self._session = onnxruntime.InferenceSession(
                    str(self.path), options, providers=["CPUExecutionProvider"]
                )
            except Exception as error:  # as above
                raise _not_run(self.path, tuple(image.shape), error) from error
        name = image_input(self.proto, self.path).name
        try:
            output = self._session.run(None, {name: image.numpy()})[0]
        except Exception as error:  # ONNX Runtime's errors share no public base
            raise _not_run(self.path, tuple(image.shape), error) from error
        return torch.from_numpy(np.asarray(output))

    def fixed(self, shape: tuple[int, ...], output: str) -> Any:
        """The graph for images of ``shape``, its input called ``image`` and its first output ``output``.

        Large tensors beside the file stay there: `with_tensors` reads them.

        Raises:
            Impossible: the graph's own size is another one.
        """
        proto = onnx.ModelProto()
        proto.CopyFrom(self.proto)
        graph = proto.graph
        del graph.output[1:]
        _drop_weights_from_inputs(proto)
        _rename(graph, image_input(proto, self.path).name, IMAGE)
        _rename(graph, graph.output[0].name, output)
        dims = image_input(proto, self.path).type.tensor_type.shape.dim
        for dim, length in zip(dims, shape, strict=True):
            if dim.dim_value not in (0, length):
                raise Impossible(
                    f"{self.path.name} takes images {[d.dim_value or '?' for d in dims]}, not {list(shape)}",
                    "Leave --size and --batch out, or export the file for that size.",
                )
            dim.dim_value = length
        graph.output[0].type.tensor_type.ClearField("shape")
        graph.ClearField("value_info")
        return onnx.shape_inference.infer_shapes(proto, data_prop=True)

    def with_tensors(self, proto: Any) -> Any:
        """``proto`` with all tensors in it that lie beside the file."""
        external_data_helper.load_external_data_for_model(proto, str(self.path.parent))
        return proto

    def parameter_count(self) -> int:
        """How many floating numbers the graph holds as weights."""
        return sum(math.prod(tensor.dims) for tensor in self.proto.graph.initializer if tensor.data_type in FLOATS)

    def macs(self, shape: tuple[int, ...]) -> int | None:
        """Multiply-accumulates for images of ``shape``; None: they cannot be counted."""
        feeds = {IMAGE: np.zeros(shape, np.float32)}
        return onnx_macs.macs(self.fixed(shape, "logits"), feeds, complete=self.with_tensors)


def build(variant: str) -> nn.Module:
    """The file as a module."""
    return OnnxModule(Path(variant)).eval()


def read(path: Path) -> Any:
    """The graph, checked.

    Raises:
        UnreadableFile: it is no valid ONNX file.
        Impossible: it does not take one float32 image with its channels first.
    """
    try:
        proto = onnx.load(str(path), load_external_data=False)
        onnx.checker.check_model(str(path))
        for tensor in _external(proto):
            if math.prod(tensor.dims) * 8 <= READ_AT_ONCE_BYTES:
                external_data_helper.load_external_data_for_tensor(tensor, str(path.parent))
                tensor.data_location = onnx.TensorProto.DEFAULT
                del tensor.external_data[:]
    except Exception as error:  # protobuf, checker and file errors are of many classes
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise UnreadableFile(f"{path} is not a valid ONNX file: {reason}", "Export it again.") from error
    proto = onnx.inliner.inline_local_functions(proto)
    _check_operators(proto, path)
    entry = image_input(proto, path)
    for dim in entry.type.tensor_type.shape.dim:
        if dim.dim_value < 0:  # as Paddle writes an open length
            dim.ClearField("dim_value")
    _check_input(entry, path)
    _check_answer(proto.graph.output[0], path)
    return proto


def _check_operators(proto: Any, path: Path) -> None:
    """Refuse operators that are not ONNX's own: other runtimes do not have them."""
    foreign: dict[str, set[str]] = {}
    for node in nodes_of(proto.graph):
        if node.domain == "ai.onnx":  # another name of the default domain
            node.domain = ""
        if node.domain:
            foreign.setdefault(node.domain, set()).add(node.op_type)
    if not foreign:
        return
    operators = "; ".join(f"{domain} operators ({', '.join(sorted(names))})" for domain, names in foreign.items())
    by_runtime = all(domain.startswith("com.microsoft") for domain in foreign)
    raise Impossible(
        f"{path.name} uses {operators}, which other runtimes do not have",
        "Export it without ONNX Runtime's optimizations."
        if by_runtime
        else "Export it with the operators of ONNX alone.",
    )


def _check_input(value: Any, path: Path) -> None:
    """Refuse all but float32 ``(n, 3, h, w)``; where the channels are open, by what the other lengths say."""
    kind = value.type.tensor_type.elem_type
    dims = value.type.tensor_type.shape.dim
    shape = [d.dim_value or d.dim_param or "?" for d in dims]
    taken = f"{path.name} takes {onnx.TensorProto.DataType.Name(kind)} {shape}"
    first = len(dims) == 4 and dims[1].dim_value == CHANNELS
    named_last = len(dims) == 4 and dims[3].dim_param.lower() in ("c", "ch", "channel", "channels")
    if len(dims) == 4 and not first and (dims[3].dim_value in (1, CHANNELS, 4) or named_last):
        raise Impossible(f"{taken}: its channels come last", "Export it with its channels first: float32 (n, 3, h, w).")
    if len(dims) != 4 or dims[1].dim_value not in (0, CHANNELS) or kind != onnx.TensorProto.FLOAT:
        raise Impossible(
            f"{taken}, not float32 (n, 3, h, w)", "Export it with a float32 input of three channels, channels first."
        )


def _check_answer(value: Any, path: Path) -> None:
    """Refuse an answer that is no tensor, or one whose elements numpy does not have."""
    holder: str = value.type.WhichOneof("value") or "tensor_type"
    kind = onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type)
    if holder == "tensor_type" and kind not in UNREADABLE:
        return
    answer = kind if holder == "tensor_type" else holder.removesuffix("_type")
    raise Impossible(
        f"{path.name} answers with {answer}, not a tensor of numbers that can be compared",
        "Export it with a first output of float32, integers or booleans.",
    )


def nodes_of(graph: Any) -> Iterator[Any]:
    """The nodes of a graph and of the graphs in them."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from nodes_of(inner)


def _drop_weights_from_inputs(proto: Any) -> None:
    """Weights that are listed as inputs too, as all were before IR version 4, become weights alone."""
    weights = {tensor.name for tensor in proto.graph.initializer}
    kept = [value for value in proto.graph.input if value.name not in weights]
    del proto.graph.input[:]
    proto.graph.input.extend(kept)
    proto.ir_version = max(proto.ir_version, LEAST_IR_VERSION)


def _not_run(path: Path, shape: tuple[int, ...], error: Exception) -> Impossible:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    return Impossible(
        f"ONNX Runtime does not run {path.name} on an input {shape}: {reason}",
        "Choose a --size and --batch that the graph can have, or run it alone in ONNX Runtime.",
    )


def files_beside(path: Path) -> list[Path]:
    """The files that an ONNX file keeps tensors in."""
    proto = onnx.load(str(path), load_external_data=False)
    names = {pair.value for tensor in _external(proto) for pair in tensor.external_data if pair.key == "location"}
    return [path.parent / name for name in sorted(names)]


def _external(proto: Any) -> list[Any]:
    """The tensors that lie in other files, constants of nodes too."""
    constants = (a.t for node in proto.graph.node for a in node.attribute if a.type == onnx.AttributeProto.TENSOR)
    tensors = (*proto.graph.initializer, *constants)
    return [tensor for tensor in tensors if external_data_helper.uses_external_data(tensor)]


def image_input(proto: Any, path: Path) -> Any:
    """The one input that is no weight."""
    weights = {entry.name for entry in proto.graph.initializer}
    inputs = [entry for entry in proto.graph.input if entry.name not in weights]
    if len(inputs) != 1 or not proto.graph.output:
        names = ", ".join(entry.name for entry in inputs) or "none"
        raise Impossible(f"{path.name} has {len(inputs)} inputs ({names}), not one image", "Export it with one input.")
    return inputs[0]


def describe(rest: str, wanted: Size | None = None) -> UserModelFacts:
    """What the file takes and returns.

    Args:
        wanted: the size that was asked for, tried where the graph leaves it open and does not take the default one.
    """
    path = Path(rest)
    module = OnnxModule(path)
    dims = [d.dim_value for d in image_input(module.proto, path).type.tensor_type.shape.dim]
    if dims[0] not in (0, 1):
        raise Impossible(f"{path.name} takes {dims[0]} images at once", "Export it for one image, or an open batch.")
    size, answer = _answered(module, dims[2], dims[3], wanted)
    only = (dims[2] and dims[3]) or size != (dims[2] or DEFAULT_SIZE[0], dims[3] or DEFAULT_SIZE[1])
    others = len(module.proto.graph.output) - 1
    beside = files_beside(path)
    weights = manifest.digest_of(path)
    if beside:
        weights = hashlib.sha256("".join([weights, *map(manifest.digest_of, beside)]).encode()).hexdigest()
    note = f"of its {others + 1} outputs the first is taken, {module.proto.graph.output[0].name}" if others else None
    task_facts = task_of_output(path.name, tuple(answer.shape), size, labels=not answer.is_floating_point())
    return UserModelFacts(
        size=size,
        sizes=(size,) if only else (),
        weights=weights,
        made_from=weights,
        note=note,
        beside=tuple(map(Stamp.of, beside)),
        preprocessing=of_onnx(module.proto) or assumed(task_facts["task"]),
        **task_facts,
    )


def _answered(module: OnnxModule, height: int, width: int, wanted: Size | None) -> tuple[Size, Tensor]:
    """A size that the graph takes, and its answer; a length of 0 is open.

    Raises:
        Impossible: it takes none of those that were tried.
    """
    first: Impossible | None = None
    several: tuple[Size, Tensor] | None = None
    tried = (DEFAULT_SIZE, *([wanted] if wanted else []), *COMMON_SIZES)
    for size in dict.fromkeys((height or size[0], width or size[1]) for size in tried):
        try:
            answer = module(torch.zeros(1, CHANNELS, *size))
        except Impossible as error:
            first = first or error
            continue
        if answer.shape[:1] == (1,):
            return size, answer
        several = several or (size, answer)
    if several is not None:
        return several
    assert first is not None, "one size at least was tried"
    raise first


def _rename(graph: Any, old: str, new: str) -> None:
    """Give a value another name everywhere; a value that has the new name already gets the old one's place."""
    if old == new:
        return
    swap = {old: new, new: f"{new}_of_the_file"}
    for node in nodes_of(graph):
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                names[index] = swap.get(name, name)
    inner = [a.g for node in nodes_of(graph) for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]
    for value in (value for one in inner for value in (*one.output, *one.initializer, *one.value_info)):
        value.name = swap.get(value.name, value.name)
    for value in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
        value.name = swap.get(value.name, value.name)
