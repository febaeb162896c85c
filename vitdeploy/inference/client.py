"""Inference client: inputs to an artifact on any device, and its outputs back."""

import dataclasses
import hashlib
import tempfile
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from vitdeploy.artifacts import described_model
from vitdeploy.artifacts.manifest import Artifact, push
from vitdeploy.catalog import registry
from vitdeploy.catalog.fact_table import DeviceFacts
from vitdeploy.catalog.spec import Compute
from vitdeploy.devices import device_facts
from vitdeploy.devices.hosted import HostedConnection
from vitdeploy.devices.inventory import Device
from vitdeploy.devices.phone import prepared_phone
from vitdeploy.errors import Impossible
from vitdeploy.inference import hub_client, phone_client, worker
from vitdeploy.processes import child_reply
from vitdeploy.processes.connection import Connection

Feed = Mapping[str, NDArray[Any]]
Outputs = Mapping[str, NDArray[Any]]

LIMIT_S = 900.0
"""A process may take so long to load, and `EACH_S` for every feed."""

EACH_S = 120.0
"""Source: a choice; the largest model here takes half a minute for a 1024x2048 picture on one slow core."""


class InferenceReply(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the process answers."""

    outputs: list[list[dict[str, Any]]]
    facts: dict[str, str]


def inference_on(
    device: Device,
    link: Connection,
    facts: DeviceFacts,
    *,
    threads: int,
    log: Path,
    on_facts: Callable[[Mapping[str, str]], None] = lambda _: None,
) -> Callable[[Artifact, Sequence[Feed]], list[Outputs]]:
    """What answers feeds on a device, whatever its link: a fresh process a call, or a phone's tool.

    Args:
        device: where.
        link: to it.
        threads: of the runtime.
        log: what a failed process said is appended to it.
        on_facts: told what ran the artifact, in the runtime's own words.
    """
    if isinstance(link, HostedConnection):
        return hub_client.inference_on_hub(link, threads=threads, on_facts=on_facts)
    if device.link == "adb":
        phone = prepared_phone.prepare_phone(device, link, facts)
        return phone_client.inference_on_phone(phone, threads=threads, log=log, on_facts=on_facts)

    def answer(artifact: Artifact, feeds: Sequence[Feed]) -> list[Outputs]:
        compute = device_facts.compute_of(artifact.manifest.target, device, facts)
        with tempfile.TemporaryDirectory(prefix="vitdeploy-eval-") as folder:
            return _answer(link, artifact, feeds, Path(folder), compute, threads, log, on_facts)

    return answer


def _answer(
    link: Connection,
    artifact: Artifact,
    feeds: Sequence[Feed],
    folder: Path,
    compute: Compute,
    threads: int,
    log: Path,
    on_facts: Callable[[Mapping[str, str]], None],
) -> list[Outputs]:
    assert compute != "phone", "a phone answers by its own tool"
    manifest = artifact.manifest
    target, spec = registry.find_target(manifest.target), described_model.spec_of(manifest)
    if target.runtime is None:
        raise Impossible(f"this version has nothing that runs {target.name}", "Use an artifact of another target.")
    if manifest.state == "deferred":
        raise Impossible(
            f"{artifact.file} is not built yet: {manifest.deferred}", "Export it again with --device, on its device."
        )
    # A name of its own: two evaluations may send the same bytes, and each removes its own.
    data = folder / f"feeds-{uuid.uuid4().hex}.bin"
    table, sha256 = _write(feeds, data)
    remote_feeds = link.push(data, sha256=sha256)
    outputs = f"{remote_feeds}.out"
    try:
        digests = push(artifact, link)
        job = worker.InferenceJob(
            file=next(iter(digests)),
            digests=digests,
            manifest=msgspec.to_builtins(manifest),
            runtime=target.runtime,
            device=compute,
            threads=threads,
            preprocessing=dataclasses.asdict(manifest.preprocessing or spec.preprocessing),
            feeds=table,
            data=remote_feeds,
            outputs=outputs,
        )
        reply = child_reply.ask(
            link,
            worker.__name__,
            job,
            InferenceReply,
            what=f"the process that ran {artifact.file} on {len(feeds)} inputs",
            timeout_s=LIMIT_S + EACH_S * len(feeds),
            log=log,
        )
        on_facts(reply.facts)
        back = folder / "outputs.bin"
        link.pull(outputs, back)
    finally:
        prepared_phone.remove_files(link, (remote_feeds, outputs))
    return [_read(contents, back) for contents in reply.outputs]


def _write(feeds: Sequence[Feed], path: Path) -> tuple[list[list[dict[str, Any]]], str]:
    """All arrays one after another, their table of contents, and the digest of the file."""
    digest = hashlib.sha256()
    table: list[list[dict[str, Any]]] = []
    offset = 0
    written: dict[int, int] = {}  # an embedding is the input of many prompts
    with path.open("wb") as stream:
        for feed in feeds:
            entries: list[dict[str, Any]] = []
            for name, array in feed.items():
                kind = worker.PICTURE if array.dtype == np.uint8 and array.ndim == 3 else worker.ARRAY
                entry = {"name": name, "kind": kind, "dtype": array.dtype.name, "shape": list(array.shape)}
                if id(array) not in written:
                    raw = np.ascontiguousarray(array).tobytes()
                    digest.update(raw)
                    written[id(array)] = offset
                    offset += stream.write(raw)
                entries.append({**entry, "offset": written[id(array)]})
            table.append(entries)
    return table, digest.hexdigest()


def _read(contents: Sequence[Mapping[str, Any]], path: Path) -> Outputs:
    """One feed's outputs; mapped, so that they are in memory only while they are looked at."""
    outputs: dict[str, NDArray[Any]] = {}
    for entry in contents:
        shape, dtype = tuple(entry["shape"]), np.dtype(entry["dtype"])
        if 0 in shape:  # nothing to map
            outputs[entry["name"]] = np.zeros(shape, dtype)
        else:
            outputs[entry["name"]] = np.memmap(path, dtype=dtype, mode="r", offset=entry["offset"], shape=shape)
    return outputs
