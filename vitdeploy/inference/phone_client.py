"""Bring inputs to a TFLite file on a phone, one process of ``benchmark_model`` a picture, and its outputs back.

For accuracy, never for timing: the tool runs each input twice, once to warm up, and the second time is not looked at.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from vitdeploy.artifacts import described_model
from vitdeploy.artifacts.manifest import Artifact
from vitdeploy.catalog.preprocessing import Preprocessing
from vitdeploy.catalog.spec import TensorSpec
from vitdeploy.devices.phone import benchmark_model, prepared_phone
from vitdeploy.devices.phone.prepared_phone import PreparedPhone
from vitdeploy.errors import Impossible
from vitdeploy.inference import worker
from vitdeploy.processes import child_reply
from vitdeploy.runtimes.loaded_session import tensors_of

Feed = Mapping[str, NDArray[Any]]
Outputs = Mapping[str, NDArray[Any]]

LIMIT_S = 300.0
"""Of one picture. Source: a choice; the slowest file here takes half a minute for one of Cityscapes on a phone."""


def inference_on_phone(
    phone: PreparedPhone, *, threads: int, log: Path, on_facts: Callable[[Mapping[str, str]], None]
) -> Callable[[Artifact, Sequence[Feed]], list[Outputs]]:
    """What answers feeds by running a TFLite file on a phone; the arguments are those of `feeding.of`.

    Raises:
        Impossible: the phone's tool takes no input.
    """
    prepared_phone.check_gives_outputs(phone)

    def answer(artifact: Artifact, feeds: Sequence[Feed]) -> list[Outputs]:
        if artifact.manifest.target != prepared_phone.TARGET:
            raise Impossible(f"{artifact.manifest.target} does not run on a phone", f"Use {prepared_phone.TARGET}.")
        graph = phone.link.push(artifact.file, sha256=artifact.manifest.sha256)
        on_facts({"runtime": phone.runtime, "fp16_arithmetic": "off"})
        with tempfile.TemporaryDirectory(prefix="vitdeploy-eval-") as folder:
            return [_answer(phone, artifact, graph, feed, threads, log, Path(folder)) for feed in feeds]

    return answer


def _answer(
    phone: PreparedPhone, artifact: Artifact, graph: str, feed: Feed, threads: int, log: Path, folder: Path
) -> Outputs:
    link, manifest = phone.link, artifact.manifest
    plain: dict[str, Any] = msgspec.to_builtins(manifest)
    specs, described = tensors_of(plain["inputs"]), tensors_of(plain["outputs"])
    preprocessing = manifest.preprocessing or described_model.spec_of(manifest).preprocessing
    arrays = {spec.name: as_input(feed[spec.name], spec, preprocessing) for spec in specs}
    files = prepared_phone.write_inputs(specs, arrays, folder)
    with prepared_phone.inputs_on(phone, graph, specs, files, threads=threads) as request:
        argv = benchmark_model.timing_command(request, min_time_s=0, runs=1, warmup_s=0)
        result = prepared_phone.merged_streams(link.run(argv, timeout_s=LIMIT_S))
        if result.exit_code:
            child_reply.keep_log(log, f"{manifest.model} {manifest.target}, one input", result)
            raise child_reply.failure("benchmark_model", result, log)
        link.pull(request.output_file, folder / "output")
    outputs = prepared_phone.read_outputs(folder / "output", described)
    picture = any(is_picture(value) for value in feed.values())  # its outputs lose the batch's axis, as of the worker
    return {spec.name: array[0] if picture else array for spec, array in zip(described, outputs, strict=True)}


def as_input(value: NDArray[Any], spec: TensorSpec, preprocessing: Preprocessing) -> NDArray[Any]:
    """An input as the file takes it; a picture fills the batch."""
    if is_picture(value):
        value = np.stack([worker.normalized(value, spec, preprocessing)] * spec.shape[0])
    return np.ascontiguousarray(value.astype(spec.dtype, copy=False))


def is_picture(value: NDArray[Any]) -> bool:
    """Whether an input is a picture, to be prepared as the model wants it."""
    return value.dtype == np.uint8 and value.ndim == 3
