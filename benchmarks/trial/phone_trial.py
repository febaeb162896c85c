"""One trial on a phone: ``benchmark_model`` on its big cores, once it is cool; its outputs beside ours."""

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import msgspec

from vitdeploy.benchmarks.trial import our_outputs
from vitdeploy.benchmarks.trial.request import LostTrial, TrialRequest
from vitdeploy.devices import phone_cores, phone_state
from vitdeploy.devices.phone import benchmark_model, compiled_model_tool, prepared_phone, tool_output
from vitdeploy.devices.phone.prepared_phone import TARGET, PreparedPhone
from vitdeploy.devices.phone.tool_output import BenchmarkOutput
from vitdeploy.errors import DeviceError, Impossible, VitdeployError
from vitdeploy.images import inputs
from vitdeploy.processes import child_reply
from vitdeploy.results import record
from vitdeploy.results.record import Case, Reading, Trial
from vitdeploy.runtimes.loaded_session import tensors_of

INPUTS = "one seeded synthetic image a trial, copied before each inference and not timed"
OWN_INPUTS = "random numbers of LiteRT's CompiledModel tool"


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


def as_run(protocol: record.Protocol, phone: PreparedPhone | None = None) -> record.Protocol:
    """The protocol as a phone follows it: the tool has its own inputs and its own warm-up.

    Args:
        phone: the tool on it decides; None: not known yet, and the Interpreter tool is meant.
    """
    own = phone is not None and phone.kind == "compiled-model"
    inputs_of_tool = OWN_INPUTS if own else INPUTS
    return msgspec.structs.replace(protocol, inputs=inputs_of_tool, warmup_limit_s=tool_output.WARMUP_S)


def run_trial(request: TrialRequest, phone: PreparedPhone) -> Trial | LostTrial:
    """Run one block on the phone, and compare its output with this computer's where the tool gives one.

    Raises:
        VitdeployError: the tool failed or printed what cannot be read, or this computer cannot compute the outputs.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="vitdeploy-phone-") as place:
            if phone.kind == "compiled-model":
                return _time_without_inputs(request, phone, Path(place))
            return _time_and_compare(request, phone, Path(place))
    except DeviceError as error:
        return request.slot.lost(error)


def _time_and_compare(request: TrialRequest, phone: PreparedPhone, folder: Path) -> Trial | LostTrial:
    """A block of the Interpreter tool, and its outputs beside ours."""
    plain: dict[str, Any] = msgspec.to_builtins(request.artifact.manifest)
    specs, described = tensors_of(plain["inputs"]), tensors_of(plain["outputs"])
    feed = inputs.make_input(specs, request.protocol.seed + request.slot.index)
    files = prepared_phone.write_inputs(specs, feed, folder)
    expected, runtime = our_outputs.expected(request, files, folder)
    graph = phone.link.push(request.artifact.file, sha256=request.artifact.manifest.sha256)
    with prepared_phone.inputs_on(phone, graph, specs, files, threads=request.case.threads) as tool_request:
        argv = benchmark_model.timing_command(tool_request, min_time_s=request.protocol.min_time_s)
        block = _run_tool(request, phone, argv)
        if isinstance(block, LostTrial):
            return block
        output = benchmark_model.parse_output(block.printed)
        phone.link.pull(tool_request.output_file, folder / "output")
    computed = prepared_phone.read_outputs(folder / "output", described)
    judged = our_outputs.judged(request, expected, computed, runtime)
    facts = {"fp16_arithmetic": "off", "inputs": "1 a trial"}
    return msgspec.structs.replace(_trial(request, phone, block, output, facts), parity=judged)


def _time_without_inputs(request: TrialRequest, phone: PreparedPhone, folder: Path) -> Trial | LostTrial:
    """A block of the CompiledModel tool, whose inputs are its own and whose outputs nobody sees."""
    graph = phone.link.push(request.artifact.file, sha256=request.artifact.manifest.sha256)
    with prepared_phone.result_files_on(phone, graph, threads=request.case.threads) as tool_request:
        argv = compiled_model_tool.timing_command(tool_request, min_time_s=request.protocol.min_time_s)
        block = _run_tool(request, phone, argv)
        if isinstance(block, LostTrial):
            return block
        written = [folder / "result", folder / "runtime_info"]
        for remote, path in zip(tool_request.written, written, strict=True):
            phone.link.pull(remote, path)
        output = compiled_model_tool.parse_output(block.printed, *(path.read_bytes() for path in written))
    facts = {
        "fp16_arithmetic": "as the file has it; this tool has no switch for it",
        "inputs": "random numbers of the tool",
        "outputs_not_compared": compiled_model_tool.NO_OUTPUTS,
    }
    return _trial(request, phone, block, output, facts)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Block:
    """What one process of a tool printed, and the phone's state around it."""

    printed: str
    before: phone_state.PhoneState
    after: phone_state.PhoneState
    started: datetime
    took_ns: int


