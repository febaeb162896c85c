"""The process of one export step: ``python -m vitdeploy.exporters.step``, a job on stdin, a reply on stdout.

A process of its own, because exporters are large, may crash, and print what they like: all that is the step's log.
"""

import errno
import re
import sys
import time
from typing import Any

import msgspec
import numpy as np

from vitdeploy import documents
from vitdeploy.artifacts import manifest as artifact_manifest
from vitdeploy.artifacts.manifest import SCHEMA, Manifest, as_json, digest_of, open_artifact
from vitdeploy.artifacts.weights_origin import Weights, identified
from vitdeploy.catalog import graph_io, registry
from vitdeploy.catalog.spec import is_user_model
from vitdeploy.errors import Impossible, VitdeployError
from vitdeploy.exporters import job as jobs
from vitdeploy.exporters import proof
from vitdeploy.exporters.job import ExportedFile, Exporter, StepJob
from vitdeploy.processes import child_process, stages

DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO, errno.EFBIG})
"""What the operating system says when a place cannot be written."""


VALUE_DEPENDENT = ("data-dependent", "DataDependent", "data dependent", "Data-dependent")
"""How torch.export says that a branch depends on values. Source: torch.fx.experimental.symbolic_shapes."""


def run(job: StepJob) -> None:
    """Do the job: afterwards the folder holds the artifact with its manifest, parity included."""
    spec, target, variant = job.spec, job.target, job.variant
    job.check_unchanged()
    stages.begin("build")
    create = registry.load("vitdeploy.models.create:create_with_choice")
    model, choice = create(
        spec, attention=variant.attention, weights=job.weights, weights_key=variant.weights_key, seed=job.seed
    )
    # Inputs and outputs in fp16 are the file's own: the reference stays fp32.
    io = "fp32" if variant.io == "fp16" and target.precision == "fp16" else variant.io
    reference = registry.load("vitdeploy.exporters.rewrites.io_wrapper:with_io")(model, spec, head=variant.head, io=io)
    if is_user_model(spec.name):
        _check_it_runs(reference, job)
    if job.only_prove:
        manifest = open_artifact(job.folder).manifest
    else:
        started = time.perf_counter_ns()
        exporter: Exporter = registry.load(target.exporter or "")
        try:
            exported = exporter.make(reference, spec, job)
        except Exception as error:
            refusal = _branch_on_values(error, spec.name) if is_user_model(spec.name) else None
            if refusal is None:
                raise
            raise refusal from error
        stages.begin("describe")
        manifest = _manifest(exported, model, job, choice, build_ns=time.perf_counter_ns() - started)
        job.check_unchanged()
    if not job.only_prove and (manifest.deferred or manifest.parity_skipped):
        artifact_manifest.write(job.folder, manifest)
        return
    stages.begin("prove")
    parity = proof.prove(reference, job.folder / manifest.file, as_json(manifest), job)
    artifact_manifest.write(job.folder, msgspec.structs.replace(manifest, parity=parity))


def _check_it_runs(reference: Any, job: StepJob) -> None:
    """Refuse a size or batch that a user model cannot take, before its exporter fails with words of its own.

    Raises:
        Impossible: the model raised an error.
    """
    torch_fp32 = registry.load("vitdeploy.exporters.on_torch_fp32")
    entries = graph_io.inputs(job.spec, size=job.variant.size, batch=job.variant.batch, io=job.variant.io)
    try:
        torch_fp32.outputs(reference, {entry.name: np.zeros(entry.shape, entry.dtype) for entry in entries})
    except VitdeployError:
        raise
    except Exception as error:
        line = (str(error).strip().splitlines() or [""])[0][:200]
        raise Impossible(
            f"{job.spec.name} does not take an image {entries[0].shape}: {type(error).__name__}: {line}",
            "Name a size and batch that the model takes with --size and --batch.",
        ) from error


def _branch_on_values(error: BaseException | None, name: str) -> Impossible | None:
    """The refusal of a model that decides by values what it computes, where that is behind an exporter's ``error``."""
    while error is not None:
        text = f"{type(error).__name__}: {error}"
        if any(words in text for words in VALUE_DEPENDENT):
            place = re.search(r'File "([^"]+)", line (\d+), in forward\s+(.+)', text)
            where = f" at {place[1]}:{place[2]}, `{place[3].strip()}`" if place else ""
            return Impossible(
                f"{name} decides by the values of its input what it computes{where}: a file holds one way only",
                "Write it with torch.where, or leave out the branch that is not needed.",
            )
        error = error.__cause__ or error.__context__
    return None


def _manifest(exported: ExportedFile, model: Any, job: StepJob, choice: Any, *, build_ns: int) -> Manifest:
    file, spec = job.folder / exported.file, job.spec
    count = registry.load("vitdeploy.models.create")
    return Manifest(
        schema=SCHEMA,
        **job.variant.recorded,
        task=spec.task,
        file=exported.file,
        sha256=digest_of(file),
        size_bytes=file.stat().st_size,
        beside=exported.beside,
        precision=job.target.precision,
        inputs=exported.inputs,
        outputs=exported.outputs,
        params=count.count_parameters(model),
        macs=count.count_macs(model, *(entry.shape for entry in graph_io.inputs(spec, size=job.variant.size, batch=1))),
        weights=_weights(job, choice),
        preprocessing=spec.preprocessing,
        made_from=job.made_from,
        parents=exported.parents,
        recipe=exported.recipe,
        rewrites=exported.rewrites,
        winograd_rows=exported.winograd_rows,
        tools={**jobs.tool_versions(job.target), **exported.tools},
        bound_to=exported.bound_to,
        build_ns=build_ns,
        timing_cache_sha256=exported.timing_cache_sha256,
        state="deferred" if exported.deferred else "ready",
        deferred=exported.deferred,
        operators=exported.operators,
        note=spec.note,
        delegation=exported.delegation,
        parity=exported.parity,
        parity_skipped=exported.unproven,
    )


def _weights(job: StepJob, choice: Any) -> Weights:
    source, _, value = job.variant.weights.partition(":")
    if source == "random":
        return Weights(source="random", seed=int(value))
    own = Weights(source="file", sha256=value, name=job.spec.name)
    weights = own if job.weights is None else identified(own, job.weights)
    return weights if choice is None else msgspec.structs.replace(weights, key=choice.key, other_keys=choice.others)


def _full_disk(error: BaseException | None) -> OSError | None:
    """What the disk refused behind ``error``: frameworks wrap it in errors of their own."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in DISK_ERRORS:
            return error
        error = error.__cause__ or error.__context__
    return None


def answer(document: Any) -> None:
    """Do the job that came as JSON.

    Raises:
        VitdeployError: an error that a user can meet; a disk that is full is one, whatever wraps it.
    """
    job = jobs.decode(document)
    stages.write_to(job.stages)
    try:
        run(job)
    except VitdeployError:
        raise
    except Exception as error:
        full = _full_disk(error)
        if full is None:
            raise  # a crash: its traceback belongs to the log
        raise documents.cannot_write(job.folder, full) from error


if __name__ == "__main__":
    sys.exit(child_process.answer(answer))
