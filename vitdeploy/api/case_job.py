"""The one place that makes a `Job`: a case on a device, with the artifact that is timed."""

from vitdeploy.api.cases import BenchRequest, Planned, case_of
from vitdeploy.artifacts.manifest import Artifact
from vitdeploy.benchmarks.trial.case_trials import Job
from vitdeploy.catalog.fact_table import DeviceFacts
from vitdeploy.devices import device_facts
from vitdeploy.devices.inventory import Device
from vitdeploy.errors import VitdeployError


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
