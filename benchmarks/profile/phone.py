"""Operator times on a phone: ``benchmark_model`` with its own profiler, never a timed block."""

import tempfile
from pathlib import Path
from typing import Any

import msgspec

from vitdeploy.artifacts.manifest import Artifact
from vitdeploy.benchmarks.trial.request import LIMIT_S
from vitdeploy.devices.phone import benchmark_model, compiled_model_tool, prepared_phone
from vitdeploy.devices.phone.prepared_phone import PreparedPhone
from vitdeploy.errors import ToolchainFailed
from vitdeploy.images import inputs
from vitdeploy.processes import child_reply
from vitdeploy.processes.connection import CommandResult
from vitdeploy.runtimes import operator_table
from vitdeploy.runtimes.loaded_session import tensors_of

MIN_TIME_S = 1.0
"""A profile of so many seconds: it explains a difference, and is no figure."""


def by_tool(side: Artifact, phone: PreparedPhone, *, threads: int) -> dict[str, int]:
    """Operator type → nanoseconds of an inference on the phone; empty when this build of the tool has no profiler.

    Raises:
        DeviceError: the phone was lost.
        ToolchainFailed: the tool failed, or printed what cannot be read.
    """
    graph = phone.link.push(side.file, sha256=side.manifest.sha256)
    with tempfile.TemporaryDirectory(prefix="vitdeploy-phone-") as place:
        profiled = _compiled_model if phone.kind == "compiled-model" else _interpreter
        result = profiled(side, phone, graph, threads, Path(place))
    if result.exit_code:
        last = child_reply.last_line(result.stderr)
        raise ToolchainFailed(
            f"benchmark_model ended with exit code {result.exit_code} while it profiled: {last}",
            "Use a build with operator profiling.",
        )
    return operator_table.ns_by_type(result.stderr)


def _interpreter(side: Artifact, phone: PreparedPhone, graph: str, threads: int, folder: Path) -> CommandResult:
    plain: dict[str, Any] = msgspec.to_builtins(side.manifest)
    specs = tensors_of(plain["inputs"])
    files = prepared_phone.write_inputs(specs, inputs.make_input(specs, 0), folder)
    with prepared_phone.inputs_on(phone, graph, specs, files, threads=threads) as request:
        argv = benchmark_model.timing_command(request, min_time_s=MIN_TIME_S, profile=True)
        result = prepared_phone.merged_streams(phone.link.run(argv, timeout_s=LIMIT_S))
    if not result.exit_code:
        benchmark_model.parse_output(result.stderr)
    return result


def _compiled_model(side: Artifact, phone: PreparedPhone, graph: str, threads: int, folder: Path) -> CommandResult:
    del side
    with prepared_phone.result_files_on(phone, graph, threads=threads) as request:
        argv = compiled_model_tool.timing_command(request, min_time_s=MIN_TIME_S, profile=True)
        result = prepared_phone.merged_streams(phone.link.run(argv, timeout_s=LIMIT_S))
        if not result.exit_code:
            written = [folder / "result", folder / "runtime_info"]
            for remote, path in zip(request.written, written, strict=True):
                phone.link.pull(remote, path)
            compiled_model_tool.parse_output(result.stderr, *(path.read_bytes() for path in written))
    return result