def _run_tool(request: TrialRequest, phone: PreparedPhone, argv: Sequence[str]) -> _Block | LostTrial:
    """Run a tool once the phone is cool.

    Raises:
        DeviceError: the phone was lost, or stays too hot.
        ToolchainFailed: the tool failed.
    """
    link, log = phone.link, request.log
    before, begin, started = phone_state.wait_until_cool(link), time.perf_counter_ns(), datetime.now(timezone.utc)
    result = link.run(argv, timeout_s=request.limit_s)
    after = phone_state.read_state(link)
    took_ns = time.perf_counter_ns() - begin
    printed = prepared_phone.merged_streams(result)
    child_reply.keep_log(log, f"{request.case.name}, {request.slot.name}", printed)
    if result.exit_code < 0:
        signal = child_reply.signal_name(result)
        return LostTrial(message=f"benchmark_model was killed by {signal}", hint=f"Read {log}.")
    if result.exit_code:
        raise child_reply.failure("benchmark_model", printed, log)
    return _Block(printed=printed.stderr, before=before, after=after, started=started, took_ns=took_ns)


def _trial(
    request: TrialRequest, phone: PreparedPhone, block: _Block, output: BenchmarkOutput, facts: Mapping[str, str]
) -> Trial:
    """The record of a block; ``facts`` are those of the tool that ran it."""
    threads = request.case.threads
    cores = phone.cores(threads)
    return Trial(
        **request.slot.recorded,
        started_utc=block.started.isoformat(timespec="milliseconds"),
        artifact_sha256=request.artifact.manifest.sha256,
        sample_kind="block_median",
        samples_ns=(round(tool_output.median_us(output) * 1000),),
        # One sample stands for all inferences of its block, so its share of the time is one mean inference.
        wall_ns=round(output.block.avg_us * 1000),
        stages_ns=None,
        load_ns=round(output.init_us * 1000),
        first_ns=round(output.first_us * 1000),
        warmup_ns=round(output.warmup.avg_us * output.warmup.count * 1000),
        warmup_count=output.warmup.count,
        peak_memory_bytes=round((output.memory_mb or 0.0) * 2**20),
        steady="steady",  # a block has no inner order: drift shows between trials
        telemetry=(_reading(0, block.before, cores), _reading(block.took_ns, block.after, cores)),
        throttled=phone_state.throttled(block.before, block.after, cores),
        facts={
            "runtime": phone.runtime,
            "provider": f"XNNPACK, CPU, took {output.delegate or 'what is not said'}",
            "threads": str(threads),
            "cores": f"mask {phone_cores.core_mask(cores)}",
            "foreign_cores": "not visible",
            "battery_percent": str(block.after.battery_percent),
            "charging": str(block.after.charging),
            "thermal_status": str(block.after.thermal_status),
            **facts,
        },
        block_inferences=output.block.count,
        resolution_ns=round(output.block.step_us * 1000),
    )


def _reading(t_ns: int, state: phone_state.PhoneState, cores: Sequence[int]) -> Reading:
    return Reading(t_ns=t_ns, clock_hz=state.clock_hz(cores), temp_c=state.temperature_c, power_mw=None)
