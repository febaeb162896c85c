"""One trial on a phone: ``benchmark_model`` on its big cores, once it is cool; its outputs are compared with ours."""

import tempfile
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from vitdeploy.artifacts import parity
from vitdeploy.benchmarks.trial.request import LIMIT_S, LostTrial, TrialRequest
from vitdeploy.catalog import registry
from vitdeploy.catalog.spec import TensorSpec
from vitdeploy.devices import computer_facts, phone_cores, phone_state
from vitdeploy.devices.phone import benchmark_model, prepared_phone
from vitdeploy.devices.phone.prepared_phone import TARGET, PreparedPhone
from vitdeploy.errors import DeviceError, Impossible, VitdeployError
from vitdeploy.images import inputs
from vitdeploy.inference import local_reference
from vitdeploy.processes import child_reply
from vitdeploy.processes.local import LocalConnection
from vitdeploy.results import record
from vitdeploy.results.record import Case, Reading, Trial
from vitdeploy.runtimes.loaded_session import tensors_of
from vitdeploy.runtimes.session import Array

INPUTS = "one seeded synthetic image a trial, copied before each inference and not timed"


def refusal(case: Case, sustained_s: float | None) -> VitdeployError | None:
    """Why a case cannot be timed on a phone; None when it can."""
    if case.target != TARGET:
        return Impossible(f"{case.target} does not run on a phone: benchmark_model takes TFLite", f"Use {TARGET}.")
    if case.boundary != "compute":
        return Impossible("benchmark_model times the inference without its copies", "Use --boundary compute.")
    if case.streams > 1 or case.graph:
        return Impossible("benchmark_model runs one inference at a time", "Leave --streams and --graph out.")
    if sustained_s is not None:
        return Impossible("--sustained is not built for phones in this version", "Use more --trials.")
    return None


def as_run(protocol: record.Protocol) -> record.Protocol:
    """The protocol as a phone follows it: the tool has its own inputs and its own warm-up."""
    return msgspec.structs.replace(protocol, inputs=INPUTS, warmup_limit_s=benchmark_model.WARMUP_S)


def run_trial(request: TrialRequest, phone: PreparedPhone) -> Trial | LostTrial:
    """Run one block on the phone, and compare its output with this computer's.

    Raises:
        VitdeployError: the tool failed or printed what cannot be read, or this computer cannot compute the outputs.
    """
    plain: dict[str, Any] = msgspec.to_builtins(request.artifact.manifest)
    specs = tensors_of(plain["inputs"])
    try:
        with tempfile.TemporaryDirectory(prefix="vitdeploy-phone-") as place:
            folder = Path(place)
            feed = inputs.make_input(specs, request.protocol.seed + request.slot.index)
            files = prepared_phone.write_inputs(specs, feed, folder)
            expected, runtime = _expected(request, plain, files, folder)
            trial = _time_block(request, phone, specs, files, folder)
            if isinstance(trial, LostTrial):
                return trial
            described = tensors_of(plain["outputs"])
            computed = prepared_phone.read_outputs(folder / "output", described)
    except DeviceError as error:
        return request.slot.lost(error)
    pairs = zip(expected, computed, described, strict=True)
    judged = parity.judge(
        request.artifact.manifest.task,
        [(_channels_first(ours, spec), _channels_first(theirs, spec)) for ours, theirs, spec in pairs],
        registry.find_target(request.case.target).tolerance,
        reference=f"{runtime} on this computer",
    )
    return msgspec.structs.replace(trial, parity=judged)


