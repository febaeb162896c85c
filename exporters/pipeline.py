"""From what a user asked for to a finished artifact: look it up, else make it in a process of its own.

An artifact is stored under the digest of everything that changes its bytes, so the same request twice
costs a look-up. No framework is imported here: the work is done by `vitdeploy.exporters.step`.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import platformdirs

from vitdeploy import artifact, catalog, documents, errors, own_models, packages
from vitdeploy.artifact import Artifact, Parity
from vitdeploy.errors import ParityFailed, ToolchainFailed, UnreadableFile, VitdeployError
from vitdeploy.exporters import job as jobs
from vitdeploy.exporters import planning, process_end
from vitdeploy.exporters.job import Job, Reply
from vitdeploy.exporters.planning import Plan, Step
from vitdeploy.store import Store

Progress = Callable[[str], None]

STEP_LIMIT_S = 3600.0
"""A step that takes longer is killed. Source: the largest model here exports in minutes on two cores."""

CONFUSED: Final = (
    "Another size or --converter litert-torch may do: onnx2tf can take one axis for another of the same length."
)
"""Seen with SegNeXt-B and L, whose factors are square at 64x64."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """An artifact in its place; with an error when it was made and failed its proof."""

    artifact: Artifact
    reused: bool
    error: VitdeployError | None


def export(plan: Plan, store: Store, *, progress: Progress) -> Outcome:
    """Make the artifact, or take it from the store, and put it into its folder below the request's ``out``.

    Raises:
        ToolchainFailed: an exporter failed; the message names its log.
        UnreadableFile: the checkpoint does not fit, or the place cannot be written.
        Impossible: the target cannot take the model.
    """
    if plan.refusal:
        raise plan.refusal
    request = plan.request
    reused = True
    previous: Path | None = None
    for step in plan.steps:
        if request.force or store.find(step.key) is None:
            reused = False
            _make(plan, step, previous, store, progress)
        previous = store.folder(step.key)
        if step is not plan.steps[-1] and (wrong := parity_error(artifact.open_artifact(previous, check_bytes=False))):
            raise wrong  # nothing is built on a graph that computes something else
    stored = store.find(plan.key)
    assert stored is not None, "a step that succeeded has stored its artifact"
    folder = artifact.folder_of(stored, plan.options, request.device if stored.bound_to else None)
    made = store.deliver(plan.key, request.out / folder)
    return Outcome(artifact=made, reused=reused, error=parity_error(made))


def prove(found: Artifact, *, weights: Path | None, images: Path | None) -> tuple[Parity, VitdeployError | None]:
    """Measure the parity of a finished artifact again; it is not changed.

    Raises:
        UnreadableFile: the checkpoint is not the one that the artifact was made from.
    """
    manifest = found.manifest
    spec = catalog.find_model(manifest.model)
    if manifest.weights.name == spec.name:
        if manifest.weights.sha256 != spec.own_weights:
            raise UnreadableFile(f"{spec.name} is not what {found.folder} was made from", "Export it again.")
    elif manifest.weights.source == "file":
        if weights is None:
            raise UnreadableFile(
                f"{found.folder} was made from {manifest.weights.name}, which is needed to hold it against",
                "Name the checkpoint with --weights.",
            )
        if artifact.digest_of(weights) != manifest.weights.sha256:
            raise UnreadableFile(
                f"{weights} is not the checkpoint that {found.folder} was made from", f"Use {manifest.weights.name}."
            )
    target = catalog.find_target(manifest.target)
    if manifest.state == "deferred" and target.parent is not None:  # what lies there is still the graph
        target = catalog.find_target(target.parent)
    packages.require((*target.export_packages, *target.run_packages))
    with tempfile.TemporaryDirectory(prefix="vitdeploy-check-") as place:
        folder = Path(place)
        for name in (manifest.file, *(b.file for b in manifest.beside), artifact.MANIFEST):
            (folder / name).symlink_to((found.folder / name).resolve())
        _run(
            Job(
                model=f"{manifest.model}.{manifest.part}" if manifest.part else manifest.model,
                target=target.name,
                size=manifest.size,
                batch=manifest.batch,
                attention=manifest.attention,
                head=manifest.head,
                io=manifest.io,
                rewrites=manifest.rewrites,
                folder=folder,
                weights=weights if manifest.weights.source == "file" and spec.own_weights is None else None,
                images=images,
                only_prove=True,
            )
        )
        proven = artifact.open_artifact(folder, check_bytes=False)
    assert proven.manifest.parity is not None, "a proof leaves a parity"
    trace = " `vitdeploy check --trace` names the first node that breaks." if target.proof else ""
    return proven.manifest.parity, parity_error(Artifact(found.folder, proven.manifest), f"Do not deploy it.{trace}")


def parity_error(made: Artifact, hint: str | None = None) -> ParityFailed | None:
    """The error of an artifact that computes something else than its model; None when it was proven right.

    Args:
        hint: what to do about it; None: to check it again.
    """
    parity = made.manifest.parity
    if parity is None or parity.passed:
        return None
    if hint is None:
        hint = f"Run `vitdeploy check {made.folder}`, and do not deploy it."
        if planning.DEFAULT_CONVERTER in made.manifest.tools:
            hint += f" {CONFUSED}"
    return ParityFailed(f"{made.folder} does not compute what {made.manifest.model} computes: {parity.reason}", hint)


def _make(plan: Plan, step: Step, parent: Path | None, store: Store, progress: Progress) -> None:
    request = plan.request
    started = time.monotonic()
    folder = store.workplace(step.key)
    try:
        _run(
            Job(
                model=request.spec.name,
                target=step.target.name,
                size=request.size,
                batch=request.batch,
                attention=request.attention,
                head=request.head,
                io=request.io,
                rewrites=step.rewrites,
                folder=folder,
                converter=request.converter,
                weights=request.weights.resolve() if request.weights else None,
                weights_sha256=plan.weights_sha256,
                parent=parent,
                deferred=step.deferred,
                compute_capability=request.compute_capability,
            )
        )
        became = _became(artifact.open_artifact(folder, check_bytes=False))
        store.add(step.key, folder, replace=request.force)
    finally:
        store.discard(folder)
    progress(
        f"{request.spec.name} {step.target.name} {request.size[0]}x{request.size[1]}: "
        f"{became} in {time.monotonic() - started:.1f} s"
    )


def _became(made: Artifact) -> str:
    """What to say of a step that is done."""
    if made.manifest.state == "deferred":
        return "its graph is checked, the device has to build it"
    if made.manifest.parity is None:
        return "built, not run"
    return "made and proven" if made.manifest.parity.passed else "made, and its proof failed"


def _run(job: Job) -> None:
    """Do a job in a fresh process that ends with this one.

    Raises:
        VitdeployError: the error that the process answered with, of its own class.
        ToolchainFailed: it crashed, was killed or took too long.
    """
    log = _log_path(job)
    command = [sys.executable, "-m", "vitdeploy.exporters.step"]
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stream, start_new_session=True
        )
        try:
            answer, _ = process.communicate(jobs.encode(job), timeout=STEP_LIMIT_S)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if isinstance(error, subprocess.TimeoutExpired):
                raise ToolchainFailed(
                    f"exporting {job.model} to {job.target} took more than {STEP_LIMIT_S:g} s", f"Read {log}."
                ) from error
            raise
    try:
        reply = msgspec.json.decode(answer, type=Reply)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        what = f"exporting {job.model} to {job.target}"
        raise process_end.failure(what, process.returncode, log) from error
    if reply.error is not None:
        kind = getattr(errors, reply.error.kind, ToolchainFailed)
        raise kind(reply.error.message, reply.error.hint.replace("the step's log", str(log)))


def _log_path(job: Job) -> Path:
    folder = Path(platformdirs.user_cache_dir("vitdeploy")) / "logs"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise documents.cannot_write(folder, error) from error
    return (
        folder / f"{own_models.folder_name(job.model, None)}-{job.target}-{job.size[0]}x{job.size[1]}-{os.getpid()}.log"
    )
