"""Inputs to a TFLite file on a hosted phone, one job for all of them, and its outputs back; never for timing."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from vitdeploy.artifacts import described_model
from vitdeploy.artifacts.manifest import Artifact
from vitdeploy.devices import hosted
from vitdeploy.devices.hosted import HostedConnection, JobRequest
from vitdeploy.errors import Impossible
from vitdeploy.inference import phone_client
from vitdeploy.runtimes.loaded_session import tensors_of

Feed = Mapping[str, NDArray[Any]]
Outputs = Mapping[str, NDArray[Any]]


def inference_on_hub(
    link: HostedConnection, *, threads: int, on_facts: Callable[[Mapping[str, str]], None]
) -> Callable[[Artifact, Sequence[Feed]], list[Outputs]]:
    """What answers feeds by a job on a hosted phone; the arguments are those of `client.inference_on`."""

    def answer(artifact: Artifact, feeds: Sequence[Feed]) -> list[Outputs]:
        manifest = artifact.manifest
        if manifest.target != hosted.TARGET:
            raise Impossible(f"{manifest.target} does not run on a hosted phone", f"Use {hosted.TARGET}.")
        plain: dict[str, Any] = msgspec.to_builtins(manifest)
        specs = tensors_of(plain["inputs"])
        preprocessing = manifest.preprocessing or described_model.spec_of(manifest).preprocessing
        arrays = [
            {spec.name: phone_client.as_input(feed[spec.name], spec, preprocessing) for spec in specs} for feed in feeds
        ]
        request = JobRequest(
            file=artifact.file,
            sha256=manifest.sha256,
            inputs=specs,
            outputs=tensors_of(plain["outputs"]),
            feeds=arrays,
            threads=threads,
            timed=False,
        )
        done = link.run_job(request)
        on_facts({"runtime": f"AI Hub's TFLite, job {done.job}"})
        return [
            {name: array[0] if _has_picture(feed) else array for name, array in outputs.items()}
            for feed, outputs in zip(feeds, done.outputs, strict=True)
        ]

    return answer


def _has_picture(feed: Feed) -> bool:
    """Whether a picture fills the batch; its outputs lose the batch's axis, as of the worker."""
    return any(phone_client.is_picture(np.asarray(value)) for value in feed.values())
