"""What a worker of a sweep does: look at its device, export, store what it is sent, take a trial.

The trial is the one that `bench` takes, by the same code. It is a file on the worker's host before Dask hears of it.
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
from vitdeploy.api.export import ExportRequest
from vitdeploy.artifacts import manifest
from vitdeploy.artifacts.manifest import MANIFEST, Artifact
from vitdeploy.artifacts.store import Store
from vitdeploy.catalog import registry
from vitdeploy.devices import inventory
from vitdeploy.errors import DeviceError, UnreadableFile, VitdeployError
from vitdeploy.fleet.messages import (
    ArtifactFiles,
    DeviceChanged,
    DeviceSurvey,
    ExportTask,
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
        except Exception as error:  # noqa: BLE001 (the border to Dask: a bug is told as one, and not tried again)
            return PermanentError(error=VitdeployError(f"internal error on a worker: {type(error).__name__}: {error}"))

    return answer


@returning_errors
def survey_device(device: str, version: str, lock_wait_s: float) -> DeviceSurvey:
    """The device as this worker finds it.

    Raises:
        DeviceError: it is not known here, does not answer, or this worker runs another vitdeploy.
    """
    from vitdeploy.devices import device_facts

    here = socket.gethostname()
    if version != __version__:
        raise DeviceError(
            f"the worker on {here} has vitdeploy {__version__}, the sweep has {version}",
            "Install the same version on both.",
        )
    known = inventory.devices()
    if device not in known:
        raise DeviceError(
            f"the worker on {here} serves {device} and has no file for it",
            f"Put devices/{device}.toml where it starts.",
        )
    remove_old()
    found = known[device]
    if (why_not := inventory.unreachable(found)) is not None:
        raise inventory.unreachable_error(found, why_not)
    with contextlib.ExitStack() as held:
        if found.power_mode is not None or found.hold_clocks:  # what its trials will see is what holds during the lock
            link = held.enter_context(inventory.connect(found))
            held.enter_context(link.lock(timeout_s=lock_wait_s))
            facts = device_facts.read_facts(found, link)
        else:
            facts = device_facts.facts_of(found)
    return DeviceSurvey(
        device=found,
        facts=device_facts.stable_facts(found, facts),
        threads=inventory.threads_of(found, facts),
        power_mode=facts.power_mode,
    )


@returning_errors
def export_artifact(wanted: ExportTask) -> ArtifactFiles:
    """Export an artifact here and pack it."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="vitdeploy-fleet-") as place:
        order = ExportRequest(
            target=wanted.target,
            size=f"{wanted.size[0]}x{wanted.size[1]}",
            batch=wanted.batch,
            attention=wanted.attention,
            out=Path(place),
        )
        row = export.export([wanted.model], order)[0]
        if row.artifact is None:
            raise row.error or VitdeployError(f"{wanted.words} was not made, and nobody said why")
        packed = pack(row.artifact, str(row.artifact.folder.relative_to(place)))
    return dataclasses.replace(packed, seconds=time.monotonic() - started)


@returning_errors
def build_engine(digest: str, device: str, lock_wait_s: float) -> ArtifactFiles | MissingArtifacts:
    """Have the device build the engine of an artifact that was left to it, and pack that.

    Raises:
        DeviceError: the device is busy or lost; another try may find it again.
    """
    from vitdeploy.devices import device_facts
    from vitdeploy.exporters.engines import remote_build

    store = Store()
    if store.find(digest) is None:
        return MissingArtifacts(worker=worker_address(), host=socket.gethostname(), digests=(digest,))
    found = inventory.find(device)
    with tempfile.TemporaryDirectory(prefix="vitdeploy-fleet-") as place:
        near = Path(place) / "graph"
        shutil.copytree(store.folder(digest), near)  # its engine comes to lie beside it, which is not for the store
        made = manifest.open_artifact(near, check_bytes=False)
        facts = device_facts.facts_of(found)
        return pack(remote_build.build(made, found, found=facts, progress=progress.silent, lock_wait_s=lock_wait_s), "")


def pack(made: Artifact, folder: str) -> ArtifactFiles:
    """An artifact with the bytes of its files.

    Raises:
        UnreadableFile: they cannot be read.
    """
    names = (made.manifest.file, *(b.file for b in made.manifest.beside), MANIFEST)
    try:
        files = {name: (made.folder / name).read_bytes() for name in names}
    except OSError as error:
        raise UnreadableFile(f"cannot read {made.folder}: {error.strerror}", "Check its permissions.") from error
    return ArtifactFiles(folder=folder, digest=hashlib.sha256(files[MANIFEST]).hexdigest(), files=files)


