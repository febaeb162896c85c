"""Export of an artifact: taken from the store, else made step by step, each in a process of its own.

An artifact is stored under the digest of everything that changes its bytes, so the same request twice
costs a look-up. No framework is imported here: the work is done by `vitdeploy.exporters.step`.
"""

import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgspec

from vitdeploy.artifacts import weights_origin
from vitdeploy.artifacts.manifest import MANIFEST, Artifact, Parity, digest_of, folder_of, open_artifact, write
from vitdeploy.artifacts.parity import TWO_ANSWERS
from vitdeploy.artifacts.store import Store
from vitdeploy.catalog import packages, registry, user_models
from vitdeploy.errors import ParityFailed, UnreadableFile, VitdeployError
from vitdeploy.exporters import planning
from vitdeploy.exporters.job import StepJob
from vitdeploy.exporters.planning import Plan, Step
from vitdeploy.processes import child_reply, stages
from vitdeploy.processes.progress import GOES_ON, silent
from vitdeploy.processes.stages import Stage

Progress = Callable[[str], None]

STEP_LIMIT_S = 3600.0
"""A step that takes longer is killed. Source: the largest model here exports in minutes on two cores."""

CONFUSED: Final = "Try another size or --converter litert-torch: onnx2tf can confuse two axes of the same length."
"""Seen with SegNeXt-B and L, whose factors are square at 64x64."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStages:
    """The stages in which one file was made."""

    file: str
    """Its variant in words."""
    stages: tuple[Stage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedArtifact:
    """An artifact in its folder; with an error where its parity failed."""

    artifact: Artifact
    reused: bool
    error: VitdeployError | None
    steps: tuple[StepStages, ...] = ()
    """What was made now; empty where the store had it."""


def export(plan: Plan, store: Store, *, progress: Progress) -> ExportedArtifact:
    """Make the artifact, or take it from the store, and put it into its folder below the request's ``out``.

    Raises:
        ToolchainFailed: an exporter failed; the message names its log.
        UnreadableFile: the checkpoint does not fit, or the place cannot be written.
        Impossible: the target cannot take the model.
    """
    if plan.refusal:
        raise plan.refusal
    request = plan.request
    steps: list[StepStages] = []
    previous: Path | None = None
    count = len(plan.steps)
    for number, step in enumerate(plan.steps, 1):
        if request.force or store.find(step.key) is None:
            place = f", file {number} of {count}" if count > 1 else ""
            steps.append(_run_step(plan, step, previous, store, progress, place=place))
        previous = store.folder(step.key)
        if step is not plan.steps[-1] and (wrong := parity_error(open_artifact(previous, check_bytes=False))):
            raise wrong  # nothing is built on a graph that computes something else
    stored = store.find(plan.key)
    assert stored is not None, "a step that succeeded has stored its artifact"
    if stored.weights.other_keys:
        others = " or ".join(stored.weights.other_keys)
        progress(f"{stored.weights.name}: {stored.weights.key} is taken, not {others}; --weights-key chooses")
    folder = folder_of(stored, plan.options, request.device if stored.bound_to else None)
    artifact = _identified(store.deliver(plan.key, request.out / folder), plan)
    return ExportedArtifact(artifact=artifact, reused=not steps, error=parity_error(artifact), steps=tuple(steps))


def _identified(artifact: Artifact, plan: Plan) -> Artifact:
    """The artifact with what is of this request: the CPU, and the checkpoint as it is called and known now.

    It may be stored under another name of the checkpoint, and one file suits several CPUs.
    """
    manifest, weights = artifact.manifest, plan.request.weights
    now = manifest.weights
    if weights is not None and now.source == "file":
        now = weights_origin.identified(now, weights)
    if (now, plan.cpu) == (manifest.weights, manifest.cpu):
        return artifact
    return write(artifact.folder, msgspec.structs.replace(manifest, weights=now, cpu=plan.cpu))


def prove(
    artifact: Artifact,
    *,
    weights: Path | None,
    images: Path | None,
    device: str | None = None,
    progress: Progress = silent,
) -> tuple[Parity, VitdeployError | None]:
    """Measure the parity of a finished artifact again; it is not changed.

    Args:
        weights: the checkpoint that it was made from.
        images: folder of the user's photographs; None: the bundled ones.
        device: where its outputs are computed; None: this machine.
        progress: told of each stage.

    Raises:
        UnreadableFile: the checkpoint is not the one that the artifact was made from.
    """
    manifest = artifact.manifest
    spec = registry.find_model(manifest.model)
    if manifest.weights.name == spec.name:
        if manifest.weights.sha256 != spec.user_weights:
            raise UnreadableFile(f"{spec.name} is not what {artifact.folder} was made from", "Export it again.")
    elif manifest.weights.source == "file":
        if weights is None:
            raise UnreadableFile(
                f"{artifact.folder} was made from {manifest.weights.name}, which is needed for the comparison",
                "Name the checkpoint with --weights.",
            )
        if digest_of(weights) != manifest.weights.sha256:
            raise UnreadableFile(
                f"{weights} is not the checkpoint that {artifact.folder} was made from", f"Use {manifest.weights.name}."
            )
    target = registry.find_target(manifest.target)
    if manifest.state == "deferred" and target.parent is not None:  # what lies there is still the graph
        target = registry.find_target(target.parent)
    # A device runs the file itself: this machine makes the reference only, as torch's own target does.
    here = target if device is None else registry.find_target("torch-fp32")
    packages.require((*spec.requires, *here.export_packages, *here.run_packages))
    with tempfile.TemporaryDirectory(prefix="vitdeploy-check-") as place:
        folder = Path(place)
        for name in manifest.digests:
            (folder / name).symlink_to((artifact.folder / name).resolve())
        shutil.copyfile(artifact.folder / MANIFEST, folder / MANIFEST)  # the step writes it, and writes follow links
        _run(
            StepJob(
                variant=replace(manifest.variant, target=target.name, preprocessing=manifest.preprocessing),
                rewrites=manifest.rewrites,
                folder=folder,
                weights=weights if manifest.weights.source == "file" and manifest.weights.name != spec.name else None,
                images=images,
                only_prove=True,
                device=device,
            ),
            lambda stage: progress(f"{manifest.variant.words}: {stage} {GOES_ON}"),
        )
        proven = open_artifact(folder, check_bytes=False)
    assert proven.manifest.parity is not None, "a proof leaves a parity"
    trace = " `vitdeploy check --trace` names the first node that breaks." if target.proof and not device else ""
    return proven.manifest.parity, parity_error(Artifact(artifact.folder, proven.manifest), f"Do not deploy it.{trace}")


def parity_error(artifact: Artifact, hint: str | None = None) -> ParityFailed | None:
    """The error of an artifact that computes something else than its model; None where its parity passed or is unknown.

    Args:
        hint: what to do about it; None: to check it again.
    """
    parity = artifact.manifest.parity
    if parity is None or parity.passed:
        return None
    if parity.reason is not None and TWO_ANSWERS in parity.reason:
        return ParityFailed(
            f"{artifact.manifest.model} cannot be proven: {parity.reason}",
            "Make the model give one answer to one input: no dropout, noise or state while it answers.",
        )
    if hint is None:
        hint = f"Run `vitdeploy check {artifact.folder}`, and do not deploy it."
        if planning.DEFAULT_CONVERTER in artifact.manifest.tools:
            hint += f" {CONFUSED}"
    return ParityFailed(
        f"{artifact.folder} does not compute what {artifact.manifest.model} computes: {parity.reason}", hint
    )


def _run_step(
    plan: Plan, step: Step, parent: Path | None, store: Store, progress: Progress, *, place: str
) -> StepStages:
    """Make one file and put it into the store; its stages.

    Args:
        place: which file of several it is, for the lines of progress.
    """
    request = plan.request
    started = time.monotonic()
    folder = store.workplace(step.key)
    try:
        made_in = _run(
            StepJob(
                variant=step.variant,
                rewrites=step.rewrites,
                left_out=step.left_out,
                folder=folder,
                weights=request.weights.resolve() if request.weights else None,
                parent=parent,
                deferred=step.deferred,
                made_from=step.made_from,
            ),
            lambda stage: progress(f"{step.variant.words}{place}: {stage} {GOES_ON}"),
        )
        result = _result_words(open_artifact(folder, check_bytes=False))
        store.add(step.key, folder, replace=request.force)
    finally:
        store.discard(folder)
    progress(f"{step.variant.words}: {result} in {time.monotonic() - started:.1f} s ({stages.words(made_in)})")
    return StepStages(file=step.variant.words, stages=made_in)


def _result_words(artifact: Artifact) -> str:
    if artifact.manifest.state == "deferred":
        return "its graph is checked, the device has to build it"
    if artifact.manifest.parity is None:
        return "built, not run"
    return f"exported, parity {'passed' if artifact.manifest.parity.passed else 'failed'}"


def _run(job: StepJob, on_stage: Callable[[str], None]) -> tuple[Stage, ...]:
    """Do a job in a fresh process that ends with this one; the stages that it went through.

    Raises:
        VitdeployError: the error that the process answered with, of its own class.
        ToolchainFailed: it crashed, was killed or took too long.
    """
    variant = job.variant
    name = user_models.folder_name(variant.full_model, None)
    log = child_reply.log_file(f"{name}-{variant.target}-{variant.size_words}")
    what = f"exporting {variant.full_model} to {variant.target}"
    command = [sys.executable, "-m", "vitdeploy.exporters.step"]
    with stages.watching("start", on_stage) as watch:
        result = child_reply.run_local(
            command,
            replace(job, stages=watch.descriptor),
            what=what,
            timeout_s=STEP_LIMIT_S,
            log=log,
            descriptors=[watch.descriptor],
        )
    reply = child_reply.decode(result, type(None))
    if reply is not None:
        error = child_reply.error_of(reply, what, result, log)
        raise type(error)(error.message, error.hint.replace("the step's log", str(log)))
    return watch.stages
