"""Proof of a rival's file: its outputs by its own runtime, in a process of its own, against the fp32 torch module's."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitdeploy.artifacts import parity
from vitdeploy.artifacts.manifest import Artifact, Parity, Tensor
from vitdeploy.benchmarks.studies import onnx_files
from vitdeploy.catalog import registry
from vitdeploy.catalog.spec import Size
from vitdeploy.devices import device_facts, inventory
from vitdeploy.inference import client
from vitdeploy.processes.connection import CommandResult
from vitdeploy.processes.local import LocalConnection


class RuntimesConnection(LocalConnection):
    """This machine; some files are run by another runtime than that of their target."""

    def __init__(self, runtimes: Mapping[Path, str | None], lock_folder: Path | None = None) -> None:
        """``runtimes``: file → module; None: that of the target."""
        super().__init__(lock_folder=lock_folder)
        self._runtimes = {str(path.resolve()): runtime for path, runtime in runtimes.items()}

    def run(self, argv: Sequence[str], *, stdin: str = "", timeout_s: float) -> CommandResult:
        """Run a process; in its job the runtimes are replaced."""
        job: dict[str, Any] = json.loads(stdin) if stdin.startswith("{") else {}
        for side in job.get("sides", [job]):
            runtime = self._runtimes.get(side.get("file", ""))
            if runtime is not None:
                side["runtime"] = runtime
        return super().run(argv, stdin=json.dumps(job) if job else stdin, timeout_s=timeout_s)


def prove(reference: Any, artifact: Artifact, runtime: str | None, size: Size) -> Parity:
    """The parity of an artifact of one image with the fp32 torch module, on noise and photographs.

    Raises:
        VitdeployError: the runtime is missing, or refuses the file.
    """
    described = artifact.manifest
    spec, target = registry.find_model(described.model), registry.find_target(described.target)
    torch_fp32 = registry.load("vitdeploy.exporters.on_torch_fp32")
    (entry,), (result,) = described.inputs, described.outputs
    with tempfile.TemporaryDirectory(prefix="vitdeploy-rivals-") as folder:
        job = onnx_files.step_job(spec, target.name, size, (), Path(folder))
        samples = list(torch_fp32.samples(job))
        device = inventory.find("local")
        with RuntimesConnection({artifact.file: runtime}) as link:
            run = client.inference_on(
                device, link, device_facts.facts_of(device), threads=2, log=Path(folder) / "inference.log"
            )
            outputs = run(artifact, [{entry.name: _laid_out(sample["image"], entry)} for sample in samples])
    evidence = parity.Evidence(spec.task)
    for sample, output in zip(samples, outputs, strict=True):
        expected = torch_fp32.outputs(reference, sample)[0]
        evidence.add(expected, _channels_first(output[result.name], result))
    return parity.verdict(evidence, target.tolerance, "torch fp32, as the file was made")


def _laid_out(image: NDArray[Any], entry: Tensor) -> NDArray[Any]:
    turned = image.transpose(0, 2, 3, 1) if entry.layout == "NHWC" else image
    return np.ascontiguousarray(turned, dtype=entry.dtype)


def _channels_first(output: NDArray[Any], tensor: Tensor) -> NDArray[Any]:
    return output.transpose(0, 3, 1, 2) if tensor.layout == "NHWC" else output
