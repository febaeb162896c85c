"""Jobs: the one place that makes a `Job`, for every verb that times: artifact, engine where one is needed, case."""

from collections.abc import Sequence

from vitdeploy.api.cases import BenchRequest, Planned, case_of
from vitdeploy.api.export import ExportRequest, export
from vitdeploy.artifacts.manifest import Artifact
from vitdeploy.benchmarks.trial.case_trials import Job
from vitdeploy.catalog import registry
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


def job_of(
    planned: Planned,
    request: BenchRequest,
    device: Device,
    facts: DeviceFacts,
    *,
    threads: int,
    artifact: Artifact | None,
    error: VitdeployError | None,
) -> Job:
    """The job of a case on a device, with its artifact or the reason why there is none."""
    compute = device_facts.compute_of(planned.variant.target, device, facts)
    case = case_of(
        planned,
        request,
        device=device.name,
        compute=compute,
        threads=threads,
        artifact=artifact,
        power_mode=facts.power_mode,
    )
    return Job(case=case, compute=compute, artifact=artifact, error=error)


def _artifact_for(
    planned: Planned, request: BenchRequest, device: Device, facts: DeviceFacts, progress: Progress
) -> Artifact:
    """The artifact of a case, named or exported now; in place of a deferred one, the engine that the device builds."""
    variant = planned.variant
    if variant.target not in device.targets:
        raise Impossible(f"{variant.target} does not run on {device.name}", f"It takes {', '.join(device.targets)}.")
    artifact = planned.artifact
    if artifact is None:
        remote = device.link != "local" and registry.find_target(variant.target).deferrable
        options = ExportRequest.of(
            variant,
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
