"""One trial by our own worker: start its process on the device, wait, and read its reply."""

import msgspec

from vitdeploy.artifacts.manifest import push
from vitdeploy.benchmarks.trial import worker
from vitdeploy.benchmarks.trial.request import LostTrial, TrialRequest
from vitdeploy.catalog import registry
from vitdeploy.devices import cooling
from vitdeploy.errors import DeviceError
from vitdeploy.processes import child_reply
from vitdeploy.processes.child_reply import MissingReply
from vitdeploy.processes.connection import Connection
from vitdeploy.results import validity
from vitdeploy.results.record import Trial


def run_trial(request: TrialRequest, link: Connection, *, probe: str, cool_c: float | None = None) -> Trial | LostTrial:
    """Run one trial in a fresh process on the device.

    Raises:
        VitdeployError: the worker's own error, or `ToolchainFailed` where it ended without a reply.
    """
    job = worker_job(request, link, probe=probe, cool_c=cool_c)
    slot, log = request.slot, request.log
    try:
        result = child_reply.start(link, worker.__name__, job, timeout_s=cooling.WAIT_S + request.limit_s)
    except DeviceError as error:
        return slot.lost(error)
    reply = child_reply.decode(result, Trial)
    if isinstance(reply, Trial):
        return reply
    child_reply.keep_log(log, f"{request.case.name}, {slot.name}", result)
    if isinstance(reply, MissingReply) and result.exit_code < 0:
        return LostTrial(
            message=f"the worker of {slot.name} was killed by {child_reply.signal_name(result)}",
            hint=f"Look for the cause in {log}, and for the out-of-memory killer in `dmesg`.",
        )
    raise child_reply.error_of(reply, f"the worker of {slot.name}", result, log)


def worker_job(request: TrialRequest, link: Connection, *, probe: str, cool_c: float | None = None) -> worker.TrialJob:
    """The worker's job; the artifact's files are copied to the device."""
    case, protocol, artifact = request.case, request.protocol, request.artifact
    assert request.compute != "phone", "a phone is timed by its own tool"
    runtime = registry.find_target(case.target).runtime
    assert runtime is not None, f"{case.target} has no runtime"
    digests = push(artifact, link)
    return worker.TrialJob(
        trial=request.slot.recorded,
        file=next(iter(digests)),
        digests=digests,
        manifest=msgspec.to_builtins(artifact.manifest),
        runtime=runtime,
        probe=probe,
        threads=case.threads,
        streams=case.streams,
        graph=case.graph,
        boundary=case.boundary,
        min_time_s=protocol.min_time_s,
        min_count=validity.FEWEST_SAMPLES,
        warmup_limit_s=protocol.warmup_limit_s,
        sustained_s=protocol.sustained_s,
        seed=protocol.seed + request.slot.index,
        cool_c=cool_c,
        device=request.compute,
        realtime=protocol.priority == "realtime",
    )
