"""Engine of a deferred artifact: built on its device, compared there with its graph here, and copied to this machine.

The device gets the checked graph and builds it by `vitdeploy.exporters.engines.build`, which the agent carries and
which keeps the builder's timings there. The engine then runs on the device for noise and photographs, and its outputs
are compared with those of the graph on this machine, whose own reference is torch in fp32.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from vitdeploy import documents
from vitdeploy.artifacts import manifest as artifact_manifest
from vitdeploy.artifacts import parity
from vitdeploy.artifacts.manifest import MANIFEST, Artifact, Manifest, Parity, as_json, digest_of, open_artifact
from vitdeploy.artifacts.store import Store
from vitdeploy.catalog import registry
from vitdeploy.catalog.fact_table import DeviceFacts
from vitdeploy.catalog.spec import ModelSpec
from vitdeploy.devices import computer_facts, inventory
from vitdeploy.devices.inventory import Device
from vitdeploy.errors import Impossible, ParityFailed, ToolchainFailed
from vitdeploy.exporters.engines import trtexec_build
from vitdeploy.exporters.engines.build import BuildRequest, BuiltEngine
from vitdeploy.images import inputs as image_inputs
from vitdeploy.images.photos import as_bytes, normalized, parity_batches
from vitdeploy.inference import local_reference
from vitdeploy.processes import child_reply
from vitdeploy.processes.connection import Connection
from vitdeploy.processes.local import LocalConnection
from vitdeploy.runtimes.loaded_session import tensors_of

Progress = Callable[[str], None]

RUN_LIMIT_S = 600.0
LOCK_WAIT_S = 5.0


def needs_build(device: Device, facts: DeviceFacts, artifact: Artifact) -> bool:
    """Whether an artifact has still to be built on the device.

    Raises:
        Impossible: it has, and the device has no GPU to build for.
    """
    if artifact.manifest.state != "deferred":
        return False
    if facts.compute_capability is None:
        raise Impossible(
            f"{artifact.folder} has still to be built on its device, and {device.name} has no NVIDIA GPU",
            "Name the device that has one with --device.",
        )
    return True


def engine_folder(artifact: Artifact, device: str) -> Path:
    """The folder of the engine that a device builds: beside the deferred one."""
    return artifact.folder.with_name(f"{artifact.folder.name.partition('@')[0]}@{device}")


def stored_engine(artifact: Artifact, device: Device, facts: DeviceFacts) -> Artifact | None:
    """The engine that this device built of this graph earlier, unless its TensorRT or GPU is another now."""
    folder, store = engine_folder(artifact, device.name), Store()
    if (folder / MANIFEST).is_file():
        engine = open_artifact(folder)
        if _fits(engine.manifest, artifact.manifest, facts):
            store_engine(engine, device.name)
            return engine
    for entry in store.entries():
        fits = _fits(entry.manifest, artifact.manifest, facts) and entry.key == store_key(entry.manifest, device.name)
        if fits and store.find(entry.key) is not None:
            return store.deliver(entry.key, folder)
    return None


def store_key(built: Manifest, device: str) -> str:
    """What the store has an engine by: the device that built it, of which graph, how, and what it is bound to."""
    made_from = {
        "device": device,
        "graph": built.parents[0],
        "target": built.target,
        "recipe": built.recipe,
        "bound_to": built.bound_to,
    }
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()


def store_engine(built: Artifact, device: str, *, replace: bool = False) -> None:
    """Put an engine into the store, from which a later bench takes it and `compare --confirm` times it again.

    Args:
        built: the engine.
        device: which built it.
        replace: put it in the place of an earlier one.
    """
    store, key = Store(), store_key(built.manifest, device)
    if not replace and store.find(key) is not None:
        return
    place = store.workplace(key)
    try:
        for name in (built.manifest.file, MANIFEST):
            shutil.copyfile(built.folder / name, place / name)
        store.add(key, place, replace=replace)
    except OSError as error:
        raise documents.cannot_write(store.folder(key), error) from error
    finally:
        store.discard(place)


def _fits(engine: Manifest, graph: Manifest, facts: DeviceFacts) -> bool:
    """Whether an engine was built of this graph, is right, and is bound to the GPU and TensorRT that are there now."""
    if engine.state != "ready" or engine.parents[:1] != (graph.sha256,) or engine.target != graph.target:
        return False
    if engine.parity is not None and not engine.parity.passed:
        return False
    version = (facts.packages or {}).get("tensorrt")
    capable = facts.compute_capability in engine.bound_to.get("compute_capability", ())
    return capable and version in (None, engine.bound_to.get("tensorrt"))


def build(
    artifact: Artifact,
    device: Device,
    *,
    facts: DeviceFacts,
    progress: Progress,
    lock_wait_s: float = LOCK_WAIT_S,
    force: bool = False,
) -> Artifact:
    """The engine of a deferred artifact: an earlier one of the same device and graph, or one built there now.

    It lies beside the deferred one and in the store.

    Args:
        artifact: the deferred one.
        device: that builds it.
        facts: those of the device.
        progress: shows what happens.
        lock_wait_s: how long to wait for a device that somebody else holds.
        force: build it although an earlier one is there.

    Raises:
        MissingPackage: TensorRT is not there.
        Impossible: it is too old there, or it has no GPU.
        ToolchainFailed: parser or builder refuse the graph, or crash; the message names the log.
        ParityFailed: the engine computes something else than its graph.
        DeviceError: the device was lost, or is in use.
    """
    if not force and (earlier := stored_engine(artifact, device, facts)) is not None:
        return earlier
    if artifact.manifest.beside:
        raise Impossible(
            f"{artifact.folder} is in several files, which are not built on devices yet", "Build it there."
        )
    folder = engine_folder(artifact, device.name)
    work = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    shutil.rmtree(work, ignore_errors=True)
    try:
        work.mkdir(parents=True)
        with inventory.connect(device) as link, link.lock(timeout_s=lock_wait_s):
            progress(f"{device.name} builds {artifact.manifest.model} {artifact.manifest.target}")
            manifest = _build(link, artifact, device, work)
            manifest = artifact_manifest.write(work, manifest).manifest
        shutil.rmtree(folder, ignore_errors=True)
        work.replace(folder)
    except OSError as error:
        raise documents.cannot_write(folder, error) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    seconds = f"built in {manifest.build_ns / 1e9:.1f} s"
    progress(f"{device.name} {artifact.manifest.model} {artifact.manifest.target}: {seconds}")
    finished = Artifact(folder, manifest)
    if manifest.parity is not None and not manifest.parity.passed:
        raise ParityFailed(
            f"{finished.folder} does not compute what its graph computes: {manifest.parity.reason}",
            "Do not deploy it; try trt-bf16 or trt-fp32.",
        )
    store_engine(finished, device.name, replace=force)
    return finished


def _build(link: Connection, artifact: Artifact, device: Device, work: Path) -> Manifest:
    """The manifest of the engine that is built on the device and copied into ``work``."""
    graph = link.push(artifact.file, sha256=artifact.manifest.sha256)
    folder = work if device.link == "local" else PurePosixPath(graph).parent
    target = registry.find_target(artifact.manifest.target)
    remote_file, local_file = str(folder / f"{target.file}.{os.getpid()}"), work / target.file
    log = work.with_name(f"{target.name}@{device.name}.log")
    try:
        if device.trtexec:
            built = trtexec_build.build(link, device.trtexec, graph, remote_file, target.precision, log=log)
        else:
            built = child_reply.ask(
                link,
                "vitdeploy.exporters.engines.build",
                BuildRequest(graph=graph, engine=remote_file, precision=target.precision),
                BuiltEngine,
                what="the builder",
                timeout_s=trtexec_build.BUILD_LIMIT_S,
                log=log,
            )
        link.pull(remote_file, local_file)
        sha256 = digest_of(local_file)
        if built.sha256 not in ("", sha256):
            raise ToolchainFailed(f"the engine from {device.name} has a wrong digest after the copy", "Check the link.")
        manifest = _engine_manifest(artifact.manifest, built, device, local_file, sha256)
        if manifest.parity_skipped is not None:
            return manifest
        return msgspec.structs.replace(manifest, parity=_parity(link, artifact, manifest, remote_file, folder, log))
    finally:
        link.run(["rm", "-f", remote_file], timeout_s=60)


def _engine_manifest(graph: Manifest, built: BuiltEngine, device: Device, engine: Path, sha256: str) -> Manifest:
    """The manifest of an engine before its parity; it says so where its parity is not measured."""
    skipped = None
    if device.trtexec:
        skipped = trtexec_build.UNPROVEN
    elif graph.part == "encoder":  # that takes its decoder
        skipped = "no parity on the device for SAM encoders (their metric is mask IoU); the graph passed parity"
    return msgspec.structs.replace(
        graph,
        file=engine.name,
        sha256=sha256,
        size_bytes=engine.stat().st_size,
        beside=(),
        parents=(graph.sha256, *graph.parents),
        recipe=f"{graph.recipe.partition('; the engine')[0]}; parsed and built on {device.name} by "
        f"{built.package} {built.version}, strongly typed",
        tools={**graph.tools, built.package: built.version},
        bound_to=built.bound_to,
        build_ns=built.build_ns,
        timing_cache_sha256=built.timing_cache_sha256,
        state="ready",
        deferred=None,
        parity=None,
        parity_skipped=skipped,
    )


def _parity(
    link: Connection, artifact: Artifact, engine: Manifest, file: str, folder: Path | PurePosixPath, log: Path
) -> Parity:
    """The parity of the engine on the device with its graph on this machine, output by output."""
    target = registry.find_target(engine.target)
    parent = registry.find_target(target.parent or "")
    spec = registry.find_model(engine.model, engine.part)
    evidence = parity.Evidence(spec.task)
    with tempfile.TemporaryDirectory(prefix="vitdeploy-engine-") as place:
        expected, outputs = Path(place) / "expected.npz", Path(place) / "outputs.npz"
        for feeds in _feeds(spec, engine):
            inputs = [Path(place) / f"input-{number}" for number in range(len(feeds))]
            for path, feed in zip(inputs, feeds, strict=True):
                feed.tofile(path)
            pushed = [link.push(path, sha256=digest_of(path)) for path in inputs]
            remote_outputs = str(folder / f"outputs.{os.getpid()}.npz")
            try:
                _infer(link, file, engine, target.runtime or "", "cuda", pushed, remote_outputs, log)
                link.pull(remote_outputs, outputs)
            finally:
                copies = [path for path in pushed if Path(path) not in inputs]
                link.run(["rm", "-f", remote_outputs, *copies], timeout_s=60)
            runtime, paths = parent.runtime or parent.proof or "", [str(path) for path in inputs]
            graph = str(artifact.file)
            _infer(LocalConnection(), graph, artifact.manifest, runtime, "cpu", paths, str(expected), log)
            with np.load(expected) as of_graph, np.load(outputs) as of_engine:
                for number in range(len(engine.outputs)):
                    pair = of_graph[f"arr_{number}"], of_engine[f"arr_{number}"]
                    (evidence.add_further if number else evidence.add)(*pair)
    proof = artifact.manifest.parity.reference if artifact.manifest.parity else "nothing"
    words = f"its graph {artifact.manifest.file} on this machine, proven against {proof}"
    return parity.verdict(evidence, target.tolerance, words)


def _feeds(spec: ModelSpec, built: Manifest) -> Iterator[list[NDArray[Any]]]:
    """Noise and photographs for what takes one picture, noise for all else; in the order of the inputs."""
    if len(built.inputs) > 1:
        pool = image_inputs.make_pool(tensors_of(as_json(built)["inputs"]), seed=0)
        yield from ([feeds[tensor.name] for tensor in built.inputs] for feeds in pool[:2])
        return
    entry = next(iter(built.inputs))
    for photos in parity_batches(built.size, built.batch):
        feed = (
            as_bytes(photos) if built.io == "uint8" else normalized(photos, built.preprocessing or spec.preprocessing)
        )
        yield [feed.astype(entry.dtype, copy=False)]


def _infer(
    link: Connection,
    file: str,
    manifest: Manifest,
    runtime: str,
    device: Literal["cpu", "cuda"],
    inputs: list[str],
    outputs: str,
    log: Path,
) -> None:
    job = local_reference.ReferenceJob(
        file=file,
        manifest=as_json(manifest),
        runtime=runtime,
        device=device,
        inputs=inputs,
        outputs=outputs,
        threads=computer_facts.cores_physical(),
    )
    what = f"the process that ran {file} for its proof"
    child_reply.ask(link, local_reference.__name__, job, str, what=what, timeout_s=RUN_LIMIT_S, log=log)
