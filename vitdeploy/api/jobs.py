"""The one place that makes a `Job`, for every verb that times: artifact, engine where one is needed, case, device."""

from collections.abc import Sequence

from vitdeploy.api.cases import BenchRequest, Planned, case_of
from vitdeploy.api.export import ExportRequest, export
from vitdeploy.artifacts.manifest import Artifact
from vitdeploy.benchmarks.trial.case_trials import Job
from vitdeploy.catalog.fact_table import DeviceFacts
from vitdeploy.devices import device_facts, inventory
from vitdeploy.devices.inventory import Device
from vitdeploy.errors import Impossible, VitdeployError
from vitdeploy.exporters.engines import remote_build
from vitdeploy.processes.progress import Progress


def jobs_for(
    cases: Sequence[Planned],
    order: BenchRequest,
    device: Device,
    facts: DeviceFacts,
    *,
    progress: Progress,
    keep_going: bool = True,
) -> list[Job]:
    """The jobs of cases on a device, in their order; what is not exported or built yet is made first.

    Args:
        cases: what is timed.
        order: how, for everything that a case does not say itself.
        device: where.
        facts: the device's facts, of `machine.of`.
        progress: told what happens.
        keep_going: a case that cannot be made is a job with its error; without, its error is raised.

    Raises:
        VitdeployError: a case could not be made, and ``keep_going`` is off.
    """
    threads = order.threads or inventory.threads_of(device, facts)
    jobs: list[Job] = []
    for planned in cases:
        artifact, error = None, planned.refused
        if error is None:
            try:
                artifact = _artifact_for(planned, order, device, progress)
                if remote_build.needs_build(device, facts, artifact):
                    artifact = remote_build.build(artifact, device, facts=facts, progress=progress)
            except VitdeployError as failure:
                error = failure
        if error is not None:
            if not keep_going:
                raise error
            progress(f"{planned.words}: {error.message}")
        compute = device_facts.compute_of(planned.target.name, device, facts)
        case = case_of(
            planned,
            order,
            device=device.name,
            compute=compute,
            threads=threads,
            made=artifact,
            power_mode=facts.power_mode,
        )
        jobs.append(Job(case=case, compute=compute, artifact=artifact, error=error))
    return jobs


def _artifact_for(planned: Planned, order: BenchRequest, device: Device, progress: Progress) -> Artifact:
    """The artifact of a case: the one that was named, or one that is exported now."""
    if planned.target.name not in device.targets:
        raise Impossible(
            f"{planned.target.name} does not run on {device.name}", f"It takes {', '.join(device.targets)}."
        )
    if planned.artifact is not None:
        return planned.artifact
    request = ExportRequest(
        target=planned.target.name,
        size=f"{planned.size[0]}x{planned.size[1]}",
        batch=planned.batch,
        attention=planned.attention,
        device=device.name if planned.target.deferrable and device.link != "local" else None,
        out=order.artifacts,
    )
    (row,) = export([planned.spec.name], request, progress=progress)
    if row.artifact is None:
        raise row.error or Impossible(f"{planned.words} could not be made", "Run `vitdeploy export` for it.")
    return row.artifact
