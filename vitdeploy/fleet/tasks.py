"""Tasks of a sweep's worker: survey its device, export, build, store what it is sent, take a trial.

A trial is taken by the code of `bench`, and is a file on the worker's host before Dask has it.
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import msgspec

from vitdeploy import documents
from vitdeploy._version import __version__
from vitdeploy.api import export
from vitdeploy.api.export_request import ExportRequest
from vitdeploy.artifacts import manifest
from vitdeploy.artifacts.manifest import MANIFEST, Artifact
from vitdeploy.artifacts.store import Store
from vitdeploy.catalog import fact_table, registry
from vitdeploy.catalog.variant import Variant
from vitdeploy.devices import inventory
from vitdeploy.errors import DeviceError, UnreadableFile, VitdeployError
from vitdeploy.fleet.messages import (
    ArtifactFiles,
    DeviceChanged,
    DeviceSurvey,
    MissingArtifacts,
    PermanentError,
    TrialTask,
)
from vitdeploy.fleet.trial_files import TrialFiles, remove_old, worker_folder
from vitdeploy.processes import progress
from vitdeploy.results.record import Trial

P = ParamSpec("P")
R = TypeVar("R")


def returning_errors(function: Callable[P, R]) -> Callable[P, R | PermanentError]:
    """Return an error that another try would meet again; raise one that it may not, for Dask to try again."""

    @functools.wraps(function)
    def answer(*args: P.args, **kwargs: P.kwargs) -> R | PermanentError:
        try:
            return function(*args, **kwargs)
        except DeviceError:
            raise
        except VitdeployError as error:
            return PermanentError(error=error)
        except Exception as error:  # noqa: BLE001 (Dask would try a bug again; here it is reported as one)
            return PermanentError(error=VitdeployError(f"internal error on a worker: {type(error).__name__}: {error}"))

    return answer


@returning_errors
def survey_device(name: str, version: str, lock_wait_s: float) -> DeviceSurvey:
    """The device as this worker finds it.

    Raises:
        DeviceError: it is not known here, does not answer, or this worker runs another vitdeploy.
    """
    from vitdeploy.devices import device_facts

    host = socket.gethostname()
    if version != __version__:
        raise DeviceError(
            f"the worker on {host} has vitdeploy {__version__}, the sweep has {version}",
            "Install the same version on both.",
        )
    served = inventory.devices()
    if name not in served:
        raise DeviceError(
            f"the worker on {host} serves {name} and has no file for it",
            f"Put devices/{name}.toml where it starts.",
        )
    remove_old()
    device = served[name]
    if (why_not := inventory.unreachable(device)) is not None:
        raise inventory.unreachable_error(device, why_not)
    with contextlib.ExitStack() as stack:
        if device.power_mode is not None or device.hold_clocks:  # its trials see what holds during the lock
            link = stack.enter_context(inventory.connect(device))
            stack.enter_context(link.lock(timeout_s=lock_wait_s))
            facts = device_facts.read_facts(device, link)
        else:
            facts = device_facts.facts_of(device)
    return DeviceSurvey(
        device=device,
        facts=device_facts.stable_facts(device, facts),
        threads=inventory.threads_of(device, facts),
        power_mode=facts.power_mode,
    )


@returning_errors
def export_artifact(variant: Variant) -> ArtifactFiles:
    """Export an artifact here and pack it."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="vitdeploy-fleet-") as place:
        row = export.export([variant.full_model], ExportRequest.of(variant, out=Path(place)))[0]
        if row.artifact is None:
            raise row.error or VitdeployError(f"{variant.words} was not made; no reason was reported")
        files = pack(row.artifact, str(row.artifact.folder.relative_to(place)))
    return dataclasses.replace(files, seconds=time.monotonic() - started)


@returning_errors
def build_engine(digest: str, device: str, lock_wait_s: float) -> ArtifactFiles | MissingArtifacts:
    """Have the device build the engine of an artifact that was left to it, and pack that.

    Raises:
        DeviceError: the device is busy or lost; another try may find it again.
    """
    from vitdeploy.devices import device_facts
    from vitdeploy.exporters.engines import remote_build

    if (missing := not_stored((digest,))).digests:
        return missing
    target_device = inventory.find(device)
    with tempfile.TemporaryDirectory(prefix="vitdeploy-fleet-") as place:
        near = Path(place) / "graph"
        shutil.copytree(Store().folder(digest), near)  # its engine comes to lie beside it, which is not for the store
        graph = manifest.open_artifact(near, check_bytes=False)
        facts = device_facts.facts_of(target_device)
        return pack(
            remote_build.build(graph, target_device, facts=facts, progress=progress.silent, lock_wait_s=lock_wait_s), ""
        )


def pack(artifact: Artifact, folder: str) -> ArtifactFiles:
    """An artifact with the bytes of its files.

    Raises:
        UnreadableFile: they cannot be read.
    """
    try:
        files = {name: (artifact.folder / name).read_bytes() for name in (*artifact.manifest.digests, MANIFEST)}
    except OSError as error:
        raise UnreadableFile(f"cannot read {artifact.folder}: {error.strerror}", "Check its permissions.") from error
    return ArtifactFiles(folder=folder, digest=hashlib.sha256(files[MANIFEST]).hexdigest(), files=files)


