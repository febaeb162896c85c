"""Outputs of this computer for the inputs of a trial, and whether a device's are the same within the tolerance."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from vitdeploy.artifacts import parity
from vitdeploy.artifacts.manifest import Parity
from vitdeploy.benchmarks.trial.request import LIMIT_S, TrialRequest
from vitdeploy.catalog import registry
from vitdeploy.catalog.spec import TensorSpec
from vitdeploy.devices import computer_facts
from vitdeploy.inference import local_reference
from vitdeploy.processes import child_reply
from vitdeploy.processes.local import LocalConnection
from vitdeploy.runtimes.loaded_session import tensors_of
from vitdeploy.runtimes.session import Array


def expected(request: TrialRequest, files: Sequence[Path], folder: Path) -> tuple[list[Array], str]:
    """What this computer's runtime returns for these inputs, and which runtime that is.

    Args:
        request: whose file is run.
        files: the inputs' bytes, one file a tensor in the graph's order.
        folder: for what is between.

    Raises:
        VitdeployError: it cannot be computed here.
    """
    artifact = request.artifact
    plain: dict[str, Any] = msgspec.to_builtins(artifact.manifest)
    runtime = registry.find_target(artifact.manifest.target).runtime
    assert runtime is not None, f"{artifact.manifest.target} has no runtime"
    outputs = folder / "expected.npz"
    job = local_reference.ReferenceJob(
        file=str(artifact.file),
        manifest=plain,
        runtime=runtime,
        device="cpu",
        inputs=[str(path) for path in files],
        outputs=str(outputs),
        threads=computer_facts.cores_physical(),
    )
    what = f"the process that computed here what {artifact.file} must return"
    ran_by = child_reply.ask(
        LocalConnection(), local_reference.__name__, job, str, what=what, timeout_s=LIMIT_S, log=request.log
    )
    with np.load(outputs, allow_pickle=False) as arrays:
        return [arrays[f"arr_{place}"] for place in range(len(arrays.files))], ran_by


def judged(request: TrialRequest, ours: Sequence[Array], theirs: Sequence[Array], runtime: str) -> Parity:
    """The parity of a device's outputs with ours, in the task's metric and the target's tolerance.

    Args:
        ours: of `expected`.
        theirs: the device's, in the same order.
        runtime: of `expected`.
    """
    plain: dict[str, Any] = msgspec.to_builtins(request.artifact.manifest)
    specs = tensors_of(plain["outputs"])
    pairs = zip(ours, theirs, specs, strict=True)
    return parity.judge(
        request.artifact.manifest.task,
        [(_channels_first(mine, spec), _channels_first(other, spec)) for mine, other, spec in pairs],
        registry.find_target(request.case.target).tolerance,
        reference=f"{runtime} on this computer",
    )


def _channels_first(array: Array, spec: TensorSpec) -> Array:
    return array.transpose(0, 3, 1, 2) if spec.layout == "NHWC" and array.ndim == 4 else array