def _time_block(
    request: TrialRequest, phone: PreparedPhone, specs: Sequence[TensorSpec], files: Sequence[Path], folder: Path
) -> Trial | LostTrial:
    """Run the tool once the phone is cool; its outputs are copied to ``folder``, and are still to be judged."""
    link, log, threads = phone.link, request.log, request.case.threads
    graph = link.push(request.artifact.file, sha256=request.artifact.manifest.sha256)
    with prepared_phone.inputs_on(phone, graph, specs, files, threads=threads) as tool_request:
        argv = benchmark_model.timing_command(tool_request, min_time_s=request.protocol.min_time_s)
        before, begin, started = phone_state.wait_until_cool(link), time.perf_counter_ns(), datetime.now(timezone.utc)
        result = link.run(argv, timeout_s=request.limit_s)
        after = phone_state.read_state(link)
        took_ns = time.perf_counter_ns() - begin
        printed = prepared_phone.merged_streams(result)
        child_reply.keep_log(log, f"{request.case.name}, {request.slot.name}", printed)
        if result.exit_code < 0:
            return LostTrial(
                message=f"benchmark_model was killed by {child_reply.signal_name(result)}", hint=f"Read {log}."
            )
        if result.exit_code:
            raise child_reply.failure("benchmark_model", printed, log)
        output = benchmark_model.parse_output(printed.stderr)
        link.pull(tool_request.output_file, folder / "output")
    cores = phone.cores(threads)
    return Trial(
        **request.slot.recorded,
        started_utc=started.isoformat(timespec="milliseconds"),
        artifact_sha256=request.artifact.manifest.sha256,
        sample_kind="block_median",
        samples_ns=(round(benchmark_model.median_us(output) * 1000),),
        # One sample stands for all inferences of its block, so its share of the time is one mean inference.
        wall_ns=round(output.block.avg_us * 1000),
        stages_ns=None,
        load_ns=round(output.init_us * 1000),
        first_ns=round(output.first_us * 1000),
        warmup_ns=round(output.warmup.avg_us * output.warmup.count * 1000),
        warmup_count=output.warmup.count,
        peak_memory_bytes=round((output.memory_mb or 0.0) * 2**20),
        steady="steady",  # a block has no inner order: drift shows between trials
        telemetry=(_reading(0, before, cores), _reading(took_ns, after, cores)),
        throttled=phone_state.throttled(before, after, cores),
        facts={
            "runtime": f"benchmark_model {phone.tool_sha256[:12]}",
            "provider": f"XNNPACK, CPU, took {output.delegate or 'what is not said'}",
            "threads": str(threads),
            "cores": f"mask {phone_cores.core_mask(cores)}",
            "fp16_arithmetic": "off",
            "inputs": "1 a trial",
            "foreign_cores": "not visible",
            "battery_percent": str(after.battery_percent),
            "charging": str(after.charging),
            "thermal_status": str(after.thermal_status),
        },
        block_inferences=output.block.count,
        resolution_ns=round(output.block.step_us * 1000),
    )


def _expected(request: TrialRequest, plain: dict[str, Any], files: list[Path], folder: Path) -> tuple[list[Array], str]:
    """What this computer's runtime returns for these inputs, and which runtime that is."""
    artifact = request.artifact
    runtime = registry.find_target(artifact.manifest.target).runtime
    assert runtime is not None, f"{artifact.manifest.target} has no runtime"
    outputs = folder / "expected.npz"
    job = local_reference.ReferenceJob(
        file=str(artifact.file),
        manifest=plain,
        runtime=runtime,
        device="cpu",
        inputs=[str(path) for path in files],
        outputs=str(outputs),
        threads=computer_facts.cores_physical(),
    )
    what = f"the process that computed here what {artifact.file} must return"
    ran_by = child_reply.ask(
        LocalConnection(), local_reference.__name__, job, str, what=what, timeout_s=LIMIT_S, log=request.log
    )
    with np.load(outputs, allow_pickle=False) as arrays:
        return [arrays[f"arr_{place}"] for place in range(len(arrays.files))], ran_by


def _channels_first(array: Array, spec: TensorSpec) -> Array:
    return array.transpose(0, 3, 1, 2) if spec.layout == "NHWC" and array.ndim == 4 else array


def _reading(t_ns: int, state: phone_state.PhoneState, cores: Sequence[int]) -> Reading:
    return Reading(t_ns=t_ns, clock_hz=state.clock_hz(cores), temp_c=state.temperature_c, power_mw=None)
