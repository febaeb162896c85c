"""Bring inputs to a TFLite file on a phone, one process of ``benchmark_model`` a picture, and its outputs back.

For accuracy, never for timing: the tool runs each input twice, once to warm up, and the second time is not looked at.
"""

import hashlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from vitdeploy.artifacts.manifest import Artifact
from vitdeploy.catalog import registry
from vitdeploy.catalog.spec import ModelSpec, TensorSpec
from vitdeploy.devices import phone_state
from vitdeploy.devices.phone import benchmark_model, prepared_phone
from vitdeploy.devices.phone.prepared_phone import PreparedPhone
from vitdeploy.errors import Impossible, ToolchainFailed
from vitdeploy.inference import worker
from vitdeploy.processes import child_reply
from vitdeploy.runtimes.loaded_session import tensors_of

Feed = Mapping[str, NDArray[Any]]
Outputs = Mapping[str, NDArray[Any]]

LIMIT_S = 300.0
"""Of one picture. Source: a choice; the slowest file here takes half a minute for one of Cityscapes on a phone."""

ONCE = {"num_runs": "1", "min_secs": "0", "warmup_runs": "1", "warmup_min_secs": "0"}
"""Flags of the tool, in the place of those of a benchmark."""


def inference_on_phone(
    phone: PreparedPhone, *, threads: int, log: Path, on_facts: Callable[[Mapping[str, str]], None]
) -> Callable[[Artifact, Sequence[Feed]], list[Outputs]]:
    """What answers feeds by running a TFLite file on a phone; the arguments are those of `feeding.of`."""

    def answer(artifact: Artifact, feeds: Sequence[Feed]) -> list[Outputs]:
        if artifact.manifest.target != prepared_phone.TARGET:
            raise Impossible(f"{artifact.manifest.target} does not run on a phone", f"Use {prepared_phone.TARGET}.")
        graph = phone.link.push(artifact.file, sha256=artifact.manifest.sha256)
        on_facts({"runtime": f"benchmark_model {phone.tool_sha256[:12]}", "fp16_arithmetic": "off"})
        with tempfile.TemporaryDirectory(prefix="vitdeploy-eval-") as folder:
            return [_answer(phone, artifact, graph, feed, threads, log, Path(folder)) for feed in feeds]

    return answer


def _answer(
    phone: PreparedPhone, artifact: Artifact, graph: str, feed: Feed, threads: int, log: Path, folder: Path
) -> Outputs:
    link, manifest = phone.link, artifact.manifest
    plain: dict[str, Any] = msgspec.to_builtins(manifest)
    specs, described = tensors_of(plain["inputs"]), tensors_of(plain["outputs"])
    row = registry.find_model(manifest.model)
    there = [f"{graph}.output"]
    try:
        for place, spec in enumerate(specs):
            path = folder / f"input{place}"
            path.write_bytes(_array(feed[spec.name], spec, row).tobytes())
            there.append(link.push(path, sha256=hashlib.sha256(path.read_bytes()).hexdigest()))
        argv = benchmark_model.command(
            phone.tool,
            graph,
            threads=threads,
            mask=phone_state.core_mask(phone.cores(threads)),
            min_time_s=0.0,
            inputs=specs,
            input_files=there[1:],
            output_file=there[0],
        )
        done = prepared_phone.merged_streams(link.run([_once(word) for word in argv], timeout_s=LIMIT_S))
        if done.exit_code:
            child_reply.keep_log(log, f"{manifest.model} {manifest.target}, one input", done)
            raise child_reply.failure("benchmark_model", done, log)
        link.pull(there[0], folder / "output")
    finally:
        prepared_phone.remove_files(link, there)
    return _split((folder / "output").read_bytes(), described, whole=len(specs) > 1)


def _array(value: NDArray[Any], spec: TensorSpec, row: ModelSpec) -> NDArray[Any]:
    """An input as the file takes it; a picture fills the batch."""
    if value.dtype == np.uint8 and value.ndim == 3:
        value = np.stack([worker.normalized(value, spec, row.mean, row.std)] * spec.shape[0])
    return np.ascontiguousarray(value.astype(spec.dtype, copy=False))


def _once(word: str) -> str:
    name = word.removeprefix("--").partition("=")[0]
    return f"--{name}={ONCE[name]}" if word.startswith("--") and name in ONCE else word


def _split(data: bytes, described: Sequence[TensorSpec], *, whole: bool) -> Outputs:
    """The outputs, which lie one after the other in one file; ``whole``: with the batch's axis."""
    sizes = [int(np.prod(spec.shape)) * np.dtype(spec.dtype).itemsize for spec in described]
    if sum(sizes) != len(data):
        raise ToolchainFailed(
            f"benchmark_model wrote {len(data)} bytes of output, the graph's outputs have {sum(sizes)}",
            "Use a newer build.",
        )
    found: dict[str, NDArray[Any]] = {}
    start = 0
    for spec, size in zip(described, sizes, strict=True):
        array = np.frombuffer(data, spec.dtype, count=int(np.prod(spec.shape)), offset=start).reshape(spec.shape)
        found[spec.name] = array if whole else array[0]
        start += size
    return found