def unpack(files: ArtifactFiles, folder: Path) -> Artifact:
    """Write an artifact's files into ``folder``, the manifest last; every byte is checked by its digest.

    Raises:
        UnreadableFile: it has a wrong digest, or the folder cannot be written.
    """
    if hashlib.sha256(files.files[MANIFEST]).hexdigest() != files.digest:
        raise UnreadableFile(f"{files.folder} has a wrong digest after the transfer", "Run the sweep again.")
    if any(Path(name).name != name or name in {"", ".", ".."} for name in files.files):
        raise UnreadableFile(f"{files.folder} names a file outside its folder", "Export the model again.")
    for name in sorted(files.files, key=lambda name: name == MANIFEST):
        documents.write_bytes(folder / name, files.files[name])
    return manifest.open_artifact(folder)


def find_artifact(folder: Path, digest: str | None) -> Artifact | None:
    """The artifact below a folder whose manifest has this digest, every byte checked; None where there is none."""
    for path in sorted(folder.rglob(MANIFEST)) if digest else ():
        if manifest.digest_of(path) == digest:
            try:
                return manifest.open_artifact(path)
            except UnreadableFile:
                return None
    return None


@returning_errors
def missing_artifacts(digests: tuple[str, ...]) -> MissingArtifacts:
    """Which of these artifacts are to be sent to this worker."""
    return not_stored(digests)


def not_stored(digests: tuple[str, ...]) -> MissingArtifacts:
    """Which of these artifacts the store of this host lacks."""
    store = Store()
    lacking = tuple(digest for digest in digests if store.find(digest) is None)
    return MissingArtifacts(worker=worker_address(), host=socket.gethostname(), digests=lacking)


@returning_errors
def store_artifact(files: ArtifactFiles) -> str:
    """Take an artifact that was sent into the store of this host; returns its digest."""
    store = Store()
    if store.find(files.digest) is None:
        place = store.workplace(files.digest)
        try:
            unpack(files, place)
            store.add(files.digest, place)
        finally:
            store.discard(place)
    return files.digest


@returning_errors
def take_trial(task: TrialTask) -> Trial | MissingArtifacts | DeviceChanged:
    """Take one trial, or return the one of this id that was taken here before.

    Raises:
        DeviceError: the device is busy or lost; another try may find it again.
    """
    run_id = task.slot.id.partition("/")[0]
    journal = TrialFiles(worker_folder(run_id))
    if (earlier := journal.find(task.slot.id)) is not None:
        return earlier
    if (missing := not_stored((task.digest,))).digests:
        return missing
    artifact = manifest.open_artifact(Store().folder(task.digest), check_bytes=False)
    device = inventory.find(task.case.device)
    journal.folder.mkdir(parents=True, exist_ok=True)
    with inventory.connect(device) as link, link.lock(timeout_s=task.lock_wait_s):
        if (earlier := journal.find(task.slot.id)) is not None:  # another worker of this host was faster
            return earlier
        outcome = _measure(task, artifact, device, link, journal.folder / "trials.log")
    if isinstance(outcome, Trial):
        outcome = msgspec.structs.replace(outcome, facts={**outcome.facts, "taken_by": socket.gethostname()})
        journal.keep(outcome)
    return outcome


def _measure(
    task: TrialTask, artifact: Artifact, device: inventory.Device, link: Any, log: Path
) -> Trial | DeviceChanged:
    from vitdeploy.benchmarks.trial import prepared_device
    from vitdeploy.benchmarks.trial.request import TrialRequest
    from vitdeploy.devices import device_facts

    facts = device_facts.read_facts(device, link)
    stable = device_facts.stable_facts(device, facts)
    if digest_of_facts(stable) != task.facts_digest:
        return DeviceChanged(facts=stable)
    request = TrialRequest(
        slot=task.slot,
        case=task.case,
        artifact=artifact,
        compute=task.compute,
        protocol=task.protocol,
        log=log,
    )
    outcome = prepared_device.prepare(device, link, facts).run_trial(request)
    if not isinstance(outcome, Trial):
        raise DeviceError(outcome.message, outcome.hint)
    return outcome


def digest_of(artifact: Artifact) -> str:
    """Of an artifact's manifest: what stores have it by."""
    return manifest.digest_of(artifact.folder / MANIFEST)


def digest_of_facts(facts: Mapping[str, Any]) -> str:
    """SHA-256 of the facts of a machine that are exact; the others vary while it stays the same machine."""
    exact = {name: value for name, value in facts.items() if fact_table.is_exact(name)}
    return hashlib.sha256(json.dumps(exact, sort_keys=True, default=str).encode()).hexdigest()


def remove_trials(run_id: str) -> None:
    """Remove what this host has of a run: the client has it all."""
    TrialFiles(worker_folder(run_id)).remove()


def worker_address() -> str:
    """Of the worker that runs this."""
    return registry.load("vitdeploy.fleet.on_dask:address")()
