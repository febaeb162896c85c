"""One trial on a hosted phone: one job, whose inferences are its samples and whose outputs are compared with ours."""

import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import msgspec

from vitdeploy.benchmarks.trial import our_outputs
from vitdeploy.benchmarks.trial.request import LostTrial, TrialRequest
from vitdeploy.devices.hosted import NOT_CONTROLLED, TARGET, HostedConnection, JobRequest
from vitdeploy.devices.phone import prepared_phone
from vitdeploy.errors import DeviceError, Impossible, VitdeployError
from vitdeploy.images import inputs
from vitdeploy.results import record, steady
from vitdeploy.results.record import Case, Trial
from vitdeploy.runtimes.loaded_session import tensors_of

INPUTS = "one seeded synthetic image a job on a hosted phone, not timed"


def refusal(case: Case, sustained_s: float | None) -> VitdeployError | None:
    """Why a case cannot be timed on a hosted phone; None when it can."""
    if case.target != TARGET:
        return Impossible(f"{case.target} does not run on a hosted phone", f"Use {TARGET}.")
    if case.boundary != "compute":
        return Impossible("the hub times the inference without its copies", "Use --boundary compute.")
    if case.streams > 1 or case.graph:
        return Impossible("the hub runs one inference at a time", "Leave --streams and --graph out.")
    if sustained_s is not None:
        return Impossible("--sustained needs a phone of your own", "Use one, or more --trials.")
    return None


def as_run(protocol: record.Protocol) -> record.Protocol:
    """The protocol as a hosted phone follows it: the service's own warm-up, which it does not tell."""
    return msgspec.structs.replace(protocol, inputs=INPUTS, warmup_limit_s=0.0)


def run_trial(request: TrialRequest, link: HostedConnection) -> Trial | LostTrial:
    """Run one job, and compare its outputs with this computer's.

    Raises:
        VitdeployError: the job failed, its answer cannot be read, or this computer cannot compute the outputs.
    """
    plain: dict[str, Any] = msgspec.to_builtins(request.artifact.manifest)
    specs, described = tensors_of(plain["inputs"]), tensors_of(plain["outputs"])
    feed = inputs.make_input(specs, request.protocol.seed + request.slot.index)
    job = JobRequest(
        file=request.artifact.file,
        sha256=request.artifact.manifest.sha256,
        inputs=specs,
        outputs=described,
        feeds=[feed],
        threads=request.case.threads,
        timed=True,
    )
    with tempfile.TemporaryDirectory(prefix="vitdeploy-hub-") as place:
        files = prepared_phone.write_inputs(specs, feed, Path(place))
        ours, runtime = our_outputs.expected(request, files, Path(place))
    started, begin = datetime.now(timezone.utc), time.perf_counter_ns()
    try:
        done = link.run_job(job)
    except DeviceError as error:
        return request.slot.lost(error)
    samples = tuple(1000 * sample for sample in done.samples_us)
    (outputs,) = done.outputs
    return Trial(
        **request.slot.recorded,
        started_utc=started.isoformat(timespec="milliseconds"),
        artifact_sha256=request.artifact.manifest.sha256,
        sample_kind="inference",
        samples_ns=samples,
        wall_ns=sum(samples),
        stages_ns=None,
        load_ns=1000 * done.load_us,
        first_ns=samples[0],
        warmup_ns=0,
        warmup_count=0,
        peak_memory_bytes=done.peak_memory_bytes,
        steady=steady.classify(samples),
        telemetry=(),
        throttled=False,
        facts={
            "runtime": "AI Hub's TFLite",
            "provider": "XNNPACK, CPU",
            "threads": str(request.case.threads),
            "job": done.job,
            "job_s": f"{(time.perf_counter_ns() - begin) / 1e9:.0f}",
            "inputs": "1 a job",
            "foreign_cores": "not visible",
            "not_controlled": NOT_CONTROLLED,
        },
        parity=our_outputs.judged(request, ours, [outputs[spec.name] for spec in described], runtime),
        resolution_ns=1000,
    )