def unpack(bundle: ArtifactFiles, folder: Path) -> Artifact:
    """Write an artifact's files into ``folder``, the manifest last; every byte is held against its digest.

    Raises:
        UnreadableFile: it was changed on the way, or the place cannot be written.
    """
    if hashlib.sha256(bundle.files[MANIFEST]).hexdigest() != bundle.digest:
        raise UnreadableFile(f"{bundle.folder} was changed on its way", "Run the sweep again.")
    if any(Path(name).name != name or name in {"", ".", ".."} for name in bundle.files):
        raise UnreadableFile(f"{bundle.folder} names a file outside its folder", "Export the model again.")
    for name in sorted(bundle.files, key=lambda name: name == MANIFEST):
        documents.write_bytes(folder / name, bundle.files[name])
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
    """Which of these artifacts the store of this host has not, and who asks for them."""
    store = Store()
    return MissingArtifacts(
        worker=worker_address(),
        host=socket.gethostname(),
        digests=tuple(one for one in digests if store.find(one) is None),
    )


@returning_errors
def store_artifact(bundle: ArtifactFiles) -> str:
    """Take an artifact that was sent into the store of this host; returns its digest."""
    store = Store()
    if store.find(bundle.digest) is None:
        place = store.workplace(bundle.digest)
        try:
            unpack(bundle, place)
            store.add(bundle.digest, place)
        finally:
            store.discard(place)
    return bundle.digest


@returning_errors
def take_trial(ticket: TrialTask) -> Trial | MissingArtifacts | DeviceChanged:
    """Take one trial, or return the one of this id that was taken here before.

    Raises:
        DeviceError: the device is busy or lost; another try may find it again.
    """
    run_id = ticket.id.partition("/")[0]
    journal = TrialFiles(worker_folder(run_id))
    if (known := journal.find(ticket.id)) is not None:
        return known
    store = Store()
    if store.find(ticket.digest) is None:
        return MissingArtifacts(worker=worker_address(), host=socket.gethostname(), digests=(ticket.digest,))
    made = manifest.open_artifact(store.folder(ticket.digest), check_bytes=False)
    device = inventory.find(ticket.case.device)
    journal.folder.mkdir(parents=True, exist_ok=True)
    with inventory.connect(device) as link, link.lock(timeout_s=ticket.lock_wait_s):
        if (known := journal.find(ticket.id)) is not None:  # another worker of this host was faster
            return known
        found = _measured(ticket, made, device, link, journal.folder / "trials.log")
    if isinstance(found, Trial):
        found = msgspec.structs.replace(found, facts={**found.facts, "taken_by": socket.gethostname()})
        journal.keep(found)
    return found


def _measured(
    ticket: TrialTask, made: Artifact, device: inventory.Device, link: Any, log: Path
) -> Trial | DeviceChanged:
    from vitdeploy.benchmarks.trial import prepared_device
    from vitdeploy.benchmarks.trial.request import TrialRequest, TrialSlot
    from vitdeploy.devices import device_facts

    facts = device_facts.read_facts(device, link)
    stable = device_facts.stable_facts(device, facts)
    if digest_of_facts(stable) != ticket.facts_digest:
        return DeviceChanged(facts=stable)
    request = TrialRequest(
        slot=TrialSlot(place=ticket.place, index=ticket.index, order=ticket.order, id=ticket.id),
        case=ticket.case,
        artifact=made,
        compute=ticket.compute,
        protocol=ticket.protocol,
        log=log,
    )
    found = prepared_device.prepare(device, link, facts).run_trial(request)
    if not isinstance(found, Trial):
        raise DeviceError(found.message, found.hint)
    return found


def digest_of(made: Artifact) -> str:
    """Of an artifact's manifest: what stores have it by."""
    return manifest.digest_of(made.folder / MANIFEST)


def digest_of_facts(facts: Mapping[str, Any]) -> str:
    """One word for what a machine is."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def remove_trials(run_id: str) -> None:
    """Remove what this host has of a run: the client has it all."""
    TrialFiles(worker_folder(run_id)).remove()


def worker_address() -> str:
    """Of the worker that runs this."""
    return registry.load("vitdeploy.fleet.on_dask:address")()
