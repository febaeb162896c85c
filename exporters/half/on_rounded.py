"""Run a 16-bit graph as a GPU does at worst: every tensor rounded after the node that makes it.

What ``onnx-fp16`` and ``onnx-bf16`` are proven by; see `vitdeploy.exporters.half.graph` for why their own runtime
would not tell.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportMissingTypeStubs=false
# pyright: reportUnknownArgumentType=false

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

from vitdeploy.artifacts.manifest import Artifact
from vitdeploy.errors import ToolchainFailed
from vitdeploy.exporters import to_onnx
from vitdeploy.exporters.half.graph import is_half, rounded
from vitdeploy.exporters.job import StepJob
from vitdeploy.exporters.on_torch_fp32 import samples
from vitdeploy.exporters.proof import laid_out, threads
from vitdeploy.runtimes.loaded_session import LoadedSession, tensors_of
from vitdeploy.runtimes.session import Array, Arrays, Session, SessionOptions

WORST = 0.5
"""A node that is off by this many deviations (root mean square) has diverged: rounding alone stays far below."""

AT_ONCE = 24
"""Tensors that are looked at in one run of `first_divergence`: their memory is held together."""


WEIGHT = ".weight"
"""How the name of a layer's kernel ends in torch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """The first node whose half-precision output is another one."""

    node: str
    operator: str
    layer: str | None
    """The last layer with weights before it, as the model names it; None: there is none."""
    error_std: float | None
    """Root mean square error over the output's deviation; None: NaN or Inf."""
    largest: float
    """Largest value of it in fp32."""

    @property
    def words(self) -> str:
        """For people: the node, how far off it is, and how large its values are."""
        off = "NaN or Inf" if self.error_std is None else f"off by {self.error_std:.2g} of its deviation"
        place = f", behind {self.layer}" if self.layer else ""
        return f"{self.operator} {self.node}{place}: {off}; in fp32 its largest value is {self.largest:.4g}"


class RoundedSession(LoadedSession):
    """A session of the rounded graph."""

    def __init__(self, file: Path, manifest: Mapping[str, Any], options: SessionOptions) -> None:
        self._session = session(rounded(onnx.load(str(file))), options.threads)
        super().__init__(tensors_of(manifest["inputs"]), tensors_of(manifest["outputs"]))
        self.facts: Mapping[str, str] = {
            "runtime": f"onnxruntime {ort.__version__}, rounded to 16 bits after every node"
        }
        self._feeds: Arrays = {}
        self._results: dict[str, Array] = {}

    def close(self) -> None:
        """Release the session."""
        del self._session

    def put(self, feeds: Arrays) -> None:
        """Keep the inputs."""
        self._feeds = feeds

    def run(self) -> None:
        """Run the graph."""
        names = [tensor.name for tensor in self.outputs]
        self._results = dict(zip(names, self._session.run(names, dict(self._feeds)), strict=True))

    def get(self) -> Arrays:
        """The outputs."""
        return self._results


def open_session(file: Path, manifest: Mapping[str, Any], options: SessionOptions) -> Session:
    """Load a half-precision ONNX file for its proof.

    Raises:
        ToolchainFailed: ONNX Runtime refuses the graph.
    """
    return RoundedSession(file, manifest, options)


def trace(artifact: Artifact, images: Path | None, weights: Path | None) -> Divergence | None:
    """The first node of an artifact's graph that diverges, on the first parity input where one does; None: none does.

    Args:
        images: folder of the user's photographs; None: the bundled ones.
        weights: the checkpoint that the artifact was made from, where it was one.

    Raises:
        ToolchainFailed: ONNX Runtime refuses the graph.
    """
    manifest = artifact.manifest
    job = StepJob(
        variant=manifest.variant,
        rewrites=manifest.rewrites,
        folder=artifact.folder,
        weights=weights if manifest.weights.source == "file" else None,
        images=images,
    )
    for feeds in samples(job):
        first = first_divergence(artifact.file, laid_out(feeds, manifest.inputs), threads())
        if first is not None:
            return first
    return None


def first_divergence(file: Path, feeds: Arrays, threads: int) -> Divergence | None:
    """The first node, in the graph's order, whose rounded output is not the one in fp32; None: all agree.

    Args:
        file: a half-precision graph.
        feeds: its inputs.
        threads: to run it with.
    """
    graph: Any = onnx.load(str(file))
    operators = {output: str(node.op_type) for node in graph.graph.node for output in node.output}
    inferred: Any = onnx.shape_inference.infer_shapes(graph, strict_mode=True).graph
    halves = {v.name for v in inferred.value_info if is_half(v)}
    waiting = [name for name in operators if name in halves and operators[name] != "Constant"]
    pair = [rounded(graph, rounding=rounding) for rounding in (True, False)]
    for begin in range(0, len(waiting), AT_ONCE):
        names = waiting[begin : begin + AT_ONCE]
        actual, expected = (_values(model, names, feeds, threads) for model in pair)
        for name in names:
            error = _error(actual[name], expected[name])
            if error is None or error > WORST:
                finite = np.abs(expected[name][np.isfinite(expected[name])])
                largest = float(finite.max(initial=0.0))
                return Divergence(
                    node=name,
                    operator=operators[name],
                    layer=_layer_before(graph.graph, name),
                    error_std=error,
                    largest=largest,
                )
    return None


def _layer_before(inner: Any, output: str) -> str | None:
    """The nearest layer on the way back from a tensor to the input: weights keep the names that the model has."""
    makers = {name: node for node in inner.node for name in node.output}
    weights = {tensor.name for tensor in inner.initializer}
    waiting, visited = [output], {output}
    for name in waiting:  # grows while it is walked: the nearest come first
        node = makers.get(name)
        for source in node.input if node is not None else ():
            if source in weights and source.endswith(WEIGHT):
                return str(source).removesuffix(WEIGHT)
            if source not in visited:
                visited.add(source)
                waiting.append(source)
    return None


def _error(actual: Array, expected: Array) -> float | None:
    if not np.isfinite(actual).all():
        return None
    deviation = float(expected.std())
    return float(np.sqrt(np.mean((actual - expected) ** 2))) / deviation if deviation else 0.0


def _values(graph: Any, names: list[str], feeds: Arrays, threads: int) -> dict[str, Array]:
    model: Any = onnx.ModelProto()
    model.CopyFrom(graph)
    model.graph.ClearField("output")
    model.graph.output.extend(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names)
    return dict(zip(names, session(model, threads).run(names, dict(feeds)), strict=True))


def session(graph: Any, threads: int) -> Any:
    """ONNX Runtime's session of a graph from `rounded`.

    Raises:
        ToolchainFailed: ONNX Runtime refuses the graph.
    """
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.log_severity_level = 3
    # Both would keep every tensor's memory, in powers of two and in one block: sam_vit_b's encoder took 12.9 GiB with
    # them, 7.9 without the first, 6.7 without either.
    settings.enable_cpu_mem_arena = False
    settings.enable_mem_pattern = False
    # Optimizations would take the roundings for casts that cancel.
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        if to_onnx.tensor_bytes(graph) < to_onnx.LARGEST_SINGLE_FILE_BYTES:
            return ort.InferenceSession(graph.SerializeToString(), settings, providers=["CPUExecutionProvider"])
        with tempfile.TemporaryDirectory(prefix="vitdeploy-rounded-") as place:  # its tensors are mapped and live on
            to_onnx.save(graph, Path(place))
            return ort.InferenceSession(str(Path(place) / to_onnx.FILE), settings, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ToolchainFailed(
            f"ONNX Runtime {ort.__version__} refuses the graph: {error}", "Export the model again."
        ) from error
