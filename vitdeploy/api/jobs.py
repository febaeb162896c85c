"""Jobs of cases, for every verb that times: the artifact, exported where it is not yet, and an engine where needed."""

from collections.abc import Sequence

from vitdeploy.api.case_job import job_of
from vitdeploy.api.cases import BenchRequest, Planned
from vitdeploy.api.export import export
from vitdeploy.api.export_request import ExportRequest
from vitdeploy.artifacts.manifest import Artifact
from vitdeploy.benchmarks.trial.case_trials import Job
from vitdeploy.catalog import registry, rewrite_table
from vitdeploy.catalog.fact_table import DeviceFacts
from vitdeploy.devices import device_facts, inventory
from vitdeploy.devices.inventory import Device
from vitdeploy.errors import Impossible, VitdeployError
from vitdeploy.exporters.engines import remote_build
from vitdeploy.processes.progress import Progress


def jobs_for(
    cases: Sequence[Planned],
    request: BenchRequest,
    device: Device,
    facts: DeviceFacts,
    *,
    progress: Progress,
    keep_going: bool = True,
) -> list[Job]:
    """The jobs of cases on a device, in their order; what is not exported or built yet is made first.

    Args:
        request: the options that a case does not have itself.
        keep_going: a case that cannot be made is a job with its error; without, its error is raised.

    Raises:
        VitdeployError: a case could not be made, and ``keep_going`` is off.
    """
    for notice in inventory.load().notices_of(device.name):
        progress(notice)
    threads = request.threads or inventory.threads_of(device, facts)
    jobs: list[Job] = []
    for planned in cases:
        artifact, error = None, planned.refused
        if error is None:
            try:
                artifact = _artifact_for(planned, request, device, facts, progress)
            except VitdeployError as failure:
                error = failure
        if error is not None:
            if not keep_going:
                raise error
            progress(f"{planned.words}: {error.message}")
        jobs.append(job_of(planned, request, device, facts, threads=threads, artifact=artifact, error=error))
    return jobs


def _artifact_for(
    planned: Planned, request: BenchRequest, device: Device, facts: DeviceFacts, progress: Progress
) -> Artifact:
    """The artifact of a case, named or exported now; in place of a deferred one, the engine that the device builds."""
    variant = planned.variant
    if variant.target not in device.targets:
        raise Impossible(f"{variant.target} does not run on {device.name}", f"It takes {', '.join(device.targets)}.")
    artifact = planned.artifact
    if artifact is None:
        target = registry.find_target(variant.target)
        remote = device.link != "local" and target.deferrable
        options = ExportRequest.of(
            variant,
            cpu=device_facts.cpu_of(facts) if rewrite_table.depends_on_cpu(target) else None,
            device=device.name if remote else None,
            out=request.artifacts,
            weights=planned.weights,
            accept_licence=request.accept_licence,
        )
        (row,) = export([variant.full_model], options, progress=progress)
        if row.artifact is None:
            raise row.error or Impossible(f"{planned.words} could not be made", "Run `vitdeploy export` for it.")
        artifact = row.artifact
    if remote_build.needs_build(device, facts, artifact):
        artifact = remote_build.build(artifact, device, facts=facts, progress=progress)
    return artifact
